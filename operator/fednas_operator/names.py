"""Names, labels and tokens of a search's children: all derived, none stored."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Any

__all__ = [
    "CLASS",
    "COORDINATOR",
    "GIVEN",
    "GROUP",
    "KIND",
    "MADE",
    "MANAGED",
    "PLURAL",
    "PORT",
    "ROLE",
    "SEARCH",
    "SPEC",
    "SPEC_FILE",
    "UID",
    "VERSION",
    "child_name",
    "class_role",
    "labels",
    "owner",
    "token",
    "token_hash",
]

GROUP, VERSION, PLURAL, KIND = "fednas.dev", "v1alpha1", "federatedsearches", "FederatedSearch"
SEARCH = "fednas.dev/search"
UID = "fednas.dev/uid"
CLASS = "fednas.dev/device-class"
ROLE = "fednas.dev/role"
SPEC = "fednas.dev/spec"
"""The annotation of a coordinator's Deployment with the frozen spec, should its ConfigMap go."""
GIVEN = "fednas.dev/given"
"""Beside the frozen spec: what the user had said in the fields that may change later."""
MADE = "fednas.dev/made"
"""The annotation of a policy with its spec as it was made."""
MANAGED = "app.kubernetes.io/managed-by=fednas-operator"
"""The label selector of everything that the operator creates."""
SPEC_FILE = "search.json"
COORDINATOR = "coordinator"
PORT = 8080
"""Where a coordinator listens."""


def child_name(search: str, part: str, uid: str) -> str:
    """Deterministic, at most 54 characters, different for a search of the same name made later.

    The name of a Service starts with a letter, that of a search may start with a digit.

    >>> child_name("cifar10-mobilenet", "phone", "0b1f2a3c-aaaa-bbbb-cccc-121212121212")
    'cifar10-mobilenet-phone-0b1f2a'
    >>> child_name("7-layers", "coordinator", "0b1f2a3c-aaaa-bbbb-cccc-121212121212")
    's7-layers-coordinator-0b1f2a'
    """
    head = (f"s{search}" if search[0].isdigit() else search)[:30].replace(".", "-").rstrip("-")
    suffix = re.sub("[^0-9a-f]", "", uid.lower())[:6]
    return f"{head}-{part[:16].rstrip('-')}-{suffix}"


def labels(search: str, uid: str, role: str, device_class: str | None = None) -> dict[str, str]:
    """The labels of one child."""
    result = {
        "app.kubernetes.io/name": "fednas",
        "app.kubernetes.io/component": role,
        "app.kubernetes.io/managed-by": "fednas-operator",
        SEARCH: search,
        UID: uid,
        ROLE: role,
    }
    if device_class is not None:
        result[CLASS] = device_class
    return result


def owner(search: str, uid: str) -> dict[str, Any]:
    """The owner reference by which a child goes when its search goes."""
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "name": search,
        "uid": uid,
        "controller": True,
    }


def class_role(device_class: str) -> str:
    """The role of the pods of a class, as in the tokens file."""
    return f"class/{device_class}"


def token(master_key: str, uid: str, role: str) -> str:
    """HMAC-SHA256 of ``<uid>/<role>`` under the operator's master key, in hex."""
    return hmac.new(master_key.encode(), f"{uid}/{role}".encode(), hashlib.sha256).hexdigest()


def token_hash(value: str) -> str:
    """What the coordinator holds of a token."""
    return hashlib.sha256(value.encode()).hexdigest()
