"""What the operator says to coordinators: how is the search, and that new numerics are accepted.

By the address of a Service rather than by its name, so that a slow DNS delays no status. Nothing
is tried twice, since every pass starts afresh anyway. A coordinator's pod belongs to a user, so its
answer is not trusted: it is bounded in time and size, and checked before anything is made of it.
"""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fednas.spec import SearchStatus

from . import names
from .world import Object, Problem

__all__ = ["Coordinators"]

_MAX_REPORT = 256 * 1024
_SECONDS = 3.0
"""For a whole answer: other searches wait for the worker that asks."""

UNREACHABLE = Problem(
    "CoordinatorUnreachable",
    "the coordinator's pod is ready, but does not answer the operator; "
    "check the network policies between their namespaces",
)
REFUSED = Problem(
    "OperatorRefused",
    "the coordinator does not know the operator's token, which derives from the master key; "
    "was it replaced? Put the former one back into the chart's Secret, and restart the operator",
)
MEANINGLESS = Problem(
    "ReportUnreadable",
    "the coordinator gives no report that this operator can read; "
    "use operator and runtime images of one version",
)


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


class _Degraded(_Part):
    reason: str = Field(max_length=128, pattern="^[A-Za-z][A-Za-z0-9]*$")
    message: str


class _Tracking(_Part):
    pending: int = Field(0, ge=0)
    error: str | None = None


class _Report(_Part):
    version: int = Field(ge=1, le=1)
    over: bool = False
    failed: bool = False
    reason: str | None = Field(None, max_length=128, pattern="^[A-Za-z][A-Za-z0-9]*$")
    message: str | None = None
    degraded: _Degraded | None = None
    tracking: _Tracking | None = None
    status: dict[str, Any] = {}


_KNOWN = {field.alias or name for name, field in SearchStatus.model_fields.items()}


class Coordinators:
    """A way to every coordinator.

    Parameters
    ----------
    http : httpx.AsyncClient
        With short timeouts.
    master_key : str
        From which the operator's token for each search derives.
    port : int
        Where coordinators listen.
    seconds : float
        How long a whole answer may take.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        master_key: str,
        port: int = names.PORT,
        seconds: float = _SECONDS,
    ) -> None:
        self._http, self._master_key, self._port = http, master_key, port
        self._seconds = seconds

    async def ask(self, address: str, uid: str) -> Object | Problem:
        """The report of a search's coordinator, or why there is none."""
        try:
            async with asyncio.timeout(self._seconds):
                status, body = await self._fetch(self._url(address, "status"), uid)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError):
            return UNREACHABLE
        if status in (401, 403):
            return REFUSED
        if status != 200 or body is None:
            return UNREACHABLE if status >= 500 else MEANINGLESS
        try:
            report = _Report.model_validate_json(body)
            known = {key: value for key, value in report.status.items() if key in _KNOWN}
            SearchStatus.model_validate(known)
        except ValidationError:
            return MEANINGLESS
        return report.model_dump() | {"status": known}

    async def _fetch(self, url: str, uid: str) -> tuple[int, bytes | None]:
        """Status and body as sent, without the rest of a body that is too long."""
        headers = self._authorization(uid) | {"Accept-Encoding": "identity"}
        body = bytearray()
        async with self._http.stream("GET", url, headers=headers) as response:
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > _MAX_REPORT:
                    return response.status_code, None
        return response.status_code, bytes(body)

    async def accept_numerics(self, address: str, uid: str) -> bool:
        """Let a search go on with other bits than it began with; whether its coordinator agreed."""
        url, headers = self._url(address, "accept-numerics"), self._authorization(uid)
        try:
            async with (
                asyncio.timeout(self._seconds),
                self._http.stream("POST", url, headers=headers, json={}) as response,
            ):
                return response.status_code == 200
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError):
            return False

    def _url(self, address: str, what: str) -> str:
        host = f"[{address}]" if ":" in address else address
        return f"http://{host}:{self._port}/v1/{what}"

    def _authorization(self, uid: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {names.token(self._master_key, uid, 'operator')}"}
