"""Putting a last good generation back, and finishing what a run that died has begun."""

from __future__ import annotations

import re
from typing import List, Optional, Set

from hostctl import audit, files
from hostctl.console import say
from hostctl.context import Context
from hostctl.errors import HostctlError
from hostctl.generations import REMOVING, ROLLING_BACK, STARTING, Record, orphaned
from hostctl.health import Gate, Verdict
from hostctl.identity import identify
from hostctl.layout import remove
from hostctl.runtime import FAILED, Outcome, Target

_TEMPORARY = re.compile(r"\..*\.tmp-(\d+)")


def put_back(context: Context, name: str) -> Optional[Verdict]:
    """Makes the last good generation run again; without one, the service is gone again (None).

    Raises HostctlError where the runtime could do neither.
    """
    with context.lock.held():
        context.store.turn(name, ROLLING_BACK, context.me)
        good = context.store.good(name)
        files.render(context)
        target = Target(name, _grace(context, name), undone=True, back=True)
        host = context.host()["definition"]
        outcomes = context.runtime.converge([target] if good else [], [] if good else [target], host)
        outcome = outcomes.get(name, Outcome(""))
        if outcome.what == FAILED:
            raise HostctlError(outcome.detail)  # it stays pending: the next run finishes it
        if good is None:
            context.store.forget(name)
            return None
    # In the middle of a rollback nobody may stop us any more: what would be left is neither old nor new.
    verdict = Gate(context.runtime, name, good["health"], lambda: False).wait()
    context.store.abandon(name)
    return verdict


def adopt(context: Context, superseded: Set[str]) -> List[Target]:
    """Takes over what dead runs left pending, unless a request in this batch replaces it anyway.

    For the holder of the lock. Gives the services to converge; `finish` does the waiting afterwards.
    """
    _sweep(context)
    targets: List[Target] = []
    for name in context.store.names():
        record = context.store.record(name)
        if record is not None and orphaned(record) and name not in superseded:
            targets += _adopt_one(context, name, record)
    return targets


def finish(context: Context) -> None:
    """Waits for the services that this run took over, without the lock: healthy stays, else the last good."""
    while context.adopted:
        name = context.adopted.pop(0)
        record = context.store.record(name)
        pending = record["pending"] if record else None
        if record is None or pending is None or pending["owner"] != context.me:
            continue
        definition = context.store.definition(name, pending["generation"])
        if pending["phase"] == ROLLING_BACK:
            good = context.store.good(name)
            if good is None:
                say("%s: what an interrupted run began can't be removed yet; the next run tries again" % name)
                continue
            Gate(context.runtime, name, good["health"], lambda: False).wait()
            if _other(context, name, good["digest"]):
                say("%s: an interrupted change can't be rolled back yet; the next run tries again" % name)
                continue
            context.store.abandon(name)
            continue
        verdict = Gate(context.runtime, name, definition["health"], lambda: False).wait()
        if verdict.healthy and not _other(context, name, definition["digest"]):
            number = context.store.commit(name, "interrupted while generation %d converged" % pending["generation"])
            say("%s: generation %d is healthy, although its run was interrupted" % (name, number))
            audit.record(context.layout, "recover", name, "kept", generation=number)
        else:
            try:
                put_back(context, name)
            except HostctlError as error:
                say("%s: an interrupted change can't be rolled back yet: %s" % (name, error))
                continue
            say("%s: an interrupted change was rolled back" % name)
            audit.record(context.layout, "recover", name, "rolled back", reason=verdict.reason)


def _adopt_one(context: Context, name: str, record: Record) -> List[Target]:
    pending = record["pending"]
    assert pending is not None
    # Only of one that was never good; a removal that somebody asked for is none that undoes.
    undone = record["good"] is None and pending["phase"] != REMOVING
    target = Target(name, _grace(context, name), undone=undone)
    if pending["phase"] == REMOVING:
        say("%s: finishing an interrupted removal" % name)
        return [target]
    if pending["phase"] == STARTING and pending["generation"] == record["good"]:
        context.store.abandon(name)  # nothing had changed; it only has to run
        return [target]
    say("%s: an earlier run was interrupted at generation %d" % (name, pending["generation"]))
    context.adopted.append(name)
    digest = context.store.definition(name, pending["generation"])["digest"]
    if pending["phase"] == STARTING and not _other(context, name, digest):
        context.store.turn(name, STARTING, context.me)
        return [target]  # nothing to change, but an update beside the old one may have left that
    context.store.turn(name, ROLLING_BACK, context.me)
    return [target._replace(back=True)]


def _other(context: Context, name: str, digest: str) -> bool:
    """Whether something else than this digest runs, or nothing."""
    process = context.runtime.process(name)
    if process is None or process.state not in ("running", "starting"):
        return True
    return bool(context.runtime.differs(name, digest, process))


def _grace(context: Context, name: str) -> float:
    record = context.store.record(name)
    if record is None:
        return 0.0
    numbers = {record["good"], record["pending"]["generation"] if record["pending"] else None}
    definitions = [context.store.definition(name, number) for number in numbers if number is not None]
    return max([float(definition["stop"]["grace_seconds"]) for definition in definitions], default=0.0)


def _sweep(context: Context) -> None:
    """Removes what runs that were killed have left: half-written files, and half of what they forgot."""
    layout = context.layout
    known = set(context.store.names())
    for path in [*layout.generations.iterdir(), *layout.definitions.iterdir()]:
        if path.name not in known:
            context.store.forget(path.name)
    folders = [layout.root, layout.secrets, layout.lib, layout.bin]
    folders += [layout.state, *(path for path in layout.state.rglob("*") if path.is_dir())]
    for folder in folders:
        for path in folder.glob(".*.tmp-*"):
            match = _TEMPORARY.fullmatch(path.name)
            if match and identify(int(match.group(1))) is None:
                remove(path)
