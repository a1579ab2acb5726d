"""The verbs `host` and `remove-host`."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import suppress
from typing import Any, Dict, List, Optional

from hostctl import (
    RUNTIMES,
    audit,
    compose_program,
    edge_kept,
    files,
    firewall,
    integrations,
    prerequisites,
    recovery,
    registry,
    service,
    transaction,
)
from hostctl.console import say
from hostctl.context import Context, HostRecord
from hostctl.errors import BadInput, HostctlError, RuntimeRefused
from hostctl.forms import HostDefinition
from hostctl.health import Gate
from hostctl.layout import Layout, remove, write_json
from hostctl.runtime import FAILED, Runtime, Target, runtime_for

STRANGER_GRACE_SECONDS = 10.0


def converge(context: Context, definition: HostDefinition, observed: Optional[str]) -> Dict[str, Any]:
    """Folders, modes, files, and the runtime itself."""
    began = time.monotonic()
    before = context.host_or_none()
    if before is not None and before["definition"]["environment"] != definition["environment"]:
        message = "%s belongs to the environment '%s'; remove that one first"
        raise BadInput(message % (context.layout.root, before["definition"]["environment"]))
    runtime = runtime_for(definition["runtime"], context.layout)
    problems = runtime.host_problems(definition)
    if problems:
        raise BadInput("the host's definition: " + "; ".join(problems))
    files.require_host(context, definition)
    found = integrations.require(definition["integrations"])
    ready = _make_ready(context, definition)
    context.layout.make()
    with context.lock.held():
        after = _record(definition, before)
        words = ready + _apply(context, runtime, before, after)
        _drop_files(context, before)
        if observed is not None:
            after["label"] = observed
        write_json(context.layout.host, after)
    for word in words:
        say(word)
    if words:
        _await_all(context)
    seconds = round(time.monotonic() - began, 2)
    audit.record(context.layout, "host", definition["name"], "; ".join(words) or "converged", seconds=seconds)
    told = {"name": definition["name"], "generation": after["generation"], "root": str(context.layout.root)}
    return dict(told, integrations=found) if found else told


def _make_ready(context: Context, definition: HostDefinition) -> List[str]:
    """What must hold on a server before anything of ours is there; says what was done for it."""
    if definition["compose"] is None:
        return []
    words = prerequisites.ensure(definition["prerequisites"], root=str(context.layout.root))
    lacking = firewall.problems(context.layout, definition)
    if lacking:
        raise HostctlError("; ".join(lacking))
    return words


def forget(context: Context) -> Dict[str, Any]:
    """Stops everything of ours and removes what we made; data/ and logs/ stay, and the audit log."""
    layout = context.layout
    if not context.on_host():
        # Nothing is on record, but what somebody removed the records of may still run.
        for runtime in RUNTIMES:
            runtime_for(runtime, layout).stop_everything()
        for word in [*firewall.remove(layout), *(compose_program.remove_shim() if os.geteuid() == 0 else [])]:
            say(word)
        if layout.is_ours():
            _remove_own_files(layout)
        return {"outcome": "absent"}
    name = context.host()["definition"]["name"]
    service.with_idle(context, context.store.names(), lambda: _remove_everything(context))
    audit.record(layout, "remove-host", name, "removed")
    say("%s: removed; %s and %s stay" % (name, layout.data, layout.logs))
    return {"name": name, "outcome": "removed"}


def _record(definition: HostDefinition, before: Optional[HostRecord]) -> HostRecord:
    generation = before["generation"] if before else 0
    label = before["label"] if before else ""
    # Every run counts: "(after generation 3)" in a label must differ from one that was adopted before.
    return {"base": os.getcwd(), "definition": definition, "generation": generation + 1, "label": label}


def _apply(context: Context, runtime: Runtime, before: Optional[HostRecord], after: HostRecord) -> List[str]:
    write_json(context.layout.host, after)
    problem = runtime.files_problem(files.expected(context))
    if problem:
        _restore(context, before)
        raise HostctlError(problem)
    transaction.Batch(context, []).run(recovery.adopt(context, set()))
    if before is not None:
        edge_kept.drop(context.layout)  # the containers, too, end below
    texts = files.present(context)
    files.render(context)
    try:
        words = runtime.start(after["definition"], renew=True)
        words += firewall.apply(context.layout, after["definition"])
        ended = _converge_programs(context, runtime, before, after["definition"])
    except RuntimeRefused:
        files.put(context, texts)
        _restore(context, before)
        if before is not None:
            runtime.start(before["definition"])
        raise
    for word in ended:
        say(word)
    return words


def _drop_files(context: Context, before: Optional[HostRecord]) -> None:
    """What was assembled for the former definition and isn't any more (Prometheus would go on asking by it)."""
    former = before["definition"]["files"] if before else {}
    for name in sorted(set(former) - set(files.expected(context))):
        if files.take_away(context.layout, name):
            say("%s removed: it is none of this host's files any more" % name)


def _restore(context: Context, before: Optional[HostRecord]) -> None:
    if before is None:
        remove(context.layout.host)
    else:
        write_json(context.layout.host, before)


def _converge_programs(
    context: Context, runtime: Runtime, before: Optional[HostRecord], definition: HostDefinition
) -> List[str]:
    """The host's own programs, and the end of those that are nobody's: the runtime's file is ours."""
    own = runtime.host_programs(definition)
    strangers = sorted(set(runtime.processes() or {}) - set(own) - set(context.store.names()))
    if before is None and definition["compose"] is not None:
        # The records are gone, not the containers: each `up` finds its own by its label and lets it run. The next
        # `host` ends what nobody claimed.
        strangers = []
    targets = [[Target(name, STRANGER_GRACE_SECONDS) for name in names] for names in (own, strangers)]
    outcomes = runtime.converge(targets[0], targets[1], definition) if own or strangers else {}
    failed = {name: outcome.detail for name, outcome in outcomes.items() if outcome.what == FAILED}
    return [failed.get(name, "ended %s: it does not belong here" % name) for name in strangers]


def _await_all(context: Context) -> None:
    """The runtime was started, and all services with it: tell which of them does not come back."""
    for name in context.store.names():
        good = context.store.good(name)
        if good is None or name in context.adopted:
            continue
        verdict = Gate(context.runtime, name, good["health"], context.signals.stopped).wait()
        if not verdict.healthy:
            say("%s is not healthy: %s" % (name, verdict.reason))


def _remove_everything(context: Context) -> None:
    layout = context.layout
    context.runtime.stop_everything()
    for name in context.store.names():
        registry.after_down(context, name, context.store.good(name))
    if context.host()["definition"]["compose"] is not None:
        compose_program.remove_shim()
        for word in firewall.remove(layout):
            say(word)
    files.take_all_away(context)
    _remove_own_files(layout)
    remove(layout.host)
    for path in sorted(layout.state.iterdir()):
        if path.is_dir():
            shutil.rmtree(str(path), ignore_errors=True)
        elif path not in (layout.lock, layout.audit):
            remove(path)


def _remove_own_files(layout: Layout) -> None:
    """Our own names alone, and a folder when nothing is left in it: ROOT may hold somebody else's `bin`."""
    for path in layout.own_files():
        remove(path)
    for folder in (layout.bin, layout.lib, layout.run / "edge", layout.run, layout.secrets):
        with suppress(OSError):
            folder.rmdir()
