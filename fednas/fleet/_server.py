"""The coordinator's HTTP side: FastAPI on an event loop of its own thread.

It listens before anything else is there - store, journal, torch - so that what is wrong with them
can be read at ``/v1/status``. No handler does blocking work: a request either changes the lease
book in memory or waits in a long poll.
"""

import asyncio
import hashlib
import hmac
import socket
import threading
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import suppress
from typing import Annotated, Any

import structlog
import uvicorn
from fastapi import Depends, FastAPI, Path, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response

from fednas.errors import BadInput
from fednas.fleet._protocol import (
    PROTOCOL,
    Answer,
    Ask,
    Beat,
    Complete,
    Fail,
    Ok,
    Refusal,
    Register,
    Registered,
)
from fednas.fleet._remote import HEARTBEAT_SECONDS, RemoteFleet
from fednas.fleet._sessions import Session

__all__ = ["OPERATOR", "Server", "create_app"]

MAX_BODY = 64 << 10
"""Bytes of a request: no message of the protocol comes near."""

BODY_SECONDS = 10.0
"""A request whose body takes longer is refused."""

OPERATOR = "operator"
"""The role that may read the status; a client's is ``class/<device class>``."""

_ANYONE = "*"

log = structlog.get_logger("fednas.server")


class _Refused(Exception):
    def __init__(self, status: int, reason: str, message: str) -> None:
        self.status, self.reason, self.message = status, reason, message
        super().__init__(message)


def create_app(
    fleet: RemoteFleet,
    *,
    search_id: str,
    status: Callable[[], Mapping[str, Any]],
    tokens: Mapping[str, str] | None = None,
    accept_numerics: Callable[[], None] = lambda: None,
    measure: Callable[[], None] = lambda: None,
    troubled: Callable[[], bool] = lambda: False,
) -> FastAPI:
    """The application.

    Parameters
    ----------
    fleet : RemoteFleet
        Whose tasks are leased.
    search_id : str
        Told to clients.
    status : callable
        Gives the body of ``/v1/status``; called on a thread.
    tokens : mapping, optional
        Role -> sha256 of its token in hex. Without, everybody is let in: for loopback.
    accept_numerics : callable
        Called when the operator passes on a user's consent to other numerics.
    measure : callable
        Called before metrics are read, to set further gauges.
    troubled : callable
        Whether the status tells of something wrong: then it has to be reachable, so ``/readyz``
        says yes although no lease can be given.
    """
    app = FastAPI(title="FedNAS coordinator", version=str(PROTOCOL))
    app.add_middleware(_BodyLimit, refused=fleet.metrics.refused.labels("BodyTooLarge").inc)
    known = {role: bytes.fromhex(digest) for role, digest in (tokens or {}).items()}

    def role(request: Request) -> str:
        """Whose token it is; every known one is compared, in constant time."""
        if tokens is None:
            return _ANYONE
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        digest = hashlib.sha256(token.strip().encode()).digest()
        found = [role for role, known_ in known.items() if hmac.compare_digest(known_, digest)]
        if kind.lower() != "bearer" or not found:
            raise _Refused(401, "Unauthorized", "no token, or one of another search")
        return found[0]

    def of_class(role: str, device_class: str) -> None:
        if role not in (_ANYONE, f"class/{device_class}"):
            raise _Refused(403, "Forbidden", f"the token is not of class {device_class}")

    def session_of(session_id: str, role: str) -> Session:
        session = fleet.sessions.find(session_id)
        if session is None:
            raise _Refused(409, "Unregistered", "no such session; register again")
        of_class(role, session.device_class)
        return session

    def owned(lease_id: str, session_id: str, role: str) -> None:
        """The lease lives, and belongs to the class of the session."""
        session = session_of(session_id, role)
        device_class = fleet.device_class_of(lease_id)
        if device_class is None:
            raise _gone()
        if device_class != session.device_class:
            raise _Refused(403, "Forbidden", "the lease is of another class")

    LeaseId = Annotated[str, Path(alias="lease", pattern="^[0-9a-f]{32}$")]
    Who = Annotated[str, Depends(role)]

    @app.post("/v1/register")
    async def register(message: Register, who: Who) -> Registered:
        if message.protocol != PROTOCOL:
            raise _Refused(
                426,
                "WrongProtocol",
                f"client speaks protocol {message.protocol}, coordinator {PROTOCOL}: "
                "run the same version of fednas on both sides",
            )
        of_class(who, message.device_class)
        if not fleet.clients:
            raise _Refused(503, "NotReady", "the search cannot be read; see /v1/status")
        if message.device_class not in fleet.clients:
            classes = ", ".join(sorted(fleet.clients))
            raise _Refused(
                404,
                "UnknownClass",
                f"no device class {message.device_class!r}; there are {classes}",
            )
        return Registered(
            protocol=PROTOCOL,
            session=fleet.register(message).id,
            search_id=search_id,
            heartbeat_seconds=HEARTBEAT_SECONDS,
        )

    @app.post("/v1/lease")
    async def lease(message: Ask, request: Request, who: Who) -> Answer:
        session = session_of(message.session, who)
        grant = await fleet.lease(session, message.wait_seconds, request.is_disconnected)
        return Answer(grant=grant, over=fleet.over)

    @app.post("/v1/leases/{lease}/heartbeat")
    async def heartbeat(lease: LeaseId, message: Beat, who: Who) -> Ok:
        owned(lease, message.session, who)
        if not fleet.heartbeat(lease):
            raise _gone()
        return Ok()

    @app.post("/v1/leases/{lease}/complete")
    async def complete(lease: LeaseId, message: Complete, who: Who) -> Ok:
        owned(lease, message.session, who)
        if not fleet.complete(lease, message):
            raise _gone()
        return Ok()

    @app.post("/v1/leases/{lease}/fail")
    async def fail(lease: LeaseId, message: Fail, who: Who) -> Ok:
        owned(lease, message.session, who)
        if not fleet.fail(lease, message.reason, message.message):
            raise _gone()
        return Ok()

    @app.post("/v1/goodbye")
    async def goodbye(message: Beat, who: Who) -> Ok:
        fleet.goodbye(session_of(message.session, who))
        return Ok()

    @app.get("/v1/status")
    async def read_status(who: Who) -> JSONResponse:
        if who not in (_ANYONE, OPERATOR):
            raise _Refused(403, "Forbidden", "the status is the operator's to read")
        return JSONResponse(dict(await run_in_threadpool(status)))

    @app.post("/v1/accept-numerics")
    async def accept(who: Who) -> Ok:
        if who not in (_ANYONE, OPERATOR):
            raise _Refused(403, "Forbidden", "consent is the operator's to pass on")
        accept_numerics()
        return Ok()

    @app.get("/metrics")
    async def metrics() -> Response:
        fleet.measure()
        measure()
        return Response(fleet.metrics.text(), media_type="text/plain; version=0.0.4")

    @app.get("/healthz")
    async def healthz() -> Ok:
        """The event loop turns."""
        return Ok()

    @app.get("/readyz")
    async def readyz() -> Ok:
        """Leases can be given; or the status has something to tell instead."""
        if not (fleet.ready or fleet.over or troubled()):
            raise _Refused(503, "NotReady", "waiting for the store")
        return Ok()

    @app.exception_handler(_Refused)
    async def refused(request: Request, error: _Refused) -> JSONResponse:
        fleet.metrics.refused.labels(error.reason).inc()
        if error.status in (401, 403, 426):
            log.warning("request refused", path=request.url.path, reason=error.reason)
        return _refusal(error.status, error.reason, error.message)

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> JSONResponse:
        fleet.metrics.refused.labels("Malformed").inc()
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        return _refusal(422, "Malformed", f"{where}: {first['msg']}"[:500])

    return app


def _gone() -> _Refused:
    return _Refused(410, "LeaseGone", "the lease has ended; drop the task")


def _refusal(status: int, reason: str, message: str) -> JSONResponse:
    return JSONResponse(Refusal(reason=reason, message=message).model_dump(), status)


_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]


class _BodyLimit:
    """Reads a request's body whole, in bounded size and time, before the application sees it."""

    def __init__(self, app: Callable[..., Awaitable[None]], refused: Callable[[], None]) -> None:
        self._app = app
        self._refused = refused

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body, problem = b"", None
        lengths = [value for name, value in scope["headers"] if name == b"content-length"]
        if lengths and (not lengths[0].isdigit() or int(lengths[0]) > MAX_BODY):
            problem = (413, "BodyTooLarge", f"more than {MAX_BODY} bytes")
        try:
            async with asyncio.timeout(BODY_SECONDS):
                more = problem is None
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
                    if len(body) > MAX_BODY:
                        problem = (413, "BodyTooLarge", f"more than {MAX_BODY} bytes")
                        break
        except TimeoutError:
            problem = (408, "BodyTooSlow", f"more than {BODY_SECONDS:g} seconds")
        if problem is not None:
            self._refused()
            answer = _refusal(*problem)
            answer.headers["connection"] = "close"
            await answer(scope, receive, send)
            return
        given = False

        async def again() -> _Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, again, send)


class Server:
    """Serves an application from a thread.

    Parameters
    ----------
    app : FastAPI
    listen : str
        ``HOST:PORT``; port 0 takes a free one. Host ``*``: every address, of IPv4 and IPv6 alike,
        so that a pod answers whatever its cluster's family is.
    """

    def __init__(self, app: FastAPI, listen: str) -> None:
        host, _, port = listen.rpartition(":")
        host = host.strip("[]") or "127.0.0.1"
        both = host == "*" and socket.has_dualstack_ipv6()
        bound, host = ("", "localhost") if host == "*" else (host, host)
        try:
            family = socket.AF_INET6 if both or ":" in host else socket.AF_INET
            self._socket = socket.create_server(
                (bound, int(port)), family=family, backlog=2048, dualstack_ipv6=both
            )
        except (ValueError, OverflowError) as error:
            raise BadInput(f"--listen: got {listen!r}; must be HOST:PORT") from error
        except OSError as error:
            raise BadInput(f"--listen {listen}: {error.strerror}") from error
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self.port}"
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                lifespan="off",
                ws="none",
                server_header=False,
                timeout_keep_alive=60,
                timeout_graceful_shutdown=1,
            )
        )
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name="fednas-server", daemon=True
        )

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        self._server.should_exit = True
        with suppress(RuntimeError):
            self._thread.join(3.0)
        self._socket.close()
