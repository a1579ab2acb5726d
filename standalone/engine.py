"""The monitor that the program talks to: decides about each resource, and really does it."""

from __future__ import annotations

import threading
import uuid
from typing import Any, cast

from google.protobuf import empty_pb2
from pulumi.runtime.mocks import MockMonitor, Mocks

from standalone import provider, wire
from standalone.errors import CommandFailed, Killed, UserError
from standalone.session import Session
from standalone.state import Resource
from standalone.steps import Op, Step, alias_urns, decide, inherited_aliases, wanted
from standalone.values import Props, Secret, has_secret, has_unknown
from standalone.wire import Goal, answer

DEFAULT_PARALLEL = 32


class Engine(MockMonitor):
    """Answers the SDK. Its methods are called from many threads; a call lasts as long as its command."""

    def __init__(self, session: Session, parallel: int) -> None:
        super().__init__(cast(Mocks, None))
        self.session = session
        self.goals: dict[str, Goal] = {}
        self.failed: dict[str, str] = {}  # URN -> the name of the resource that is to blame
        self.busy = 0
        self._aliases: dict[str, list[str]] = {}
        self._lock = threading.RLock()
        self._slots = threading.BoundedSemaphore(parallel)

    # -- the protocol ---------------------------------------------------------------------------------------------

    def GetDeploymentInfo(self, request: Any) -> Any:
        """What we support."""
        return wire.features()

    def RegisterResource(self, request: Any) -> Any:
        """Do what a resource needs. Never raises: a failure is answered as such, and the rest goes on."""
        goal = wire.goal_from_request(request, self.session.stack.name, self.session.stack.project.name)
        with self._lock:
            self.busy += 1
        try:
            return self._register(goal)
        except Exception as bad:  # noqa: BLE001 (an error of ours must not take the others along)
            text = str(bad) if isinstance(bad, UserError) else f"{type(bad).__name__}: {bad}"
            self._fail(Step(Op.CREATE, goal.urn, goal.type), text)
            return answer(goal.urn, failed=True)
        finally:
            with self._lock:
                self.busy -= 1

    def RegisterResourceOutputs(self, request: Any) -> Any:
        """Remember a component's outputs. (The stack's own come at the end, see program.py.)"""
        resource = self.session.state.live().get(request.urn)
        if resource is not None and resource.type != wire.STACK_TYPE and not self.session.dry_run:
            outputs = keep_known(wire.from_struct(request.outputs), resource.outputs)
            with self.session.state.lock:
                if outputs != resource.outputs:
                    if has_secret(outputs):
                        self.session.allow_secrets()
                    resource.outputs = outputs
                    self.session.state.changed()
        return empty_pb2.Empty()

    def Invoke(self, request: Any) -> Any:
        """Answer a function call, in previews too. A failure is an exception in the program, as with the CLI."""
        with self._lock:
            self.busy += 1
        try:
            args = wire.from_struct(request.args)
            return wire.invoke_answer(provider.invoke(request.tok, args, self.session.control, self.session.redact))
        except CommandFailed as bad:
            raise UserError(f"{request.tok}: {bad}") from None
        finally:
            with self._lock:
                self.busy -= 1

    def ReadResource(self, request: Any) -> Any:
        """Reading what exists elsewhere is beyond us."""
        raise UserError(f"{request.name} ({request.type}): reading existing resources needs the Pulumi CLI")

    # -- deciding -------------------------------------------------------------------------------------------------

    def _register(self, goal: Goal) -> Any:
        with self._lock:
            if goal.urn in self.goals:
                self.session.report.error(f"two resources have the same URN {goal.urn}")
                return answer(goal.urn, failed=True)
            self.goals[goal.urn] = goal
        provider.learn_secrets(self.session.redact, goal.inputs)
        with self.session.state.lock:
            old = self._find_old(goal)
        refusal = goal.refused or unsupported(goal.type, goal.custom)
        if refusal:
            return self._refuse(goal, old, refusal)
        # Components as well: what depends on something through its component carries that dependency there.
        to_blame = self._to_blame(goal)
        if to_blame:
            return self._skip(goal, old, to_blame)
        if not goal.custom or goal.type == provider.PROVIDER:
            return self._record(goal, old)
        inputs, problems = provider.check(goal.type, goal.inputs)
        if problems:
            self._fail(Step(Op.CREATE, goal.urn, goal.type), "; ".join(problems))
            return answer(goal.urn, failed=True)
        step = decide(old, goal, inputs, goal.urn in self.session.interrupted)
        step.new = wanted(goal, inputs, old)
        return self._preview(step) if self.session.dry_run else self._apply(goal, step)

    def _find_old(self, goal: Goal) -> Resource | None:
        """The resource in the state that this one continues, under its URN or a former one (which is then renamed)."""
        stack, project = self.session.stack.name, self.session.stack.project.name
        former = [alias_urns(spec, goal, stack, project, "") for spec in goal.aliases]
        former += inherited_aliases(goal, self._aliases.get(goal.parent, []), stack, project)
        self._aliases[goal.urn] = former
        live = self.session.state.live()
        if goal.urn in live:
            return live[goal.urn]
        for urn in former:
            if urn in live and urn not in self.goals:
                for resource in [
                    *self.session.state.resources,
                    *(p.resource for p in self.session.state.pending),
                ]:
                    resource.rename(urn, goal.urn)
                if urn in self.session.interrupted:
                    self.session.interrupted.add(goal.urn)
                self.session.state.changed()
                return live[urn]
        return None

    def _to_blame(self, goal: Goal) -> str:
        for urn in [goal.parent, *goal.dependencies]:
            if urn in self.failed:
                return self.failed[urn]
        return ""

    # -- outcomes without work ------------------------------------------------------------------------------------

    def _fail(self, step: Step, detail: str, status: str = "failed") -> None:
        self.failed[step.urn] = step.name
        self.session.report.ended(step, status, detail)

    def _skip(self, goal: Goal, old: Resource | None, to_blame: str) -> Any:
        self.failed[goal.urn] = to_blame
        step = Step(Op.UPDATE if old else Op.CREATE, goal.urn, goal.type)
        self.session.report.ended(step, "skipped", f"not done: depends on {to_blame}, which failed")
        return answer(goal.urn, failed=True)

    def _refuse(self, goal: Goal, old: Resource | None, refusal: str) -> Any:
        step = decide(old, goal, goal.inputs, interrupted=False)
        if not self.session.dry_run:
            self._fail(step, refusal)
            return answer(goal.urn, failed=True)
        self.session.report.ended(step, "refused", f"`up` would refuse this: {refusal}")
        return answer(goal.urn, old.id if old else "", goal.inputs)

    def _record(self, goal: Goal, old: Resource | None) -> Any:
        """Components, the stack itself and providers: nothing to execute, but the state knows them."""
        inputs = keep_known(goal.inputs, old.inputs if old else {}) if not self.session.dry_run else goal.inputs
        if goal.type == provider.PROVIDER:
            inputs = {**provider.PLUGIN_INPUTS, **inputs, "version": goal.version}
        step = decide(old, goal, inputs, interrupted=False)
        new = wanted(goal, inputs, old)
        new.id = (old.id if old else str(uuid.uuid4())) if goal.custom else ""
        if self.session.dry_run:
            self.session.report.ended(step, "planned")
            return answer(goal.urn, new.id, goal.inputs)
        if goal.custom:
            new.outputs = {k: v for k, v in inputs.items() if k != "__internal"}
        elif old is not None:
            new.outputs = old.outputs
        if has_secret(new.inputs):
            self.session.allow_secrets()
        self._put(new, old)
        self.session.report.ended(step, "done")
        return answer(goal.urn, new.id, goal.inputs)

    def _put(self, new: Resource, old: Resource | None) -> None:
        """Store what needs no work: nothing changes on disk when it is as it was."""
        if old is not None:
            new.created, new.modified, new.extra = old.created, old.modified, old.extra
        if new != old:
            self.session.put(new, old)

    def _preview(self, step: Step) -> Any:
        new, old = cast(Resource, step.new), step.old
        refusal = _protection(step)
        if refusal:
            self.session.report.ended(step, "refused", f"`up` would refuse this: {refusal}")
        else:
            self.session.report.ended(step, "planned")
        if step.op is Op.SAME and old is not None:
            return answer(step.urn, old.id, old.outputs)
        kept_id = old.id if old is not None and step.op is Op.UPDATE else ""
        outputs = provider.unknown_outputs(new.inputs)
        secret: Props = {k: Secret(v) if k in new.secret_outputs else v for k, v in outputs.items()}
        return answer(step.urn, kept_id, secret)

    # -- work -----------------------------------------------------------------------------------------------------

    def _apply(self, goal: Goal, step: Step) -> Any:
        new, old = cast(Resource, step.new), step.old
        if has_unknown(new.inputs):
            self._fail(step, "an input isn't known: what it comes from failed", "skipped")
            return answer(step.urn, failed=True)
        if step.op is not Op.SAME and self.session.control.stopping.is_set():
            self._fail(step, "not started: the run was stopped", "skipped")
            return answer(step.urn, failed=True)
        if has_secret(new.inputs) or new.secret_outputs:
            self.session.allow_secrets()
        new.provider = goal.provider or self._default_provider(goal.version)
        if step.op is Op.SAME and old is not None:
            new.id, new.outputs = old.id, old.outputs
            self._put(new, old)
            self.session.report.ended(step, "done")
            return answer(step.urn, old.id, old.outputs)
        try:
            with self._slots:
                self.session.report.started(step)
                self._execute(step, goal.delete_before_replace)
        except CommandFailed as bad:
            self._fail(step, str(bad), "interrupted" if isinstance(bad, Killed) else "failed")
            return answer(step.urn, failed=True)
        self.session.report.ended(step, "done")
        return answer(step.urn, new.id, new.outputs)

    def _default_provider(self, version: str) -> str:
        """The reference to the default provider, recorded as the CLI does it."""
        stack, project = self.session.stack.name, self.session.stack.project.name
        name = "default_" + version.replace(".", "_") if version else "default"
        urn = wire.qualified_urn(stack, project, "", provider.PROVIDER, name)
        with self.session.state.lock:
            known = self.session.state.live().get(urn)
            if known is None:
                inputs: Props = {**provider.PLUGIN_INPUTS, "version": version}
                outputs: Props = {k: v for k, v in inputs.items() if k != "__internal"}
                known = Resource(urn, provider.PROVIDER, True, str(uuid.uuid4()), inputs, outputs)
                self.session.put(known)
            return f"{urn}::{known.id}"

    def _execute(self, step: Step, delete_first: bool) -> None:
        """Create, update or replace. Raises CommandFailed; the state is right either way."""
        new, old, session = cast(Resource, step.new), step.old, self.session
        if step.op is Op.REPLACE and old is not None:
            refusal = _protection(step)
            if refusal:
                raise CommandFailed(refusal)
            if delete_first and not old.retain_on_delete:
                with session.operation(old, "deleting"):
                    session.run(step, "delete", old, old)
                    old.pending_replacement = True
        if step.op is Op.UPDATE and old is not None:
            new.id, new.created, new.extra = old.id, old.created, old.extra
            self._update(step, new, old)
            return
        new.id = provider.new_id(step.name)
        with session.operation(new, "creating"):
            printed = session.run(step, "create", new, None)
            new.outputs = self._outputs(new, printed)
            with session.state.lock:
                if old is not None and old.pending_replacement:
                    session.put(new, old)
                else:
                    if old is not None:
                        old.delete = True  # it goes when everything else is done (destroy.py)
                    session.put(new)
        session.state.save()

    def _update(self, step: Step, new: Resource, old: Resource) -> None:
        session = self.session
        try:
            with session.operation(new, "updating"):
                printed = session.run(step, "update", new, old)
                new.outputs = self._outputs(new, printed)
                session.put(new, old)
        except Killed:
            raise
        except CommandFailed as bad:
            # The old inputs stay, with a mark that makes the next run try again even if the new ones are taken back.
            with session.state.lock:
                old.init_errors = [str(bad)]
                session.state.changed()
            session.state.save()
            raise
        session.state.save()

    def _outputs(self, new: Resource, printed: Any) -> Props:
        outputs = provider.outputs(new.inputs, printed, new.secret_outputs, self.session.redact)
        if has_secret(outputs):
            self.session.allow_secrets()
        return outputs


def _protection(step: Step) -> str:
    """Why a resource may not be replaced; empty when it may."""
    if step.op is Op.REPLACE and step.old is not None and step.old.protect:
        return "it is protected and can't be replaced: take `protect` away first"
    return ""


def unsupported(type_: str, custom: bool) -> str:
    """Why a resource of this type can't be executed here; empty when it can."""
    if provider.executable(type_, custom):
        return ""
    return f"standalone can't execute {type_}; it needs the Pulumi CLI (make pulumi)"


def keep_known(new: Props, old: Props) -> Props:
    """The new properties; where one isn't known (what it comes from failed), the old one, if there was one."""
    kept: Props = {}
    for key, value in new.items():
        if not has_unknown(value):
            kept[key] = value
        elif key in old:
            kept[key] = old[key]
    return kept
