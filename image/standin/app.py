"""The application: the endpoints that every service has by contract, and what the stand-in adds for tests.

`/health` alive, `/ready` with its dependencies, `/metrics`, `/info`, `/`; for tests `/slow` (a request that
takes its time) and `/count` (counts what reached this process); `/records` where it stands in for a shared
service.
"""

import asyncio
import math
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from standin import __version__, log
from standin.counted import IDS, Counted
from standin.metrics import Metrics, Observed
from standin.readiness import Readiness, State
from standin.settings import CRASH, Settings

if TYPE_CHECKING:
    from standin.records import Records

#: Longest `/slow`, in seconds.
MAX_SLOW_SECONDS = 10.0


class Service:
    """One stand-in service. Raises `StoreError` when a store of its can't be opened."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics(settings)
        self.readiness = Readiness(settings)
        self.records: Records | None = None
        if settings.is_shared and settings.data is not None:
            from standin import records  # with SQLite, which the others don't need (memory)

            self.records = records.Records(settings.data)
        self._counted = Counted(settings.data)
        self._crashing = False

    def asgi(self) -> ASGIApp:
        """The application for the server."""
        routes = [
            Route("/", self.root),
            Route("/health", self.health),
            Route("/ready", self.ready),
            Route("/metrics", self.metrics_text),
            Route("/info", self.info),
            Route("/slow", self.slow),
            Route("/count", self.count, methods=["GET", "POST"]),
        ]
        if self.records is not None:
            routes += self.records.routes()
        handlers = {HTTPException: _trouble, 500: _failure}
        return Observed(Starlette(routes=routes, exception_handlers=handlers, lifespan=self._lifespan), self.metrics)

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncGenerator[None]:
        log.info(
            "started",
            version=__version__,
            address=f"{self.settings.bind}:{self.settings.port}",
            pid=os.getpid(),
        )
        try:
            yield
        finally:
            if self.records is not None:
                self.records.close()
            if self._counted.posts:
                log.info("counted", posts=self._counted.posts, doubles=self._counted.doubles)

    async def root(self, _: Request) -> Response:
        """Who answers, in short."""
        return JSONResponse({"service": self.settings.name, "stand_in": True, "see": ["/info", "/ready", "/metrics"]})

    async def health(self, _: Request) -> Response:
        """200 while the process is alive, whatever its dependencies do."""
        return JSONResponse({"status": "alive", "service": self.settings.name, "stand_in": True})

    async def ready(self, _: Request) -> Response:
        """200 when every dependency answers and the start-up is over, else 503 and the reasons."""
        report = await self.readiness.current()
        reasons = report.reasons
        if not reasons and self.settings.crash_seconds is not None and not self._crashing:
            self._crashing = True
            asyncio.get_running_loop().call_later(self.settings.crash_seconds, _crash)
        body = {
            "ready": not reasons,
            "reasons": reasons,
            "databases": _states(report.databases),
            "services": _states(report.services),
            "service": self.settings.name,
            "stand_in": True,
        }
        return JSONResponse(body, 503 if reasons else 200)

    async def metrics_text(self, request: Request) -> Response:
        """Everything measured, for Prometheus."""
        self.metrics.take(await self.readiness.current())
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(self.metrics.registry), headers={"Content-Type": content_type})

    async def info(self, _: Request) -> Response:
        """What runs here."""
        settings = self.settings
        body = {
            "name": settings.name,
            "version": __version__,
            "mode": settings.mode,
            "chains": list(settings.chains),
            "environment": settings.environment,
            "stand_in": True,
            "needs": [service.name for service in settings.needs],
            "databases": {database.name: database.had for database in settings.databases},
            "pid": os.getpid(),
        }
        return JSONResponse(body)

    async def slow(self, request: Request) -> Response:
        """Answers after `?seconds=` (1 unless given, at most 10), to be under way when a stop comes."""
        try:
            seconds = float(request.query_params.get("seconds", "1"))
        except ValueError:
            seconds = math.nan
        if not 0 <= seconds <= MAX_SLOW_SECONDS:  # NaN isn't either
            raise HTTPException(400, f"seconds is a number from 0 to {MAX_SLOW_SECONDS:.0f}")
        await anyio.sleep(seconds)
        return JSONResponse({"slept_seconds": seconds, "stand_in": True})

    async def count(self, request: Request) -> Response:
        """`POST` adds one; both answer how many this process has had, to show what an update loses or counts twice.

        With `?id=` it is noted which one it was: `standin/counted.py`.
        """
        ident = request.query_params.get("id")
        if ident is not None and not (ident.isascii() and ident.isdecimal() and len(ident) < 8 and int(ident) < IDS):
            raise HTTPException(400, f"id is a number from 0 to {IDS - 1}")
        counted = self._counted
        if request.method == "POST":
            counted.add(None if ident is None else int(ident))
        return JSONResponse(
            {
                "count": counted.posts,
                "doubles": counted.doubles,
                "process": counted.process,
                "pid": os.getpid(),
                "stand_in": True,
            }
        )


def _crash() -> None:
    log.error("crashed", detail=f"{CRASH} is set")
    os._exit(3)


def _states(states: dict[str, State]) -> dict[str, dict[str, str]]:
    return {name: {"state": state.state, "detail": state.detail} for name, state in states.items()}


async def _trouble(_: Request, error: Exception) -> Response:
    """A 4xx or 5xx that was meant, as JSON."""
    assert isinstance(error, HTTPException)
    body = {"error": error.detail, "stand_in": True}
    return JSONResponse(body, error.status_code, headers=dict(error.headers or {}))


async def _failure(_: Request, __: Exception) -> Response:
    """An error of ours. uvicorn logs it with its traceback; the asker learns nothing about our insides."""
    return JSONResponse({"error": "internal error, see the log", "stand_in": True}, 500)
