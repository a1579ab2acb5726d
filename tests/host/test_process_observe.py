"""Labels: a change by hand is named, stays the same until something else happens, and is adopted once repaired."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.laptop import REPOSITORY, SUPERVISORD, Laptop, converged, free_ports, wait_for
from tests.hostctl import samples

pytestmark = pytest.mark.host

IDENTITY, GOVERNANCE = "identity-service", "governance-service"


@pytest.fixture
def laptop(tmp_path: Path) -> Iterator[Laptop]:
    yield from converged(tmp_path, "")


@pytest.fixture
def definition(laptop: Laptop) -> dict[str, object]:
    one, two = free_ports(2)
    made = laptop.service(IDENTITY, one)
    laptop.up(made, "--observed", "")
    laptop.up(laptop.service(GOVERNANCE, two), "--observed", "")
    return made


def supervisorctl(laptop: Laptop, *words: str) -> None:
    program = SUPERVISORD.with_name("supervisorctl")
    subprocess.run([program, "-c", laptop.root / samples.CONF, *words], check=False, timeout=30, cwd=laptop.root)


def test_as_it_was_left(laptop: Laptop, definition: dict[str, object]) -> None:
    assert laptop.observe() == {"host": "", "services": {IDENTITY: "", GOVERNANCE: ""}, "databases": {}}


def test_stopped_by_hand(laptop: Laptop, definition: dict[str, object]) -> None:
    supervisorctl(laptop, "stop", IDENTITY)
    label = "process not running (after generation 1)"
    for _ in range(2):
        assert laptop.observe()["services"] == {IDENTITY: label, GOVERNANCE: ""}
    laptop.up(definition, "--observed", label)
    assert laptop.observe()["services"] == {IDENTITY: label, GOVERNANCE: ""}
    supervisorctl(laptop, "stop", IDENTITY)
    assert laptop.observe()["services"][IDENTITY] == "process not running (after generation 2)"


def test_a_block_edited_by_hand(laptop: Laptop, definition: dict[str, object]) -> None:
    conf = laptop.root / samples.CONF
    text = conf.read_text()
    conf.write_text(text.replace(f"logs/{IDENTITY}.log", "/tmp/elsewhere.log"))
    label = "its block in supervisord.conf was edited (after generation 1)"
    assert laptop.observe() == {"host": "", "services": {IDENTITY: label, GOVERNANCE: ""}, "databases": {}}
    laptop.up(definition, "--observed", label)
    assert conf.read_text() == text
    assert laptop.observe()["services"] == {IDENTITY: label, GOVERNANCE: ""}


def test_a_line_of_the_env_file_edited_by_hand(laptop: Laptop, definition: dict[str, object]) -> None:
    path = laptop.root / samples.ENV_FILE
    path.write_text(path.read_text().replace("IDENTITY_SERVICE_PORT=", "IDENTITY_SERVICE_PORT=1"))
    label = "its block in blockchain-local.env was edited (after generation 1)"
    assert laptop.observe()["services"] == {IDENTITY: label, GOVERNANCE: ""}


def test_a_line_added_by_hand_is_the_hosts(laptop: Laptop, definition: dict[str, object]) -> None:
    path = laptop.root / samples.ENV_FILE
    path.write_text(path.read_text() + "SOMETHING=else\n")
    label = "blockchain-local.env was edited (after generation 1)"
    assert laptop.observe() == {"host": label, "services": {IDENTITY: "", GOVERNANCE: ""}, "databases": {}}
    laptop.host(label)
    assert "SOMETHING" not in path.read_text()
    assert laptop.observe()["host"] == label


def test_a_file_that_is_gone(laptop: Laptop, definition: dict[str, object]) -> None:
    (laptop.root / samples.CONF).unlink()
    assert laptop.observe() == {
        "host": "supervisord.conf is missing (after generation 1)",
        "services": dict.fromkeys((IDENTITY, GOVERNANCE), "supervisord.conf is missing (after generation 1)"),
        "databases": {},
    }


def test_modes(laptop: Laptop, definition: dict[str, object]) -> None:
    (laptop.root / "secrets").chmod(0o755)
    assert laptop.observe()["host"] == "secrets/ is open to others (after generation 1)"
    laptop.host("")
    (laptop.root / samples.CONF).chmod(0o644)
    assert laptop.observe()["host"] == "supervisord.conf has another mode (after generation 2)"
    laptop.host("")
    assert laptop.observe()["host"] == ""


def test_a_program_swapped_by_hand(laptop: Laptop, definition: dict[str, object]) -> None:
    """Somebody edits the block, makes supervisord take it, and puts the file back."""
    conf = laptop.root / samples.CONF
    text = conf.read_text()
    sleep = f"command={sys.executable} -c 'import time; time.sleep(1000)'"
    conf.write_text(text.replace(f"command=bin/hostctl launch {IDENTITY} {definition['digest']}", sleep))
    supervisorctl(laptop, "update")
    conf.write_text(text)
    label = "it runs with other settings (after generation 1)"
    wait_for(lambda: laptop.observe()["services"] == {IDENTITY: label, GOVERNANCE: ""})
    laptop.up(definition, "--observed", label)
    assert laptop.status()[IDENTITY]["healthy"]
    assert laptop.observe()["services"] == {IDENTITY: label, GOVERNANCE: ""}


def test_a_host_that_never_converged(tmp_path: Path) -> None:
    bare = Laptop(tmp_path / "bare")
    bare.base.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "hostctl", "--root", bare.root, "observe"],
        cwd=REPOSITORY,
        input="",
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    said = json.loads(done.stdout)
    absent, now = said["host"], said.pop("now")
    assert abs(now - time.time()) < 60
    nothing = {key: {} for key in ("databases", "services", "adopts", "integrations", "secrets")}
    assert said == {"absent": absent, "host": absent, **nothing}
    assert not bare.root.exists()


def test_it_changes_nothing_and_is_quick(laptop: Laptop) -> None:
    for name, port in zip("abcdef", free_ports(6), strict=True):
        laptop.up(laptop.service(f"{name}-service", port))

    def state() -> dict[str, tuple[int, int]]:
        paths = [path for path in laptop.root.rglob("*") if path.is_file() and path.suffix != ".log"]
        return {str(path): (path.stat().st_mtime_ns, path.stat().st_ino) for path in paths}

    before = state()
    spent: list[float] = []
    for _ in range(5):
        began = time.monotonic()
        subprocess.run(
            [sys.executable, "-m", "hostctl", "--root", laptop.root, "observe"],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            timeout=30,
            check=True,
        )
        spent.append(time.monotonic() - began)
    assert state() == before
    print(f"observe with 6 services: {min(spent) * 1000:.0f} ms at best, {os.getloadavg()[0]:.1f} load")
    assert min(spent) < 0.5  # 150 ms on a quiet machine


def test_while_another_run_is_at_work(laptop: Laptop, definition: dict[str, object]) -> None:
    port = definition["ports"][0]  # type: ignore[index]
    run = laptop.begin("up", IDENTITY, stdin=laptop.service(IDENTITY, port, "late", env={"LATE": "3"}))
    wait_for(lambda: laptop.observe()["services"][IDENTITY] == "another run is changing it (after generation 1)")
    assert run.wait(60) == 0
    run.communicate()
    assert laptop.observe()["services"][IDENTITY] == ""
