"""The stack's outputs (P9)."""

from __future__ import annotations

import pytest

from tests.components.harness import Run, run_environment, run_main
from tests.plan.stacks import STACKS, plan_of, put

CORE = ("blockchain-service", "identity-service", "governance-service", "crosschain-service")
MODES = {"local": "development", "tencent": "integration", "alibaba": "production"}
CHAINS = {"local": ["simulation"], "tencent": ["huawei", "ethereum"], "alibaba": ["huawei"]}
COSTS = {"local": 0, "tencent": 50, "alibaba": 100}


@pytest.fixture(scope="module", params=STACKS)
def run(request: pytest.FixtureRequest) -> Run:
    return run_main(request.param)


def test_the_stack_puts_out_what_the_environment_does(run: Run) -> None:
    (environment,) = run.of("Environment").values()
    assert environment.outputs == run.outputs
    assert run.secret_outputs == set()


def test_facts(run: Run) -> None:
    (stack,) = run.of("Environment")
    told = run.outputs
    assert (told["mode"], told["chains"]) == (MODES[stack], CHAINS[stack])
    assert told["monthly_cost_yuan"] == COSTS[stack]  # P9
    assert told["costs_yuan"] == {"local": 0, "tencent": 50, "alibaba": 100, "all": 150, "original": 300}  # P9
    plan = plan_of(stack)
    assert told["ports"] == {service.name: service.port for service in plan.running}
    assert set(told["endpoints"]) == set(told["ports"])
    assert set(told["databases"]) == {database.name for database in plan.databases}


def test_endpoints() -> None:
    local, alibaba = run_main("local").outputs["endpoints"], run_main("alibaba").outputs["endpoints"]
    assert local == {
        "blockchain-service": "http://127.0.0.1:8301",
        "identity-service": "http://127.0.0.1:8302",
        "governance-service": "http://127.0.0.1:8303",
        "crosschain-service": "http://127.0.0.1:8304",
        "blockchain-config": "http://127.0.0.1:8311",
        "blockchain-monitor": "http://127.0.0.1:8312",
    }
    public = {name for name, url in alibaba.items() if url.startswith("http://47.115.168.107:")}
    assert public == set(CORE)  # D19


def test_notices_are_told_and_logged(run: Run) -> None:
    logged = [text for _, text in run.log]
    for notice in run.outputs["notices"]:
        assert notice in logged
    (stack,) = run.of("Environment")
    said = [str(notice) for notice in plan_of(stack).notices]
    assert run.outputs["notices"][: len(said)] == said


def test_an_environment_without_databases_or_services() -> None:
    run = run_environment("local", put("services", {}), put("databases", {}))
    assert run.error is None
    assert (run.outputs["endpoints"], run.outputs["databases"], run.outputs["ports"]) == ({}, {}, {})
    assert run.outputs["notices"] == ["host 127.0.0.1 was not observed: nobody looked"]
    assert {one.kind for one in run.resources.values()} == {"Environment", "Host", "Command"}


def test_an_environment_of_containers_without_any() -> None:
    run = run_environment("local", put("services", {}), put("databases", {}), put("runtime", "docker"))
    assert run.error is None
    assert {one.kind for one in run.resources.values()} == {"Environment", "Network"}
