"""A process is its pid, its start and this boot."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hostctl import identity


def test_myself() -> None:
    me = identity.myself()
    assert me["pid"] == os.getpid()
    assert identity.alive(me)
    assert not identity.alive({**me, "start": "1"})
    assert not identity.alive({**me, "boot": "another"})


def test_a_zombie_is_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""], stdin=subprocess.DEVNULL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # ended, and still in the table of processes
    assert Path(f"/proc/{child.pid}").exists() or sys.platform == "darwin"
    assert identity.identify(child.pid) is None
    child.wait()


@pytest.mark.skipif(not Path("/bin/ps").exists() and not Path("/usr/bin/ps").exists(), reason="no ps here")
def test_as_ps_tells_it() -> None:
    """How macOS, which has no /proc, is asked."""
    start = identity.ps_start(os.getpid())
    assert start is not None
    assert len(start.split()) == 5  # Sat Nov 22 05:00:00 2026
    assert identity.ps_start(os.getpid()) == start
    assert identity.ps_start(2**22 - 1) is None


def test_the_command_line_is_cut() -> None:
    assert "python" in identity.program_of(os.getpid())
    assert len(identity.program_of(os.getpid())) <= 120
    assert identity.program_of(2**22 - 1) == ""
