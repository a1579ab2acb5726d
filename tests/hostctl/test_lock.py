"""The lock names its holder, dies with it, and is nobody's inheritance."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hostctl import audit, console, lock
from hostctl.errors import HostctlError
from hostctl.layout import Layout

HOLD = """
import sys, time
from hostctl.layout import Layout
from hostctl.lock import HostLock
held = HostLock(Layout(sys.argv[1]), "up", "identity-service")
assert held.try_acquire()
print("held", flush=True)
time.sleep(100)
"""


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(str(tmp_path / "root"))
    made.make()
    return made


def test_who_holds_it(layout: Layout, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "FIRST_WORD_AFTER", 0.0)
    holder = subprocess.Popen([sys.executable, "-c", HOLD, layout.root], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "held\n"
        mine = lock.HostLock(layout, "down", "x")
        assert not mine.try_acquire()
        assert mine.holder() == f"pid {holder.pid} (up identity-service), for 0 s"
        monkeypatch.setattr(lock, "GIVE_UP_AFTER", 0.1)
        with pytest.raises(HostctlError, match=f"gave up .* held by pid {holder.pid}"), mine.held():
            pass
        assert f"waiting for the host's lock, held by pid {holder.pid}" in capsys.readouterr().err
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with mine.held():
            assert mine.holder().startswith(f"pid {os.getpid()} (down x)")
    finally:
        holder.kill()
        holder.communicate()


def test_a_queue_that_moves_on_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many slow rolls, one after the other, are no holder that hangs."""
    now = [0.0]
    monkeypatch.setattr(lock.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(lock.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    turns = iter([*"aabbccdd", *"d" * 100])
    patience = lock.Patience(lambda: "waiting", lambda: next(turns))
    for _ in range(7):
        patience.wait(lock.GIVE_UP_AFTER - 1)
    with pytest.raises(HostctlError, match="gave up after 10 minutes of waiting"):
        patience.wait(1)


def test_each_turn_is_another(layout: Layout) -> None:
    mine = lock.HostLock(layout, "up", "x")
    assert mine.turn() == ""
    turns: set[str] = set()
    for _ in range(2):
        with mine.held():
            turns.add(mine.turn())
    assert len(turns - {""}) == 2


def test_no_child_inherits_it(layout: Layout) -> None:
    mine = lock.HostLock(layout, "up", "x")
    with mine.held():
        child = subprocess.Popen(["sleep", "100"], close_fds=False)
    try:
        assert lock.HostLock(layout, "up", "y").try_acquire()
    finally:
        child.kill()
        child.wait()


def test_a_holder_that_left_no_name(layout: Layout) -> None:
    assert lock.HostLock(layout, "up", "x").holder() == "another run"


def test_progress_never_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console._Voice, "muted", False)
    monkeypatch.setattr(sys, "stderr", None)
    console.say("into the void")
    assert console._Voice.muted  # it does not try again


def full_disk(*_: object) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_takes_the_holders_name_and_not_the_lock(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console._Voice, "said", set())
    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full_disk)
        patched.setattr(os, "ftruncate", full_disk)
        for _ in range(2):
            mine = lock.HostLock(layout, "up", "x")
            with mine.held():
                assert mine.descriptor is not None
                assert not lock.HostLock(layout, "up", "y").try_acquire()
    assert lock.HostLock(layout, "up", "y").try_acquire()
    assert capsys.readouterr().err.count("No space left on device; who holds the lock is not written down") == 1


def test_a_full_disk_is_a_gap_in_the_audit_log_and_no_failure(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console._Voice, "said", set())
    audit.record(layout, "up", "x", "started")
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full_disk)
        audit.record(layout, "up", "x", "lost")
        audit.record(layout, "up", "x", "lost")
    audit.record(layout, "up", "x", "restarted")
    assert [line.split('"outcome": "')[1].split('"')[0] for line in layout.audit.read_text().splitlines()] == [
        "started",
        "restarted",
    ]
    assert capsys.readouterr().err.count("No space left on device; the audit log has a gap") == 1
