"""A small cluster in memory that misbehaves on request, below the operator's own client.

It stands where the HTTP transport does, so that `fednas_operator.cluster` is the real one: it sees
status codes, bodies and lost connections. Events reach the operator as kopf would bring them,
unless they are lost.
"""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx

from fednas_operator import names
from fednas_operator.cluster import KINDS, Cluster
from fednas_operator.metrics import Metrics
from fednas_operator.queue import Key, WorkQueue
from fednas_operator.reconcile import Reconciler
from fednas_operator.settings import Settings
from tests.unit.operator.simulation import NOW, RESOURCE, SETTINGS

KEY = Key("team", "two-classes")
WATCHED = {names.KIND, "Deployment", "Pod"}
Object = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """One call of the operator."""

    verb: str
    kind: str
    name: str
    sub: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, (self.verb, self.kind, self.name, self.sub)))


@dataclass
class Response:
    status: int
    body: Any

    async def read(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


class Killed(BaseException):
    """The operator's process ends: nothing in it catches this."""


@dataclass(frozen=True)
class Fault:
    """An answer in place of the right one.

    Parameters
    ----------
    status : int
        Of HTTP; 0: no answer at all; -1: the operator is killed while it waits for it.
    reason, message : str
        As in the ``Status`` that the API server sends.
    done : bool
        Whether the request takes effect all the same.
    """

    status: int
    reason: str = ""
    message: str = ""
    done: bool = False


class FakeApi:
    """Objects, resource versions, and the verbs that the operator uses.

    Parameters
    ----------
    told : callable
        Takes kind, event type and object of every change of a watched kind.
    """

    def __init__(self, told: Callable[[str, str, Object], None]) -> None:
        self.objects: dict[tuple[str, str, str], Object] = {}
        self.events: dict[str, Object] = {}
        self.requests: list[Request] = []
        self.fault: Callable[[Request], Fault | None] = lambda request: None
        self._told, self._version = told, 100

    # -- what the transport does ---------------------------------------------------------------

    async def param_serialize(self, **request: Any) -> tuple[Any, ...]:
        return (request,)

    async def call_api(self, request: dict[str, Any], _request_timeout: Any) -> Response:
        call, namespace = _parsed(request)
        self.requests.append(call)
        await asyncio.sleep(0)
        fault = self.fault(call)
        if fault is None or fault.done:
            response = self._carry_out(call, namespace, request)
        if fault is None:
            return response
        if fault.status == 0:
            raise TimeoutError
        if fault.status < 0:
            raise Killed
        return _refusal(fault.status, fault.reason, fault.message)

    async def close(self) -> None:
        pass

    def _carry_out(self, call: Request, namespace: str, request: dict[str, Any]) -> Response:
        key = (call.kind, namespace, call.name)
        found, body = self.objects.get(key), copy.deepcopy(request["body"])
        match call.verb, call.sub:
            case "GET", _ if not call.name:
                return self._page(call.kind, namespace, dict(request["query_params"] or ()))
            case "POST", _ if call.kind == "Event":
                if call.name in self.events:
                    return _refusal(409, "AlreadyExists", f"{call.name} already exists")
                self.events[call.name] = body
                return Response(201, body)
            case "POST", _:
                name = body["metadata"]["name"]
                if (call.kind, namespace, name) in self.objects:
                    return _refusal(409, "AlreadyExists", f"{name} already exists")
                body["metadata"]["creationTimestamp"] = "2026-11-25T11:59:00Z"
                if call.kind == "Service":
                    body["spec"]["clusterIP"] = "10.0.0.7"
                return Response(201, self.put(body))
            case _ if found is None:
                return _refusal(404, "NotFound", f"{call.name} not found")
            case "GET", _:
                return Response(200, found)
            case "PATCH", "scale":
                scaled = copy.deepcopy(found)
                scaled["spec"]["replicas"] = body["spec"]["replicas"]
                meta = self.put(scaled)["metadata"]
                shown = {key: meta[key] for key in ("name", "namespace", "resourceVersion")}
                return Response(200, {"kind": "Scale", "metadata": shown, "spec": body["spec"]})
            case "PUT", sub:
                given = body["metadata"].get("resourceVersion")
                if given != found["metadata"]["resourceVersion"]:
                    return _refusal(409, "Conflict", "the object has been modified")
                kept = {"status": found["status"]} if "status" in found else {}
                new = {**copy.deepcopy(found), "status": body["status"]} if sub else body | kept
                return Response(200, self.put(new))
            case "DELETE", _:
                wanted = (body or {}).get("preconditions", {})
                if any(found["metadata"].get(name) != value for name, value in wanted.items()):
                    return _refusal(409, "Conflict", "the preconditions do not hold")
                self.delete(*key)
                return Response(200, {"kind": "Status"})
        raise AssertionError(call)

    def _page(self, kind: str, namespace: str, query: dict[str, str]) -> Response:
        wanted = dict(part.split("=") for part in query.get("labelSelector", "").split(",") if part)
        found = [
            {key: value for key, value in item.items() if key not in ("kind", "apiVersion")}
            for (its, where, _), item in sorted(self.objects.items())
            if its == kind
            and namespace in ("", where)
            and wanted.items() <= item["metadata"].get("labels", {}).items()
        ]
        start, size = int(query.get("continue", 0)), int(query["limit"])
        more = {"continue": str(start + size)} if start + size < len(found) else {}
        return Response(200, {"metadata": more, "items": found[start : start + size]})

    # -- what everybody else does --------------------------------------------------------------

    def put(self, item: Object) -> Object:
        """Write an object as it is, whoever does so."""
        self._version += 1
        item["metadata"]["resourceVersion"] = str(self._version)
        key = (item["kind"], item["metadata"]["namespace"], item["metadata"]["name"])
        event = "MODIFIED" if key in self.objects else "ADDED"
        self.objects[key] = item
        self._told(item["kind"], event, copy.deepcopy(item))
        return item

    def delete(self, kind: str, namespace: str, name: str) -> None:
        gone = self.objects.pop((kind, namespace, name))
        if kind == names.KIND:
            uid = gone["metadata"]["uid"]
            for key, item in list(self.objects.items()):
                owners = item["metadata"].get("ownerReferences") or ()
                if any(owner["uid"] == uid for owner in owners):
                    self.delete(*key)
        self._told(kind, "DELETED", copy.deepcopy(gone))


@dataclass
class World:
    """The cluster, one operator in it, and a clock.

    Parameters
    ----------
    settings : Settings
        Of the operator.
    report : dict or None
        What the coordinator answers; None: nothing.
    coordinator_status : int
        With which HTTP status.
    strangers : set of str
        Tokens of operators that the coordinator refuses.
    deaf : bool
        Whether events are lost.
    """

    settings: Settings = SETTINGS
    report: dict[str, Any] | None = None
    coordinator_status: int = 200
    strangers: set[str] = field(default_factory=set)
    deaf: bool = False
    now: float = 1000.0
    resource: dict[str, Any] = field(default_factory=lambda: copy.deepcopy(RESOURCE))

    def __post_init__(self) -> None:
        self.api = FakeApi(self._told)
        self.asked = 0
        self.metrics = Metrics()
        self.operators: list[Reconciler] = []
        self.queues: list[WorkQueue] = []
        self.api.put(self.resource)
        self.operator()

    def operator(self, settings: Settings | None = None) -> Reconciler:
        """Start one more operator."""
        queue = WorkQueue(lambda: self.now, waited=self.metrics.queue_seconds.observe)
        http = httpx.AsyncClient(transport=httpx.MockTransport(self._coordinator))
        made = Reconciler(
            Cluster(self.api, self.metrics.count_request),
            http,
            settings or self.settings,
            queue,
            lambda: self.now,
            lambda: NOW + timedelta(seconds=self.now - 1000),
            self.metrics,
        )
        self.operators.append(made)
        self.queues.append(queue)
        queue.add(KEY)  # kopf lists when it starts
        return made

    def kill(self, settings: Settings | None = None) -> None:
        """End all operators and start one: what they remembered is lost."""
        self.operators.clear()
        self.queues.clear()
        self.operator(settings)

    async def live(self, seconds: float, *, step: float = 0.1, nodes: bool = True) -> None:
        """Let time go by: passes as they fall due, and what controllers and nodes do."""
        end = self.now + seconds
        while self.now < end:
            for operator, queue in zip(self.operators, self.queues, strict=True):
                while (key := queue.take()) is not None:
                    await operator.work_on(key)
            if nodes:
                self.run_pods()
            self.now += step

    def run_pods(self) -> None:
        """What the Deployments' controllers and the nodes do."""
        for key, item in list(self.api.objects.items()):
            if key[0] == "Deployment":
                status = {"readyReplicas": item["spec"]["replicas"]}
                if item.get("status") != status:
                    self.api.put({**item, "status": status})

    @property
    def search(self) -> Object:
        return self.api.objects[(names.KIND, *KEY)]

    @property
    def status(self) -> Object:
        found: Object = self.search.get("status") or {}
        return found

    def edit(self, **spec: Any) -> None:
        """Edit the resource as a user would."""
        search = copy.deepcopy(self.search)
        search["spec"] |= spec
        self.api.put(search)

    def condition(self, kind: str) -> tuple[str, str]:
        return next(
            (item["status"], item["reason"])
            for item in self.status["conditions"]
            if item["type"] == kind
        )

    def message(self, kind: str) -> str:
        return next(i["message"] for i in self.status["conditions"] if i["type"] == kind)

    def children(self, kind: str) -> dict[str, Object]:
        return {key[2]: item for key, item in self.api.objects.items() if key[0] == kind}

    @property
    def passes(self) -> int:
        found = self.metrics.registry.get_sample_value("fednas_operator_reconcile_seconds_count")
        return int(found or 0)

    def counted(self, verb: str = "", kind: str = "") -> int:
        return sum(
            verb in ("", request.verb) and kind in ("", request.kind)
            for request in self.api.requests
        )

    def _told(self, kind: str, event: str, item: Object) -> None:
        if self.deaf or kind not in WATCHED:
            return
        for operator, queue in zip(self.operators, self.queues, strict=True):
            operator.notice(KEY, kind, item, gone=event == "DELETED")
            queue.add(KEY)

    def _coordinator(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        if self.report is None:
            raise httpx.ConnectTimeout("nobody there")
        token = request.headers["Authorization"].removeprefix("Bearer ")
        status = 401 if token in self.strangers else self.coordinator_status
        return httpx.Response(status, content=_streamed(json.dumps(self.report).encode()))


def _parsed(request: dict[str, Any]) -> tuple[Request, str]:
    path = request["resource_path"].strip("/")
    for kind, place in KINDS.items():
        rest = path.removeprefix(place.api).strip("/").split("/")
        if not path.startswith(place.api + "/"):
            continue
        namespace = rest[1] if rest[0] == "namespaces" else ""
        rest = rest[2:] if namespace else rest
        if rest[0] == place.plural:
            name, sub = [*rest[1:], "", ""][:2]
            if request["method"] == "POST":
                name = request["body"]["metadata"]["name"]
            return Request(request["method"], kind, name, sub), namespace
    raise AssertionError(path)


async def _streamed(body: bytes) -> AsyncIterator[bytes]:
    yield body


def _refusal(status: int, reason: str, message: str) -> Response:
    return Response(status, {"kind": "Status", "reason": reason, "message": message})


def faults(*answers: tuple[str, Fault]) -> Callable[[Request], Fault | None]:
    """Requests whose text begins like this are answered so."""

    def fault(request: Request) -> Fault | None:
        return next((f for text, f in answers if str(request).startswith(text)), None)

    return fault
