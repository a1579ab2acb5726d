"""Deleting: dependents before what they depend on, independent ones at the same time."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from standalone import provider
from standalone.errors import CommandFailed, Killed, UserError
from standalone.session import Session
from standalone.state import Resource
from standalone.steps import Op, Step
from standalone.wire import STACK_TYPE


def delete_all(session: Session, doomed: list[Resource], parallel: int) -> bool:
    """Delete these resources in reverse order of dependency. What fails keeps what it depends on. True: all done."""
    waiting = {id(resource): resource for resource in doomed}
    kept: dict[str, str] = {}  # URN that must stay -> the name of the resource that still needs it
    running: dict[Future[bool], Resource] = {}
    clean = True
    with ThreadPoolExecutor(parallel, "delete") as pool:
        while waiting or running:
            # Until there is none left: what is kept keeps what it needs in turn, whatever the order in `waiting`.
            while held := [resource for resource in waiting.values() if resource.urn in kept]:
                clean = False
                for resource in held:
                    step = Step(Op.DELETE, resource.urn, resource.type, old=resource)
                    session.report.ended(step, "skipped", f"not deleted: {kept[resource.urn]} is still there")
                    _keep_needed(kept, resource)
                    del waiting[id(resource)]
            others = [*waiting.values(), *running.values()]
            ready = [r for r in waiting.values() if not any(r.urn in o.needs() for o in others if o is not r)]
            for resource in ready:
                del waiting[id(resource)]
                running[pool.submit(_delete, session, resource)] = resource
            if not running:
                if waiting and not ready and not any(r.urn in kept for r in waiting.values()):
                    raise UserError("the state has resources that depend on each other in a circle")
                continue
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                resource = running.pop(future)
                if not future.result():
                    clean = False
                    _keep_needed(kept, resource)
    return clean


def _keep_needed(kept: dict[str, str], resource: Resource) -> None:
    for urn in resource.needs():
        kept.setdefault(urn, resource.name)


def _delete(session: Session, resource: Resource) -> bool:
    """Delete one resource. False when it is still there."""
    step = plan_of(resource)
    quiet = step.op is Op.FORGET or resource.type not in (provider.LOCAL, provider.REMOTE)
    if session.dry_run:
        problem = protection(resource)
        session.report.ended(step, "refused" if problem else "planned", problem)
        return not problem
    if session.control.stopping.is_set() and not quiet:
        session.report.ended(step, "skipped", "not started: the run was stopped")
        return False
    problem = protection(resource)
    if problem:
        session.report.ended(step, "failed", problem)
        return False
    try:
        if not quiet:
            session.report.started(step)
            provider.learn_secrets(session.redact, resource.inputs)
            with session.operation(resource, "deleting"):
                session.run(step, "delete", resource, resource)
                session.drop(resource)
        session.drop(resource)
    except CommandFailed as bad:
        session.report.ended(step, "interrupted" if isinstance(bad, Killed) else "failed", str(bad))
        return False
    session.state.save()
    session.report.ended(step, "done")
    return True


def plan_of(resource: Resource) -> Step:
    """The step that takes a resource away."""
    step = Step(Op.FORGET if resource.retain_on_delete else Op.DELETE, resource.urn, resource.type, old=resource)
    if resource.delete:
        step.reasons.append("the one that was replaced")
    return step


def protection(resource: Resource) -> str:
    """Why a resource may not be deleted; empty when it may."""
    return "it is protected: take `protect` away first" if resource.protect and not resource.delete else ""


def leftovers(session: Session, registered: set[str]) -> list[Resource]:
    """What the program doesn't register any more, and creations that were interrupted and aren't wanted any more."""
    live = session.state.live()
    used = {r.provider.rsplit("::", 1)[0] for r in session.state.resources if r.provider and r.urn in registered}
    gone = [
        resource
        for urn, resource in live.items()
        if urn not in registered and urn not in used and resource.type != STACK_TYPE
    ]
    return gone + interrupted_creations(session, registered)


def bound_to(session: Session, failed: set[str], leftovers: list[Resource]) -> set[str]:
    """The URNs of leftovers that must wait for a run without this failure.

    What failed or was skipped is in the world as it was, and needs what it needed; and what depends on it may be a
    leftover only because the program could not come to it (`a.stdout.apply(…)`).
    """
    known = {**session.state.live(), **{r.urn: r for r in leftovers}}
    unsure = set(failed)
    while more := {r.urn for r in leftovers if r.urn not in unsure and r.needs() & unsure}:
        unsure |= more
    bound: set[str] = set()
    waiting = list(unsure)
    while waiting:
        urn = waiting.pop()
        if urn not in bound:
            bound.add(urn)
            waiting += known[urn].needs() if urn in known else ()
    return bound


def interrupted_creations(session: Session, registered: set[str]) -> list[Resource]:
    """Resources whose creation was interrupted: the world may have them although the state has not."""
    live = session.state.live()
    pending = (p.resource for p in session.state.pending if p.type == "creating")
    return [r for r in pending if r.urn not in live and r.urn not in registered]


def replaced(session: Session) -> list[Resource]:
    """The old ones of replaced resources."""
    return [resource for resource in session.state.resources if resource.delete]
