"""What the operator says to coordinators: how is the search, and that new numerics are accepted.

By the address of a Service rather than by its name, so that a slow DNS delays no status. Nothing
is tried twice, since every pass starts afresh anyway; the client that is given has the timeouts.
"""

from __future__ import annotations

from typing import Any

import httpx

from . import names

__all__ = ["Coordinators"]

_MAX_REPORT = 256 * 1024


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
    """

    def __init__(self, http: httpx.AsyncClient, master_key: str, port: int = names.PORT) -> None:
        self._http, self._master_key, self._port = http, master_key, port

    async def ask(self, address: str, uid: str) -> dict[str, Any] | None:
        """The report of a search's coordinator; None if it gives no sound answer."""
        try:
            response = await self._http.get(
                self._url(address, "status"), headers=self._authorization(uid)
            )
            if response.status_code != 200 or len(response.content) > _MAX_REPORT:
                return None
            report = response.json()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError):
            return None
        if not isinstance(report, dict) or report.get("version") != 1:
            return None
        return report

    async def accept_numerics(self, address: str, uid: str) -> bool:
        """Let a search go on with other bits than it began with; whether its coordinator agreed."""
        try:
            response = await self._http.post(
                self._url(address, "accept-numerics"), headers=self._authorization(uid), json={}
            )
        except (httpx.HTTPError, httpx.InvalidURL):
            return False
        return response.status_code == 200

    def _url(self, address: str, what: str) -> str:
        host = f"[{address}]" if ":" in address else address
        return f"http://{host}:{self._port}/v1/{what}"

    def _authorization(self, uid: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {names.token(self._master_key, uid, 'operator')}"}
