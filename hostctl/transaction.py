"""What the holder of the lock does: everything that waits, in one go (group commit).

The order makes a crash at any point recoverable: the journal (a service's record) is written first, then the
files, then the runtime is told. A service's health is nobody's business here; each requester
waits for its own, without the lock (`service.py`).
"""

from __future__ import annotations

import time
from typing import Dict, List, Mapping, Optional, Sequence, Set

from hostctl import audit, edge_kept, files, recovery
from hostctl.context import Context
from hostctl.errors import HostctlError, RuntimeRefused
from hostctl.forms import ServiceDefinition
from hostctl.generations import REMOVING, ROLLING_BACK, busy
from hostctl.layout import make_folder
from hostctl.queue import Request, Result
from hostctl.runtime import FAILED, Outcome, Target

# Requests of one `up` arrive within moments of each other; the first run waits that long for the others.
WINDOW_SECONDS = 0.05
LONGEST_WINDOW_SECONDS = 0.25

_IN_USE = (
    "%s can't go: behind it are %s, which nobody would reach without it; "
    "remove them first, or set `updates: recreate` and `up`; nothing was touched"
)

Definitions = Mapping[str, ServiceDefinition]


def apply_waiting(context: Context) -> None:
    """Applies all requests that wait. The caller holds the lock."""
    _gather(context)
    requests = _one_per_service(context)
    recovering = recovery.adopt(context, {request["name"] for request in requests})
    batch = Batch(context, requests)
    batch.prepare()
    batch.run(recovering)


def _gather(context: Context) -> None:
    began = time.monotonic()
    seen = -1
    while context.queue.length() != seen and time.monotonic() - began < LONGEST_WINDOW_SECONDS:
        seen = context.queue.length()
        time.sleep(WINDOW_SECONDS)


def _one_per_service(context: Context) -> List[Request]:
    """The oldest request for each service that no living run is changing; the others wait on.

    A roll takes seconds and a second container's memory: one at a time, by the run that asked for it.
    """
    found: Dict[str, Request] = {}
    seen: Set[str] = set()
    for request in context.queue.waiting():
        name = request["name"]
        free = name not in seen and not busy(context.store.record(name), besides=request["id"])
        seen.add(name)  # a younger one never overtakes it
        if free and request["owner"] != context.me and _rolls(context, request):
            continue
        if free and context.queue.take(request):
            found[name] = request
    return list(found.values())


def _rolls(context: Context, request: Request) -> bool:
    definition = request["definition"]
    return definition is not None and context.runtime.rolls(definition)


class Batch:
    """Several requests that are applied with one reload of the runtime."""

    def __init__(self, context: Context, requests: Sequence[Request]) -> None:
        self._context = context
        self._ups = {request["name"]: request for request in requests if request["definition"]}
        self._downs = {request["name"]: request for request in requests if not request["definition"]}
        self._marks: Dict[str, List[int]] = {}

    def prepare(self) -> None:
        """Refuses what can't work, each request alone, before anything is touched."""
        for name, request in list(self._downs.items()):
            behind = self._behind(name)
            if behind:
                self._refuse(request, _IN_USE % (name, ", ".join(behind)))
        for name, request in list(self._ups.items()):
            edge_kept.keep(self._context, self._definition(name))
            try:
                self._check_alone(name)
            except HostctlError as error:
                self._refuse(request, str(error))
        if self._problem_with(list(self._ups)):
            self._isolate()
        self._check_ports()

    def run(self, recovering: Sequence[Target]) -> None:
        """Journal, files, runtime, results."""
        for name, request in list(self._ups.items()):
            try:
                self._journal(name, request)
            except HostctlError as error:
                self._refuse(request, str(error))
        for name, request in self._downs.items():
            if self._context.store.record(name) is not None:
                self._turn_to_removal(name, request)
        edge_kept.claim(self._context)
        if not (self._ups or self._downs or recovering):
            return
        before = files.present(self._context)
        try:
            outcomes = self._converge(recovering)
        except RuntimeRefused as refusal:
            files.put(self._context, before)
            self._after_refusal(str(refusal), recovering)
        else:
            self._turn_back(outcomes)
            self._answer(outcomes)

    def _check_alone(self, name: str) -> None:
        definition = self._definition(name)
        host = self._context.host()
        problems = self._context.runtime.service_problems(definition)
        if problems:
            raise HostctlError("the definition of %s: %s" % (name, "; ".join(problems)))
        files.require_service(self._context, host, definition)
        if name in self._context.runtime.host_programs(host["definition"]):
            raise HostctlError("%s is a program of the host's own" % name)

    def _behind(self, name: str) -> List[str]:
        """Services that would be reached no more without this one: it is the edge, and they are behind it.

        One that is about to leave it may still come back. `destroy` takes them away first; on the way to
        `updates: recreate` they have left it.
        """
        store = self._context.store
        mine = [store.good(name), store.now(name)]
        if not any(one and one["proxy"] for one in mine):
            return []
        found: List[str] = []
        for other in set(store.names()) - set(self._downs):
            record = store.record(other)
            pending = record["pending"] if record else None
            if pending is not None and pending["phase"] == REMOVING:
                continue
            definitions = [store.good(other), self._definition(other) if other in self._ups else store.now(other)]
            found += [other] if any(one and one["edge"] for one in definitions) else []
        return sorted(found)

    def _problem_with(self, names: Sequence[str]) -> Optional[str]:
        services = dict(self._context.store.wanted())
        for name in self._downs:
            services.pop(name, None)
        services.update({name: self._definition(name) for name in names})
        return self._context.runtime.files_problem(files.expected(self._context, services))

    def _isolate(self) -> None:
        """The runtime would not read all of it: find out whose fault that is."""
        accepted: List[str] = []
        for name in list(self._ups):
            problem = self._problem_with([*accepted, name])
            if problem:
                self._refuse(self._ups[name], problem)
            else:
                accepted.append(name)

    def _check_ports(self) -> None:
        """A stranger on a port is an error before the old process is stopped, not after (P6)."""
        definitions = {name: self._definition(name) for name in self._ups}
        for name, sentences in self._context.runtime.strangers(definitions, list(self._downs)).items():
            self._refuse(self._ups[name], "; ".join(sentences))

    def _journal(self, name: str, request: Request) -> None:
        self._context.store.begin(self._definition(name), request["owner"], request["id"])
        folder = self._context.layout.data / name
        make_folder(folder, 0o700)
        self._context.runtime.own_data(self._definition(name), folder)
        self._marks[name] = self._context.runtime.log_mark(name)

    def _turn_to_removal(self, name: str, request: Request) -> None:
        self._context.store.turn(name, REMOVING, request["owner"], request["id"])

    def _converge(self, recovering: Sequence[Target]) -> Dict[str, Outcome]:
        context = self._context
        files.render(context)
        wanted = [self._target(name) for name in self._ups]
        unwanted = [self._target(name) for name in self._downs]
        for target in recovering:
            keep = context.store.wanted().get(target.name) is not None
            (wanted if keep else unwanted).append(target)
        audit.record(context.layout, "apply", ",".join(sorted([*self._ups, *self._downs])), "reload")
        try:
            outcomes = context.runtime.converge(wanted, unwanted, context.host()["definition"])
        except RuntimeRefused:
            raise
        except HostctlError as error:
            outcomes = {target.name: Outcome(FAILED, str(error)) for target in wanted + unwanted}
        for target in unwanted:
            if outcomes.get(target.name, Outcome("")).what != FAILED:
                context.store.forget(target.name)
        return outcomes

    def _turn_back(self, outcomes: Mapping[str, Outcome]) -> None:
        """What failed has its good files again before anybody else has the lock, and starts from them."""
        store = self._context.store
        failed = [name for name in self._ups if outcomes.get(name, Outcome("")).what == FAILED]
        back = [name for name in failed if store.good(name) is not None and not self._is_good(name)]
        for name in back:
            request = self._ups[name]
            store.turn(name, ROLLING_BACK, request["owner"], request["id"])
        if back:
            files.render(self._context)

    def _is_good(self, name: str) -> bool:
        record = self._context.store.record(name)
        return bool(record and record["pending"] and record["pending"]["generation"] == record["good"])

    def _after_refusal(self, reason: str, recovering: Sequence[Target]) -> None:
        """The runtime found what our own checks did not: try each request by itself."""
        names = [*self._ups, *self._downs]
        if len(names) + len(recovering) <= 1:
            for request in [*self._ups.values(), *self._downs.values()]:
                self._refuse(request, reason)
            return
        alone = [[self._ups.get(name) or self._downs[name]] for name in names]
        for name in self._ups:
            self._context.store.abandon(name)
        for target in recovering:
            Batch(self._context, []).run([target])
        for requests in alone:
            Batch(self._context, requests).run([])

    def _answer(self, outcomes: Mapping[str, Outcome]) -> None:
        for name, request in [*self._ups.items(), *self._downs.items()]:
            outcome = outcomes.get(name, Outcome("removed"))
            record = self._context.store.record(name)
            pending = record["pending"] if record else None
            self._reply(request, "", outcome, pending["generation"] if pending else 0)

    def _refuse(self, request: Request, reason: str) -> None:
        name = request["name"]
        record = self._context.store.record(name)
        if record and record["pending"] and record["pending"]["request"] == request["id"]:
            self._context.store.abandon(name)
        self._ups.pop(name, None)
        self._downs.pop(name, None)
        self._reply(request, reason, Outcome(FAILED), 0)

    def _reply(self, request: Request, error: str, outcome: Outcome, generation: int) -> None:
        result: Result = {
            "owner": request["owner"],
            "error": error,
            "generation": generation,
            "outcome": outcome.what,
            "detail": outcome.detail,
            "log_mark": self._marks.get(request["name"], [0, 0]),
            "log": list(outcome.log),
        }
        self._context.queue.answer(request, result)

    def _definition(self, name: str) -> ServiceDefinition:
        definition = self._ups[name]["definition"]
        assert definition is not None
        return definition

    def _target(self, name: str) -> Target:
        """With the longer of the old and the new grace period: the old process is stopped by the old one."""
        graces = [0.0]
        good = self._context.store.good(name)
        if good:
            graces.append(float(good["stop"]["grace_seconds"]))
        if name in self._ups:
            graces.append(float(self._definition(name)["stop"]["grace_seconds"]))
        return Target(name, max(graces), self._definition(name)["digest"] if name in self._ups else "")
