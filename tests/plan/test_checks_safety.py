"""What must not happen in production or face the world, each with its exact message (D6, D11, D13)."""

from __future__ import annotations

import pytest

from plan.checks.safety import refusals
from tests.plan.stacks import HOST_KEY, PINNED, Change, drop, notices_of, plan_of, problems_of, put, raw_stack

CHAINS = [
    pytest.param(  # P3
        "alibaba",
        [put("chains", ["simulation"]), drop("chain_settings")],
        ["chains: simulation is no chain for production; use huawei or ethereum"],
        id="simulation-in-production",
    ),
    pytest.param(
        "alibaba",
        [put("chains", ["huawei", "simulation"])],
        ["chains: simulation is no chain for production; use huawei or ethereum"],
        id="simulation-beside-another-in-production",
    ),
    pytest.param(
        "tencent",
        [drop("chain_settings.ethereum")],
        ["chains: chain ethereum has no settings; add chain_settings.ethereum with endpoint and chain_id"],
        id="chain-without-settings",
    ),
    pytest.param(
        "tencent",
        [drop("chain_settings")],
        [
            "chains: chain ethereum has no settings; add chain_settings.ethereum with endpoint and chain_id",
            "chains: chain huawei has no settings; add chain_settings.huawei with endpoint and chain_id",
        ],
        id="chains-without-settings",
    ),
    pytest.param(
        "tencent",
        [put("chains", ["huawei", "ethereum", "huawei"])],
        ["chains: lists a chain twice; write [huawei, ethereum]"],
        id="chain-twice",
    ),
]

OPEN = [
    pytest.param(
        "tencent",
        [put("databases.mysql.open_to", [cidr])],
        [
            f"databases.mysql.open_to: {cidr} opens the database to the world; "
            f"name the networks that need it, {narrow} or narrower, or drop open_to"
        ],
        id=cidr,
    )
    for cidr, narrow in [
        ("0.0.0.0/0", "/8"),
        ("0.0.0.0/1", "/8"),
        ("128.0.0.0/7", "/8"),
        ("::/0", "/32"),
        ("2000::/3", "/32"),
        ("2001:db8::/31", "/32"),
    ]
]

RUNTIMES = [
    pytest.param(
        "tencent",
        [put("runtime", "process")],
        ["runtime: runtime process is for the laptop, 101.33.251.158 is a server; write `compose`"],
        id="process-on-a-server",
    ),
    pytest.param(
        "alibaba",
        [put("runtime", "docker")],
        ["runtime: runtime docker is for the laptop, 47.115.168.107 is a server; write `compose`"],
        id="docker-on-a-server",
    ),
    pytest.param(
        "local",
        [put("runtime", "compose")],
        ["runtime: compose is for servers; write `process` or `docker`"],
        id="compose-on-the-laptop",
    ),
    pytest.param(
        "local",
        [drop("runtime")],
        ["runtime: compose is for servers; write `process` or `docker`"],
        id="no-runtime-on-the-laptop",
    ),
    pytest.param(
        "local",
        [put("host.address", "192.0.2.7"), put("runtime", "process")],
        [
            "databases.mysql.when_missing: an embedded store is for the laptop only; write `fail`",
            "databases.redis.when_missing: an embedded store is for the laptop only; write `fail`",
            "runtime: runtime process is for the laptop, 192.0.2.7 is a server; write `compose`",
        ],
        id="the-laptops-stack-with-a-servers-address",
    ),
    pytest.param(
        "tencent",
        [put("databases.mysql.when_missing", "embedded")],
        ["databases.mysql.when_missing: an embedded store is for the laptop only; write `fail`"],
        id="embedded-store-on-a-server",
    ),
    pytest.param(
        "local",
        [put("services.identity-service.folder", "../identity")],
        [
            "services.identity-service.folder: runtime process needs to know what to start there; "
            "add command, for example [python, main.py] (or `runtime: docker`)"
        ],
        id="process-folder-without-command",
    ),
    pytest.param(
        "local",
        [put("services.identity-service.image", "registry.example/identity:1.2")],
        [
            "services.identity-service.image: runtime process runs no images; "
            "say command and folder, or set `runtime: docker`"
        ],
        id="process-image",
    ),
    pytest.param(
        "local",
        [put("runtime", "docker"), put("services.identity-service.command", ["python", "main.py"])],
        ["services.identity-service.command: runtime docker runs no commands; say image or folder"],
        id="docker-command",
    ),
    pytest.param(
        "tencent",
        [put("services.identity-service.command", ["python", "main.py"])],
        ["services.identity-service.command: runtime compose runs no commands; say image"],
        id="compose-command",
    ),
    pytest.param(
        "tencent",
        [put("services.identity-service.folder", "../identity")],
        ["services.identity-service.folder: a server builds no images; add image: the one built of it"],
        id="compose-folder",
    ),
]


@pytest.mark.parametrize(("stack", "changes", "problems"), [*CHAINS, *OPEN, *RUNTIMES])
def test_what_must_not_be_is_named(stack: str, changes: list[Change], problems: list[str]) -> None:
    assert problems_of(stack, *changes) == problems  # D6, D11, D13


@pytest.mark.parametrize("cidr", ["10.0.0.0/8", "203.0.113.7/32", "2001:db8::/32", "2001:db8::1/128"])
def test_a_database_may_be_opened_to_a_network(cidr: str) -> None:
    plan = plan_of("tencent", put("databases.mysql.open_to", [cidr]))
    assert plan.database("mysql").open_to == (cidr,)  # D11


@pytest.mark.parametrize("stack", ["local", "tencent", "alibaba"])
def test_no_documented_database_is_open(stack: str) -> None:
    assert [database.open_to for database in plan_of(stack).databases if database.open_to] == []  # D11


def test_what_may_run_where() -> None:
    identity = "services.identity-service"
    folder = [put(f"{identity}.folder", "../identity"), put(f"{identity}.command", ["python", "main.py"])]
    assert _runs("local", *folder) == "command"
    assert _runs("local", put("runtime", "docker"), *folder) == "folder"
    image = put(f"{identity}.image", "registry.example/identity:1.2")
    assert _runs("local", put("runtime", "docker"), image) == "image"
    assert _runs("tencent", image, *folder) == "image"
    assert _runs("tencent") == "stand-in"  # D13


def _runs(stack: str, *changes: Change) -> str:
    plan = plan_of(stack, *changes)
    return next(service.runs for service in plan.services if service.name == "identity-service")


IMAGES: list[Change] = [
    put(f"services.{name}.image", f"registry.example/{name}:1.0.0") for name in raw_stack("alibaba")["services"]
]
REAL_CHAIN = put("chain_settings.huawei.endpoint", "https://bcs.example")
ALL_STAND_INS = (
    "services: 12 services run the stand-in: identity-service, governance-service, blockchain-storage, "
    "blockchain-cache, blockchain-security, blockchain-audit, dao-governance, dao-voting, dao-proposal, "
    "dao-reward, blockchain-service, crosschain-service"
)


def test_stand_ins_in_production_are_noticed_in_preview_and_refused_in_up() -> None:
    plan = plan_of("alibaba", PINNED, REAL_CHAIN)
    notices = [str(notice) for notice in plan.notices]
    assert f"{ALL_STAND_INS}; `up` refuses it without `allow_stand_in: true` (D13)" in notices
    refused = [str(problem) for problem in refusals(plan)]
    assert refused == [
        f"services.{service.name}.image: a stand-in would serve in production; "
        "name the real image, or say allow_stand_in: true"
        for service in plan.services
    ]  # D13
    assert len(refused) == 12


def test_the_stack_may_allow_stand_ins_in_production() -> None:
    plan = plan_of("alibaba", PINNED, REAL_CHAIN, put("allow_stand_in", True))
    assert list(refusals(plan)) == []  # D13
    assert f"{ALL_STAND_INS}; allow_stand_in lets them (D13)" in [str(notice) for notice in plan.notices]


def test_one_stand_in_among_real_images_is_refused() -> None:
    plan = plan_of("alibaba", PINNED, REAL_CHAIN, *IMAGES[1:])
    assert [str(problem) for problem in refusals(plan)] == [
        "services.blockchain-service.image: a stand-in would serve in production; "
        "name the real image, or say allow_stand_in: true"
    ]  # D13


def test_real_images_and_a_real_chain_go_into_production() -> None:
    plan = plan_of("alibaba", PINNED, REAL_CHAIN, *IMAGES)
    assert list(refusals(plan)) == []
    assert not any("stand-in" in str(notice) for notice in plan.notices)  # D13


@pytest.mark.parametrize("stack", ["local", "tencent"])
def test_stand_ins_elsewhere_are_fine(stack: str) -> None:
    plan = plan_of(stack, PINNED)
    assert all(service.runs == "stand-in" for service in plan.running)
    assert list(refusals(plan)) == []  # D13
    assert not any("stand-in" in str(notice) for notice in plan.notices)


def test_a_placeholder_for_a_chain_is_noticed_in_preview_and_refused_in_production() -> None:
    text = "chain_settings.huawei.endpoint: https://bcs.huawei.invalid is a placeholder"
    assert f"{text}; `up` in production refuses it" in notices_of("alibaba")
    assert f"{text}; `up` in production refuses it" in notices_of("tencent")
    plan = plan_of("alibaba", PINNED, *IMAGES)
    assert [str(problem) for problem in refusals(plan)] == [f"{text}; name the chain's real endpoint"]
    assert list(refusals(plan_of("tencent", PINNED))) == []


def test_an_unpinned_host_key_is_noticed() -> None:
    notice = "host.host_key: no host key is pinned: the server isn't looked at, and `up` refuses; `make trust STACK="
    for stack in ("tencent", "alibaba"):
        assert f"{notice}{stack}` shows and pins it" in notices_of(stack)
        (problem,) = [str(one) for one in refusals(plan_of(stack)) if one.key == "host.host_key"]
        assert problem.startswith("host.host_key: no host key is pinned: any machine could pose as the server")
    assert not any(text.startswith(notice) for text in notices_of("tencent", put("host.host_key", HOST_KEY)))
    assert not any(text.startswith(notice) for text in notices_of("local"))
