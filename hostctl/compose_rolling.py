"""A rolling update: the new container proves itself beside the old one, the edge moves the requests, the old one goes.

All of it under the host's lock. Whoever is killed at any point leaves the old container serving, or the new one proven:
what has still to prove itself is never started again by Docker, and the next run removes it.
"""

from __future__ import annotations

import math
import time
from contextlib import suppress
from typing import Callable, NamedTuple, Optional, Sequence, Tuple

from hostctl import health
from hostctl.compose_command import Compose
from hostctl.compose_containers import Containers, Seen, began_at
from hostctl.console import say
from hostctl.edge import EDGE, Edge
from hostctl.edge_socket import DRAIN, READY, until
from hostctl.errors import HostctlError
from hostctl.forms import Behind, ServiceDefinition
from hostctl.runtime import FAILED, RESTARTED, Outcome

SLOTS = ("a", "b")
"""What the edge calls a service's two places, in the order of the definition's ports."""
POLL_SECONDS = 0.1
EDGE_SECONDS = 10.0
"""The edge looks at a service twice a second."""
SWAP_SECONDS = 15.0
READY_SECONDS = 5.0
_HEALTH = "/health"
LOG_LINES = 20

Stopped = Callable[[], bool]


class Change(NamedTuple):
    """One service that is to run otherwise, beside what serves until then."""

    name: str
    definition: ServiceDefinition
    grace_seconds: float
    serving: Seen
    back: bool = False
    """On the way back to what served: it is not given up because somebody wants to stop."""


class Rolling:
    """What rolls on one host."""

    def __init__(self, containers: Containers, edge: Edge, compose: Compose, file: str, stopped: Stopped) -> None:
        self._containers, self._edge, self._compose = containers, edge, compose
        self._file, self._stopped = file, stopped

    def tidy(self, name: str, behind: Optional[Behind], grace: float, fresh: Callable[[Seen], bool]) -> Optional[Seen]:
        """Leaves the one container that serves, and gives it; None when none does.

        Of two that are proven, the one that is as wanted stays. The others are what a run that was killed has left.
        """
        found = self._containers.all(name)
        keep = self._kept(name, behind, found, fresh)
        if keep is not None:
            self._leave_alone(name, behind, grace, keep, found)
        else:
            for one in found:  # what is stopped is compose's to start or to make anew
                if not one.proven:
                    self._containers.delete(one.id)
        if behind is not None and self._edge.running() is not None:
            self._quietly(lambda: self._reopen(name, _slot(behind, keep)))
        return keep

    def _leave_alone(
        self, name: str, behind: Optional[Behind], grace: float, keep: Seen, found: Sequence[Seen]
    ) -> None:
        """Docker starts the one that is kept again by itself; the others go."""
        if not keep.proven:
            self._containers.set_proven(keep.id, True)
        for one in found:
            if one.id != keep.id:
                say("%s: an update that was interrupted left a second container; it is removed" % name)
                self._retire(name, behind, one, grace if one.state == "running" else 0.0)
        if name == EDGE and keep.created != max(one.created for one in found):
            self._edge.load(always=True)  # the socket was the other one's

    def _kept(
        self, name: str, behind: Optional[Behind], found: Sequence[Seen], fresh: Callable[[Seen], bool]
    ) -> Optional[Seen]:
        """Which of a service's containers goes on: what runs, is proven, gets requests and is as wanted, in this order.

        One that serves alone stays, whoever told Docker not to start it again. One whose place is closed was about to
        be stopped when a run was killed, and may be ending by itself.
        """
        running = [one for one in found if one.state == "running"]
        if name == EDGE and len(running) > 1:
            return self._answering(running)
        among = [one for one in running if one.proven] or running
        if len(among) > 1:
            closed = self._edge.closed().get(name, set())
            among = [one for one in among if _slot(behind, one) not in closed] or among
        keep = next((one for one in among if fresh(one)), among[0] if among else None)
        if keep is None or len(found) == 1 or self._open(name, behind, keep):
            return keep
        return next((one for one in among if one.id != keep.id and self._open(name, behind, one)), keep)

    def _answering(self, edges: Sequence[Seen]) -> Seen:
        """Of two edges the one whose worker answers: a second one takes the socket over with the ports."""
        first, *_, last = sorted(edges, key=lambda one: one.created)
        until(lambda: self._edge.socket.began() != 0, READY_SECONDS)
        return last if self._edge.socket.began() >= began_at(last) - 1 else first

    def rolls(self, definition: ServiceDefinition, serving: Optional[Seen]) -> bool:
        """Whether this one can be changed beside what serves: both need a place of their own behind the edge."""
        return self.could_roll(definition, serving) and definition["name"] in self._edge.services()

    def could_roll(self, definition: ServiceDefinition, serving: Optional[Seen]) -> bool:
        """The same, whatever the edge says."""
        behind = definition["edge"]
        if serving is None or behind is None or behind["update"] != "rolling":
            return False
        return _slot(behind, serving) is not None

    def roll(self, change: Change) -> Outcome:
        """Replaces what serves without losing a request; on failure nothing has happened."""
        behind = change.definition["edge"]
        assert behind is not None
        try:
            new = self._make(change.name)
        except HostctlError as error:
            return Outcome(FAILED, str(error))
        try:
            free = self._start_apart(new, change, behind)
            began = time.monotonic()
            self._prove(new, change, behind, free)
            proved = time.monotonic() - began
            self._take_in(change.name, free, new)
        except HostctlError as error:
            log = self._log(new)
            self._give_up(change, behind, new)
            return Outcome(FAILED, str(error), log)
        say("%s: the new container proved itself in %.1f s and serves; the old one ends" % (change.name, proved))
        try:
            self._retire(change.name, behind, change.serving, change.grace_seconds)
        except HostctlError as error:  # the new one serves: that is no reason to go back
            say("warning: %s: the old container is left for the next run: %s" % (change.name, error))
        return Outcome(RESTARTED)

    def swap(self, change: Change) -> Outcome:
        """Replaces the edge itself: the new one takes the listening sockets over, the old one finishes."""
        socket = self._edge.socket
        before = socket.began()
        try:
            new = self._make(change.name)
        except HostctlError as error:
            return Outcome(FAILED, str(error))
        try:
            self._containers.start(new.id)
            self._await_swap(new, before)
            self._containers.set_proven(new.id, True)
        except HostctlError as error:
            log = self._log(new)
            self._containers.delete(new.id)
            trouble = self._edge.load(always=True)  # so that a worker of the old one's surely answers from now on
            return Outcome(FAILED, str(error) + ("; " + trouble if trouble else ""), log)
        self._containers.stop(change.serving.id, change.grace_seconds)
        self._containers.delete(change.serving.id)
        trouble = self._edge.await_started()
        return Outcome(FAILED, trouble) if trouble else Outcome(RESTARTED)

    def _make(self, name: str) -> Seen:
        """A second container, not started yet; Docker won't start it again by itself."""
        before = {one.id for one in self._containers.all(name)}
        reason = self._compose.beside(self._file, name)
        made = [one for one in self._containers.all(name) if one.id not in before]
        try:
            if reason or len(made) != 1:
                raise HostctlError(reason or "docker-compose made no second container")
            self._containers.set_proven(made[0].id, False)
            return made[0]
        except HostctlError:
            for one in made:
                self._containers.delete(one.id)
            raise

    def _start_apart(self, new: Seen, change: Change, behind: Behind) -> str:
        """Starts it in the place that nobody has, which is closed; gives that place.

        One that serves and begins anew by itself gets another port of the pair: what was free a moment ago isn't.
        """
        old = _slot(behind, self._containers.one(change.serving.id))
        free = next(slot for slot in SLOTS if slot != old)
        self._edge.socket.set(change.name, free, DRAIN)
        self._containers.start(new.id)
        serving = self._containers.one(change.serving.id)
        if old is None or _slot(behind, serving) != old or _slot(behind, self._running(new)) != free:
            raise HostctlError("what serves began anew meanwhile: try again")
        return free

    def _prove(self, new: Seen, change: Change, behind: Behind, slot: str) -> None:
        """Waits until it is ready, and for a while goes on to be. Raises HostctlError with what is wrong.

        When its time is over and what serves isn't ready either, to be alive is enough: a database that is missing
        must not keep anybody from changing the service, perhaps for that very reason.
        """
        try:
            self._answers_well(new, change, behind, slot, (behind["ready"], _HEALTH))
        except _NotReady as error:
            unready = self._unready(change, behind)
            if not unready:
                raise
            say("%s: %s, but what serves isn't ready either (%s)" % (change.name, error, unready))
            self._answers_well(new, change, behind, slot, (_HEALTH,))

    def _unready(self, change: Change, behind: Behind) -> str:
        """How what serves goes on to say that it isn't ready ("" when it is, or says nothing of it)."""
        end = time.monotonic() + float(behind["settle_seconds"])
        while True:
            serving = self._containers.one(change.serving.id)
            address = None if serving is None else _address(behind, serving)
            answer = None if address is None else health.ask(address + behind["ready"], READY_SECONDS)
            if answer is None or answer.status in (health.HEALTHY, health.UNKNOWN, 0):
                return ""
            if time.monotonic() >= end:
                return answer.said
            time.sleep(POLL_SECONDS)

    def _answers_well(self, new: Seen, change: Change, behind: Behind, slot: str, paths: Sequence[str]) -> None:
        """The second path counts while the first is unknown: an image that says no more than that it is alive."""
        began = time.monotonic()
        limit, settle = float(change.definition["health"]["timeout_seconds"]), float(behind["settle_seconds"])
        since, said, of = math.inf, "it was never asked", ""
        while True:
            address = _address(behind, self._running(new))
            if address is None:
                raise HostctlError("it has no port of %s" % " and ".join(map(str, behind["ports"])))
            with suppress(HostctlError):  # once more: an edge that begins anew knows of no place that is closed
                self._edge.socket.set(change.name, slot, DRAIN)
            path, answer = _ask(address, paths)
            spent = time.monotonic() - began
            if answer.status != health.HEALTHY:
                since, said = math.inf, answer.said
            elif since == math.inf or path != of:
                since, of = spent, path
            if spent - since >= settle:
                return
            if self._stopped() and not change.back:
                raise HostctlError("interrupted")
            if (spent >= limit and since == math.inf) or spent >= limit + settle:
                raise _NotReady("not ready within %g s: %s" % (limit, said))
            time.sleep(POLL_SECONDS)

    def _take_in(self, name: str, slot: str, new: Seen) -> None:
        """The edge gives it requests beside the old one."""
        socket = self._edge.socket
        socket.set(name, slot, READY)
        if not socket.wait(name, slot, lambda found: found.up, EDGE_SECONDS):
            found = socket.slot(name, slot)
            raise HostctlError(
                "the edge does not find it healthy (%s)" % (found.status if found else "it has no place")
            )
        self._running(new)
        self._containers.set_proven(new.id, True)

    def _await_swap(self, new: Seen, before: int) -> None:
        def took_over() -> bool:
            earliest = began_at(self._running(new)) - 1
            began = self._edge.socket.began()
            # An old one that was silent for a moment is none that takes over.
            return began not in (0, before) and (before != 0 or began >= earliest)

        if not until(took_over, SWAP_SECONDS):
            raise HostctlError("the new edge did not take over within %g s" % SWAP_SECONDS)
        self._running(new)

    def _running(self, new: Seen) -> Seen:
        now = self._containers.one(new.id)
        if now is None:
            raise HostctlError("its container was removed")
        if now.state != "running":
            raise HostctlError("its process ended: " + now.detail)
        return now

    def _give_up(self, change: Change, behind: Behind, new: Seen) -> None:
        """Takes the new one away again; requests that it may have got are finished first."""
        slot = _slot(behind, self._containers.one(new.id))
        if slot is not None:
            self._drain(change.name, slot, change.grace_seconds)
        self._containers.delete(new.id)
        serving = self._containers.one(change.serving.id)
        self._quietly(lambda: self._reopen(change.name, _slot(behind, serving)))

    def _reopen(self, name: str, kept: Optional[str]) -> None:
        """Places that a run that was killed has left closed."""
        socket = self._edge.socket
        for place in socket.drained(name):
            socket.set(name, place, READY) if place == kept else socket.empty(name, place)

    def _open(self, name: str, behind: Optional[Behind], keep: Seen) -> bool:
        """What stays must get requests before the others get none; False where the edge finds it down."""
        slot, socket = _slot(behind, keep), self._edge.socket
        if slot is None:
            return True
        try:
            socket.set(name, slot, READY)
            return socket.wait(name, slot, lambda found: found.up, EDGE_SECONDS)
        except HostctlError as error:  # it doesn't answer, or has no such place: it finds nobody down
            say("warning: %s" % error)
            return True

    def _retire(self, name: str, behind: Optional[Behind], one: Seen, grace: float) -> None:
        """No new requests, time to finish those under way, the end."""
        slot = _slot(behind, one)
        if slot is not None:
            self._drain(name, slot, grace)
        self._containers.stop(one.id, grace)
        self._containers.delete(one.id)
        if slot is not None:
            self._quietly(lambda: self._edge.socket.empty(name, slot))

    def _drain(self, name: str, slot: str, seconds: float) -> None:
        """No new requests, and time for those under way. An edge that can't be told for so long is not waited for."""
        socket = self._edge.socket

        def told() -> bool:
            try:
                socket.set(name, slot, DRAIN)
            except HostctlError:
                return self._edge.running() is None
            return True

        if not until(told, EDGE_SECONDS):
            say("warning: the edge can't be told that %s/%s gets no more requests" % (name, slot))

        def quiet() -> bool:
            try:
                socket.set(name, slot, DRAIN)  # once more: an edge that begins anew knows of no place that is closed
                found = socket.slot(name, slot)
            except HostctlError:
                return True
            return found is None or not found.requests

        until(quiet, seconds)

    def _quietly(self, act: Callable[[], object]) -> None:
        """An edge that doesn't answer, or has no such place, gives nobody requests either."""
        try:
            act()
        except HostctlError as error:
            say("warning: %s" % error)

    def _log(self, one: Seen) -> Sequence[str]:
        try:
            return self._containers.api.logs(one.id, LOG_LINES)
        except HostctlError as error:
            return ["its log can't be read: %s" % error]


class _NotReady(HostctlError):
    """Its time is over; it runs, and is not well."""


def _ask(address: str, paths: Sequence[str]) -> Tuple[str, health.Answer]:
    """The first of the paths that it knows, and what it says there."""
    answer = health.ask(address + paths[0], 1.0)
    if answer.status == health.UNKNOWN and len(paths) > 1:
        return _ask(address, paths[1:])
    return paths[0], answer


def _slot(behind: Optional[Behind], one: Optional[Seen]) -> Optional[str]:
    """Which of the service's places a container has; None when it has none."""
    if behind is None or one is None:
        return None
    return next((place for port, place in zip(behind["ports"], SLOTS) if port in one.ports), None)


def _address(behind: Behind, one: Seen) -> Optional[str]:
    """Where a container itself answers, past the edge; None when it has no port of the service's."""
    port = next((port for port in behind["ports"] if port in one.ports), None)
    return None if port is None else "http://%s:%d" % (behind["address"], port)
