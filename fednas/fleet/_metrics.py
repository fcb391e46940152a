"""What a coordinator counts, in the text form of Prometheus. No labels of clients or candidates."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["Metrics"]


class Metrics:
    """Counters of one coordinator, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.leases = self._counter("leases", "Tasks given to clients.")
        self.expired = self._counter("leases_expired", "Leases whose heartbeats stopped.")
        self.accepted = self._counter("updates_accepted", "Updates that passed every check.")
        self.rejected = self._counter("updates_rejected", "Updates refused.", "reason")
        self.failed = self._counter("tasks_failed", "Tasks that clients gave back.", "reason")
        self.stale = self._counter("results_stale", "Late or duplicate results dropped.")
        self.refused = self._counter("requests_refused", "HTTP requests refused.", "reason")
        self.bytes_down = self._counter("client_bytes_down", "Bytes of the inputs of tasks done.")
        self.bytes_up = self._counter("client_bytes_up", "Bytes of the updates of tasks done.")
        self.records = self._counter("journal_records", "Decisions journalled.", "kind")
        self.task_seconds = Histogram(
            "fednas_task_seconds",
            "From the lease of a task to its accepted update.",
            registry=self.registry,
            buckets=(0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000),
        )
        self.queue = self._gauge("queue_length", "Tasks that nobody works on.", "device_class")
        self.sessions = self._gauge("client_programs", "Client programs alive.", "device_class")
        self.working = self._gauge("leases_live", "Tasks in the hands of clients.")
        self.benched = self._gauge("clients_benched", "Clients with three bad updates.")
        self.store_lag = self._gauge("store_lag_seconds", "How long the store has been away.")
        self.tracking_pending = self._gauge("tracking_pending", "Metrics not yet in MLflow.")

    def text(self) -> bytes:
        """The body of ``/metrics``."""
        return generate_latest(self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"fednas_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"fednas_{name}", text, labels, registry=self.registry)
