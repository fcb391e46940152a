"""FedNAS installed from the chart in the cluster that KUBECONFIG names.

The images must be there already (`make images image-own`, and loaded or pushed):
``FEDNAS_REGISTRY`` and ``FEDNAS_TAG`` name them, ``FEDNAS_E2E_KEEP=1`` leaves everything installed
afterwards.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.e2e.kube import ROOT, SEARCH, Namespace, kubectl, wait

NAMESPACE = "fednas"


@dataclass(frozen=True)
class Installed:
    """The namespace of the release, and the bucket's credentials."""

    ns: Namespace
    credentials: dict[str, str] = field(repr=False)

    def fednas(self, *arguments: str, endpoint: str | None = None) -> str:
        """Run the command line on this machine against the bucket."""
        environment = os.environ | self.credentials
        if endpoint:
            environment["AWS_ENDPOINT_URL_S3"] = endpoint
        done = subprocess.run(
            [sys.executable, "-m", "fednas", *arguments],
            capture_output=True,
            text=True,
            env=environment,
            timeout=1200,
            check=False,
            cwd=ROOT,
        )
        assert done.returncode == 0, f"fednas {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    @contextmanager
    def runtime(self, image: str) -> Iterator[None]:
        """Coordinators and clients from another image, for a while."""
        _upgrade("--reuse-values", "--set", f"runtime.image.repository={image}")
        try:
            yield
        finally:
            _upgrade("--reuse-values", "--set", "runtime.image.repository=fednas-runtime")


@pytest.fixture(scope="session")
def installed() -> Iterator[Installed]:
    for tool in ("kubectl", "helm"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not in the PATH")
    if not kubectl("get", "namespace", NAMESPACE, "--ignore-not-found"):
        kubectl("create", "namespace", NAMESPACE)
    kubectl(
        *("label", "namespace", NAMESPACE, "--overwrite"),
        "pod-security.kubernetes.io/enforce=restricted",
    )
    _upgrade("--install", "--set", "minio.enabled=true,mlflow.enabled=true", *image_values())
    ns = Namespace(NAMESPACE)
    secret = wait("the store's Secret", 60, lambda: ns.get("secret", "fednas-minio"))
    credentials = {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}
    yield Installed(ns, credentials)
    if os.environ.get("FEDNAS_E2E_KEEP") != "1":
        ns("delete", SEARCH, "--all", "--timeout=60s")
        helm("uninstall", "fednas", "--wait")
        kubectl("delete", "namespace", NAMESPACE, "--timeout=120s")
        kubectl("delete", "crd", SEARCH, "--timeout=60s")


@pytest.fixture(scope="session")
def ns(installed: Installed) -> Namespace:
    return installed.ns


@pytest.fixture(scope="session")
def start_weights() -> Path:
    """The committed start of the CIFAR-10 sample."""
    (found,) = (ROOT / "examples/cifar10").glob("start*.safetensors")
    return found


def image_values() -> list[str]:
    """Arguments of helm that name the images under test."""
    values = []
    if registry := os.environ.get("FEDNAS_REGISTRY"):
        values += ["--set", f"global.imageRegistry={registry}"]
    if tag := os.environ.get("FEDNAS_TAG"):
        for name in ("operator", "runtime", "minio", "mlflow"):
            values += ["--set", f"{name}.image.tag={tag}"]
    return values


def _upgrade(*arguments: str) -> None:
    chart = str(ROOT / "charts/fednas")
    helm("upgrade", "fednas", chart, "--wait", "--timeout", "5m", *arguments)


def helm(*arguments: str, namespace: str = NAMESPACE) -> str:
    """What helm prints; AssertionError with all that it said if it fails."""
    done = subprocess.run(
        ["helm", "--namespace", namespace, *arguments],
        capture_output=True,
        text=True,
        timeout=700,
        check=False,
    )
    assert done.returncode == 0, f"helm {' '.join(arguments)}: {done.stdout}{done.stderr}"
    return done.stdout
