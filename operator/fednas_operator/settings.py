"""What the administrator decides for every search: the file that the chart mounts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from fednas.spec import PodTemplate

__all__ = ["Defaults", "Egress", "Image", "OperatorPods", "Settings"]


class _Part(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        hide_input_in_errors=True,  # it holds the master key
    )


class Image(_Part):
    """The image of coordinator and clients."""

    name: str
    pull_policy: str = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()


class Defaults(_Part):
    """What a search leaves out.

    Parameters
    ----------
    storage, tracking : dict or None
        ``spec.storage`` and ``spec.tracking``, each as a whole.
    template : PodTemplate
        Of coordinator and clients, field by field.
    """

    storage: dict[str, Any] | None = None
    tracking: dict[str, Any] | None = None
    template: PodTemplate = PodTemplate()


class Egress(_Part):
    """Where a service lies, for the network policies.

    Parameters
    ----------
    peers : tuple of dict
        ``NetworkPolicyPeer`` objects. Empty: any address, on the service's port alone.
    ports : tuple of int
        TCP ports of the pods behind the service. Empty: the port of the URL.
    """

    peers: tuple[dict[str, Any], ...] = ()
    ports: tuple[int, ...] = ()


class OperatorPods(_Part):
    """Which pods may ask a coordinator for its status, and tell it of consent: the operator's."""

    namespace: str = "default"
    labels: dict[str, str] = {"app.kubernetes.io/name": "fednas", "fednas.dev/role": "operator"}


class Settings(_Part):
    """The operator's settings.

    Parameters
    ----------
    image : Image
        Of coordinator and clients.
    master_key : str
        From which all tokens derive; never in the file, but in a Secret.
    defaults : Defaults
        What fills a search that names no storage or tracking server.
    store_egress, tracking_egress : Egress
        Peers of the default store and the default MLflow.
    dns_egress : Egress
        Of the cluster's name servers: any address, on port 53, unless given.
    metrics_ingress : tuple of dict
        ``NetworkPolicyPeer`` objects of those who may read the metrics of a coordinator, besides
        the operator and the clients.
    allowed_endpoints : tuple of str
        Stores and tracking servers that a search may name besides the defaults:
        ``https://*.example.org``, where ``*`` is any text without ``/`` and ``:``. Empty: any.
    operator : OperatorPods
        Who may read a coordinator's status.
    poll_seconds, resync_seconds : float
        How often a running search is looked at, and every other.
    counters_seconds : float
        Least time between two writes of a status in which only counters changed.
    """

    image: Image
    master_key: str = Field(min_length=16, repr=False)
    defaults: Defaults = Defaults()
    store_egress: Egress = Egress()
    tracking_egress: Egress = Egress()
    dns_egress: Egress = Egress()
    metrics_ingress: tuple[dict[str, Any], ...] = ()
    allowed_endpoints: tuple[str, ...] = ()
    operator: OperatorPods = OperatorPods()
    poll_seconds: float = Field(default=3.0, gt=0)
    resync_seconds: float = Field(default=300.0, gt=0)
    counters_seconds: float = Field(default=10.0, ge=0)

    @classmethod
    def read(cls, config: Path, master_key: str) -> Settings:
        """Read the configuration (JSON), to go with the master key.

        Raises
        ------
        pydantic.ValidationError
            A field is unknown, missing or out of bounds; the operator then ends at once.
        """
        values = json.loads(config.read_text(encoding="utf-8"))
        values["masterKey"] = master_key.strip()
        return cls.model_validate(values)
