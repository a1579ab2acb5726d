"""An edition's containers on a real server: documented names, also while they roll and of what was there before."""

from __future__ import annotations

import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hostctl.compose_aside import ASIDE
from hostctl.compose_files import SERVICE
from tests.host.servers import Server
from tests.lab import images
from tests.lab.host import LabHost
from tests.lab.kinds import ADMINS

LONG = pytest.mark.skipif(not os.environ.get("SOAK"), reason="takes three minutes: `make soak`")
pytestmark = [pytest.mark.host, pytest.mark.timeout(600), LONG]
MEMBER, PORT = "dao-service-1", 8200
EDITION = {"dao-service-1", "dao-service-2", "dao-service-3", "dao-shared-service"}
URL = f"http://{{}}:{PORT}/health"


@contextmanager
def asked(host: LabHost) -> Iterator[list[str]]:
    """Asks the member from outside all the time, each time by a new connection; what went wrong."""
    wrong: list[str] = []
    done = threading.Event()
    straight = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    count = 0

    def ask() -> None:
        nonlocal count
        while not done.is_set():
            count += 1
            try:
                with straight.open(URL.format(host.address), timeout=5) as answer:
                    answer.read()
            except (urllib.error.URLError, OSError) as error:
                wrong.append(f"{count}: {error}")
            time.sleep(0.01)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield wrong
    finally:
        done.set()
        thread.join()
    assert count > 100, "it was hardly asked"


def named(server: Server) -> dict[str, str]:
    """Service -> its container's name, of the edition's."""
    found = server.host.containers().values()
    return {one.labels[SERVICE]: one.name for one in found if one.labels.get(SERVICE) in EDITION}


def set_member(server: Server, **settings: object) -> None:
    server.edit(lambda values: values["editions"]["dao"]["services"][MEMBER].update(settings))


def before_us(host: LabHost) -> str:
    """A container of the member's name and port that somebody else made; its id."""
    image = images.stand_in()
    host.load_image(image)
    environment = f"-e SERVICE_NAME={MEMBER} -e SERVICE_PORT={PORT} -e SERVICE_BIND=0.0.0.0 -e SERVICE_ENVIRONMENT=x"
    host.run(f"docker run -d --restart always --name {MEMBER} -p {PORT}:{PORT} {environment} {image}")
    return host.containers()[MEMBER].id


def with_databases(server: Server) -> None:
    """An admin who makes the editions' databases: a new version without its own is never ready (E4)."""
    user, password = ADMINS["mysql"]
    server.edit(lambda values: values["databases"]["mysql"].update(admin=user))
    server.program.set_secret("mysql-admin", password)
    server.program.set_secret("mysql", "own-mysql-1")


def test_an_edition_rolls_under_its_documented_names(tmp_path: Path, tencent: LabHost) -> None:
    """E2, D18, P7."""
    server = Server(tmp_path, "tencent", tencent)
    with_databases(server)
    theirs = before_us(tencent)
    server.up()
    assert named(server) == {name: name for name in EDITION}
    assert tencent.containers()[MEMBER + ASIDE].id == theirs
    assert set(server.health(EDITION).values()) == {200}
    assert server.unchanged()
    before = server.same()
    with asked(tencent) as wrong:
        for level in ("debug", "info"):
            set_member(server, env={"LOG_LEVEL": level})
            server.up()
            assert named(server) == {name: name for name in EDITION}
    assert wrong == []
    after = server.same()
    assert {name for name in after if after[name] != before[name]} == {MEMBER}
    server.type_it()
    assert server.same() == after  # P7
    tencent.run(f"docker rename {MEMBER} by-hand")
    assert server.program.changes("preview") == {f"{MEMBER}-up": "update"}
    server.up()
    assert named(server) == {name: name for name in EDITION}
    assert server.same() == after
    assert server.unchanged()
    server.edit(lambda values: values.update(updates="recreate"))  # and fixed names again
    server.up()
    assert named(server) == {name: name for name in EDITION}
    assert set(server.health(EDITION).values()) == {200}
    assert server.unchanged()
    server.program.run("destroy")
    given_back = tencent.containers()[MEMBER]
    assert (given_back.id, given_back.state) == (theirs, "running")


def test_a_failed_first_start_gives_the_port_back(tmp_path: Path, tencent: LabHost) -> None:
    """The edge has had the port of what was here before, which runs again and has it (D18)."""
    server = Server(tmp_path, "tencent", tencent)
    theirs = before_us(tencent)
    tencent.run("docker build -q -t team/crash:1 -", stdin=f'FROM {images.stand_in()}\nCMD ["sh", "-c", "exit 3"]\n')
    set_member(server, image="team/crash:1")
    said = server.up(code=1)
    assert f"{MEMBER} did not come up" in said
    assert "It was new, so it was removed again." in said
    given_back = tencent.containers()[MEMBER]
    assert (given_back.id, given_back.state) == (theirs, "running")
    assert set(server.health([MEMBER]).values()) == {200}
    others = EDITION - {MEMBER}
    assert named(server) == {name: name for name in others}
    assert set(server.health(others).values()) == {200}
