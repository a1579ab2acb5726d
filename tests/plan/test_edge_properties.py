"""What holds of every plan with an edge, whatever the stack file says (issue 5)."""

from __future__ import annotations

import copy
import re

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from plan.models import EnvironmentPlan
from plan.render import definitions, host_files
from plan.settings import Edge
from tests.plan.stacks import Raw
from tests.plan.strategies import stack_files
from tests.plan.test_properties import STACK_NAMES, judged, plan_or_none

pytestmark = pytest.mark.timeout(900)  # SOAK=1 asks for twenty times the examples

EPHEMERAL = 32768
"""The first port that Linux gives to connections by itself."""


def behind(plan: EnvironmentPlan) -> list[str]:
    return [service.name for service in plan.running if service.behind is not None]


@given(STACK_NAMES, stack_files())
def test_every_service_of_a_server_is_behind_its_edge_or_none_is(stack: str, raw: Raw) -> None:
    plan = plan_or_none(stack, raw)
    if plan is None:
        return
    event(f"edge: {plan.edge is not None}")
    rolling = plan.runtime == "compose" and raw.get("updates") != "recreate"
    assert (plan.edge is not None) == rolling
    assert behind(plan) == ([service.name for service in plan.running] if rolling else [])
    text = host_files(plan).get("edge/haproxy.cfg", "")
    sections = re.findall(r"^backend (\S+) from behind$", text, re.MULTILINE)
    assert sorted(sections) == sorted(behind(plan))
    assert len(re.findall(r"^    server ", text, re.MULTILINE)) == 2 * len(behind(plan))


@given(STACK_NAMES, stack_files())
def test_pairs_are_nobody_elses(stack: str, raw: Raw) -> None:
    plan = plan_or_none(stack, raw)
    if plan is None or plan.edge is None:
        return
    members = [member for edition in plan.editions for member in edition.members]
    pairs = [port for service in (*plan.services, *members) if service.behind for port in service.behind.ports]
    assert len(pairs) == 2 * (len(plan.services) + len(members))  # also of editions that are off
    assert len(pairs) == len(set(pairs))
    assert all(1024 <= port < EPHEMERAL for port in pairs)
    others = {listener.port for listener in plan.listeners() if not listener.paired}
    assert not others & set(pairs)
    # What docker-compose publishes is what the edge asks, on an address that is no public one.
    text = host_files(plan)
    for service in plan.running:
        assert service.behind is not None
        address, (first, second) = service.behind.address, service.behind.ports
        assert f'- "{address}:{first}-{second}:{service.port}"' in text[plan.host.layout.compose_file]
        assert f"server a {address}:{first}\n    server b {address}:{second}\n" in text["edge/haproxy.cfg"]


@given(STACK_NAMES, stack_files())
def test_room_for_a_second_one_is_no_condition(stack: str, raw: Raw) -> None:
    """A host that holds everything and the edge is large enough; who doesn't fit twice is told, and nobody else."""
    if raw["runtime"] != "compose":
        return
    raw["updates"] = "rolling"
    plan, found = judged(stack, copy.deepcopy(raw))
    # The edge's share is asked of a stack without one, as somebody's who is there anyway.
    edge = raw.get("edge", {})
    without = {key: value for key, value in copy.deepcopy(raw).items() if key != "edge"} | {"updates": "recreate"}
    for service in without["services"].values():
        service.pop("tls", None)
    takes = {"memory": edge.get("memory", f"{Edge().memory}B"), "cpus": Edge().cpus, "disk": f"{Edge().disk}B"}
    without["existing"] = {**without["existing"], "the-edge": {"ports": [40000], **takes}}
    _, found_without = judged(stack, without)
    sums = {problem for problem in found if problem.key.startswith("host.")}
    assert sums == {problem for problem in found_without if problem.key.startswith("host.")}
    event(f"the host is too small: {bool(sums)}")
    if plan is None:
        return
    told = {notice.key for notice in plan.notices if "a second one beside it" in notice.text}
    not_rolling = {f"{one.key}.memory" for one in plan.running if one.behind and not one.behind.rolling}
    event(f"some fall back: {bool(told)}")
    assert told == not_rolling
    made = definitions(plan)
    for service in plan.running:
        update = made[f"service/{service.name}"]["edge"]["update"]
        assert update == ("recreate" if f"{service.key}.memory" in told else "rolling")


@given(STACK_NAMES, stack_files(), st.data())
def test_what_an_update_needs_is_no_part_of_what_runs(stack: str, raw: Raw, data: st.DataObject) -> None:
    """Less memory on the host changes how services are updated; none of them, nor a file, is another one for it."""
    plan = plan_or_none(stack, raw)
    if plan is None or plan.edge is None or not plan.running:
        return
    least = sum(
        one.resources.memory
        for one in (*plan.running, *(d for d in plan.databases if d.local), *plan.existing, plan.edge)
    )
    least += plan.host.reserve.memory
    raw["host"]["memory"] = f"{data.draw(st.integers(least, plan.host.capacity.memory))}B"
    smaller = plan_or_none(stack, raw)
    assert smaller is not None
    assert host_files(smaller) == host_files(plan)
    was, now = definitions(plan), definitions(smaller)
    for name, definition in now.items():
        if "edge" in definition:
            definition["edge"]["update"] = was[name]["edge"]["update"]
        assert definition == was[name]
