"""What a stack file says for nothing or behind the program's back: settings, debuggers, reloads (P1, D6, D13)."""

from __future__ import annotations

import pytest

from plan.checks.safety import refusals
from plan.render import definitions
from tests.plan.stacks import PINNED, Change, notices_of, plan_of, problems_of, put, raw_stack

IDENTITY = "services.identity-service"
MEMBER = "editions.dao.services.dao-service-1"
OTHER = "choose a name that doesn't start with SERVICE_ or BLOCKCHAIN_"

ENV = [
    ("tencent", IDENTITY, "SERVICE_BIND", OTHER),
    ("tencent", IDENTITY, "SERVICE_STAND_IN", OTHER),
    ("tencent", IDENTITY, "SERVICE_WHATEVER_COMES", OTHER),
    ("tencent", IDENTITY, "BLOCKCHAIN_MYSQL_HOST", OTHER),
    ("tencent", IDENTITY, "SERVICE_PORT", f"say {IDENTITY}.port instead"),
    ("tencent", IDENTITY, "PORT", f"say {IDENTITY}.port instead"),
    ("tencent", IDENTITY, "IDENTITY_SERVICE_PORT", f"say {IDENTITY}.port instead"),
    ("local", IDENTITY, "SERVICE_DEBUG_PORT", f"say {IDENTITY}.debug_port instead"),
    ("tencent", "services.blockchain-service", "IDENTITY_SERVICE_PORT", f"say {IDENTITY}.port instead"),
    ("alibaba", IDENTITY, "BLOCKCHAIN_CHAIN", "say chains instead"),
    ("alibaba", IDENTITY, "BLOCKCHAIN_MODE", "say mode instead"),
    ("tencent", IDENTITY, "BLOCKCHAIN_MYSQL_PASSWORD", "keep it encrypted, under secrets.mysql"),
    ("tencent", IDENTITY, "BLOCKCHAIN_HUAWEI_CREDENTIAL", "keep it encrypted, under secrets.huawei"),
    ("tencent", IDENTITY, "BLOCKCHAIN_PASSWORD", "keep it encrypted, under secrets.NAME"),
    ("tencent", MEMBER, "SERVICE_EDITION", OTHER),
    ("tencent", MEMBER, "PORT", f"say {MEMBER}.port instead"),
    (
        "tencent",
        "editions.future.services.future-service-1",
        "BLOCKCHAIN_REDIS_PASSWORD",
        "keep it encrypted, under secrets.redis",
    ),
]


@pytest.mark.parametrize(("stack", "service", "key", "right"), ENV)
def test_a_setting_that_the_program_gives_is_refused_and_not_shown(
    stack: str, service: str, key: str, right: str
) -> None:
    found = problems_of(stack, put(f"{service}.env", {key: "hunter2", "LOG_LEVEL": "debug"}))
    assert found == [f"{service}.env.{key}: is given by the program itself; {right}"]  # D6


def test_every_setting_that_a_service_gets_is_the_programs() -> None:
    """Whatever the environment comes to hold later: nothing of it can be replaced."""
    for stack in ("local", "tencent", "alibaba"):
        for name, made in definitions(plan_of(stack)).items():
            if not name.startswith("service/") or name.removeprefix("service/") not in raw_stack(stack)["services"]:
                continue
            path = f"services.{name.removeprefix('service/')}.env"
            given = made["launch"]["env"]
            found = problems_of(stack, put(path, dict.fromkeys(given, "x")))
            assert sorted(one.split(":")[0] for one in found) == sorted(f"{path}.{key}" for key in given)


@pytest.mark.parametrize("key", ["LOG_LEVEL", "GOVERNANCE_SERVICE_PORT", "port", "DB_PORT", "SERVICES", "_x"])
def test_other_settings_are_a_services_own(key: str) -> None:
    plan = plan_of("local", put(f"{IDENTITY}.env", {key: "1"}))
    assert definitions(plan)["service/identity-service"]["launch"]["env"][key] == "1"


def command(*words: str) -> Change:
    return put(f"{IDENTITY}.command", list(words))


DEBUG = put(f"{IDENTITY}.debug_port", 5678)
RELOAD = put(f"{IDENTITY}.reload", True)
EMPTY = "8320-8329, which stays empty: what belongs there is reused elsewhere"
FOR_DEVELOPMENT = f"{IDENTITY}.debug_port: a debugger, which runs what it is told, is for development only; drop it"
IDLE = [
    pytest.param(
        "local",
        [put(f"{IDENTITY}.debug_port", 22)],
        ["debug_port: 22 is below 1024, where root alone may listen; 5678 is free"],
        id="debug-22",
    ),
    pytest.param(
        "local",
        [put(f"{IDENTITY}.debug_port", 8325)],
        [f"debug_port: 8325 is in {EMPTY}; 5678 is free"],
        id="P10-debug-8325",
    ),
    pytest.param(
        "local",
        [DEBUG, put("databases.mysql.port", 5678), put("databases.redis.port", 5679)],
        ["debug_port: 5678 is taken on 127.0.0.1 by mysql; 5680 is free"],
        id="debug-taken",
    ),
    pytest.param(
        "local",
        [DEBUG, command("./run.sh")],
        [
            "debug_port: the debugger is Python's, and the command starts './run.sh'; "
            "start with python, for example [python, main.py], or drop it"
        ],
        id="debug-of-no-python",
    ),
    pytest.param(
        "local",
        [RELOAD, command("python", "main.py")],
        ["reload: there is no folder to watch; add folder, or drop it"],
        id="reload-of-no-folder",
    ),
    pytest.param(
        "local",
        [command("")],
        ["command: '' is no program; name what to start, for example [python, main.py]"],
        id="empty-command",
    ),
    pytest.param(
        "local",
        [command(" ", "x")],
        ["command: ' ' is no program; name what to start, for example [python, main.py]"],
        id="blank-command",
    ),
    pytest.param(  # no echoes of a command that can't be read
        "local",
        [command(""), RELOAD, DEBUG, put(f"{IDENTITY}.folder", "../id")],
        ["command: '' is no program; name what to start, for example [python, main.py]"],
        id="empty-command-of-a-folder",
    ),
]


@pytest.mark.parametrize(("stack", "changes", "problems"), IDLE)
def test_what_would_do_nothing_is_told(stack: str, changes: list[Change], problems: list[str]) -> None:
    assert problems_of(stack, *changes) == [f"{IDENTITY}.{problem}" for problem in problems]  # P1


def test_an_argument_may_be_empty() -> None:
    plan_of("local", command("./run.sh", "--prefix", ""))


@pytest.mark.parametrize("stack", ["tencent", "alibaba"])
def test_a_debugger_is_for_development(stack: str) -> None:
    assert problems_of(stack, DEBUG) == [FOR_DEVELOPMENT]
    assert problems_of("local", DEBUG, put("mode", "integration")) == [FOR_DEVELOPMENT]


def test_what_waits_for_another_runtime_is_noticed() -> None:
    changes = [DEBUG, RELOAD]
    assert notices_of("local", *changes) == []
    assert notices_of("local", put("runtime", "docker"), *changes) == [
        f"{IDENTITY}.debug_port: does nothing: runtime docker starts no debugger",
        f"{IDENTITY}.reload: does nothing: runtime docker watches no code",
    ]
    assert f"{IDENTITY}.reload: does nothing: runtime compose watches no code" in notices_of("tencent", RELOAD)


REAL = [
    put("chain_settings.huawei.endpoint", "https://bcs.example"),
    *(put(f"services.{name}.image", f"registry.example/{name}:1.0.0") for name in raw_stack("alibaba")["services"]),
]


@pytest.mark.parametrize(
    "image",
    [
        "blockchain-dao/stand-in:0.1.0",
        "blockchain-dao/stand-in:9.9",
        "docker.io/blockchain-dao/stand-in:0.1.0",
        "registry.example:5000/blockchain-dao/stand-in:0.1.0",
        "blockchain-dao/stand-in@sha256:" + "a" * 64,
    ],
)
def test_a_stand_in_by_its_image_is_a_stand_in(image: str) -> None:
    plan = plan_of("alibaba", PINNED, *REAL, put(f"{IDENTITY}.image", image))
    assert [str(problem) for problem in refusals(plan)] == [
        f"{IDENTITY}.image: a stand-in would serve in production; name the real image, or say allow_stand_in: true"
    ]  # D13
    assert any("1 services run the stand-in: identity-service;" in str(notice) for notice in plan.notices)
    assert definitions(plan)["service/identity-service"]["launch"]["env"]["SERVICE_STAND_IN"] == "1"


@pytest.mark.parametrize("image", ["blockchain-dao/stand-in-not:1", "other/blockchain-dao/stand-in:1"])
def test_another_image_is_no_stand_in(image: str) -> None:
    assert list(refusals(plan_of("alibaba", PINNED, *REAL, put(f"{IDENTITY}.image", image)))) == []


@pytest.mark.parametrize(
    "url", ["https://bcs.huawei.invalid.", "https://BCS.Huawei.INVALID:8443/x", "https://invalid", "wss://x.invalid./"]
)
def test_a_placeholder_is_one_however_it_is_written(url: str) -> None:
    plan = plan_of("alibaba", PINNED, *REAL, put("chain_settings.huawei.endpoint", url))
    assert [str(problem) for problem in refusals(plan)] == [
        f"chain_settings.huawei.endpoint: {url} is a placeholder; name the chain's real endpoint"
    ]


@pytest.mark.parametrize("url", ["https://bcs.example/x.invalid", "https://notinvalid", "https://invalid.example"])
def test_a_real_endpoint_is_none(url: str) -> None:
    assert list(refusals(plan_of("alibaba", PINNED, *REAL, put("chain_settings.huawei.endpoint", url)))) == []


@pytest.mark.parametrize("key", ["DB_PASSWORD", "GH_TOKEN", "API_KEY", "client_secret", "TLS_PRIVATE_KEY"])
def test_a_setting_that_looks_like_a_secret_is_refused_and_never_shown(key: str) -> None:  # D6
    problems = problems_of("local", put(f"{IDENTITY}.env", {key: "hunter2"}))
    cure = f"keep it in a file of its own and say {key}_FILE: settings stand in previews and in state"
    assert problems == [f"{IDENTITY}.env.{key}: looks like a secret, and would be in clear text; {cure}"]
    fine = {f"{key}_FILE": "/run/secrets/one", "TOKENIZER": "bpe"}
    identity = next(s for s in plan_of("local", put(f"{IDENTITY}.env", fine)).services if s.name == "identity-service")
    assert dict(identity.env) == fine
