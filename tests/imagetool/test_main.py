"""What the command line says when something of this machine fails under it."""

from __future__ import annotations

import errno
import io
import json
import os
import tempfile
from typing import Any

import pytest

from imagetool import __main__ as program
from imagetool import local

IMAGE: local.Image = {
    "id": f"sha256:{'a' * 64}",
    "created": "2026-01-01T00:00:00Z",
    "arch": "amd64",
    "layers": ["sha256:1"],
    "config": {},
}
HELLO: dict[str, Any] = {"here": None, "users": [], "arch": "amd64", "layers": []}


class Talk:
    """A server that lacks the image."""

    def __init__(self, *_: object) -> None:
        pass

    def __enter__(self) -> Talk:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def hear(self) -> dict[str, Any]:
        return HELLO


def full() -> Any:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def no_folder() -> Any:
    raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")


@pytest.fixture
def pushed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Pushes an image that is in this machine's Docker; the exit code and what was said."""

    def run(save: Any) -> tuple[int, str]:
        delivery = {"run_as": "app:1", "build": None, "host": {"address": "192.0.2.7"}}
        monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(delivery)))
        monkeypatch.setattr(program, "Server", Talk)
        monkeypatch.setattr(program.signal, "signal", lambda *_: None)
        monkeypatch.setattr(local, "find", lambda _: IMAGE)
        monkeypatch.setattr(local, "save", lambda _: save())
        code = program.main(["push", "app", "app:1"])
        return code, capsys.readouterr().err

    return run


@pytest.mark.parametrize("archive", [b"", b"no archive " * 100, b"\0" * 100])
def test_an_odd_archive_is_told_with_the_folder(pushed: Any, archive: bytes) -> None:
    code, said = pushed(lambda: io.BytesIO(archive))
    assert code == 1
    assert said.startswith("error: app:1: ")
    assert tempfile.gettempdir() in said
    assert "the server has what it had" in said


def test_a_full_disk_is_told_with_the_folder(pushed: Any) -> None:
    code, said = pushed(full)
    assert code == 1
    assert "No space left on device" in said
    assert f"images pass through {tempfile.gettempdir()} on this machine" in said


def test_no_temporary_folder_at_all_is_told(pushed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", no_folder)
    code, said = pushed(no_folder)
    assert code == 1
    assert "No usable temporary directory found" in said
    assert "TMPDIR" in said
