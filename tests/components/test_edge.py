"""The edge as a resource: when there is one, what it is told, and what comes before and after it (issue 5)."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator

import pytest

from imagetool.sources import EDGE, edge_image
from plan.catalog import EDGE_IMAGE
from plan.render import definitions
from plan.semantic import repository
from tests.components.harness import Registered, Run, run_environment, run_main
from tests.plan.stacks import PINNED, ROOT, Change, Raw, plan_of, put

SERVERS = ("tencent", "alibaba")
PORTS = {"tencent": 8419, "alibaba": 8519}
HOSTCTL = "/opt/blockchain-services/bin/hostctl"
DIGEST = f"sha256:{'c' * 64}"


def recreate(raw: Raw) -> None:
    """Services publish their own ports, and nothing is said of an edge."""
    raw["updates"] = "recreate"
    raw.pop("edge", None)


@pytest.fixture(scope="module", params=SERVERS)
def stack(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def run(stack: str) -> Run:
    """A server whose services are updated without a lost request: the default."""
    found = run_environment(stack, PINNED, secrets={"mysql": "hunter2"})
    assert found.error is None
    return found


def all_that_wait(run: Run, name: str) -> set[str]:
    """The components that come after a command, directly or not."""
    return {one.name for one in run.resources.values() if name in reachable(run, one)}


def reachable(run: Run, one: Registered) -> set[str]:
    """Every command that a component waits for; a component waits for the commands of those it depends on."""
    found: set[str] = set()
    open_ends = [one]
    while open_ends:
        for name in run.after(open_ends.pop()) - found:
            found.add(name)
            owner = run.parent(run["Command", name])
            open_ends += [other for other in run.resources.values() if other.name == owner]
    return found


def test_a_server_has_one_edge_with_its_port_and_its_metrics(stack: str, run: Run) -> None:
    (edge,) = run.of("Edge").values()
    assert (edge.type, edge.name, run.parent(edge)) == ("blockchain:edge:Edge", "edge", stack)
    url = f"http://127.0.0.1:{PORTS[stack]}/metrics"
    assert (edge.registrations, edge.outputs) == (1, {"port": PORTS[stack], "metrics": url})
    assert run.outputs["edge"] == url
    assert "edge" not in {**run.outputs["endpoints"], **run.outputs["ports"]}


def test_it_is_one_command_with_its_definition(stack: str, run: Run) -> None:
    one = run["Command", "edge-up"]
    assert (one.type, run.parent(one)) == ("command:remote:Command", "edge")
    assert one.inputs["create"] == f"{HOSTCTL} up edge"
    assert one.inputs["delete"] == f"[ ! -x {HOSTCTL} ] || {HOSTCTL} down edge"
    plan = plan_of(stack, PINNED, put("secrets", {"mysql": "[secret]"}))
    assert json.loads(one.inputs["stdin"]) == definitions(plan)["service/edge"]
    assert "\n" in one.inputs["stdin"]
    assert one.secrets <= {"connection"}


def test_its_image_is_brought_like_any_other(stack: str, run: Run) -> None:
    one = run["Command", "edge-image-brought"]
    words = shlex.split(one.inputs["create"])
    assert words == [".venv/bin/python", "-m", "imagetool", "build", "edge", EDGE_IMAGE]
    assert json.loads(one.inputs["stdin"])["build"]["folder"] == "edge"
    assert json.loads(run["Command", "stand-in-image-brought"].inputs["stdin"])["build"]["folder"] == "image"


@pytest.mark.parametrize(("change", "way"), [(put("images.stand_in", "push"), "push"), (None, "build")])
def test_its_own_image_comes_as_the_stand_ins_does(change: Change | None, way: str) -> None:
    run = run_environment("alibaba", PINNED, *([change] if change else []))
    assert shlex.split(run["Command", "edge-image-brought"].inputs["create"])[3] == way


def test_an_image_of_the_teams_own_comes_from_its_registry() -> None:
    reference = f"r.example/haproxy:2.8@{DIGEST}"
    run = run_environment("alibaba", PINNED, put("edge.image", reference))
    (brought,) = [one for name, one in run.of("Command").items() if name == "haproxy-image-brought"]
    assert brought.inputs["create"] == f"{HOSTCTL} image haproxy"
    assert json.loads(brought.inputs["stdin"])["image"] == reference
    assert run.after(run["Edge", "edge"]) == {"alibaba-host-hostctl", "haproxy-image-brought"}


def test_the_program_names_its_image_by_its_sources() -> None:
    named = edge_image(ROOT / "edge")
    assert repository(named) == repository(EDGE_IMAGE) == EDGE
    run = run_main("alibaba", PINNED)
    assert run.error is None
    assert shlex.split(run["Command", "edge-image-brought"].inputs["create"])[-1] == named
    assert json.loads(run["Command", "edge-up"].inputs["stdin"])["launch"]["image"] == named


def test_what_comes_before_it_and_what_after(stack: str, run: Run) -> None:
    """A destroy goes the other way round: the services, then the edge, then its host."""
    plan = plan_of(stack)
    behind = {service.name for service in plan.running if service.behind is not None}
    edition = {member.name for member in plan.active_edition.members} if plan.active_edition else set[str]()
    assert len(behind - edition) == 12
    services = run.of("BlockchainService")
    for name in behind - edition:
        assert "edge-up" in run.after(services[name]), name
    assert run.after(run["Edge", "edge"]) == {f"{stack}-host-hostctl", "edge-image-brought"}
    # An edition's wait as one.
    assert all_that_wait(run, "edge-up") - edition == (behind - edition) | {
        one.name for one in run.of("Edition").values()
    }
    order = [name for kind, name in run.resources if kind == "Command"]
    assert order.index("edge-image-brought") < order.index("edge-up")
    assert order.index("edge-up") < min(order.index(f"{name}-up") for name in behind)


def test_an_edition_waits_for_the_edge_that_holds_its_ports() -> None:
    run = run_environment("tencent")
    assert {"edge-up", "edge-image-brought", "stand-in-image-brought"} <= run.after(run["Edition", "dao"])
    without = run_environment("tencent", recreate)
    assert not [name for name in without.after(without["Edition", "dao"]) if "edge" in name]
    assert "stand-in-image-brought" in without.after(without["Edition", "dao"])


NONE = {
    "tencent-recreate": ("tencent", [recreate]),
    "alibaba-recreate": ("alibaba", [recreate]),
    "process": ("local", []),
    "docker": ("local", [put("runtime", "docker")]),
}


@pytest.mark.parametrize("case", NONE)
def test_without_rolling_updates_there_is_none(case: str) -> None:
    stack, changes = NONE[case]
    run = run_environment(stack, *changes)
    assert run.error is None
    assert run.of("Edge") == {}
    assert "edge" not in run.outputs
    assert not any("edge" in name for _, name in run.resources)
    (environment,) = run.of("Environment").values()
    assert environment.outputs == run.outputs


def differences(before: Run, now: Run) -> Iterator[tuple[str, str]]:
    """Kind and name of what the engine would create, update or delete."""
    for key in {**before.resources, **now.resources}:
        old, new = before.resources.get(key), now.resources.get(key)
        if old is None or new is None or old.inputs != new.inputs:
            yield key


def test_a_second_run_changes_nothing(stack: str, run: Run) -> None:
    again = run_environment(stack, PINNED, secrets={"mysql": "hunter2"})
    assert list(differences(run, again)) == []
    assert {key: one.outputs for key, one in again.resources.items()} == {
        key: one.outputs for key, one in run.resources.items()
    }


@pytest.mark.parametrize(
    ("change", "more"),
    [
        (put("services.blockchain-audit.env", {"LEVEL": "debug"}), set[str]()),
        (put("services.blockchain-audit.port", 8515), {"alibaba-host-hostctl"}),  # the firewall's
    ],
)
def test_a_service_that_changes_leaves_the_edge_as_it_is(change: Change, more: set[str]) -> None:
    """Its section of the configuration is its own part: what changes is an update of the service, not of the edge."""
    before, now = run_environment("alibaba", PINNED), run_environment("alibaba", PINNED, change)
    assert {name for _, name in differences(before, now)} == {"blockchain-audit-up"} | more


def test_another_version_of_the_edge_leaves_the_services_as_they_are() -> None:
    before = run_environment("alibaba", PINNED, put("edge.image", f"r.example/haproxy:2.8@{DIGEST}"))
    other = f"r.example/haproxy:3.0@sha256:{'d' * 64}"
    now = run_environment("alibaba", PINNED, put("edge.image", other))
    assert set(differences(before, now)) == {("Command", "edge-up"), ("Command", "haproxy-image-brought")}


def test_between_both_ways_of_updating_the_edge_comes_first_and_goes_last() -> None:
    """Another way is an `up`: the edge and every service, also the edition's, and no database."""
    before, rolling = run_environment("tencent", PINNED, recreate), run_environment("tencent", PINNED)
    changed = {name for kind, name in differences(before, rolling) if kind == "Command"}
    services = {f"{service.name}-up" for service in plan_of("tencent").running}
    assert changed - {"tencent-host-hostctl"} == services | {"edge-up", "edge-image-brought"}


def test_its_label_is_part_of_its_command_only() -> None:
    run = run_environment("alibaba", PINNED, labels={"services": {"edge": "stopped (after generation 3)"}})
    words = shlex.split(run["Command", "edge-up"].inputs["create"])
    assert words == [HOSTCTL, "up", "edge", "--observed", "stopped (after generation 3)"]
    assert "stopped" not in run["Command", "edge-up"].inputs["stdin"]
    fresh = run_environment("alibaba", PINNED, labels={"absent": "not converged yet"})
    assert shlex.split(fresh["Command", "edge-up"].inputs["create"])[-1] == "not converged yet"
