"""The reload on a code change (P1), against a hostctl that only writes down its calls."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devloop.reload import Reloader, concerned

DEADLINE = 20.0

FAKE = """#!/bin/sh
case "$1" in
  watches) cat {root}/watches.json ;;
  restart) echo "$2" >> {root}/restarted ;;
esac
"""


def wait_for(what: Callable[[], bool], seconds: float = DEADLINE) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it didn't happen in time"
        time.sleep(0.05)


class Laptop:
    """A root folder with a fake hostctl, and two services' code."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "bin").mkdir()
        self.hostctl = root / "bin" / "hostctl"
        self.hostctl.write_text(FAKE.format(root=root))
        self.hostctl.chmod(0o755)
        self.code = {name: root / "code" / name for name in ("identity", "governance")}
        for folder in self.code.values():
            folder.mkdir(parents=True)
        self.watch(self.code)

    def watch(self, folders: dict[str, Path]) -> None:
        names = {f"{name}-service": [str(folder)] for name, folder in folders.items()}
        (self.root / "watches.json").write_text(json.dumps(names))
        (self.root / "supervisord.conf").write_text(repr(names))

    def restarted(self) -> list[str]:
        file = self.root / "restarted"
        return file.read_text().split() if file.exists() else []


@pytest.fixture
def laptop(tmp_path: Path) -> Iterator[Laptop]:
    laptop = Laptop(tmp_path)
    stop = threading.Event()
    thread = threading.Thread(target=Reloader(laptop.hostctl).run, args=(stop,))
    thread.start()
    try:
        yield laptop
    finally:
        stop.set()
        thread.join(DEADLINE)
        assert not thread.is_alive()


def touch_until_restarted(laptop: Laptop, file: Path, name: str) -> None:
    """The watch begins some time after the thread: change the file until it is seen."""

    def seen() -> bool:
        file.write_text(f"# {time.monotonic_ns()}\n")
        time.sleep(0.2)
        return name in laptop.restarted()

    wait_for(seen)


def test_only_the_changed_service_restarts(laptop: Laptop) -> None:  # P1
    touch_until_restarted(laptop, laptop.code["identity"] / "app.py", "identity-service")
    assert set(laptop.restarted()) == {"identity-service"}


def test_data_in_the_folder_restarts_nothing(laptop: Laptop) -> None:
    touch_until_restarted(laptop, laptop.code["identity"] / "app.py", "identity-service")
    (laptop.code["governance"] / "store.sqlite").write_bytes(b"data")
    (laptop.code["governance"] / "__pycache__").mkdir()
    (laptop.code["governance"] / "__pycache__" / "app.pyc").write_bytes(b"compiled")
    # A change that is seen comes after those, so that they had their chance.
    count = len(laptop.restarted())
    (laptop.code["identity"] / "more.py").write_text("1")
    wait_for(lambda: len(laptop.restarted()) > count)
    assert "governance-service" not in laptop.restarted()


def test_a_service_that_comes_later_is_watched_too(laptop: Laptop) -> None:
    touch_until_restarted(laptop, laptop.code["identity"] / "app.py", "identity-service")
    third = laptop.root / "code" / "third"
    third.mkdir()
    laptop.watch({**laptop.code, "third": third})
    touch_until_restarted(laptop, third / "app.py", "third-service")


def test_concerned_looks_at_whole_folders() -> None:
    watches = {"a": [Path("/code/a")], "ab": [Path("/code/ab"), Path("/lib")]}
    assert concerned([Path("/code/ab/x.py")], watches) == ["ab"]
    assert concerned([Path("/lib/y.py"), Path("/code/a/z.py")], watches) == ["a", "ab"]
    assert concerned([Path("/elsewhere.py")], watches) == []
