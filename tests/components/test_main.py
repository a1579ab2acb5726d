"""The program itself, all of `__main__.py`: previews that list everything, refusals that touch nothing."""

from __future__ import annotations

import json
import shlex
import time
from typing import Any

import pulumi
import pytest

from hostctl import RUNTIMES, pack
from plan.render import definitions
from tests.components.harness import Run, attempt, configured, main_program, observed, run_main
from tests.plan.stacks import HOST_KEY, PINNED, STACKS, Change, as_pulumi_hands_it, changed, plan_of, put

SERVICES = {"local": 6, "tencent": 12, "alibaba": 12}
DATABASES = {"local": 2, "tencent": 6, "alibaba": 3}


@pytest.fixture(scope="module", params=STACKS)
def preview(request: pytest.FixtureRequest) -> tuple[str, Run]:
    return request.param, run_main(request.param)


def test_a_preview_lists_every_resource(preview: tuple[str, Run]) -> None:
    stack, run = preview
    assert run.error is None
    assert len(run.of("BlockchainService")) == SERVICES[stack] + (3 if stack == "tencent" else 0)
    assert len(run.of("ReusedDatabase")) == DATABASES[stack]
    assert list(run.of("Environment")) == [stack]
    assert list(run.of("Host")) == [f"{stack}-host"]
    assert list(run.of("Edition")) == (["dao"] if stack == "tencent" else [])
    assert list(run.of("SharedService")) == (["dao-shared-service"] if stack == "tencent" else [])
    plan = plan_of(stack)
    commands = {f"{stack}-host-hostctl", *(f"{database.name}-check" for database in plan.databases)}
    commands |= {f"{service.name}-up" for service in plan.running}
    commands |= set() if stack == "local" else {"stand-in-image-brought", "edge-image-brought", "edge-up"}
    assert set(run.of("Command")) == commands
    assert len(run.resources) == sum(
        len(run.of(kind))
        for kind in (
            "Environment",
            "Host",
            "ReusedDatabase",
            "BlockchainService",
            "Edition",
            "SharedService",
            "Integration",
            "HostImage",
            "Edge",
            "Command",
        )
    )


@pytest.mark.parametrize("stack", ["tencent", "alibaba"])
def test_a_preview_of_a_server_asks_nobody_and_says_so(stack: str) -> None:
    run = run_main(stack)
    assert run.calls == []
    said = f"host {plan_of(stack).host.address} was not observed: "
    assert [text for text in run.outputs["notices"] if text.startswith(said)] == [f"{said}no host key is pinned"]
    assert [level for level, text in run.log if text.startswith(said)] == ["INFO"]


def test_the_laptop_is_asked_with_every_database() -> None:
    run = run_main("local")
    (call,) = run.calls
    assert call.token == "command:local:run"
    assert call.args["command"] == ".venv/bin/python -m hostctl --root .local observe"
    made = definitions(plan_of("local"))
    databases = {name: made[f"database/{name}"] for name in ("mysql", "redis")}
    assert json.loads(call.args["stdin"]) == {"databases": databases, "secrets": {}}
    assert call.args["logging"] == "none"
    assert run.outputs["notices"] == []


@pytest.mark.parametrize("stack", ["tencent", "alibaba"])
def test_a_server_gets_hostctl_itself(stack: str) -> None:
    digest, plan = pack.digest(), plan_of(stack)
    host = run_main(stack)["Command", f"{stack}-host-hostctl"].inputs
    login = [plan.host.address, "22", "root", ""]
    root = "/opt/blockchain-services"
    assert shlex.split(host["create"]) == [
        *(".venv/bin/python", "-m", "hostctl.there", "install"),
        *login,
        *(root, digest),
    ]
    assert json.loads(host["stdin"]) == definitions(plan)["host"]
    assert shlex.split(host["delete"]) == [".venv/bin/python", "-m", "hostctl.there", "remove", *login, root]


def test_the_laptop_gets_hostctl_from_the_sources_by_their_digest() -> None:
    host = run_main("local", labels={"host": ""})["Command", "local-host-hostctl"].inputs
    python = ".venv/bin/python"
    words = [python, "-m", "hostctl.here", ".local", python, pack.digest(), ""]
    assert shlex.split(host["create"]) == words


def test_up_brings_the_laptop_to_life_as_previewed() -> None:
    assert "process" in RUNTIMES
    previewed, upped = run_main("local"), run_main("local", preview=False)
    assert upped.error is None
    assert set(upped.resources) == set(previewed.resources)
    for key, one in upped.resources.items():
        assert (one.inputs, one.outputs) == (previewed[key].inputs, previewed[key].outputs)


INVALID = [
    ("local", put("services.governance-service.port", 8302), "services.governance-service.port: 8302 is taken"),
    ("tencent", put("mods", "x"), "mods: is not a known key; did you mean 'mode'?"),
    ("alibaba", put("chains", ["simulatoin"]), "chains.0: 'simulatoin' is not known; did you mean 'simulation'?"),
]


@pytest.mark.parametrize("preview_run", [True, False])
@pytest.mark.parametrize(("stack", "change", "problem"), INVALID)
def test_an_invalid_stack_ends_in_the_list_and_touches_nothing(
    stack: str, change: Change, problem: str, preview_run: bool
) -> None:
    run = run_main(stack, change, preview=preview_run)
    assert type(run.error) is pulumi.RunError  # the engine shows it without a traceback
    text = str(run.error)
    assert text.startswith(f"Pulumi.{stack}.yaml has 1 problem; nothing was touched:\n  - {problem}")
    assert run.error.__suppress_context__
    assert (run.resources, run.calls) == ({}, [])


def test_up_of_a_server_without_its_key_is_refused_before_anything_is_registered() -> None:
    run = run_main("tencent", preview=False)
    assert type(run.error) is pulumi.RunError
    assert str(run.error).splitlines() == [
        "Pulumi.tencent.yaml has 1 problem; nothing was touched:",
        "  - host.host_key: no host key is pinned: any machine could pose as the server; "
        "`make trust STACK=tencent` shows and pins it",
    ]
    assert (run.resources, run.calls) == ({}, [])


def answering(answer: dict[str, Any]) -> Any:
    return lambda call: {"stdout": json.dumps(answer), "stderr": ""}


def test_a_server_is_asked_once_without_any_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", "/tmp/agent")
    run = run_main("tencent", PINNED, secrets={"mysql": "hunter2"}, labels={"host": "edited", "absent": "gone"})
    (call,) = run.calls
    root = "/opt/blockchain-services"
    asked = [".venv/bin/python", "-m", "hostctl.there", "observe", "101.33.251.158", "22", "root", HOST_KEY, root]
    assert shlex.split(call.args["command"]) == asked
    assert "hunter2" not in json.dumps(call.args)  # D6
    assert "dao-service-1" in json.loads(call.args["stdin"])["containers"]  # D18
    assert shlex.split(run["Command", "tencent-host-hostctl"].inputs["create"])[-1] == "edited"
    assert shlex.split(run["Command", "identity-service-up"].inputs["create"])[-2:] == ["--observed", "gone"]


def test_without_an_agent_a_preview_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    run = run_main("tencent", PINNED)
    assert run.calls == []
    assert any("was not observed: no ssh-agent with your key" in text for text in run.outputs["notices"])
    run = run_main("tencent", PINNED, preview=False)
    assert str(run.error).startswith("host.address: 101.33.251.158 can't be asked, nothing was touched: no ssh-agent")
    assert "`make … SSH_KEY_FILE=…`" in str(run.error)


def test_a_server_whose_hostctl_cant_answer_is_installed_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", "/tmp/agent")
    broken = {"bare": True, "why": "hostctl observe failed: broken"}
    run = run_main("tencent", PINNED, labels=broken, preview=False)
    assert run.error is None
    for name in ("tencent-host-hostctl", "identity-service-up"):
        assert "not converged yet (asked " in run["Command", name].inputs["create"]
    notices = [text for text in run.outputs["notices"] if "broken" in text]
    assert notices == [
        "host 101.33.251.158: hostctl observe failed: broken; `up` installs hostctl anew and converges everything again"
    ]


def test_a_server_that_cant_be_reached_stops_up_and_not_a_preview(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", "/tmp/agent")
    run = run_main("tencent", PINNED, labels={"unreachable": "connection refused"})
    assert run.error is None
    assert any("was not observed: connection refused" in text for text in run.outputs["notices"])
    assert run["Command", "identity-service-up"].ignore_changes == ["create"]
    run = run_main("tencent", PINNED, labels={"unreachable": "connection refused"}, preview=False)
    said = "host.address: 101.33.251.158 can't be asked, nothing was touched: connection refused"
    assert str(run.error) == said
    assert run.resources == {}


def test_what_is_adopted_and_a_wrong_clock_are_told(monkeypatch: pytest.MonkeyPatch) -> None:  # D18
    monkeypatch.setenv("SSH_AUTH_SOCK", "/tmp/agent")
    states = {"dao-service-1": True, "dao-service-2": False, "future-service-1": True, "future-service-2": False}
    adopts = {name: {"image": "dao:1", "running": running} for name, running in states.items()}
    found = {"host": "", "now": time.time() - 86400, "adopts": adopts}
    notices = run_main("tencent", PINNED, labels=found).outputs["notices"]
    there = "is there already and not ours (image dao:1)"
    assert [text for text in notices if there in text] == [
        f"dao-service-1 {there}: `up` stops it and keeps it as dao-service-1.before-blockchain-dao, "
        "`destroy` gives it back (D18)",
        f"dao-service-2 {there}: `up` keeps it as dao-service-2.before-blockchain-dao, `destroy` gives it back (D18)",
        f"future-service-1 {there}, and runs although its edition is off (E1): `up` leaves it; "
        "`docker stop future-service-1`, or switch to its edition and back",
    ]
    assert any("the clock of 101.33.251.158 is 1440 minutes behind" in text for text in notices)


def test_up_of_production_on_stand_ins_is_refused_before_anything_is_registered() -> None:
    run = run_main("alibaba", PINNED, preview=False)
    assert type(run.error) is pulumi.RunError
    first, *lines = str(run.error).splitlines()
    assert first == "Pulumi.alibaba.yaml has 13 problems; nothing was touched:"
    assert (
        "  - chain_settings.huawei.endpoint: https://bcs.huawei.invalid is a placeholder; "
        "name the chain's real endpoint"
    ) in lines
    assert sum("a stand-in would serve in production" in line for line in lines) == 12  # D13
    assert (run.resources, run.calls) == ({}, [])


def test_a_secret_in_clear_text_is_refused() -> None:
    run = run_main("local", secrets={"mysql": "hunter2"}, secret_keys=())
    assert type(run.error) is pulumi.RunError
    assert "secrets.mysql: is in clear text" in str(run.error)  # D6
    assert "hunter2" not in str(run.error)
    assert run.resources == {}


@pytest.mark.parametrize("value", ["hunter2", '["hunter2"]', "42"])
def test_a_secret_without_a_name_is_refused_and_not_shown(value: str) -> None:
    raw: dict[str, Any] = {**as_pulumi_hands_it(changed("local")), "secrets": value}
    with configured(raw, ["secrets"]):
        run = attempt(main_program, stack="local", answer=observed(), preview=True)
    assert type(run.error) is pulumi.RunError
    assert "secrets: is not a map of names to secrets; write one secret a name: secrets.NAME" in str(run.error)
    assert "hunter2" not in str(run.error)  # D6
    assert run.resources == {}


def test_a_secret_where_previews_would_show_it_is_refused() -> None:
    token = put("services.identity-service.env", {"TOKEN": "hunter2"})
    run = run_main("local", token, secret_keys=["services"])
    assert type(run.error) is pulumi.RunError
    assert str(run.error) == (
        "Pulumi.local.yaml has 1 problem; nothing was touched:\n"
        "  - services: is secret, and previews would show it; keep what is secret under secrets.NAME only"
    )  # D6
    assert run.resources == {}
