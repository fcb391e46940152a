"""The Kubernetes API as plain dicts: a table of kinds, and one method a verb.

The typed models of the client drop unknown fields silently, so its transport is used alone. Every
request has a timeout; nothing is retried here, since every pass starts afresh anyway.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from kubernetes.aio import client, config
from kubernetes.aio.client.exceptions import ApiException

from . import names

__all__ = ["KINDS", "ApiError", "Cluster", "Kind", "connect"]

_TIMEOUT = aiohttp.ClientTimeout(total=30, connect=10)
_PAGE = 100


@dataclass(frozen=True)
class Kind:
    """Where a kind of resource lies in the API."""

    api: str
    plural: str

    def path(self, namespace: str | None, name: str | None = None, sub: str | None = None) -> str:
        """The URL path of a collection, an object, or a subresource of it."""
        where = ["namespaces", namespace] if namespace is not None else []
        parts = [self.api, *where, self.plural, name, sub]
        return "/" + "/".join(part for part in parts if part is not None)


KINDS: Mapping[str, Kind] = {
    names.KIND: Kind(f"apis/{names.GROUP}/{names.VERSION}", names.PLURAL),
    "ConfigMap": Kind("api/v1", "configmaps"),
    "Secret": Kind("api/v1", "secrets"),
    "ServiceAccount": Kind("api/v1", "serviceaccounts"),
    "Service": Kind("api/v1", "services"),
    "Pod": Kind("api/v1", "pods"),
    "Event": Kind("apis/events.k8s.io/v1", "events"),
    "NetworkPolicy": Kind("apis/networking.k8s.io/v1", "networkpolicies"),
    "Deployment": Kind("apis/apps/v1", "deployments"),
}


class ApiError(Exception):
    """The API server said no, or said nothing.

    Parameters
    ----------
    status : int
        HTTP status; 0 when there was no answer.
    reason : str
        ``AlreadyExists``, ``Forbidden``, ``Conflict``, ``NotFound``, ``Invalid``, ...
    message : str
        What the server said.
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        self.status, self.reason, self.message = status, reason, message
        super().__init__(f"{status} {reason}: {message}")

    @property
    def passing(self) -> bool:
        """Whether the same request may do better soon: nobody has to mend anything."""
        return self.status in (0, 429) or self.status >= 500 or self.reason == "Conflict"


class Cluster:
    """A connection to one API server.

    Parameters
    ----------
    api : kubernetes.aio.client.ApiClient
    answered : callable
        Takes verb, kind and HTTP status of every request; 0: no answer.
    """

    def __init__(
        self,
        api: Any,  # it has no types
        answered: Callable[[str, str, int], None] = lambda verb, kind, status: None,
    ) -> None:
        self._api, self._answered = api, answered

    async def get(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """One object, or None."""
        try:
            return await self._call("GET", kind, KINDS[kind].path(namespace, name))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def find(
        self, kind: str, namespace: str | None, selector: str = ""
    ) -> list[dict[str, Any]]:
        """Every object that carries the labels; page by page, so that none blocks the loop long.

        ``namespace`` None: of all namespaces.
        """
        items: list[dict[str, Any]] = []
        query = [("limit", str(_PAGE))] + ([("labelSelector", selector)] if selector else [])
        token = ""
        while True:
            more = [("continue", token)] if token else []
            found = await self._call("GET", kind, KINDS[kind].path(namespace), query=query + more)
            items += found["items"]
            token = (found.get("metadata") or {}).get("continue") or ""
            if not token:
                return items

    async def create(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Create; `ApiError` with ``AlreadyExists`` where there is one of that name.

        This and all that write return the object as it is then.
        """
        kind, namespace = manifest["kind"], manifest["metadata"]["namespace"]
        return await self._call("POST", kind, KINDS[kind].path(namespace), body=manifest)

    async def scale(self, namespace: str, deployment: str, replicas: int) -> dict[str, Any]:
        """Set the replicas of a Deployment and nothing else of it; its ``Scale``."""
        return await self._call(
            "PATCH",
            "Deployment",
            KINDS["Deployment"].path(namespace, deployment, "scale"),
            body={"spec": {"replicas": replicas}},
            content="application/merge-patch+json",
        )

    async def delete(
        self, kind: str, namespace: str, name: str, only: Mapping[str, str] | None = None
    ) -> bool:
        """Delete in the background; whether it was there.

        Parameters
        ----------
        only : mapping, optional
            ``uid`` and ``resourceVersion`` that it has to have; ``Conflict`` otherwise.
        """
        options: dict[str, Any] = {"propagationPolicy": "Background"}
        try:
            await self._call(
                "DELETE",
                kind,
                KINDS[kind].path(namespace, name),
                body=options | ({"preconditions": dict(only)} if only else {}),
            )
        except ApiError as error:
            if error.status != 404:
                raise
            return False
        return True

    async def replace(self, resource: Mapping[str, Any]) -> dict[str, Any]:
        """Write an object; ``Conflict`` unless ``metadata.resourceVersion`` is the current one."""
        meta, kind = resource["metadata"], resource["kind"]
        path = KINDS[kind].path(meta["namespace"], meta["name"])
        return await self._call("PUT", kind, path, body=resource)

    async def replace_status(self, resource: Mapping[str, Any]) -> dict[str, Any]:
        """Write the status, likewise; the resource as it is then."""
        meta = resource["metadata"]
        path = KINDS[names.KIND].path(meta["namespace"], meta["name"], "status")
        return await self._call("PUT", names.KIND, path, body=resource)

    async def served(self) -> bool:
        """Whether the API server knows FederatedSearch resources yet."""
        try:
            found = await self._call("GET", "APIResourceList", f"/{KINDS[names.KIND].api}")
        except ApiError:
            return False
        return any(item["name"] == names.PLURAL for item in found["resources"])

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()

    async def _call(
        self,
        method: str,
        kind: str,
        path: str,
        *,
        query: list[tuple[str, str]] | None = None,
        body: Mapping[str, Any] | None = None,
        content: str = "application/json",
    ) -> dict[str, Any]:
        try:
            request = await self._api.param_serialize(
                method=method,
                resource_path=path,
                query_params=query,
                header_params={"Accept": "application/json", "Content-Type": content},
                body=None if body is None else dict(body),
                auth_settings=["BearerToken"],
            )
            response = await self._api.call_api(*request, _request_timeout=_TIMEOUT)
            data = await response.read()
        except (ApiException, aiohttp.ClientError, TimeoutError, OSError) as error:
            self._answered(method, kind, 0)
            raise ApiError(0, "ApiServerUnreachable", str(error) or type(error).__name__) from error
        self._answered(method, kind, response.status)
        return _parse(response.status, data)


def _parse(status: int, data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError:
        value = {"message": data[:200].decode(errors="replace")}
    if 200 <= status < 300:
        result: dict[str, Any] = value
        return result
    raise ApiError(status, str(value.get("reason") or status), str(value.get("message") or ""))


async def connect(
    answered: Callable[[str, str, int], None] = lambda verb, kind, status: None,
) -> Cluster:
    """Connect as the pod's service account, or by KUBECONFIG outside a cluster."""
    settings: Any = client.Configuration()
    loaders: Any = config
    try:
        loaders.load_incluster_config(client_configuration=settings)
    except config.ConfigException:
        await loaders.load_kube_config(client_configuration=settings)
    return Cluster(client.ApiClient(settings), answered)
