"""Images that a server gets from a registry: real registries, with a login and without, and a mirror (D6)."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.host.dockers import MB, PASSWORD, USER, Daemon, Registry, Server, stopped, two_machines

pytestmark = [pytest.mark.host, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Daemon, Server]]:
    """This machine's Docker, and a server with another one."""
    with two_machines(tmp_path_factory.mktemp("images")) as both:
        yield both


@pytest.fixture
def here(machines: tuple[Daemon, Server]) -> Daemon:
    return machines[0]


@pytest.fixture
def server(machines: tuple[Daemon, Server]) -> Server:
    machines[1].clear()
    return machines[1]


@pytest.fixture(scope="module")
def registries(
    machines: tuple[Daemon, Server], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Registry, Registry]]:
    """One that wants a login, and one open to all (the mirror)."""
    folder = tmp_path_factory.mktemp("registries")
    closed = Registry(folder / "closed", login=True)
    with stopped(closed):
        mirror = Registry(folder / "mirror", login=False)
        with stopped(mirror):
            yield closed, mirror


def wanted(image: str, **more: Any) -> dict[str, Any]:
    return {"schema": 1, "kind": "image", "name": "app", "image": image, **more}


def log_in(registry: Registry) -> dict[str, str]:
    return {"server": registry.name, "user": USER}


def test_from_a_registry_by_tag_and_by_digest(
    here: Daemon, server: Server, registries: tuple[Registry, Registry]
) -> None:
    closed, _ = registries
    identity = here.make("app:1", os.urandom(1000))
    digest = closed.put(here, "app:1", "team/app:1.4.2")
    server.hostctl("secrets", "registry", given={"PASSWORD": PASSWORD})
    tagged = f"{closed.name}/team/app:1.4.2"
    done = server.answer("image", "app", given=wanted(tagged, login=log_in(closed)))
    assert done == {"name": "app", "image": tagged, "id": identity, "outcome": "pulled"}
    pinned = f"{tagged}@{digest}"
    server.docker("rmi", "-f", identity)
    done = server.answer("image", "app", "--observed", "x", given=wanted(pinned, login=log_in(closed)))
    assert (done["id"], done["outcome"]) == (identity, "pulled")
    assert server.docker.id(pinned) == identity  # the name that the compose file has
    done = server.answer("image", "app", "--observed", "y", given=wanted(pinned, login=log_in(closed)))
    assert done["outcome"] == "present"
    assert server.answer("remove-image", "app")["removed"] == [pinned]
    assert server.docker.images() == []


def test_a_present_image_needs_no_registry(server: Server) -> None:
    server.docker.make("127.0.0.1:9/app:1", b"one")
    done = server.answer("image", "app", given=wanted("127.0.0.1:9/app:1"))
    assert done["outcome"] == "present"


def refused(server: Server, definition: dict[str, Any]) -> str:
    before = server.docker.images()
    done = server.hostctl("image", "app", given=definition, code=1)
    assert done.stdout == ""
    assert server.docker.images() == before
    assert not (server.root / "state/images/app.json").exists()
    return done.stderr


def test_what_a_registry_refuses_is_told_apart(
    here: Daemon, server: Server, registries: tuple[Registry, Registry]
) -> None:
    closed, mirror = registries
    here.make("app:1", b"one")
    closed.put(here, "app:1", "app:1")
    name = f"{closed.name}/app:1"
    assert "refuses the login: set images.login and secrets.registry" in refused(server, wanted(name))
    said = refused(server, wanted(name, login=log_in(closed)))
    assert f"the password of {USER} at {closed.name} is not on this host; set it as secrets.registry" in said
    server.hostctl("secrets", "registry", given={"PASSWORD": "wr0ng-passw0rd"})
    said = refused(server, wanted(name, login=log_in(closed)))
    assert "refuses the login: see images.login and secrets.registry" in said
    assert "wr0ng-passw0rd" not in said
    assert f"{mirror.name}/app:9: it isn't there" in refused(server, wanted(f"{mirror.name}/app:9"))
    absent = f"{mirror.name}/app@sha256:{'0' * 64}"
    assert "it isn't there" in refused(server, wanted(absent))
    assert "the registry can't be reached" in refused(server, wanted("127.0.0.1:9/app:1"))


def test_docker_hubs_images_come_through_the_mirror_under_their_own_names(
    here: Daemon, server: Server, registries: tuple[Registry, Registry]
) -> None:
    _, mirror = registries
    identity = here.make("redis:7", os.urandom(1000))
    digest = mirror.put(here, "redis:7", "library/redis:7")
    done = server.answer("image", "app", given=wanted("redis:7", mirror=mirror.name))
    assert (done["id"], server.docker.id("redis:7")) == (identity, identity)
    assert names(server) == ["redis:7"]  # nothing is left of the mirror's name
    server.docker("rmi", "redis:7")
    pinned = wanted(f"redis:7@{digest}", run_as=f"redis:7-{digest[7:19]}", mirror=mirror.name)
    assert server.answer("image", "app", given=pinned)["outcome"] == "pulled"
    assert names(server) == [f"redis:7-{digest[7:19]}"]
    assert server.answer("image", "app", given=pinned)["outcome"] == "present"
    # The mirror has another image under that tag by now: what is pinned is what comes.
    here.make("redis:7", b"other")
    mirror.put(here, "redis:7", "library/redis:7")
    server.docker("rmi", "-f", identity)
    assert server.answer("image", "app", given=pinned)["id"] == identity


def names(server: Server) -> list[str]:
    listed = server.docker("images", "--format", "{{.Repository}}:{{.Tag}}").stdout.split()
    return sorted(listed)


def test_without_the_mirror_the_registry_itself_is_asked(
    here: Daemon, server: Server, registries: tuple[Registry, Registry]
) -> None:
    _, mirror = registries
    identity = here.make("app:1", b"one")
    mirror.put(here, "app:1", "app:1")
    done = server.hostctl("image", "app", given=wanted(f"{mirror.name}/app:1", mirror="127.0.0.1:9"))
    assert "warning: the mirror 127.0.0.1:9 doesn't give it" in done.stderr
    assert server.docker.id(f"{mirror.name}/app:1") == identity
    server.clear()
    said = refused(server, wanted("nobody/has-this:1", mirror=mirror.name))
    assert f"the mirror {mirror.name} doesn't give it" in said
    assert "nobody/has-this:1: the registry can't be reached" in said


def test_the_password_is_nowhere_but_in_its_file(
    here: Daemon, server: Server, registries: tuple[Registry, Registry]
) -> None:
    closed, _ = registries
    here.make("app:1", os.urandom(8 * MB))
    closed.put(here, "app:1", "app:1")
    server.hostctl("secrets", "registry", given={"PASSWORD": PASSWORD})
    (server.root / "secrets/registry.env").stat()
    seen: set[str] = set()
    stop = threading.Event()
    watcher = threading.Thread(target=watch_processes, args=(stop, seen))
    watcher.start()
    try:
        done = server.hostctl("image", "app", given=wanted(f"{closed.name}/app:1", login=log_in(closed)))
    finally:
        stop.set()
        watcher.join()
    assert any("hostctl.pyz" in text for text in seen), "nothing was sampled"
    assert not [text for text in seen if PASSWORD in text]
    assert PASSWORD not in done.stdout + done.stderr
    holders = [path for path in server.folder.rglob("*") if path.is_file() and PASSWORD.encode() in path.read_bytes()]
    assert holders == [server.root / "secrets/registry.env"]  # no container gets it, so no env file of compose either
    assert holders[0].stat().st_mode & 0o777 == 0o600
    assert not (server.folder / ".docker").exists()


def watch_processes(stop: threading.Event, seen: set[str]) -> None:
    while not stop.is_set():
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                for file in ("cmdline", "environ"):
                    try:
                        seen.add((entry / file).read_bytes().decode("utf-8", "replace"))
                    except OSError:
                        continue
        time.sleep(0.005)
