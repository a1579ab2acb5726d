"""Images as resources: where each command runs, what it is told, and who waits for it."""

from __future__ import annotations

import json
import shlex

from components.image import id_of
from components.remote import OVER_SSH
from tests.components.harness import Run, run_environment
from tests.plan.stacks import HOST_KEY, PINNED, put

DIGEST = f"sha256:{'c' * 64}"
LOGIN = put("images.login", {"server": "r.example", "user": "puller"})
HOSTCTL = "/opt/blockchain-services/bin/hostctl"
IDENTITY = put("services.identity-service.image", f"r.example/id:1@{DIGEST}")
GATEWAY = put("services.blockchain-gateway", {"port": 8411, "image": "gw:2", "image_from": "push"})


def made() -> Run:
    run = run_environment("tencent", PINNED, LOGIN, IDENTITY, GATEWAY, secrets={"registry": "hunter2"})
    assert run.error is None
    return run


def test_what_comes_from_a_registry_is_the_servers_own_command() -> None:
    one = made()["Command", "id-image-brought"]
    assert one.type == "command:remote:Command"
    assert one.inputs["create"] == f"{HOSTCTL} image id"
    assert one.inputs["delete"] == f"[ ! -x {HOSTCTL} ] || {HOSTCTL} remove-image id r.example/id:1@{DIGEST}"
    told = json.loads(one.inputs["stdin"])
    assert (told["image"], told["login"]) == (f"r.example/id:1@{DIGEST}", {"server": "r.example", "user": "puller"})


def test_what_is_pushed_or_built_starts_here_and_names_the_image() -> None:
    run = made()
    login = ["101.33.251.158", "22", "root", HOST_KEY]
    for name, way, image in (
        ("gw", "push", "gw:2"),
        ("stand-in", "build", "blockchain-dao/stand-in:0.1.0"),
    ):
        one = run["Command", f"{name}-image-brought"]
        assert one.type == "command:local:Command"
        assert shlex.split(one.inputs["create"]) == [".venv/bin/python", "-m", "imagetool", way, name, image]
        remove = f"[ ! -x {HOSTCTL} ] || {HOSTCTL} remove-image {name} {image}"
        assert shlex.split(one.inputs["delete"]) == ["sh", OVER_SSH, *login, remove]
        assert json.loads(one.inputs["stdin"])["host"]["host_key"] == HOST_KEY


def test_a_service_waits_for_its_image_and_a_pull_for_the_login() -> None:
    run = made()
    services = run.of("BlockchainService")
    # The edge's is for the edge alone.
    images = {name for _, name in run.resources if name.endswith("-brought")} - {"edge-image-brought"}
    assert run.after(services["identity-service"]) & images == {"id-image-brought"}
    assert run.after(services["blockchain-gateway"]) & images == {"gw-image-brought"}
    assert run.after(services["blockchain-auth"]) & images == {"stand-in-image-brought"}
    host = "tencent-host-hostctl"
    assert run.after(run["HostImage", "id-image"]) == {host, "registry-secrets"}
    assert run.after(run["HostImage", "gw-image"]) == {host}
    assert run.after(run["Edition", "dao"]) >= images


def test_the_password_is_on_its_own_secret_stdin_only() -> None:
    run = made()
    holders = [
        (one.name, key)
        for one in run.resources.values()
        for key, value in {**one.inputs, **(one.outputs or {})}.items()
        if "hunter2" in str(value)
    ]
    assert holders == [("registry-secrets", "stdin")]  # D6
    assert run["Command", "registry-secrets"].secrets >= {"stdin"}
    assert json.loads(run["Command", "registry-secrets"].inputs["stdin"]) == {"PASSWORD": "hunter2"}


def test_without_an_image_from_a_registry_no_password_leaves_this_machine() -> None:
    run = run_environment("tencent", PINNED, LOGIN, secrets={"registry": "hunter2"})
    assert run.of("RegistryLogin") == {}
    assert "hunter2" not in str([one.inputs for one in run.resources.values()])


def test_an_images_label_is_part_of_its_command_only() -> None:
    labels = {"absent": "not converged yet", "images": {"stand-in": "gone (after generation 2)"}}
    run = run_environment("tencent", PINNED, IDENTITY, labels=labels)
    brought = {name: run["Command", f"{name}-image-brought"].inputs["create"] for name in ("id", "stand-in")}
    assert shlex.split(brought["stand-in"])[-2:] == ["--observed", "gone (after generation 2)"]
    assert shlex.split(brought["id"])[-2:] == ["--observed", "not converged yet"]


def test_nothing_on_a_laptop() -> None:
    assert run_environment("local").of("HostImage") == {}


def test_the_id_in_what_hostctl_says() -> None:
    assert id_of('{"id": "sha256:abc", "outcome": "built"}\n') == "sha256:abc"
    assert id_of("") == id_of("nothing of the kind") == id_of("[]") == ""
