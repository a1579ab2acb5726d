"""What was observed becomes part of the commands, and of nothing else (design: drift)."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pulumi
import pytest

from plan.render import definitions
from tests.components.harness import Run, run_environment, run_main
from tests.plan.stacks import STACKS, plan_of, put

NASTY = """it's "quoted" $(touch x) `y` ; rm -rf / && \\ * (after generation 4)"""
UP = "identity-service-up"


def create(run: Run, name: str) -> str:
    assert run.error is None
    return run["Command", name].inputs["create"]


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("preview", [True, False])
def test_where_nobody_looked_the_label_stays_what_it_was(stack: str, preview: bool) -> None:
    run = run_environment(stack, preview=preview)
    for one in run.of("Command").values():
        # A preview only: an `up` would otherwise never bring a new command text.
        assert one.ignore_changes == (["create"] if preview else [])
        assert "--observed" not in one.inputs["create"]
    assert f"host {plan_of(stack).host.address} was not observed: nobody looked" in run.outputs["notices"]


@pytest.mark.parametrize("stack", STACKS)
def test_where_somebody_looked_the_label_is_the_commands_last_words(stack: str) -> None:
    labels = {
        "host": "re-imaged",
        "services": {"identity-service": "process not running (after generation 4)"},
        "databases": {"mysql": "reused"},
    }
    run = run_environment(stack, labels=labels)
    for one in run.of("Command").values():
        assert one.ignore_changes == []
    words = shlex.split(create(run, UP))
    assert words[1:] == ["up", "identity-service", "--observed", labels["services"]["identity-service"]]
    assert shlex.split(create(run, "governance-service-up"))[1:] == ["up", "governance-service", "--observed", ""]
    assert shlex.split(create(run, "mysql-check"))[1:] == ["database", "mysql", "--observed", "reused"]
    unlabelled = create(run_environment(stack), f"{stack}-host-hostctl")
    assert create(run, f"{stack}-host-hostctl") == f"{unlabelled} re-imaged"
    assert not any("not observed" in text for text in run.outputs["notices"])


def test_a_label_changes_its_own_resource_alone_and_its_create_alone() -> None:
    before = run_environment("local", labels={})
    after = run_environment("local", labels={"services": {"identity-service": "its block was edited"}})
    assert set(before.resources) == set(after.resources)
    changed = {
        (name, key)
        for (kind, name), one in after.resources.items()
        for key, value in one.inputs.items()
        if value != before[kind, name].inputs[key]
    }
    assert changed == {(UP, "create")}


@pytest.mark.parametrize("stack", STACKS)
def test_a_label_is_one_word_whatever_is_in_it(stack: str) -> None:
    labels = {"host": NASTY, "services": {"identity-service": NASTY}, "databases": {"mysql": NASTY}}
    run = run_environment(stack, labels=labels)
    assert shlex.split(create(run, UP))[-2:] == ["--observed", NASTY]
    assert shlex.split(create(run, "mysql-check"))[-2:] == ["--observed", NASTY]
    unlabelled = create(run_environment(stack), f"{stack}-host-hostctl")
    assert shlex.split(create(run, f"{stack}-host-hostctl")) == [*shlex.split(unlabelled), NASTY]


def test_labels_stay_readable_when_passwords_are_asked_with() -> None:
    """Were a label secret, previews would hide why something changes, and whole definitions with it."""
    labels = {"services": {"identity-service": "edited"}, "databases": {"redis": "missing: connection refused"}}
    run = run_main("local", secrets={"mysql": "hunter2"}, labels=labels)
    assert run.error is None
    (call,) = run.calls
    assert json.loads(call.args["stdin"])["secrets"] == {"mysql": {"PASSWORD": "hunter2"}}
    assert "hunter2" not in call.args["command"]  # D6
    marked = {(one.name, key) for one in run.resources.values() for key in one.secrets}
    assert marked == {("mysql-secrets", "stdin")}
    assert run.secret_outputs == set()


DATABASE_STATES = [
    ({}, "reused", "reused", []),
    ({"mysql": "reused", "redis": "reused"}, "reused", "reused", []),
    (
        {"redis": "missing: connection refused"},
        "reused",
        "embedded",
        [
            "databases.redis: redis on 127.0.0.1:9507 can't be used (missing: connection refused): "
            "identity-service, governance-service get an embedded store of their own; "
            "start it, or set databases.redis.host and databases.redis.port right"
        ],
    ),
    (
        {"mysql": "refused: Access denied for user 'root'"},
        "embedded",
        "reused",
        [
            "databases.mysql: mysql on 127.0.0.1:9506 can't be used (refused: Access denied for user 'root'): "
            "identity-service, governance-service get an embedded store of their own; "
            "set databases.mysql.user and its password under secrets.mysql "
            "(`make encrypt`, or `pulumi config set --secret`)"
        ],
    ),
]


@pytest.mark.parametrize(("labels", "mysql", "redis", "warnings"), DATABASE_STATES)
def test_a_database_that_doesnt_answer_is_replaced_and_said(
    labels: dict[str, str], mysql: str, redis: str, warnings: list[str]
) -> None:
    run = run_environment("local", labels={"databases": labels})
    assert run.error is None
    assert run.warnings() == warnings  # P1
    assert run.outputs["notices"] == warnings
    assert run.outputs["databases"] == {
        "mysql": {"host": "127.0.0.1", "port": 9506, "state": mysql},
        "redis": {"host": "127.0.0.1", "port": 9507, "state": redis},
    }
    assert run["ReusedDatabase", "mysql"].outputs == {"host": "127.0.0.1", "port": 9506, "state": mysql}
    states: Any = {"mysql": mysql, "redis": redis}
    made = definitions(plan_of("local"), states)
    for name in ("identity-service", "governance-service", "blockchain-service"):
        told: dict[str, Any] = json.loads(run["Command", f"{name}-up"].inputs["stdin"])
        assert told == made[f"service/{name}"]
    env = made["service/identity-service"]["launch"]["env"]
    assert env["SERVICE_DATABASES"] == f"mysql={mysql},redis={redis}"


@pytest.mark.parametrize("label", ["missing: connection refused", "refused: WRONGPASS"])
def test_a_stack_may_insist_on_its_databases(label: str) -> None:
    insist = put("databases.redis.when_missing", "fail")
    run = run_environment("local", insist, labels={"databases": {"redis": label}})
    assert type(run.error) is pulumi.RunError
    text = f"databases.redis: redis on 127.0.0.1:9507 can't be used ({label})"
    text += ", and it has to be there (`when_missing: fail`)"
    cures = {
        "refused": "set its password under secrets.redis (`make encrypt`, or `pulumi config set --secret`)",
        "missing": "start it, or set databases.redis.host and databases.redis.port right",
    }
    assert str(run.error) == f"{text}; {cures[label.split(':')[0]]}"
    # Nobody who needs it was started.
    assert not {"identity-service-up", "governance-service-up", "blockchain-service-up"} & set(run.of("Command"))


@pytest.mark.parametrize("stack", ["tencent", "alibaba"])
def test_a_servers_database_that_moves_is_asked_where_it_is_to_be(stack: str) -> None:
    """What was knocked at is the address on record; `hostctl database` refuses where it can't be had at the new one."""
    moved = put("databases.mysql.host", "10.9.8.7")
    run = run_environment(stack, moved, labels={"databases": {"mysql": "missing: connection refused"}})
    assert run.error is None
    port = plan_of(stack).database("mysql").port
    assert run.warnings() == [
        "databases.mysql: where the host has it on record it can't be used (missing: connection refused): "
        f"`up` asks mysql on 10.9.8.7:{port} and ends there if it can't be used; "
        "start it, or set databases.mysql.host and databases.mysql.port right"
    ]
    assert create(run, "mysql-check").endswith("--observed 'missing: connection refused'")
    assert run.outputs["databases"]["mysql"]["state"] == "reused"
    usual = run_environment(stack, moved, labels={"databases": {"mysql": "reused"}})
    for name in ("identity-service-up", "blockchain-service-up"):  # nobody's definition is another one for it
        assert run["Command", name].inputs["stdin"] == usual["Command", name].inputs["stdin"]


def test_a_database_that_nobody_uses_is_told_so() -> None:
    changes = [put(f"services.{name}.databases", ["mysql"]) for name in ("identity-service", "governance-service")]
    run = run_environment("local", *changes, labels={"databases": {"redis": "missing: timed out"}})
    assert run.warnings() == [
        "databases.redis: redis on 127.0.0.1:9507 can't be used (missing: timed out): no service uses it; "
        "start it, or set databases.redis.host and databases.redis.port right"
    ]


def test_what_never_converged_or_is_gone_has_a_label_that_never_comes_again() -> None:
    labels = {"host": "gone (1)", "services": {"identity-service": ""}, "absent": "gone (1)"}
    run = run_environment("local", labels=labels)
    assert create(run, "identity-service-up").endswith("--observed ''")
    assert create(run, "blockchain-config-up").endswith("--observed 'gone (1)'")
    assert create(run, "local-host-hostctl").endswith("'gone (1)'")
