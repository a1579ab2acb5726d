"""`/metrics` for Prometheus, and the wrapper around the application that counts requests and marks answers.

Labels can take a known number of values only: routes are patterns (`/records/{key}`), whatever else is asked
for is `other`, as are unknown methods.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from standin import __version__
from standin.readiness import Report
from standin.settings import Settings

#: Says in each answer that a stand-in answered (D13).
STAND_IN_HEADER = (b"x-stand-in", b"true")

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
#: Upper bounds in seconds; /ready may take 2 s, /slow 10 s.
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class _ResidentMemory(Collector):
    """`process_resident_memory_bytes` where there is no /proc (macOS); else `ProcessCollector` has it."""

    def collect(self) -> Iterator[Metric]:
        kilobytes = subprocess.run(
            ["ps", "-o", "rss=", "-p", str(os.getpid())],
            capture_output=True,
            text=True,
            timeout=2,
            check=False,
        ).stdout.strip()
        if kilobytes.isdecimal():
            name, text = "process_resident_memory_bytes", "Resident memory size in bytes."
            yield GaugeMetricFamily(name, text, value=int(kilobytes) * 1024)


class Metrics:
    """The metrics of one process, in a registry of their own."""

    def __init__(self, settings: Settings) -> None:
        disable_created_metrics()
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        if not sys.platform.startswith("linux"):
            self.registry.register(_ResidentMemory())
        self.requests = Counter(
            "http_requests", "Requests answered.", ("route", "method", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "http_request_duration_seconds",
            "Time to answer a request, in seconds.",
            ("route",),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.in_flight = Gauge("http_requests_in_flight", "Requests being answered now.", registry=self.registry)
        self.ready = Gauge("service_ready", "1 when /ready answers 200.", registry=self.registry)
        self.dependency_up = Gauge(
            "dependency_up", "1 when the dependency answers.", ("kind", "name"), registry=self.registry
        )
        about = Gauge(
            "service_info",
            "What runs here.",
            ("service", "version", "environment", "stand_in"),
            registry=self.registry,
        )
        about.labels(settings.name, __version__, settings.environment, "true").set(1)

    def take(self, report: Report) -> None:
        """Sets the gauges to what `report` says."""
        self.ready.set(0 if report.reasons else 1)
        for kind, states in (("database", report.databases), ("service", report.services)):
            for name, state in states.items():
                self.dependency_up.labels(kind, name).set(1 if state.up else 0)


class Observed:
    """Wraps the application: counts and times each request, and puts `X-Stand-In: true` on each answer."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500  # what uvicorn answers when nothing was sent

        async def marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), STAND_IN_HEADER]
            await send(message)

        begun = time.perf_counter()
        self._metrics.in_flight.inc()
        try:
            await self._app(scope, receive, marked)
        finally:
            self._metrics.in_flight.dec()
            route = scope.get("route")
            pattern = route.path if isinstance(route, Route) else "other"
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.requests.labels(pattern, method, str(status)).inc()
            self._metrics.seconds.labels(pattern).observe(time.perf_counter() - begun)
