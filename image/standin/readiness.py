"""Whether the service's dependencies are there (`/ready`, P5): each database by a login and query, each
service by `/health`.

All are checked at the same time, each for at most `CHECK_SECONDS`; what was found counts for `CACHE_SECONDS`,
however many ask. So a database that stops shows after at most 3 s, and a hundred askers cost what one costs.
"""

import http.client
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import anyio
import anyio.to_thread

from standin import databases, log
from standin.databases import Target
from standin.settings import NEVER_READY, Database, NeededService, Settings

#: Seconds that one check may take, and that its client may take for one step.
CHECK_SECONDS = 2.0
STEP_SECONDS = 1.8
#: Seconds for which a result counts.
CACHE_SECONDS = 1.0

DatabaseState = Literal["used", "embedded", "unreachable"]
ServiceState = Literal["healthy", "unreachable"]


@dataclass(frozen=True, slots=True)
class State:
    """What a check found, for people: `state` is one of the words above, `detail` one line."""

    state: DatabaseState | ServiceState
    detail: str

    @property
    def up(self) -> bool:
        """Whether the service can work with it."""
        return self.state != "unreachable"


@dataclass(frozen=True, slots=True)
class Report:
    """All dependencies at one moment. `starting_seconds`: what is left of the start-up delay (0: started)."""

    databases: dict[str, State]
    services: dict[str, State]
    starting_seconds: float
    never: bool = False

    @property
    def reasons(self) -> list[str]:
        """Why the service isn't ready; empty when it is."""
        reasons = [f"starting: {self.starting_seconds:.1f} s left"] if self.starting_seconds > 0 else []
        if self.never:
            reasons.append(f"{NEVER_READY} is set")
        for name, state in {**self.databases, **self.services}.items():
            if not state.up:
                reasons.append(f"{name}: {state.detail}")
        return reasons


def check_database(target: Target) -> State:
    """A login and query; blocks for some `STEP_SECONDS` at most."""
    answer = databases.check(target, STEP_SECONDS)
    if answer.ok:
        return State("used", f"{target.kind} {answer.version} at {target.host}:{target.port}")
    return State("unreachable", f"{answer.reason}: {answer.detail} ({target.kind} at {target.host}:{target.port})")


def check_service(service: NeededService) -> State:
    """`GET /health` of a needed service; blocks for some `STEP_SECONDS` at most."""
    connection = http.client.HTTPConnection(service.host, service.port, timeout=STEP_SECONDS)
    try:
        connection.request("GET", "/health", headers={"Connection": "close"})
        status = connection.getresponse().status
    except OSError as error:
        detail = databases.network_detail(error) or "connection closed"
        return State("unreachable", f"{detail} ({service.url}/health)")
    except http.client.HTTPException:
        return State("unreachable", f"answers, but not as HTTP ({service.url}/health)")
    finally:
        connection.close()
    if status == 200:
        return State("healthy", service.url)
    return State("unreachable", f"answers {status} ({service.url}/health)")


@dataclass(frozen=True, slots=True)
class _Check:
    group: Literal["database", "service"]
    name: str
    run: Callable[[], State]


@dataclass(slots=True)
class Readiness:
    """Checks what `settings` says is needed. Raises `StoreError` when an embedded store can't be opened."""

    settings: Settings
    _checks: tuple[_Check, ...] = field(init=False)
    _limiter: anyio.CapacityLimiter | None = field(init=False, default=None)
    _lock: anyio.Lock | None = field(init=False, default=None)
    _report: tuple[dict[str, State], dict[str, State]] = field(init=False, default=({}, {}))
    _checked_at: float = field(init=False, default=float("-inf"))
    _ready_at: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        checks = [_Check("database", item.name, self._database(item)) for item in self.settings.databases]
        checks += [_Check("service", item.name, partial(check_service, item)) for item in self.settings.needs]
        self._checks = tuple(checks)
        self._ready_at = time.monotonic() + self.settings.startup_seconds

    def _database(self, database: Database) -> Callable[[], State]:
        if database.target is not None:
            databases.load_client(database.target.kind)  # now: an import must not take the first check's time
            return partial(check_database, database.target)
        assert self.settings.data is not None  # load() has seen to it
        from standin.embedded import EmbeddedStore

        return EmbeddedStore(self.settings.data, database.name).check

    async def current(self) -> Report:
        """What is known, at most `CACHE_SECONDS` old. Takes some `CHECK_SECONDS` at most."""
        if self._lock is None or self._limiter is None:  # anyio's tools belong to the running loop
            self._lock = anyio.Lock()
            # A check that ran out of time still holds its thread until its client gives up, hence twice as
            # many.
            self._limiter = anyio.CapacityLimiter(max(1, 2 * len(self._checks)))
        async with self._lock:
            if time.monotonic() - self._checked_at >= CACHE_SECONDS:
                self._report = await self._run(self._limiter)
                self._checked_at = time.monotonic()
        found_databases, found_services = self._report
        starting = max(0.0, self._ready_at - time.monotonic())
        return Report(found_databases, found_services, starting, self.settings.never_ready)

    async def _run(self, limiter: anyio.CapacityLimiter) -> tuple[dict[str, State], dict[str, State]]:
        found: dict[str, dict[str, State]] = {"database": {}, "service": {}}

        async def one(check: _Check) -> None:
            state = State("unreachable", "timed out")
            with anyio.move_on_after(CHECK_SECONDS):
                state = await anyio.to_thread.run_sync(check.run, abandon_on_cancel=True, limiter=limiter)
            found[check.group][check.name] = state

        async with anyio.create_task_group() as group:
            for check in self._checks:
                group.start_soon(one, check)
        self._tell_changes(found)
        return _in_order(found["database"]), _in_order(found["service"])

    def _tell_changes(self, found: dict[str, dict[str, State]]) -> None:
        before_databases, before_services = self._report
        before = {"database": before_databases, "service": before_services}
        for group, states in found.items():
            for name, state in states.items():
                known = before[group].get(name)
                if state.up == (known is None or known.up):
                    continue
                if state.up:
                    log.info("dependency is back", dependency=name, detail=state.detail)
                else:
                    log.warning("dependency is unreachable", dependency=name, detail=state.detail)


def _in_order(states: dict[str, State]) -> dict[str, State]:
    return dict(sorted(states.items()))
