"""Images on their way to a server: real daemons, a real sshd with its default limits, real registries (D6, D13)."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imagetool import deliver, local, sources
from imagetool.server import Server as Conversation
from tests.host.dockers import MB, ROOT, Daemon, Server, two_machines
from tests.imagetool.archives import as_oci
from tests.program_copy import wait_for

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


def delivery(server: Server, run_as: str, folder: Path | None = None) -> dict[str, Any]:
    build = {"folder": str(folder), "arguments": {}, "network": ""} if folder else None
    return {"run_as": run_as, "host": server.address(), "build": build}


def start(
    here: Daemon, server: Server, way: str, name: str, reference: str, told: dict[str, Any], *label: str
) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "imagetool", way, name, reference, *label],
        cwd=ROOT,
        env=here.env | server.ssh_env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(told))
    process.stdin.close()
    process.stdin = None
    return process


def push(
    here: Daemon, server: Server, reference: str, *label: str, run_as: str = "", name: str = "app", code: int = 0
) -> tuple[dict[str, Any], str]:
    """The result (nothing when it failed) and what was said."""
    process = start(here, server, "push", name, reference, delivery(server, run_as or reference), *label)
    out, err = process.communicate(timeout=90)
    assert process.returncode == code, out + err
    return (json.loads(out) if out else {}), err


def sent(said: str) -> int:
    return sum(int(count) for count in re.findall(r"sent [\d.]+ MB \((\d+) bytes\)", said))


def test_only_what_the_server_lacks_is_sent(here: Daemon, server: Server) -> None:
    base, more = os.urandom(20 * MB), os.urandom(5 * MB)
    first = here.make("app:1", base, more, b"one", more="ENV A=1")
    done, said = push(here, server, "app:1", "--observed", "not converged yet")
    whole = sent(said)
    assert done == {"name": "app", "image": "app:1", "id": first, "outcome": "pushed"}
    assert server.docker.id("app:1") == first
    assert whole > 24 * MB

    done, said = push(here, server, "app:1", "--observed", "again")
    assert (done["outcome"], sent(said)) == ("present", 0)  # a second time changes nothing
    assert server.docker.images() == [first]

    second = here.make("app:2", base, more, b"two", more="ENV A=1")
    done, said = push(here, server, "app:2")
    assert server.docker.id("app:2") == second == done["id"]
    print(f"\nwhole {whole} bytes; one small layer changed: {sent(said)} bytes")
    assert 0 < sent(said) < whole * 0.05
    assert "2 of 3 layers are there" in said
    # Proved by what is in it, not only by its name.
    assert server.docker("create", "--network", "none", "--name", "look", "app:2", "/x").returncode == 0
    assert server.docker("cp", "look:/file2", "-").stdout.count("two") == 1
    assert server.record("app")["former"] == [{"image": "app:1", "id": first}]


def test_what_other_images_brought_is_not_sent_again(here: Daemon, server: Server) -> None:
    base = os.urandom(10 * MB)
    here.make("base:1", base)
    push(here, server, "base:1", name="base")
    here.make("upon:1", base, b"mine")
    _, said = push(here, server, "upon:1")
    assert sent(said) < MB


def test_a_layer_that_is_missing_after_all_sends_the_whole(here: Daemon, server: Server) -> None:
    here.make("app:1", os.urandom(3 * MB), b"one")
    image = local_image(here, "app:1")
    with over(here, server, "app", "app:1") as talk:
        assert talk.hear()["here"] is None
        # As if somebody had pruned between the question and the load.
        identity = deliver.transfer(talk, image, [image["layers"]], "app:1")
        assert deliver.keep(talk, id=identity)["outcome"] == "pushed"
    assert server.docker.id("app:1") == image["id"]


def test_an_archive_of_dockers_newer_layout_is_filtered_and_loaded_too(
    here: Daemon, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = os.urandom(3 * MB)
    here.make("base:1", base)
    push(here, server, "base:1", name="base")
    image = local_image(here, "base:1")
    upon = here.make("upon:1", base, b"mine")
    here("save", "-o", str(tmp_path / "old.tar"), upon)
    (tmp_path / "new.tar").write_bytes(as_oci((tmp_path / "old.tar").read_bytes()))
    monkeypatch.setattr(local, "save", lambda _: (tmp_path / "new.tar").open("rb"))
    with over(here, server, "upon", "upon:1") as talk:
        layers = talk.hear()["layers"]
        assert image["layers"] in layers
        identity = deliver.transfer(talk, local_image(here, "upon:1"), layers, "upon:1")
        assert deliver.keep(talk, id=identity)["id"] == upon
    server.docker("create", "--network", "none", "--name", "look", "upon:1", "/x")
    assert "mine" in server.docker("cp", "look:/file1", "-").stdout


def local_image(here: Daemon, name: str) -> local.Image:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", here.host)
        found = local.find(name)
    assert found is not None
    return found


class over:
    """A conversation of this process's own, with this machine's daemon."""

    def __init__(self, here: Daemon, server: Server, *words: str) -> None:
        self._patch = pytest.MonkeyPatch()
        for key, value in ({"DOCKER_HOST": here.host} | server.ssh_env).items():
            self._patch.setenv(key, value)
        self._talk = Conversation(server.address(), list(words))

    def __enter__(self) -> Conversation:
        return self._talk.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._talk.__exit__(*error)
        self._patch.undo()


def test_a_version_that_runs_stays_what_it_is(here: Daemon, server: Server) -> None:
    old = here.make("app:1", b"old")
    push(here, server, "app:1")
    server.docker("create", "--network", "none", "--name", "runs", "app:1", "/x")
    new = here.make("app:1", b"new")
    _, said = push(here, server, "app:1", code=1)
    assert "app:1 is another image on 127.0.0.1 than here, and runs runs it" in said
    assert "give the new image a tag of its own" in said
    assert server.docker.id("app:1") == old
    # Pinned, it is another name: both are there, and the old one can be gone back to.
    done, _ = push(here, server, f"app:1@{new}", run_as=f"app:1-{new[7:19]}")
    assert (done["id"], server.docker.id("app:1")) == (new, old)
    server.docker("rm", "runs")
    push(here, server, "app:1", name="other")
    assert server.docker.id("app:1") == new  # nobody runs it: the name may move


def test_a_pinned_image_must_be_that_one(here: Daemon, server: Server) -> None:
    found = here.make("app:1", b"one")
    _, said = push(here, server, f"app:1@sha256:{'0' * 64}", run_as="app:1-000000000000", code=1)
    assert f"app:1 is {found} here, and the stack file pins sha256:000" in said
    assert server.docker.images() == []


def test_what_is_nowhere_is_told(here: Daemon, server: Server) -> None:
    _, said = push(here, server, "nowhere:1", code=1)
    assert "nowhere:1 is neither on 127.0.0.1 nor in this machine's Docker; build or pull it here" in said


def test_a_colleague_without_the_image_changes_nothing(here: Daemon, server: Server) -> None:
    first = here.make("app:1", b"one")
    push(here, server, "app:1")
    here("rmi", "app:1")
    done, _ = push(here, server, "app:1")
    assert (done["outcome"], done["id"]) == ("present", first)


def on_its_way(server: Server) -> bool:
    """Whether the daemon has begun to unpack what arrives."""
    return any((server.docker.data / "tmp").glob("docker-import-*/*"))


def nothing_half_way(server: Server) -> None:
    wait_for(lambda: not any((server.docker.data / "tmp").glob("docker-import-*")))
    assert server.docker.images() == []
    assert not (server.root / "state/images").exists()


@pytest.mark.parametrize("end", ["SIGINT", "SIGTERM", "SIGKILL", "sshd"])
def test_cut_in_the_middle_leaves_nothing_and_the_next_run_finishes(here: Daemon, server: Server, end: str) -> None:
    identity = here.make("app:1", os.urandom(40 * MB), b"one")
    process = start(here, server, "push", "app", "app:1", delivery(server, "app:1"))
    wait_for(lambda: on_its_way(server))
    if end == "sshd":
        for pid in sessions(server):
            os.kill(pid, signal.SIGKILL)
    else:
        process.send_signal(getattr(signal, end))
    out, said = process.communicate(timeout=60)
    assert out == ""
    if end == "sshd":
        assert process.returncode == 1
        assert "the connection to 127.0.0.1 was cut or never made; the server has what it had: run it again" in said
    elif end == "SIGINT":
        assert process.returncode == 130
        assert "app:1: interrupted; the server has what it had" in said
    assert "Traceback" not in said
    nothing_half_way(server)
    done, _ = push(here, server, "app:1")
    assert (done["outcome"], done["id"]) == ("pushed", identity)


def sessions(server: Server) -> list[int]:
    """The processes of sshd's that serve a connection."""
    children = Path(f"/proc/{server.sshd.pid}/task/{server.sshd.pid}/children").read_text().split()
    return [int(pid) for pid in children]


def test_hostctl_killed_in_the_middle_leaves_nothing(here: Daemon, server: Server) -> None:
    here.make("app:1", os.urandom(40 * MB), b"one")
    process = start(here, server, "push", "app", "app:1", delivery(server, "app:1"))
    wait_for(lambda: on_its_way(server))
    listed = subprocess.run(
        ["pgrep", "-f", f"{server.root}/lib/hostctl.pyz"], capture_output=True, text=True, check=True
    )
    for pid in listed.stdout.split():
        os.kill(int(pid), signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in said
    nothing_half_way(server)


def stand_in(folder: Path, content: str, instructions: str = "FROM scratch\nCOPY standin/program.py /program\n") -> str:
    """Sources of a stand-in that is built in a second; its name."""
    folder.mkdir(exist_ok=True)
    (folder / "VERSION").write_text("0.1.0\n")
    (folder / "standin").mkdir(exist_ok=True)
    (folder / "standin/program.py").write_text(content)
    (folder / "Dockerfile").write_text(f"ARG BASE=none\n{instructions}")
    return sources.stand_in_image(folder)


def build(here: Daemon, server: Server, image: str, folder: Path, way: str = "build", code: int = 0) -> tuple[str, str]:
    process = start(here, server, way, "stand-in", image, delivery(server, image, folder))
    out, err = process.communicate(timeout=90)
    assert process.returncode == code, out + err
    return (json.loads(out)["outcome"] if out else ""), err


def test_the_stand_in_is_built_on_the_server_once_for_the_same_sources(
    here: Daemon, server: Server, tmp_path: Path
) -> None:
    image = stand_in(tmp_path / "image", "one")
    assert build(here, server, image, tmp_path / "image")[0] == "built"
    first = server.docker.id(image)
    label = server.docker("image", "inspect", "-f", "{{json .Config.Labels}}", image).stdout
    assert json.loads(label) == {"blockchain-dao.sources": sources.digest(tmp_path / "image")}
    outcome, said = build(here, server, image, tmp_path / "image")
    assert (outcome, server.docker.id(image)) == ("present", first)
    assert "builds it" not in said
    # A company's certificate goes along and is nobody's source.
    (tmp_path / "image/company-ca.crt").write_text("-----BEGIN")
    assert sources.stand_in_image(tmp_path / "image") == image
    changed = stand_in(tmp_path / "image", "two", "FROM scratch\nCOPY standin/program.py company-ca.cr[t] /\n")
    assert changed != image
    assert build(here, server, changed, tmp_path / "image")[0] == "built"
    server.docker("create", "--network", "none", "--name", "look", changed, "/x")
    assert "-----BEGIN" in server.docker("cp", "look:/company-ca.crt", "-").stdout
    assert server.docker.id(image) == first  # to go back to


def test_a_build_that_fails_says_why_and_leaves_nothing(here: Daemon, server: Server, tmp_path: Path) -> None:
    image = stand_in(tmp_path / "image", "one", "FROM scratch\nCOPY nothing /\n")
    _, said = build(here, server, image, tmp_path / "image", code=1)
    assert f"{image} can't be built" in said
    assert "COPY nothing" in said
    assert server.docker.images() == []


def test_a_build_leaves_no_stage_of_it_behind(here: Daemon, server: Server, tmp_path: Path) -> None:
    copies = "".join(f"COPY standin/program.py /{name}\n" for name in ("one", "two"))
    stages = f"FROM scratch AS first\n{copies}FROM scratch\nCOPY --from=first /one /one\n"
    image = stand_in(tmp_path / "image", "one", stages)
    assert build(here, server, image, tmp_path / "image")[0] == "built"
    tops = server.docker("images", "-q", "--no-trunc").stdout.split()
    assert tops == [server.docker.id(image)]
    assert server.answer("remove-image", "stand-in")["removed"] == [image]
    assert server.docker.images() == []
    # What failed half-way neither.
    image = stand_in(tmp_path / "image", "two", stages + "COPY nothing /\n")
    build(here, server, image, tmp_path / "image", code=1)
    assert server.docker.images() == []


def test_sources_that_change_while_it_runs_are_not_taken_for_the_planned_ones(
    here: Daemon, server: Server, tmp_path: Path
) -> None:
    image = stand_in(tmp_path / "image", "one")
    (tmp_path / "image/standin/program.py").write_text("two")
    _, said = build(here, server, image, tmp_path / "image", code=1)
    assert f"changed while this ran ({image} was planned" in said
    assert server.docker.images() == []


def test_the_stand_in_is_built_here_and_pushed_where_the_stack_says_so(
    here: Daemon, server: Server, tmp_path: Path
) -> None:
    image = stand_in(tmp_path / "image", "one")
    assert build(here, server, image, tmp_path / "image", "push")[0] == "pushed"
    assert server.docker.id(image) == here.id(image) != ""
    here("rmi", image)
    # What the server has was built of the same sources: nobody builds it here again.
    assert build(here, server, image, tmp_path / "image", "push")[0] == "present"
    assert here.id(image) == ""


def test_taking_away_what_was_brought_and_nothing_else(here: Daemon, server: Server) -> None:
    here.make("app:1", b"one")
    here.make("app:2", b"two")
    push(here, server, "app:1")
    push(here, server, "app:2")
    server.docker("create", "--network", "none", "--name", "runs", "app:1", "/x")
    done = server.answer("remove-image", "app")
    assert done == {"name": "app", "outcome": "removed", "removed": ["app:2"]}
    assert server.docker.id("app:2") == ""
    assert server.docker.id("app:1") != ""  # a container needs it
    assert server.answer("remove-image", "app")["outcome"] == "absent"

    # What was there before us stays.
    server.docker("rm", "runs")
    push(here, server, "app:1", name="later")
    assert server.answer("remove-image", "later") == {"name": "later", "outcome": "kept", "removed": []}
    assert server.docker.id("app:1") != ""


def test_what_is_gone_from_the_server_has_another_label(here: Daemon, server: Server) -> None:
    here.make("app:1", b"one")
    push(here, server, "app:1", "--observed", "not converged yet")
    assert observed(server) == {"app": "not converged yet"}
    server.docker("rmi", "app:1")
    gone = observed(server)["app"]
    assert gone == "app:1 is not on the host (after generation 1)"
    push(here, server, "app:1", "--observed", gone)
    assert observed(server) == {"app": gone}  # adopted: the next preview is clean
    server.docker("rmi", "app:1")
    assert observed(server)["app"] == "app:1 is not on the host (after generation 2)"


def observed(server: Server) -> dict[str, str]:
    return server.answer("observe", given={})["images"]
