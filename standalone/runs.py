"""The verbs that plan or change something: up, preview, destroy."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from typing import Any

from standalone import destroy, ownership
from standalone.cli import STOPPED, interruptible, open_state, stack_outputs
from standalone.control import Control
from standalone.crypto import NO_PASSPHRASE
from standalone.display import Live, Plain
from standalone.errors import UserError
from standalone.lock import exclusive
from standalone.provider import PROVIDER
from standalone.report import Report
from standalone.session import Session
from standalone.stackfile import Stack, StackConfig
from standalone.state import Resource
from standalone.values import Props, Redactor, Secret, has_locked, has_secret
from standalone.wire import STACK_TYPE

_WORDS = {"creating": "creation", "updating": "update", "deleting": "deletion"}


def run(stack: Stack, args: argparse.Namespace) -> int:
    """Do the verb. Raises UserError before anything is touched."""
    if args.parallel < 1:
        raise UserError("--parallel must be at least 1")
    os.chdir(stack.project.folder)  # commands run where the CLI would run them
    dry_run = args.verb == "preview" or bool(getattr(args, "preview", False))
    keyring, state = open_state(stack)
    with contextlib.ExitStack() as cleanup:
        if not dry_run:
            # The lock first: until it is held, the owner may change (a handover, the CLI's first `up` under `make`).
            cleanup.enter_context(exclusive(state.path, args.verb))
            ownership.refuse_unless_ours(stack)
        redact = Redactor()
        report = _report(args, redact, dry_run, cleanup)
        session = Session(stack, keyring, state, report, Control(), redact, dry_run)
        cleanup.enter_context(interruptible(session.control))
        if args.verb == "destroy":
            return _destroy(session, args)
        return _up_or_preview(session, args)


def _report(args: argparse.Namespace, redact: Redactor, dry_run: bool, cleanup: contextlib.ExitStack) -> Report:
    if args.json:
        # The document owns stdout; what the program prints goes to stderr.
        cleanup.enter_context(contextlib.redirect_stdout(sys.stderr))
        return Report(redact, dry_run)
    if sys.stdout.isatty() and not dry_run:
        live = Live(redact, dry_run, show_unchanged=args.show_unchanged)
        cleanup.callback(live.close)
        return live
    return Plain(redact, dry_run, show_unchanged=args.show_unchanged)


def _load(session: Session) -> None:
    """Read the state, say what was interrupted, and make sure that its secrets open when they will be needed."""
    state = session.state
    state.load()
    locked = any(has_locked(r.inputs) or has_locked(r.outputs) for r in _all(session))
    if locked and not session.dry_run:
        raise UserError(NO_PASSPHRASE)
    if locked:
        session.report.notice("info", "no passphrase: secrets in the state are taken to be unchanged")
    elif (
        state.salt and session.stack.salt and any(has_secret(r.inputs) or has_secret(r.outputs) for r in _all(session))
    ):
        state.encrypt_with(session.keyring.crypter(session.stack.salt))
    for pending in state.pending:
        word = _WORDS.get(pending.type, pending.type)
        session.report.notice("warning", f"the last run was interrupted during the {word} of {pending.resource.name}")
        if not pending.resource.delete:
            session.interrupted.add(pending.resource.urn)


def _all(session: Session) -> list[Resource]:
    return [*session.state.resources, *(p.resource for p in session.state.pending)]


def _config(session: Session) -> StackConfig:
    config = session.stack.resolve(session.keyring, placeholders=session.dry_run)
    if config.placeholders:
        session.report.notice("info", "no passphrase: the stack's secrets are placeholders in this preview")
    else:
        session.redact.learn([Secret(text) for text in config.secrets])
    return config


def _up_or_preview(session: Session, args: argparse.Namespace) -> int:
    owner = ownership.owner(session.stack) if session.dry_run else ""
    if owner == "pulumi":
        session.report.notice("info", "the Pulumi CLI has this stack's state: this preview begins from nothing")
    elif owner == "unknown":
        session.report.notice("warning", f"{ownership.blind(session.stack)}: this preview begins from nothing")
    # pulumi's import takes 0.3 s; a key derivation that is under way goes on beside it.
    from standalone.engine import Engine
    from standalone.program import Program, explain

    config = _config(session)
    _load(session)
    before = dict(stack_outputs(session.state))
    engine = Engine(session, args.parallel)
    program = Program(engine, config)
    program.run()
    for bad in program.errors:
        session.report.error(explain(bad, session.stack.project.folder))
    if session.dry_run:
        for line in program.refused:
            session.report.notice("warning", f"`up` would refuse {line}")
    outputs = _finish(session, engine, program, args.parallel)
    return _end(session, args, outputs, before)


def _finish(session: Session, engine: Any, program: Any, parallel: int) -> Props:
    """Deletions, the stack's outputs, and the last save."""
    from standalone.engine import keep_known

    whole = not program.errors and not session.report.failed() and not program.refused
    leftovers = destroy.leftovers(session, set(engine.goals))
    if whole or (session.dry_run and not program.errors):
        destroy.delete_all(session, [*destroy.replaced(session), *leftovers], parallel)
    elif engine.goals:
        done = [r for r in destroy.replaced(session) if r.urn in engine.goals and r.urn not in engine.failed]
        # Where the program came to its end, what it doesn't want any more goes in spite of failures: the old service
        # of a renamed one holds its port, and would make every `up` fail.
        complete = not (program.errors or program.refused or session.report.errors or session.control.stopping.is_set())
        kept = destroy.bound_to(session, set(engine.failed), leftovers) if complete else {r.urn for r in leftovers}
        destroy.delete_all(session, [*done, *(r for r in leftovers if r.urn not in kept)], parallel)
        _say_what_stays(session, [r for r in leftovers if r.urn in kept])
    if session.dry_run:
        return program.outputs
    root = next((r for r in session.state.resources if r.type == STACK_TYPE), None)
    outputs = stack_outputs(session.state)
    if root is not None and engine.goals:
        outputs = keep_known(program.outputs, root.outputs)
        if has_secret(outputs):
            session.allow_secrets()
        with session.state.lock:
            if outputs != root.outputs:
                root.outputs = outputs
            session.state.changed()
    session.state.save()
    return outputs


def _say_what_stays(session: Session, left: list[Resource]) -> None:
    gone = [r.name for r in left if r.custom and r.type != PROVIDER]
    if gone:
        names = ", ".join(sorted(gone))
        session.report.notice("warning", f"not deleted while something fails: {names}")


def _destroy(session: Session, args: argparse.Namespace) -> int:
    _load(session)
    resources = _all_once(session)
    guarded = [r for r in resources if destroy.protection(r)]
    if guarded and not args.exclude_protected:
        names = ", ".join(sorted(r.name for r in guarded))
        raise UserError(f"protected: {names}. Take `protect` away and run `up` first, or say --exclude-protected")
    keep = {urn for r in guarded for urn in _needs(r, resources)}
    doomed = [r for r in resources if r.urn not in keep]
    destroy.delete_all(session, doomed, args.parallel)
    if not session.dry_run:
        session.state.changed()
        session.state.save()
    return _end(session, args, {}, {})


def _all_once(session: Session) -> list[Resource]:
    return [*session.state.resources, *destroy.interrupted_creations(session, set())]


def _needs(resource: Resource, resources: list[Resource]) -> set[str]:
    """A resource's URN and those of everything that it needs."""
    by_urn = {r.urn: r for r in resources}
    found: set[str] = set()
    waiting = [resource.urn]
    while waiting:
        urn = waiting.pop()
        if urn in by_urn and urn not in found:
            found.add(urn)
            waiting += by_urn[urn].needs()
    return found


def _end(session: Session, args: argparse.Namespace, outputs: Props, before: Props) -> int:
    report = session.report
    if args.json:
        print(json.dumps(report.as_data(args.verb, session.stack.name, outputs), indent=2), file=sys.__stdout__)
    elif isinstance(report, Plain):
        report.summary(args.verb, session.stack.name, outputs, before)
    if session.control.stopping.is_set():
        return STOPPED
    if report.failed():
        return 1
    return 1 if getattr(args, "expect_no_changes", False) and report.has_changes() else 0
