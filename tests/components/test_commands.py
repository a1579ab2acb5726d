"""Runtimes process and compose: what each component registers, and what none does (P5, P7, D5, D6)."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

import pytest

from plan.render import definitions
from tests.components.harness import DIGEST, Registered, Run, run_environment
from tests.plan.stacks import HOST_KEY, PINNED, STACKS, drop, plan_of, put

SERVERS = ("tencent", "alibaba")
ROOTS = {"local": ".local", "tencent": "/opt/blockchain-services", "alibaba": "/opt/blockchain-services"}
ADDRESSES = {"tencent": "101.33.251.158", "alibaba": "47.115.168.107"}
EDITION = ["dao-service-1", "dao-service-2", "dao-service-3"]
TYPES = {
    "Environment": "blockchain:environment:Environment",
    "Host": "blockchain:host:Host",
    "ReusedDatabase": "blockchain:databases:ReusedDatabase",
    "BlockchainService": "blockchain:services:BlockchainService",
    "Edition": "blockchain:editions:Edition",
    "SharedService": "blockchain:editions:SharedService",
    "ChainCredential": "blockchain:chains:ChainCredential",
    "Integration": "blockchain:integrations:Integration",
    "HostImage": "blockchain:images:HostImage",
    "Edge": "blockchain:edge:Edge",
}
OUTPUTS = {
    "Environment": {
        "endpoints",
        "databases",
        "ports",
        "chains",
        "mode",
        "monthly_cost_yuan",
        "costs_yuan",
        "notices",
    },
    "Host": {"address", "root"},
    "ReusedDatabase": {"host", "port", "state"},
    "BlockchainService": {"port", "endpoint"},
    "Edition": {"endpoints"},
    "SharedService": {"port", "endpoint", "export_command", "import_command"},
    "ChainCredential": set(),
    "Integration": {"host", "ports", "state"},
    "HostImage": {"image", "digest"},
    "Edge": {"port", "metrics"},
}
FROM_HERE = ("-hostctl", "-brought")
"""What brings something along to a server starts on this machine."""
SECRETS = {
    "local": {"mysql": "hunter2", "simulation": "s3same"},
    "tencent": {"mysql": "hunter2", "ethereum": "s3same"},
    "alibaba": {"mysql": "hunter2", "huawei": "s3same"},
}


@pytest.fixture(scope="module", params=STACKS)
def stack(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def run(stack: str) -> Run:
    """A whole environment that nobody observed, with a database's and a chain's secret."""
    found = run_environment(stack, secrets=SECRETS[stack])
    assert found.error is None
    return found


def commands(run: Run) -> dict[str, Registered]:
    return run.of("Command")


def test_type_tokens(stack: str, run: Run) -> None:
    for one in run.resources.values():
        place = "local" if stack == "local" or one.name.endswith(FROM_HERE) else "remote"
        assert one.type == (f"command:{place}:Command" if one.kind == "Command" else TYPES[one.kind])


def test_each_resource_has_its_parent(stack: str, run: Run) -> None:
    parents = {one.key: run.parent(one) for one in run.resources.values()}
    assert parents.pop(("Environment", stack)) == ""
    for (kind, name), parent in parents.items():
        if kind == "Command":
            # The command is its component's: identity-service-up of identity-service, mysql-secrets of mysql.
            assert parent == name.rsplit("-", 1)[0], name
        elif name in EDITION or kind == "SharedService":
            assert parent == "dao"
        else:
            assert parent == stack


def test_outputs_are_registered_once_by_every_component(stack: str, run: Run) -> None:
    edge = set() if stack == "local" else {"edge"}
    for one in run.resources.values():
        if one.kind == "Command":
            assert (one.registrations, one.outputs) == (0, None)
        else:
            assert one.registrations == 1, one.key
            assert one.outputs is not None
            assert set(one.outputs) == OUTPUTS[one.kind] | (edge if one.kind == "Environment" else set()), one.key


def test_what_components_put_out(stack: str, run: Run) -> None:
    plan = plan_of(stack)
    assert run["Host", f"{stack}-host"].outputs == {"address": plan.host.address, "root": ROOTS[stack]}
    assert run["ReusedDatabase", "mysql"].outputs == {
        "host": plan.database("mysql").host,
        "port": plan.database("mysql").port,
        "state": "reused",
    }
    port = {"local": 8302, "tencent": 8402, "alibaba": 8502}[stack]
    at = "47.115.168.107" if stack == "alibaba" else "127.0.0.1"  # D19
    assert run["BlockchainService", "identity-service"].outputs == {"port": port, "endpoint": f"http://{at}:{port}"}


def test_an_editions_outputs() -> None:
    run = run_environment("tencent")
    at = "http://101.33.251.158"
    endpoints = {"dao-service-1": 8200, "dao-service-2": 8201, "dao-service-3": 8300, "dao-shared-service": 8400}
    assert run["Edition", "dao"].outputs == {
        "endpoints": {name: f"{at}:{port}" for name, port in endpoints.items()}
    }  # E2
    assert run["SharedService", "dao-shared-service"].outputs == {
        "port": 8400,
        "endpoint": f"{at}:8400",
        "export_command": "docker exec dao-shared-service /app/export_data.sh",
        "import_command": "docker exec -i dao-shared-service /app/import_data.sh",  # D7: with -i
    }  # E4


def test_each_service_is_one_command_with_its_definition(stack: str, run: Run) -> None:
    hostctl = f"{ROOTS[stack]}/bin/hostctl"
    secrets = put("secrets", dict.fromkeys(SECRETS[stack], "[secret]"))
    plan = plan_of(stack, secrets)
    made = definitions(plan)
    for service in plan.running:
        one = commands(run)[f"{service.name}-up"]
        assert one.inputs["create"] == f"{hostctl} up {service.name}"
        assert one.inputs["delete"] == removal(stack, f"down {service.name}")
        assert json.loads(one.inputs["stdin"]) == made[f"service/{service.name}"]
        assert "\n" in one.inputs["stdin"]  # a line a setting: previews show the one that differs
    for database in plan.databases:
        one = commands(run)[f"{database.name}-check"]
        assert one.inputs["create"] == f"{hostctl} database {database.name}"
        assert one.inputs["delete"] == removal(stack, f"remove-database {database.name}")
        assert json.loads(one.inputs["stdin"]) == made[f"database/{database.name}"]


@pytest.mark.parametrize("server", SERVERS)
def test_a_server_is_one_command_that_installs_hostctl_from_the_sources_over_ssh(server: str) -> None:
    plan = plan_of(server, PINNED)
    one = commands(run_environment(server, PINNED))[f"{server}-host-hostctl"]
    assert one.type == "command:local:Command"
    login = [plan.host.address, "22", "root", HOST_KEY]
    install = [".venv/bin/python", "-m", "hostctl.there", "install", *login, ROOTS[server], DIGEST]
    assert shlex.split(one.inputs["create"]) == install
    # hostctl itself may be gone from there: the one that takes everything away is brought along.
    remove = [".venv/bin/python", "-m", "hostctl.there", "remove", *login, ROOTS[server]]
    assert shlex.split(one.inputs["delete"]) == remove
    assert json.loads(one.inputs["stdin"]) == definitions(plan)["host"]
    assert "connection" not in one.inputs


def test_the_laptop_is_one_command_that_installs_from_the_sources() -> None:
    one = commands(run_environment("local"))["local-host-hostctl"]
    python = ".venv/bin/python"
    assert shlex.split(one.inputs["create"]) == [python, "-m", "hostctl.here", ".local", python, DIGEST]
    assert one.inputs["delete"] == removal("local", "remove-host")
    assert json.loads(one.inputs["stdin"]) == definitions(plan_of("local"))["host"]


def removal(stack: str, words: str) -> str:
    """How something is taken away: by the sources on a laptop; on a server only where hostctl still is."""
    if stack == "local":
        return f".venv/bin/python -m hostctl --root .local {words}"
    wrapper = f"{ROOTS[stack]}/bin/hostctl"
    return f"[ ! -x {wrapper} ] || {wrapper} {words}"


def test_everything_waits_for_what_it_needs(stack: str, run: Run) -> None:
    host = f"{stack}-host-hostctl"
    image = set() if stack == "local" else {"stand-in-image-brought"}
    edge = set() if stack == "local" else {"edge-up"}  # it holds their ports
    mysql, redis = {"mysql-secrets", "mysql-check"}, {"redis-check"}
    chain = f"{next(name for name in SECRETS[stack] if name != 'mysql')}-secrets"
    expected: dict[str, set[str]] = {
        "blockchain-service": {host, "identity-service-up", "governance-service-up", chain},
        "identity-service": {host, *mysql, *redis},
        "governance-service": {host, *mysql, *redis},
        "crosschain-service": {host, "blockchain-service-up", chain},
    }
    for name, one in run.of("BlockchainService").items():
        in_edition = name in EDITION
        assert run.after(one) == (set() if in_edition else expected.get(name, {host}) | image | edge), name  # P5
    for one in (*run.of("HostImage").values(), *run.of("ChainCredential").values()):
        assert run.after(one) == {host}
    for one in run.of("ReusedDatabase").values():
        assert run.after(one) == {host} | image  # it is the databases' client too
    for one in run.of("Edition").values():
        assert run.after(one) == {host, *mysql, "edge-image-brought"} | image | edge
    assert run.after(commands(run)["mysql-check"]) == {"mysql-secrets"}


def test_nothing_is_registered_before_what_it_needs(stack: str, run: Run) -> None:
    """A child says nothing of its parent's dependencies: that it waits for its parent has to be enough."""
    order = [name for kind, name in run.resources if kind == "Command"]
    assert order[0] == f"{stack}-host-hostctl"
    for first, then in [
        ("mysql-secrets", "mysql-check"),
        ("mysql-check", "identity-service-up"),
        ("redis-check", "governance-service-up"),
        ("identity-service-up", "blockchain-service-up"),
        ("governance-service-up", "blockchain-service-up"),
        ("blockchain-service-up", "crosschain-service-up"),
    ]:
        assert order.index(first) < order.index(then), (first, then)  # P5
    if stack == "tencent":
        assert order.index("mysql-check") < min(order.index(f"{name}-up") for name in EDITION)


def over_connections(run: Run) -> list[Registered]:
    """Every command that a server runs over a connection of Pulumi's."""
    found = [one for name, one in commands(run).items() if not name.endswith(FROM_HERE)]
    assert len(found) > 10
    return found


def test_a_connection_says_where_and_never_how_to_get_in() -> None:
    changes = [PINNED, put("host.user", "deploy"), put("host.ssh_port", 2222)]
    run = run_environment("tencent", *changes)
    for one in over_connections(run):
        connection: dict[str, Any] = one.inputs["connection"]
        # These two are the SDK's own defaults.
        assert (connection.pop("dialErrorLimit"), connection.pop("perDialTimeout")) == (10, 15)
        assert connection == {
            "host": "101.33.251.158",
            "port": 2222,
            "user": "deploy",
            "hostKey": HOST_KEY,
        }


@pytest.mark.parametrize("server", SERVERS)
def test_without_a_pinned_key_the_connection_has_none(server: str) -> None:
    for one in over_connections(run_environment(server)):
        assert "hostKey" not in one.inputs["connection"]
        assert one.inputs["connection"]["host"] == ADDRESSES[server]
        assert (one.inputs["connection"]["user"], one.inputs["connection"]["port"]) == ("root", 22)  # P11


def test_secrets_travel_on_a_stdin_of_their_own_and_nowhere_else(stack: str, run: Run) -> None:
    hostctl = f"{ROOTS[stack]}/bin/hostctl"
    password = commands(run)["mysql-secrets"]
    assert json.loads(password.inputs["stdin"]) == {"PASSWORD": "hunter2"}
    assert (password.inputs["create"], password.inputs["delete"]) == (
        f"{hostctl} secrets mysql",
        removal(stack, "remove-secrets mysql"),
    )
    (chain,) = run.of("ChainCredential")
    credential = commands(run)[f"{chain}-secrets"]
    assert json.loads(credential.inputs["stdin"]) == {f"BLOCKCHAIN_{chain.upper()}_CREDENTIAL": "s3same"}
    assert credential.inputs["create"] == f"{hostctl} secrets {chain}"

    # The SDK holds connections for secret.
    marked = {(one.name, key) for one in run.resources.values() for key in one.secrets if key != "connection"}
    assert marked == {("mysql-secrets", "stdin"), (f"{chain}-secrets", "stdin")}  # D6
    shown = [
        (one.name, key)
        for one in run.resources.values()
        for key, value in {**one.inputs, **(one.outputs or {})}.items()
        if "hunter2" in str(value) or "s3same" in str(value)
    ]
    assert set(shown) == marked  # D6
    assert run.secret_outputs == set()
    assert not any("hunter2" in str(value) or "s3same" in str(value) for value in run.outputs.values())


def test_without_secrets_there_are_no_secret_files(stack: str) -> None:
    run = run_environment(stack)
    assert not any(name.endswith("-secrets") for name in commands(run))
    assert run.of("ChainCredential") == {}


def test_what_no_command_has(run: Run) -> None:
    for one in commands(run).values():
        assert set(one.inputs) <= {
            "create",
            "delete",
            "stdin",
            "connection",
            "logging",
            "addPreviousOutputInEnv",
        }, one.name  # no triggers, no environment, no update of its own
        assert one.inputs["addPreviousOutputInEnv"] is False
        assert one.inputs["logging"] == "stderr"
        assert not one.delete_before_replace
        assert not one.retain_on_delete
        assert not one.protect


def test_nothing_but_hostctl_deletes(stack: str, run: Run) -> None:
    verbs = r"(remove-host|(down|remove-secrets|remove-database) [a-z0-9-]+|remove-image [a-z0-9-]+ [a-z0-9:./-]+)"
    for one in commands(run).values():
        if stack != "local" and one.name.endswith("-hostctl"):
            assert shlex.split(one.inputs["delete"])[1:4] == ["-m", "hostctl.there", "remove"]
            continue
        text = shlex.split(one.inputs["delete"])[-1] if one.name.endswith(FROM_HERE) else one.inputs["delete"]
        if stack == "local":
            text = one.inputs["delete"]
        assert re.fullmatch(re.escape(removal(stack, "")) + verbs, text), one.name


def test_no_container_of_ours_is_pulumis(run: Run) -> None:
    assert [one.key for one in run.resources.values() if one.type.startswith("docker:")] == []


@pytest.mark.parametrize("bare", ["local", "alibaba"])
def test_nothing_of_editions_elsewhere(bare: str) -> None:
    run = run_environment(bare)
    assert (run.of("Edition"), run.of("SharedService")) == ({}, {})
    assert not any("edition" in str(one.inputs).lower() for one in run.resources.values())  # D23


@pytest.mark.parametrize("edition", ["future", "dao", "blockchain"])
def test_only_the_edition_that_runs(edition: str) -> None:
    run = run_environment("tencent", put("edition", edition))
    assert list(run.of("Edition")) == [edition]  # E1
    assert list(run.of("SharedService")) == [f"{edition}-shared-service"]
    others = {"future", "dao", "blockchain"} - {edition}
    off = {f"{other}-{part}" for other in others for part in ("service-1", "service-2", "service-3", "shared-service")}
    names = {name.removesuffix("-up") for _, name in run.resources}
    assert names.isdisjoint(off)
    twelve = set(run.of("BlockchainService")) - {f"{edition}-service-{number}" for number in (1, 2, 3)}
    assert len(twelve) == 12  # D5: they run whichever edition is on


def test_no_edition_at_all() -> None:
    run = run_environment("tencent", drop("edition"))
    assert (run.of("Edition"), run.of("SharedService")) == ({}, {})
    assert len(run.of("BlockchainService")) == 12


def test_names_are_words_of_a_shell(run: Run) -> None:
    for one in commands(run).values():
        if not one.name.endswith("-hostctl"):
            assert shlex.join(shlex.split(one.inputs["create"])) == one.inputs["create"]


@pytest.mark.parametrize("server", ["local", *SERVERS])
def test_an_admins_password_has_a_file_of_its_own_that_comes_first(server: str) -> None:
    secrets = {"mysql": "hunter2", "mysql-admin": "boss-s3cret"}
    run = run_environment(server, put("databases.mysql.admin", "root"), secrets=secrets)
    assert run.error is None
    made = commands(run)
    admin = made["mysql-admin-secrets"]
    assert json.loads(admin.inputs["stdin"]) == {"PASSWORD": "boss-s3cret"}
    hostctl = f"{ROOTS[server]}/bin/hostctl"
    assert admin.inputs["create"] == f"{hostctl} secrets mysql-admin"
    assert admin.inputs["delete"].endswith(" remove-secrets mysql-admin")
    assert run.parent(admin) == "mysql"
    assert run.after(made["mysql-secrets"]) == {"mysql-admin-secrets"}
    assert run.after(made["mysql-check"]) == {"mysql-secrets"}
    shown = {
        (one.name, key)
        for one in run.resources.values()
        for key, value in {**one.inputs, **(one.outputs or {})}.items()
        if "boss-s3cret" in str(value)
    }
    assert shown == {("mysql-admin-secrets", "stdin")}  # D6
    assert "stdin" in admin.secrets
