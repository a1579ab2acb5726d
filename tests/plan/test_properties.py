"""What holds of every plan, whatever the stack file says."""

from __future__ import annotations

import copy
from decimal import Decimal

import pytest
from hypothesis import event, example, given
from hypothesis import strategies as st

from hostctl.assemble import assemble
from plan import catalog
from plan.load import load_plan
from plan.models import EnvironmentPlan
from plan.problems import InvalidStackError, Problem
from plan.render import definitions, host_files
from plan.semantic import PortRange, parse_bytes, show_bytes
from tests.plan.stacks import STACKS, Raw, paths_in, put_at, raw_stack
from tests.plan.strategies import junk, stack_files

pytestmark = pytest.mark.timeout(900)  # SOAK=1 asks for twenty times the examples

STACK_NAMES = st.sampled_from(["local", "tencent", "alibaba", "mine"])


def plan_or_none(stack: str, raw: Raw) -> EnvironmentPlan | None:
    plan, _ = judged(stack, raw)
    event("refused" if plan is None else "accepted")
    return plan


def judged(stack: str, raw: Raw) -> tuple[EnvironmentPlan | None, tuple[Problem, ...]]:
    """A plan, or at least one problem."""
    try:
        return load_plan(stack, raw), ()
    except InvalidStackError as error:
        found = error.problems
    assert found
    return None, found


@given(STACK_NAMES, stack_files())
def test_an_accepted_plan_can_be(stack: str, raw: Raw) -> None:
    """Judged anew, by other code than the checks': no port twice, no more than the host has, nothing out of order."""
    plan = plan_or_none(stack, raw)
    if plan is None:
        return
    ports_are_held_once(plan)
    everything_fits(plan)
    ports_are_in_their_ranges(plan)
    everything_comes_after_what_it_needs(plan)


def ports_are_held_once(plan: EnvironmentPlan) -> None:
    held: list[int] = []
    if not plan.host.local:
        held.append(plan.host.ssh_port)
    for service in [*plan.services, *(member for edition in plan.editions for member in edition.members)]:
        held += [service.port] if service.debug_port is None else [service.port, service.debug_port]
        held += [2 * service.port, 2 * service.port + 1] if service.behind is not None else []
        held += [service.tls] if service.tls is not None and service.tls != service.port else []
    if plan.edge is not None:
        beside = [plan.edge.port, *(one.tls for one in plan.services if one.tls is not None)]
        assert not [port for port in beside if 32768 <= port <= 60999]
        held += [plan.edge.port] + [80] * (plan.edge.acme_thumbprint is not None)
    for database in plan.databases:
        held += [database.port, *database.ports] if database.host in ("127.0.0.1", plan.host.address) else []
    for existing in plan.existing:
        held += existing.ports
    assert len(held) == len(set(held))  # P6


def everything_fits(plan: EnvironmentPlan) -> None:
    here = [database for database in plan.databases if database.host in ("127.0.0.1", plan.host.address)]
    takes = [one.resources for one in [*plan.running, *here, *plan.existing]] + [plan.host.reserve]
    has = plan.host.capacity
    takes += [plan.edge.resources] if plan.edge is not None else []
    # One service at a time is there twice while it is updated, whichever.
    second = max((one.resources.memory for one in plan.running if one.behind and one.behind.rolling), default=0)
    assert sum(one.memory for one in takes) + second <= has.memory  # D14
    assert sum(one.disk for one in takes) <= has.disk
    assert sum(Decimal(str(one.cpus)) for one in takes) <= Decimal(str(has.cpus))


def ports_are_in_their_ranges(plan: EnvironmentPlan) -> None:
    for service in plan.services:
        dao = service.group == "dao"
        assert service.port in (PortRange(9500, 9599) if dao else plan.range)  # D10
        assert dao or not 9500 <= service.port <= 9599  # P6
        assert not 8080 <= service.port <= 8099
        assert not 8200 <= service.port <= 8299
        assert service.port not in (3306, 5432, 6379, 7474, 8500)
        assert not (plan.name == "local" and 8320 <= service.port <= 8329)  # P10
        consul = any(existing.name == "consul" for existing in plan.existing)
        assert not (consul and service.port in (8300, 8301, 8302, 8500, 8600))  # D8


def everything_comes_after_what_it_needs(plan: EnvironmentPlan) -> None:
    ready: set[str] = set()
    for service in plan.services:
        assert {need.name for need in service.needs} <= ready  # P5
        assert set(service.databases) <= {database.name for database in plan.databases}
        ready.add(service.name)


@given(STACK_NAMES, stack_files())
def test_a_refused_one_names_keys_that_are_there(stack: str, raw: Raw) -> None:
    """Each problem's key is in the file, or is what should be: the map that lacks something."""
    _, found = judged(stack, raw)
    places = {".".join(map(str, path)) for path in paths_in(raw)}
    # Documented needs are a service's though the file doesn't say them.
    implied = {f"services.{name}.{key}" for name in raw["services"] for key in ("needs", "databases")}
    implied.add("edge.port")  # the default is as good as said
    for problem in found:
        assert problem.key in places | implied, problem
        assert problem.wrong
        assert problem.right
        assert "\n" not in str(problem)


@given(STACK_NAMES, stack_files())
def test_a_port_that_is_offered_is_right(stack: str, raw: Raw) -> None:
    """Who writes what the problems propose has no problem with those ports left."""
    _, found = judged(stack, raw)
    offers = [problem for problem in found if problem.right.endswith(" is free")]
    event(f"ports offered: {bool(offers)}")
    for problem in offers:
        take(raw, problem.key, int(problem.wrong.split()[0]), int(problem.right.split()[0]))
    _, after = judged(stack, raw)
    # A list may hold another port that is wrong, and a key may be wrong whichever port it says.
    left = {(problem.key, problem.wrong.split()[0]) for problem in after}
    for problem in offers:
        port = int(problem.right.split()[0])
        assert {(problem.key, str(one)) for one in (port, 2 * port, 2 * port + 1)}.isdisjoint(left)


def take(raw: Raw, key: str, instead_of: int, port: int) -> None:
    """Write what is offered: in a list in the place of the last one that is taken."""
    *parents, last = key.split(".")
    here = raw
    for name in parents:
        here = here.setdefault(name, {})
    if isinstance(here.get(last), list):
        places = [index for index, one in enumerate(here[last]) if one == instead_of]
        here[last][places[-1]] = port
    else:
        here[last] = port


@given(STACK_NAMES, stack_files())
def test_a_plan_is_the_same_every_time(stack: str, raw: Raw) -> None:
    first = plan_or_none(stack, copy.deepcopy(raw))
    assert plan_or_none(stack, copy.deepcopy(raw)) == first
    if first is not None:
        assert definitions(first) == definitions(first)
        assert hash(first) == hash(load_plan(stack, copy.deepcopy(raw)))


@given(STACK_NAMES, stack_files())
def test_an_env_file_has_each_key_once_in_its_order(stack: str, raw: Raw) -> None:
    """The documented keys in their order, then the others by port: one service's change moves no other's line."""
    plan = plan_or_none(stack, raw)
    if plan is None:
        return
    header, *lines = host_files(plan)[f"blockchain-{stack}.env"].splitlines()
    assert header == f"# blockchain-{stack}.env"
    keys = [line.split("=")[0] for line in lines]
    assert len(keys) == len(set(keys))
    documented = [key for key in catalog.DOCUMENTED_ENV_KEYS.get(stack, ()) if key in keys]
    assert keys[: len(documented)] == documented
    values = [line.split("=")[1] for line in lines[len(documented) :]]
    numbers = [int(value) for value, key in zip(values, keys[len(documented) :], strict=True) if own_port(plan, key)]
    assert numbers == sorted(numbers)


def own_port(plan: EnvironmentPlan, key: str) -> bool:
    return key in {catalog.env_key(service.name) for service in plan.services}


@given(STACK_NAMES, stack_files())
def test_files_are_put_together_from_the_definitions(stack: str, raw: Raw) -> None:
    plan = plan_or_none(stack, raw)
    if plan is None:
        return
    made = definitions(plan)
    files = host_files(plan)
    assert files == assemble({name: one["parts"] for name, one in reversed(made.items())})
    names = [name for one in made.values() for name in one.get("files", ())]
    assert len(names) == len(set(names))
    for one in made.values():
        assert {part["file"] for part in one["parts"]} <= set(names)


@given(st.sampled_from(STACKS), st.data())
def test_one_services_port_changes_it_and_what_needs_it_and_nothing_else(stack: str, data: st.DataObject) -> None:
    raw = raw_stack(stack)
    name = data.draw(st.sampled_from(sorted(raw["services"])))
    before = load_plan(stack, raw)
    raw["services"][name]["port"] = data.draw(st.integers(*((9500, 9599) if name.startswith("dao-") else span(before))))
    after = plan_or_none(stack, raw)
    if after is None:
        return
    was, now = definitions(before), definitions(after)
    users = {f"service/{one.name}" for one in before.services if name in [need.name for need in one.needs]}
    host = {"host"} if after.runtime == "compose" else set()  # its firewall knows every port (D11)
    expected = {f"service/{name}", *users, *host} if after != before else set()
    assert {key for key in was if was[key] != now[key]} == expected


def span(plan: EnvironmentPlan) -> tuple[int, int]:
    return plan.range.first, plan.range.last


@pytest.mark.parametrize("stack", STACKS)
@given(data=st.data())
def test_junk_at_any_places_ends_in_a_list_of_problems_or_a_plan(stack: str, data: st.DataObject) -> None:
    """Nothing but InvalidStackError comes out, and it can be printed."""
    raw = raw_stack(stack)
    for _ in range(data.draw(st.integers(1, 4))):
        path = data.draw(st.sampled_from(list(paths_in(raw))))
        put_at(raw, path, data.draw(junk))
    plan = plan_or_none(stack, raw)
    if plan is not None:
        host_files(plan)


@given(st.dictionaries(st.text(max_size=8), junk, max_size=5))
def test_junk_as_a_whole_ends_in_a_list_of_problems(raw: Raw) -> None:
    with pytest.raises(InvalidStackError) as caught:
        load_plan("local", raw)
    assert str(caught.value)


@given(st.integers(0, 10**16))
@example(999_950_000)
@example(999_949_999)
def test_amounts_are_shown_as_they_are_written(amount: int) -> None:
    shown, up = show_bytes(amount), show_bytes(amount, up=True)
    step = 10**6 if amount >= 10**9 else 10**5
    assert abs(parse_bytes(shown) - amount) <= step // 2
    assert 0 <= parse_bytes(up) - amount < step
    assert show_bytes(parse_bytes(shown)) == shown


@given(st.integers(0, 10**6), st.sampled_from(["B", "KB", "MB", "GB", "TB", "KiB", "MiB", "GiB", "TiB"]))
def test_amounts_are_read_in_their_units(number: int, unit: str) -> None:
    base = 1024 if "i" in unit else 1000
    expected = number * base ** ["B", "K", "M", "G", "T"].index(unit[0] if unit != "B" else "B")
    assert parse_bytes(f"{number}{unit}") == expected
    assert parse_bytes(f" {number} {unit} ") == expected


@given(st.integers(1, 65535), st.integers(1, 65535))
def test_ranges_are_read_as_they_are_written(one: int, other: int) -> None:
    first, last = sorted((one, other))
    found = PortRange.parse(f"{first}-{last}")
    assert (str(found), found) == (f"{first}-{last}", PortRange(first, last))
    assert first in found
    assert last in found
    assert first - 1 not in found
    assert last + 1 not in found


@given(*[st.integers(1, 60)] * 4)
def test_ranges_overlap_when_they_share_a_port(a: int, b: int, c: int, d: int) -> None:
    one, other = PortRange(*sorted((a, b))), PortRange(*sorted((c, d)))
    shared = set(range(one.first, one.last + 1)) & set(range(other.first, other.last + 1))
    assert one.overlaps(other) == other.overlaps(one) == bool(shared)
