"""The keys of a whole configuration: whose they are, those gone astray, those with nothing behind them."""

from __future__ import annotations

from typing import Any

import pytest

from plan.load import load_plan, own_keys
from plan.problems import InvalidStackError
from tests.plan.stacks import (
    PREFIX,
    STACKS,
    Change,
    as_pulumi_hands_it,
    changed,
    drop,
    notices_of,
    plan_of,
    problems_of,
    put,
    raw_stack,
)

PROJECT = PREFIX.removesuffix(":")


def astray(*keys: str) -> list[str]:
    return [str(problem) for problem in own_keys(PROJECT, dict.fromkeys(keys, "hunter2"))[1]]


@pytest.mark.parametrize("stack", STACKS)
def test_a_projects_keys_are_picked_from_among_others(stack: str) -> None:
    raw = as_pulumi_hands_it(raw_stack(stack))
    whole = {f"{PREFIX}{key}": value for key, value in raw.items()}
    others = {"docker:host": "unix:///run/docker.sock", "aws:region": "x", "command:mode": "x", "pulumi:tags": "{}"}
    values, problems = own_keys(PROJECT, {**whole, **others})
    assert (values, problems) == (raw, [])
    assert load_plan(stack, values, (), problems) == plan_of(stack)


@pytest.mark.parametrize(
    "namespace", ["blockchain-doa", "blockchain_dao", "Blockchain-DAO", "blockchain", "blockchaindao"]
)
def test_a_misspelt_namespace_is_told_without_its_value(namespace: str) -> None:
    assert astray(f"{namespace}:edition", f"{PREFIX}mode") == [
        f"{namespace}:edition: {namespace!r} is not this project; did you mean 'blockchain-dao:edition'?"
    ]


def test_a_key_that_is_there_twice_is_told_without_its_values() -> None:
    told = ["mode: is there twice, as 'mode' with and without the project's name; keep blockchain-dao:mode only"]
    assert astray("mode", f"{PREFIX}mode") == told
    assert astray(f"{PREFIX}mode", "mode") == told
    assert astray(f"{PREFIX}mode", f"{PREFIX}config:mode") == told


def test_a_key_without_a_namespace_is_the_projects() -> None:
    assert own_keys(PROJECT, {"mode": "x", f"{PREFIX}config:range": "y"}) == ({"mode": "x", "range": "y"}, [])
    assert own_keys(PROJECT, {"mode": "x", f"{PREFIX}mode": "y"})[0] == {"mode": "y"}
    assert own_keys(PROJECT, {f"{PREFIX}mode": "y", "mode": "x"})[0] == {"mode": "y"}


def test_keys_gone_astray_are_told_with_everything_else() -> None:
    raw = changed("local", drop("mode"), put("chains", "simulation"), put("services.governance-service.port", 8302))
    whole: dict[str, Any] = {**{f"{PREFIX}{key}": value for key, value in raw.items()}, "blockchain-doa:mode": "x"}
    values, problems = own_keys(PROJECT, whole)
    with pytest.raises(InvalidStackError) as caught:
        load_plan("local", values, (), problems)
    assert [str(problem) for problem in caught.value.problems] == [
        "blockchain-doa:mode: 'blockchain-doa' is not this project; did you mean 'blockchain-dao:mode'?",
        "chains: 'simulation' is not a list, for example [a, b]; write a list, for example [a, b]",
        "mode: is missing; add mode: BLOCKCHAIN_MODE: development, integration or production",
        "services.governance-service.port: 8302 is taken on 127.0.0.1 by identity-service; 8303 is free",
    ]
    # Without any problem of its own the file is refused as well.
    with pytest.raises(InvalidStackError) as caught:
        load_plan("local", raw_stack("local"), (), problems)
    assert len(caught.value.problems) == 1
    with pytest.raises(InvalidStackError) as caught:
        load_plan("local", raw_stack("local"), ["mode"], problems)
    assert len(caught.value.problems) == 2


NOTHING = [None, "", "null"]


@pytest.mark.parametrize("nothing", NOTHING)
@pytest.mark.parametrize(
    "key", ["existing", "editions", "edition", "databases", "defaults", "dao_group", "allow_stand_in", "secrets"]
)
def test_an_optional_key_with_nothing_behind_it_is_absent(key: str, nothing: object) -> None:
    """As YAML, the Pulumi CLI and standalone hand it over."""
    without = {"identity-service": {"port": 8302, "databases": []}, "blockchain-config": {"port": 8311}}
    plain = [put("services", without), drop("databases")]
    assert plan_of("local", *plain, put(key, nothing)) == plan_of("local", *plain)


@pytest.mark.parametrize("nothing", NOTHING)
@pytest.mark.parametrize("key", ["mode", "chains", "range", "monthly_cost_yuan", "host", "services"])
def test_a_required_key_with_nothing_behind_it_is_missing(key: str, nothing: object) -> None:
    assert problems_of("local", put(key, nothing)) == problems_of("local", drop(key))


@pytest.mark.parametrize(
    "path",
    [
        "host.reserve",
        "host.ssh_port",
        "host.host_key",
        "host.reserve.memory",
        "services.identity-service.env",
        "services.identity-service.needs",
        "services.identity-service.health_timeout",
        "services.identity-service.reload",
        "databases.mysql.ports",
        "databases.mysql.open_to",
        "defaults.memory",
    ],
)
def test_an_inner_optional_key_with_nothing_behind_it_is_absent(path: str) -> None:
    nothing = put(path, None)
    assert plan_of("local", nothing) == plan_of("local", nothing, drop(path))


@pytest.mark.parametrize("path", ["services.identity-service.port", "host.memory"])
def test_an_inner_required_key_with_nothing_behind_it_is_told_in_yamls_words(path: str) -> None:
    (problem,) = problems_of("local", put(path, None))
    assert problem.startswith(f"{path}: null is not ")


SSH: list[tuple[list[Change], list[str]]] = [
    (
        [put("host.ssh_port", 8402)],
        ["services.identity-service.port: 8402 is taken on 101.33.251.158 by sshd; 8405 is free"],
    ),
    (
        [put("host.ssh_port", 8200)],
        ["editions.dao.services.dao-service-1.port: 8200 is taken on 101.33.251.158 by sshd; 8202 is free"],
    ),
    (
        [put("host.ssh_port", 7531)],
        ["existing.dao-job.ports: 7531 is taken on 101.33.251.158 by sshd; 7532 is free"],
    ),
]


@pytest.mark.parametrize(("changes", "problems"), SSH)
def test_a_servers_ssh_port_is_held(changes: list[Change], problems: list[str]) -> None:
    assert problems_of("tencent", *changes) == problems  # P6


def test_sshd_may_be_declared_too_and_the_laptops_is_not_ours_to_know() -> None:
    plan_of("tencent", put("host.ssh_port", 2222), put("existing.sshd", {"ports": [2222]}))
    plan_of("local", put("host.ssh_port", 8302))


def test_an_offer_for_an_edition_is_free() -> None:
    assert problems_of("tencent", put("editions.dao.services.dao-service-2.port", 9999)) == [
        "editions.dao.services.dao-service-2.port: 9999 is outside 8200-8299, the range of dao-service-2; 8201 is free"
    ]  # E2


def test_an_environments_range_that_overlaps_a_reserved_one_is_noticed() -> None:
    text = "range: 8200-8399 of the environment overlaps 8200-8299 of existing microservices; only ports may not (D15)"
    assert text in notices_of("local", put("range", "8200-8399"))  # D15
    # A single port isn't a range: whoever takes it is told.
    assert not any("overlaps" in notice for notice in notices_of("alibaba"))


def test_a_service_whose_group_is_off_is_told_so() -> None:
    needs = put("services.blockchain-audit.needs", ["dao-governance"])
    assert problems_of("alibaba", put("dao_group", False), needs) == [
        "services.blockchain-audit.needs: needs 'dao-governance', whose group is off; "
        "say `dao_group: true`, or list others"
    ]  # D10
