"""Files are there whole or not at all, and private ones are private."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from hostctl import layout
from hostctl.errors import HostctlError


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_modes_do_not_depend_on_the_umask(tmp_path: Path) -> None:
    for umask in (0o000, 0o077):
        before = os.umask(umask)
        try:
            made = layout.Layout(str(tmp_path / f"{umask}"))
            made.make()
            layout.write_atomic(made.root / "readable", "x", 0o644)
            layout.write_atomic(made.root / "private", "x", 0o600)
        finally:
            os.umask(before)
        assert mode(made.state) == mode(made.secrets) == mode(made.run) == 0o700
        assert mode(made.logs) == 0o755
        assert (mode(made.root / "readable"), mode(made.root / "private")) == (0o644, 0o600)
        assert made.wrong_mode() is None


def test_opened_folders_are_noticed_and_closed_again(tmp_path: Path) -> None:
    made = layout.Layout(str(tmp_path / "root"))
    assert made.wrong_mode() == "bin/ is missing"
    made.make()
    made.secrets.chmod(0o750)
    assert made.wrong_mode() == "secrets/ is open to others"
    made.make()
    assert made.wrong_mode() is None


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    layout.write_atomic(path, "old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        layout.write_atomic(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_bytes_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a\r\nb\n\xff\xe5\x8c\xba")
    text = layout.read_text(path)
    assert text is not None
    layout.write_atomic(path, text)
    assert path.read_bytes() == b"a\r\nb\n\xff\xe5\x8c\xba"


def test_what_is_not_there(tmp_path: Path) -> None:
    assert layout.read_text(tmp_path / "no/file") is None
    assert layout.read_json(tmp_path / "no") is None
    assert not layout.remove(tmp_path / "no")


def test_a_damaged_state_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(HostctlError, match=r"x\.json is damaged"):
        layout.read_json(tmp_path / "x.json")


def test_the_identity_of_a_secret_file_changes_with_every_write(tmp_path: Path) -> None:
    made = layout.Layout(str(tmp_path / "root"))
    made.make()
    assert layout.file_identity(made, "mysql") is None
    seen = []
    for _ in range(3):
        layout.write_atomic(made.secret_file("mysql"), "the same")
        seen.append(layout.file_identity(made, "mysql"))
    assert len({tuple(one or []) for one in seen}) == 3
