"""The runtime docker: network, images and containers, all of it Pulumi's; no Docker is needed here (D13, D14)."""

from __future__ import annotations

from typing import Any

import pytest

from plan.render import definitions
from tests.components.harness import Registered, Run, run_environment, run_main
from tests.plan.stacks import Change, plan_of, put

DOCKER = put("runtime", "docker")
PORTS = {
    "blockchain-service": 8301,
    "identity-service": 8302,
    "governance-service": 8303,
    "crosschain-service": 8304,
    "blockchain-config": 8311,
    "blockchain-monitor": 8312,
}
SECRETS = {"mysql": "hunter2", "simulation": "s3same"}
IDENTITY = "services.identity-service"


def docker(*changes: Change, secrets: dict[str, str] | None = None, labels: dict[str, Any] | None = None) -> Run:
    found = run_environment("local", DOCKER, *changes, secrets=secrets, labels=labels)
    assert found.error is None
    return found


@pytest.fixture(scope="module")
def run() -> Run:
    return docker()


def identity(*changes: Change, secrets: dict[str, str] | None = None) -> Registered:
    return docker(*changes, secrets=secrets)["Container", "identity-service"]


def test_what_is_registered_and_what_isnt(run: Run) -> None:
    types = {one.type for one in run.resources.values()}
    assert types == {
        "blockchain:environment:Environment",
        "blockchain:databases:ReusedDatabase",
        "blockchain:services:BlockchainService",
        "docker:index/network:Network",
        "docker:index/image:Image",
        "docker:index/container:Container",
    }  # no command: hostctl has nothing to do there
    assert set(run.of("Container")) == set(PORTS)
    assert list(run.of("Network")) == ["blockchain-local"]
    assert list(run.of("Image")) == ["stand-in-image"]


def test_parents_and_outputs(run: Run) -> None:
    for name, one in run.of("Container").items():
        assert run.parent(one) == name
        assert run[("BlockchainService", name)].urn == one.parent
    assert run.parent(run["Network", "blockchain-local"]) == "local"
    assert run.parent(run["Image", "stand-in-image"]) == "local"
    for one in run.resources.values():
        assert one.registrations == (1 if one.type.startswith("blockchain:") else 0)


def test_services_wait_for_those_that_they_need(run: Run) -> None:
    after = {name: run.after(one) for name, one in run.of("BlockchainService").items()}
    assert {name: waits for name, waits in after.items() if waits} == {
        "blockchain-service": {"identity-service", "governance-service"},
        "crosschain-service": {"blockchain-service"},
    }  # P5
    order = [name for kind, name in run.resources if kind == "Container"]
    assert order.index("identity-service") < order.index("blockchain-service") < order.index("crosschain-service")
    for one in run.of("Container").values():
        assert run.after(one) == {"blockchain-local", "stand-in-image"}


def test_containers_are_waited_for_limited_and_replaced_in_place(run: Run) -> None:
    for name, one in run.of("Container").items():
        given = one.inputs
        assert given["name"] == f"local-{name}"
        # By digest: the name stays when the code changes, and the old container would stay with it.
        assert given["image"] == "blockchain-dao/stand-in:0.1.0@built"  # D13
        # Without memorySwap a memory limit differs at every preview.
        assert given["memory"] == given["memorySwap"] == 64_000_000 // 2**20  # D14
        assert given["cpus"] == "0.1"
        assert (given["wait"], given["waitTimeout"], given["mustRun"]) == (True, 30, True)  # P9
        assert given["healthcheck"] == {
            "tests": ["CMD", "python3", "-m", "standin.probe"],
            "interval": "2s",
            "timeout": "2s",
            "retries": 3,
            "startPeriod": "30s",
        }
        assert (given["restart"], given["stopTimeout"], given["destroyGraceSeconds"]) == ("unless-stopped", 10, 10)
        assert one.delete_before_replace  # the port and the name can be one container's only
        assert one.ignore_changes == []


def test_containers_are_private_and_reach_the_laptop(run: Run) -> None:
    for name, one in run.of("Container").items():
        port = PORTS[name]
        assert one.inputs["ports"] == [{"internal": port, "external": port, "ip": "127.0.0.1"}]  # D19
        assert one.inputs["hosts"] == [{"host": "host.docker.internal", "ip": "host-gateway"}]
        assert one.inputs["networksAdvanced"] == [{"name": "blockchain-local", "aliases": [name]}]
        assert one.inputs["volumes"] == [{"containerPath": "/data", "volumeName": f"local-{name}"}]
        assert one.inputs["labels"] == [
            {"label": "blockchain-dao.stack", "value": "local"},
            {"label": "blockchain-dao.service", "value": name},
        ]  # D5


def test_the_network_is_on_the_stacks_subnet() -> None:
    network = docker(put("host.subnet", "10.9.4.128/25"))["Network", "blockchain-local"]
    assert network.inputs["name"] == "blockchain-local"
    assert network.inputs["ipamConfigs"] == [{"subnet": "10.9.4.128/25", "gateway": "10.9.4.129"}]
    assert network.inputs["labels"] == [{"label": "blockchain-dao.stack", "value": "local"}]


def test_the_environment_is_the_definitions(run: Run) -> None:
    made = definitions(plan_of("local", DOCKER))
    for name, one in run.of("Container").items():
        env = made[f"service/{name}"]["launch"]["env"]
        assert one.inputs["envs"] == [f"{key}={env[key]}" for key in sorted(env)]
    told = dict(line.split("=", 1) for line in run["Container", "identity-service"].inputs["envs"])
    # Containers can't reach the host's loopback, and its network's gateway is a virtual machine on macOS.
    assert told["BLOCKCHAIN_MYSQL_HOST"] == "host.docker.internal"
    assert (told["SERVICE_BIND"], told["SERVICE_DATA"]) == ("0.0.0.0", "/data")


def test_the_stand_in_is_built_from_its_folder(run: Run) -> None:
    image = run["Image", "stand-in-image"].inputs
    assert image["imageName"] == "blockchain-dao/stand-in:0.1.0"
    assert (image["build"], image["skipPush"]) == ({"context": "image", "dockerfile": "image/Dockerfile"}, True)


def test_an_image_that_exists_only_here_is_taken_and_kept() -> None:
    run = docker(put(f"{IDENTITY}.image", "registry.example/identity:1.4.2"))
    image = run["RemoteImage", "identity-service-image"]
    assert image.inputs == {"name": "registry.example/identity:1.4.2", "keepLocally": True}
    assert run.parent(image) == "identity-service"
    container = run["Container", "identity-service"].inputs
    assert container["healthcheck"]["tests"] == [
        "CMD-SHELL",
        "wget -q -O /dev/null http://127.0.0.1:8302/health || curl -fsS -o /dev/null http://127.0.0.1:8302/health",
    ]
    assert not any(line.startswith("SERVICE_STAND_IN") for line in container["envs"])  # D13
    assert run["Container", "governance-service"].inputs["image"] == "blockchain-dao/stand-in:0.1.0@built"


@pytest.mark.parametrize("preview", [True, False])
def test_an_image_that_is_nowhere_ends_before_its_container(preview: bool) -> None:
    run = run_environment("local", DOCKER, put(f"{IDENTITY}.image", "registry.example/nowhere:1"), preview=preview)
    assert "services.identity-service.image: registry.example/nowhere:1 is neither" in str(run.error)
    assert ("Container", "identity-service") not in run.resources
    assert ("RemoteImage", "identity-service-image") not in run.resources


def test_a_folder_is_built() -> None:
    run = docker(put(f"{IDENTITY}.folder", "../identity"))
    image = run["Image", "identity-service-image"].inputs
    assert image["build"] == {"context": "../identity", "dockerfile": "../identity/Dockerfile"}
    assert image["skipPush"] is True
    assert image["imageName"] == "blockchain-dao/identity-service:local"
    assert run["Container", "identity-service"].inputs["image"] == "blockchain-dao/identity-service:local@built"


def test_no_stand_in_is_built_where_none_runs() -> None:
    images = [put(f"services.{name}.image", f"registry.example/{name}:1") for name in PORTS]
    run = docker(*images)
    assert run.of("Image") == {}
    assert len(run.of("RemoteImage")) == 6


def test_limits_and_times_are_whole_and_never_none() -> None:
    limits = [put(f"{IDENTITY}.memory", "6MiB"), put(f"{IDENTITY}.cpus", 0.25)]
    times = [put(f"{IDENTITY}.health_timeout", 0.5), put(f"{IDENTITY}.stop_grace", 0.5)]
    given = identity(*limits, *times).inputs
    assert (given["memory"], given["memorySwap"], given["cpus"]) == (6, 6, "0.25")
    assert (given["waitTimeout"], given["stopTimeout"], given["destroyGraceSeconds"]) == (1, 1, 1)


def test_public_is_configuration() -> None:
    assert identity(put(f"{IDENTITY}.public", True)).inputs["ports"] == [
        {"internal": 8302, "external": 8302, "ip": "0.0.0.0"}
    ]  # D19


def test_secrets_are_in_a_secret_environment_and_only_of_those_that_need_them() -> None:
    run = docker(secrets=SECRETS)
    marked = {(one.key, key) for one in run.resources.values() for key in one.secrets}
    users = ("identity-service", "governance-service", "blockchain-service", "crosschain-service")
    assert marked == {(("Container", name), "envs") for name in users}  # D6
    for name, one in run.of("Container").items():
        envs = one.inputs["envs"]
        password, credential = "BLOCKCHAIN_MYSQL_PASSWORD=hunter2", "BLOCKCHAIN_SIMULATION_CREDENTIAL=s3same"
        assert (password in envs) == (name in users[:2])
        assert (credential in envs) == (name in users[2:])
        assert "hunter2" not in str({**one.inputs, "envs": None})
    assert run.secret_outputs == set()


def test_an_embedded_store_is_told_to_the_containers() -> None:
    run = docker(labels={"databases": {"mysql": "missing: connection refused"}})
    assert "SERVICE_DATABASES=mysql=embedded,redis=reused" in run["Container", "identity-service"].inputs["envs"]
    assert run.outputs["databases"]["mysql"]["state"] == "embedded"


def test_the_program_itself_with_docker() -> None:
    run = run_main("local", DOCKER, preview=False)
    assert run.error is None
    assert set(run.of("Container")) == set(PORTS)
    assert run.of("Command") == {}
    assert len(run.calls) == 1  # the databases are looked at there too
