"""What is somebody else's: how it was found, what is said of it, and Consul's token (P2, P3, D20)."""

from __future__ import annotations

import json

import pytest

from tests.components.harness import run_environment
from tests.plan.stacks import plan_of, put

MISSING = "missing: port 8206: connection refused"
CURE = "start it, or set existing.ai.host and existing.ai.ports right"


@pytest.mark.parametrize("stack", ["tencent", "alibaba"])
def test_each_is_a_resource_that_says_where_it_is_and_how(stack: str) -> None:
    names = [existing.name for existing in plan_of(stack).existing]
    labels = {"integrations": {**dict.fromkeys(names, "reachable"), names[0]: ""}}
    run = run_environment(stack, labels=labels)
    assert run.error is None
    assert sorted(run.of("Integration")) == sorted(names)
    for existing in plan_of(stack).existing:
        assert run["Integration", existing.name].outputs == {
            "host": "127.0.0.1",
            "ports": list(existing.ports),
            "state": "unknown" if existing.name == names[0] else "reachable",
        }
    assert run.warnings() == []


def test_where_nobody_looked_nothing_is_known() -> None:
    run = run_environment("alibaba")
    states = {one.outputs["state"] for one in run.of("Integration").values() if one.outputs}
    assert (states, run.warnings()) == ({"unknown"}, [])


def test_one_that_doesnt_answer_is_a_notice() -> None:
    run = run_environment("alibaba", labels={"integrations": {"ai": MISSING}})
    assert run.error is None
    text = f"existing.ai: ai on 127.0.0.1 doesn't answer ({MISSING}): {CURE}"
    assert run.warnings() == [text]
    assert text in run.outputs["notices"]
    assert run["Integration", "ai"].outputs == {"host": "127.0.0.1", "ports": [8206], "state": "missing"}


def test_where_a_stack_insists_the_host_itself_refuses() -> None:
    """What was asked is the address on record: one that is about to move must not end the program."""
    insist = put("existing.ai.when_missing", "fail")
    run = run_environment("alibaba", insist, labels={"integrations": {"ai": MISSING}})
    assert run.error is None
    assert run.warnings() == [
        f"existing.ai: ai on 127.0.0.1 doesn't answer ({MISSING}): `up` asks again and touches nothing while it "
        f"doesn't (`when_missing: fail`); {CURE}"
    ]


def test_consuls_token_is_on_the_host_before_any_service() -> None:
    run = run_environment("alibaba", secrets={"consul": "t0ken-s3cret"})
    assert run.error is None
    written = run["Command", "consul-secrets"]
    assert json.loads(written.inputs["stdin"]) == {"PASSWORD": "t0ken-s3cret"}
    assert "stdin" in written.secrets
    assert run.parent(written) == "consul"
    for one in run.of("BlockchainService").values():
        assert "consul-secrets" in run.after(one), one.name
    for one in run.of("Command").values():
        if one.name.endswith("-up"):
            assert json.loads(one.inputs["stdin"])["secrets"] == []  # no service gets it (D6)
    shown = {one.name for one in run.resources.values() if "t0ken-s3cret" in str({**one.inputs, **(one.outputs or {})})}
    assert shown == {"consul-secrets"}
