"""What to do with a resource: create, update, replace, delete or nothing, and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from standalone import provider
from standalone.diff import Change, changes, ignore_changes, touches
from standalone.state import Resource
from standalone.values import Props, Secret, has_unknown
from standalone.wire import PROVIDER_PREFIX, STACK_TYPE, AliasSpec, Goal, qualified_urn, urn_name


class Op(Enum):
    """The kinds of steps, with the sign that stands for each in a preview."""

    CREATE = "create"
    UPDATE = "update"
    REPLACE = "replace"
    DELETE = "delete"
    FORGET = "forget"  # taken out of the state, left as it is in the world (retain_on_delete)
    SAME = "unchanged"

    @property
    def sign(self) -> str:
        """One or two characters, as the CLI has them."""
        signs = {
            Op.CREATE: "+",
            Op.UPDATE: "~",
            Op.REPLACE: "+-",
            Op.DELETE: "-",
            Op.FORGET: "#",
            Op.SAME: "=",
        }
        return signs[self]


@dataclass
class Step:
    """One thing to do."""

    op: Op
    urn: str
    type: str
    changes: list[Change] = field(default_factory=list[Change])
    reasons: list[str] = field(default_factory=list[str])
    new: Resource | None = None
    old: Resource | None = None

    @property
    def name(self) -> str:
        """The resource's logical name."""
        return urn_name(self.urn)

    @property
    def hidden(self) -> bool:
        """Whether it is the engine's own book-keeping, which nobody wants to read about."""
        return self.type == STACK_TYPE or self.type.startswith(PROVIDER_PREFIX)


def decide(old: Resource | None, goal: Goal, inputs: Props, interrupted: bool) -> Step:
    """Compare a resource with what the program wants. `inputs` are the checked ones."""
    if old is None:
        return Step(Op.CREATE, goal.urn, goal.type)
    if goal.ignore_changes:
        inputs = ignore_changes(inputs, old.inputs, goal.ignore_changes)
    found = changes(old.inputs, inputs)
    step = Step(Op.SAME, goal.urn, goal.type, found, old=old)
    if old.pending_replacement:
        step.op = Op.CREATE
        step.reasons.append("its replacement was begun: the old one is gone already")
    elif any(_replaces(change, goal) for change in found):
        step.op = Op.REPLACE
    elif found:
        step.op = Op.UPDATE
    if not goal.custom:
        return step
    if step.op is Op.SAME and interrupted:
        step.op = Op.UPDATE
        step.reasons.append("the last run was interrupted while it worked on this")
    if step.op is Op.SAME and old.init_errors:
        step.op = Op.UPDATE
        step.reasons.append(f"the last update failed: {old.init_errors[0].splitlines()[0]}")
    return step


def _replaces(change: Change, goal: Goal) -> bool:
    if not goal.custom:
        return False
    patterns = [
        *goal.replace_on_changes,
        *(["triggers"] if goal.type in (provider.LOCAL, provider.REMOTE) else []),
    ]
    return any(touches(change.path, pattern) for pattern in patterns)


def wanted(goal: Goal, inputs: Props, old: Resource | None) -> Resource:
    """The resource as it shall stand in the state, without id and outputs."""
    if old is not None and goal.ignore_changes:
        inputs = ignore_changes(inputs, old.inputs, goal.ignore_changes)
    if old is not None and not changes(old.inputs, inputs) and not has_unknown(inputs):
        inputs = _keep_ciphertexts(inputs, old.inputs)
    return Resource(
        urn=goal.urn,
        type=goal.type,
        custom=goal.custom,
        inputs=inputs,
        parent=goal.parent,
        provider=goal.provider,
        dependencies=goal.dependencies,
        property_dependencies=goal.property_dependencies,
        protect=bool(goal.protect),
        retain_on_delete=bool(goal.retain_on_delete),
        secret_outputs=goal.secret_outputs if goal.custom else [],
        ignore_changes=goal.ignore_changes,
        replace_on_changes=goal.replace_on_changes,
    )


def _keep_ciphertexts(new: Props, old: Props) -> Props:
    """Equal inputs: keep the old values where their stored form is the same, so that the state file doesn't change."""
    kept: Props = {}
    for key, value in new.items():
        was = old.get(key)
        same_kind = isinstance(was, Secret) == isinstance(value, Secret)
        kept[key] = was if key in old and same_kind else value
    return kept


def alias_urns(spec: AliasSpec, goal: Goal, stack: str, project: str, root: str) -> str:
    """The former URN that an alias stands for."""
    if spec.urn:
        return spec.urn
    parent = root if spec.no_parent else (spec.parent or goal.parent)
    return qualified_urn(
        spec.stack or stack, spec.project or project, parent, spec.type or goal.type, spec.name or goal.name
    )


def inherited_aliases(goal: Goal, parent_aliases: list[str], stack: str, project: str) -> list[str]:
    """The former URNs of a child whose parent was renamed; a name that begins with the parent's follows it."""
    urns: list[str] = []
    for parent in parent_aliases:
        name, now = goal.name, urn_name(goal.parent)
        if name.startswith(now):
            urns.append(qualified_urn(stack, project, parent, goal.type, urn_name(parent) + name[len(now) :]))
        urns.append(qualified_urn(stack, project, parent, goal.type, name))
    return urns
