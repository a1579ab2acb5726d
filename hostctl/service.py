"""The verbs `up`, `down` and `restart`: one service is one transaction (design: "How a host converges")."""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence

from hostctl import audit, files, input_chain, recovery, registry, transaction
from hostctl.console import say
from hostctl.context import Context
from hostctl.errors import BadInput, HostctlError, Interrupted
from hostctl.forms import ServiceDefinition
from hostctl.generations import busy
from hostctl.health import Gate, Verdict
from hostctl.launchable import launch_problem
from hostctl.lock import POLL_SECONDS, Patience
from hostctl.queue import Request, Result, new_id
from hostctl.redact import redact, values_of
from hostctl.runtime import FAILED, RESTARTED, UNCHANGED, Outcome, Target

LAST_LINES = 20
LONGEST_LINE = 500
# A service that already ran should answer at once; one that doesn't is started again instead of waited for.
UNCHANGED_SECONDS = 5.0


def up(context: Context, definition: ServiceDefinition, observed: Optional[str]) -> Dict[str, Any]:
    """Brings one service up; when it does not become healthy, the last good one is put back."""
    return bring(context, definition, observed, "up", {"digest": definition["digest"]})


def bring(
    context: Context,
    definition: ServiceDefinition,
    observed: Optional[str],
    verb: str,
    told: Mapping[str, Any],
) -> Dict[str, Any]:
    """One service's transaction, for any verb that has one; the result has `told` in it, and the audit log its verb."""
    began = time.monotonic()
    name = definition["name"]
    _require_sound(context, definition)
    result = _submit(context, name, definition)
    if result["error"]:
        _fail(context, verb, name, began, result["error"])
    verdict = _await_health(context, definition, result)
    if not verdict.healthy:
        _roll_back(context, definition, result, verdict, began, verb)
    # The former first: by another name it may be the same Consul.
    left = registry.after_change(context, context.store.good(name), definition)
    warnings = [left, registry.after_healthy(context, definition), input_chain.warning(context, definition)]
    warning = "; ".join(filter(None, warnings))
    generation = context.store.commit(name, observed)
    seconds = time.monotonic() - began
    say("%s: %s, generation %d, healthy after %.1f s" % (name, result["outcome"], generation, seconds))
    more = {"generation": generation, "seconds": round(seconds, 2), **told}
    audit.record(context.layout, verb, name, result["outcome"], **more)
    whole = {"name": name, "generation": generation, "outcome": result["outcome"], **told}
    return dict(whole, warning=warning) if warning else whole


def down(context: Context, name: str) -> Dict[str, Any]:
    """Stops and forgets one service; nothing to do is fine."""
    began = time.monotonic()
    if not context.on_host() or context.store.record(name) is None:
        return {"name": name, "outcome": "absent"}
    good = context.store.good(name)
    result = _submit(context, name, None)
    if result["error"] or result["outcome"] == FAILED:
        _fail(context, "down", name, began, result["error"] or result["detail"])
    audit.record(context.layout, "down", name, "removed", seconds=round(time.monotonic() - began, 2))
    say("%s: stopped and removed" % name)
    warning = registry.after_down(context, name, good)
    return dict({"name": name, "outcome": "removed"}, **({"warning": warning} if warning else {}))


def restart(context: Context, name: str) -> Dict[str, Any]:
    """Stops and starts one service as it is (the reload on a code change), and waits for its health."""
    if not context.on_host() or context.store.good(name) is None:
        raise BadInput("%s is no service of this host" % name)
    restart_all(context, [name], "restart")
    return {"name": name, "outcome": RESTARTED}


class Started(NamedTuple):
    """A service that was just restarted."""

    definition: ServiceDefinition
    log_mark: List[int]
    trouble: str = ""
    """Why the runtime could not restart it."""
    log: Sequence[str] = ()
    """The last lines of a new container that is gone again."""


def restart_all(context: Context, names: List[str], verb: str) -> None:
    """Restarts some services under one lock, then waits for each one's health without it."""
    began = time.monotonic()
    started: Dict[str, Started] = {}
    with_idle(context, names, lambda: started.update(restart_now(context, names)))
    trouble = await_restarted(context, started, context.signals.stopped)
    for name in started:
        if name in trouble:
            _fail(context, verb, name, began, trouble[name])
        audit.record(context.layout, verb, name, RESTARTED, seconds=round(time.monotonic() - began, 2))


def restart_now(context: Context, names: List[str], back: bool = False) -> Dict[str, Started]:
    """Stops and starts them; for the holder of the lock. On the way `back` nobody may stop it any more."""
    definitions = {name: context.store.good(name) for name in names}
    found = {
        name: Started(definition, context.runtime.log_mark(name))
        for name, definition in definitions.items()
        if definition is not None
    }
    for word in context.runtime.start(context.host()["definition"]):
        say(word)
    grace = {name: float(entry.definition["stop"]["grace_seconds"]) for name, entry in found.items()}
    outcomes = context.runtime.restart([Target(name, seconds, back=back) for name, seconds in grace.items()])
    failed = {
        name: outcome.detail or "no reason is known" for name, outcome in outcomes.items() if outcome.what == FAILED
    }
    return {
        name: entry._replace(trouble=failed.get(name, ""), log=outcomes[name].log if name in outcomes else ())
        for name, entry in found.items()
    }


def await_restarted(context: Context, started: Dict[str, Started], interrupted: Callable[[], bool]) -> Dict[str, str]:
    """Waits for each one's health; gives what is wrong by name."""
    trouble: Dict[str, str] = {}
    for name, entry in started.items():
        if entry.trouble:
            lines = _last_lines(context, entry.definition, entry.log_mark, entry.log)
            trouble[name] = "%s can't be restarted: %s.%s" % (name, entry.trouble, lines)
            continue
        verdict = Gate(context.runtime, name, entry.definition["health"], interrupted).wait()
        if verdict.healthy:
            say("%s: restarted, healthy after %.1f s" % (name, verdict.seconds))
        else:
            lines = _last_lines(context, entry.definition, entry.log_mark)
            trouble[name] = "%s was restarted but is not healthy: %s.%s" % (name, verdict.reason, lines)
    return trouble


def with_idle(context: Context, names: List[str], act: Callable[[], None]) -> None:
    """Does something under the lock at a moment when no living run is changing these services."""
    patience = Patience(
        lambda: "waiting for the run that changes " + ", ".join(names), lambda: _changing(context, names)
    )
    while True:
        with context.lock.held():
            if not _changing(context, names):
                transaction.Batch(context, []).run(recovery.adopt(context, set()))
                act()
                return
        if context.signals.stop:
            raise Interrupted("interrupted while waiting; nothing was changed")
        patience.wait(0.1)


def _changing(context: Context, names: Sequence[str]) -> str:
    """Which change of these other living runs have under way; what this run has taken over of a dead one is its own."""
    pending = [record["pending"] for record in map(context.store.record, names) if record and busy(record)]
    others = [one for one in pending if one and one["owner"] != context.me]
    return " ".join("%d %s %s" % (one["owner"]["pid"], one["request"], one["since"]) for one in others)


def _require_sound(context: Context, definition: ServiceDefinition) -> None:
    """What is wrong with it on this host, before anything is touched (exit 2)."""
    record = context.host()
    host = record["definition"]
    for key in ("environment", "runtime"):
        if definition[key] != host[key]:
            message = "%s is for the %s '%s', but this host's is '%s'"
            raise BadInput(message % (definition["name"], key, definition[key], host[key]))
    problems = context.runtime.service_problems(definition)
    if problems:
        raise BadInput("the definition of %s: %s" % (definition["name"], "; ".join(problems)))
    files.require_service(context, record, definition)
    problem = launch_problem(str(context.layout.root), record["base"], definition["launch"])
    if problem:
        raise BadInput("%s: %s; nothing was touched" % (definition["name"], problem))


def _submit(context: Context, name: str, definition: Optional[ServiceDefinition]) -> Result:
    """Lines up, and either leads or is led; see `transaction.py`."""
    request: Request = {
        "id": new_id(context.me),
        "name": name,
        "definition": definition,
        "owner": context.me,
        "who": audit.whoami(),
    }
    context.queue.put(request)
    patience = Patience(
        lambda: "%s: waiting for %s" % (name, _in_the_way(context, name)),
        lambda: _changing(context, [name]) or context.lock.turn(),
    )
    try:
        while True:
            result = context.queue.result(request)
            if result is not None:
                return result
            if context.signals.stop and context.queue.withdraw(request):
                raise Interrupted("%s: interrupted while waiting; nothing was changed" % name)
            if not busy(context.store.record(name), besides=request["id"]) and context.lock.try_acquire():
                try:
                    result = context.queue.result(request)
                    if result is None:
                        transaction.apply_waiting(context)
                        continue
                finally:
                    context.lock.release()
                return result
            patience.wait(POLL_SECONDS)
    except BaseException:
        context.queue.withdraw(request)
        raise


def _in_the_way(context: Context, name: str) -> str:
    record = context.store.record(name)
    pending = record["pending"] if record else None
    if pending is None or not busy(record):
        return "the host's lock, held by " + context.lock.holder()
    age = max(0.0, time.time() - pending["since"])
    return "pid %d, which has been changing it for %d s" % (pending["owner"]["pid"], age)


def _await_health(context: Context, definition: ServiceDefinition, result: Result) -> Verdict:
    name = definition["name"]
    if result["outcome"] == FAILED:
        return Verdict(False, result["detail"], 0.0)
    gate = Gate(context.runtime, name, definition["health"], context.signals.stopped)
    if result["outcome"] != UNCHANGED:
        return gate.wait()
    process = context.runtime.process(name)
    begun = process is not None and process.state == "running" and process.age > definition["health"]["timeout_seconds"]
    verdict = gate.wait(UNCHANGED_SECONDS if begun else None)
    if verdict.healthy or context.signals.stop:
        return verdict
    say("%s: it ran but was not healthy (%s); it is started again" % (name, verdict.reason))
    result["outcome"] = RESTARTED
    result["log_mark"] = context.runtime.log_mark(name)
    target = Target(name, float(definition["stop"]["grace_seconds"]))
    with context.lock.held():
        done = context.runtime.restart([target]).get(name, Outcome(FAILED, "nothing came of it"))
    if done.what == FAILED:
        result["log"] = list(done.log)
        reason = "it can't be started again: %s" % (done.detail or "no reason is known")
        return Verdict(False, "%s; %s" % (verdict.reason, reason), 0.0)
    return Gate(context.runtime, name, definition["health"], context.signals.stopped).wait()


def _roll_back(
    context: Context, definition: ServiceDefinition, result: Result, verdict: Verdict, began: float, verb: str
) -> None:
    name = definition["name"]
    lines = _last_lines(context, definition, result["log_mark"], result["log"])
    record = context.store.record(name)
    good = record["good"] if record else None
    if good == result["generation"]:
        context.store.abandon(name)
        after = "Its settings had not changed, so there is nothing to go back to."
    else:
        back = "generation %d is put back" % good if good else "it was new and is removed again"
        say("%s: %s; %s" % (name, verdict.reason, back))
        after = _after_rollback(context, name, good)
    _fail(context, verb, name, began, "%s did not come up: %s.\n%s%s" % (name, verdict.reason, after, lines))


def _after_rollback(context: Context, name: str, good: Optional[int]) -> str:
    try:
        back = recovery.put_back(context, name)
    except HostctlError as error:
        return "It could not be rolled back either: %s" % error
    if back is None:
        return "It was new, so it was removed again."
    if back.healthy:
        return "Generation %d serves again." % (good or 0)
    return "Generation %d was put back, but is not healthy either: %s" % (good or 0, back.reason)


def _last_lines(context: Context, definition: ServiceDefinition, mark: List[int], known: Sequence[str] = ()) -> str:
    """Its last words since this start, without its secrets (D6); why not, where they can't be read."""
    try:
        lines = list(known) or context.runtime.log_tail(definition["name"], LAST_LINES, mark)
        secrets = values_of(context.layout, [*definition["secrets"], definition["name"]])
    except (HostctlError, OSError, ValueError) as error:
        return "\nIts log can't be read: %s" % error
    if not lines:
        return "\nIt logged nothing."
    # Cut only what is masked already: half a secret would not be found any more.
    told = redact("\n".join(lines), secrets).splitlines()
    return "\nIts last log lines:\n" + "\n".join("  " + _clipped(line) for line in told)


def _clipped(line: str) -> str:
    return line if len(line) <= LONGEST_LINE else line[:LONGEST_LINE] + "…"


def _fail(context: Context, verb: str, name: str, began: float, text: str) -> None:
    seconds = round(time.monotonic() - began, 2)
    audit.record(context.layout, verb, name, "failed", reason=text.splitlines()[0], seconds=seconds)
    raise (Interrupted if context.signals.stop else HostctlError)(text)
