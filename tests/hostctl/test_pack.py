"""The zipapp: reproducible, complete, and put in place by a POSIX shell script."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from hostctl import pack
from tests.host.laptop import REPOSITORY

SHELLS = [name for name in ("sh", "dash", "bash", "zsh", "busybox") if shutil.which(name)]


def test_the_same_sources_give_the_same_bytes(tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere/hostctl"
    shutil.copytree(pack.HERE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for number, path in enumerate(sorted(copy.iterdir(), reverse=True)):
        os.utime(path, (number, number))
        path.chmod(0o755)
    subprocess.run(
        [sys.executable, "-m", "hostctl.pack", tmp_path / "other.pyz"], cwd=copy.parent, check=True, timeout=60
    )
    assert (tmp_path / "other.pyz").read_bytes() == pack.pack()


def test_it_holds_all_that_it_needs(tmp_path: Path) -> None:
    archive = zipfile.ZipFile(io.BytesIO(pack.pack()))
    assert archive.namelist() == sorted(archive.namelist())
    texts = {f"hostctl/{path.name}" for path in pack.HERE.glob("*.in")}
    assert {"__main__.py", "hostctl/cli.py", "hostctl/launch.py", *texts} <= set(archive.namelist())
    assert "hostctl/docker-compose.in" in texts
    left_out = {f"hostctl/{name}" for name in (*pack.NOT_ON_HOSTS, "install.sh", "remove.sh")}
    assert not left_out & set(archive.namelist())
    assert "hostctl/blockchain-dao-firewall.service.in" in archive.namelist()
    (tmp_path / "hostctl.pyz").write_bytes(pack.pack())
    done = subprocess.run(
        [sys.executable, "-IS", tmp_path / "hostctl.pyz", "--root", tmp_path / "none", "observe"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=30,
        check=True,
    )
    said = json.loads(done.stdout)
    # A label that never comes again: what is gone must not look like what was converged.
    assert said["absent"].startswith("not converged yet (asked 20")
    absent, now = said.pop("absent"), said.pop("now")
    assert abs(now - time.time()) < 60
    assert said == {"databases": {}, "host": absent, "services": {}, "adopts": {}, "integrations": {}, "secrets": {}}


def test_the_bundle() -> None:
    bundle = pack.bundle()
    assert bundle.digest == hashlib.sha256(pack.pack()).hexdigest()
    assert "\n" not in bundle.payload
    assert bundle.script.startswith("#!/bin/sh\n")


def test_the_script_is_clean() -> None:
    shellcheck = Path(sys.executable).with_name("shellcheck")
    if not shellcheck.exists():
        pytest.skip("no shellcheck here")
    subprocess.run([shellcheck, "--shell=sh", *pack.HERE.glob("*.sh")], check=True, timeout=60)


def install(shell: str, lines: list[str], cwd: Path, path: str = "") -> subprocess.CompletedProcess[str]:
    command = [shell, "sh"] if shell == "busybox" else [shell]
    return subprocess.run(
        [*command, "-c", pack.bundle().script],
        input="\n".join(lines) + "\n",
        cwd=cwd,
        env={"PATH": path or os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({0: ""}, "no ROOT in the first line of stdin"),
        ({1: ""}, "no Python interpreter in the second line"),
        ({1: "no-such-python"}, "Python is missing here (no 'no-such-python' on PATH)"),
        ({1: "./no/python"}, "there is no program ./no/python"),
        ({2: "0" * 64}, "the zipapp arrived damaged: its SHA-256 is not 000"),
        ({3: "!!!"}, "the fourth line of stdin is not base64"),
        ({4: ""}, "no definition of the host in the fifth line"),
        ({4: "{}"}, "the host's definition: schema is missing"),
    ],
)
def test_what_is_wrong_is_said(shell: str, change: dict[int, str], message: str, tmp_path: Path) -> None:
    bundle = pack.bundle()
    lines = ["root", sys.executable, bundle.digest, bundle.payload, "{}"]
    for number, text in change.items():
        lines[number] = text
    done = install(shell, lines, tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert not (tmp_path / "root/state").exists()


def test_a_cut_stdin(tmp_path: Path) -> None:
    done = install("sh", ["root"], tmp_path)
    assert done.returncode == 2
    assert "stdin ends before its line 'python'" in done.stderr


def test_an_old_python(tmp_path: Path) -> None:
    old = tmp_path / "python2"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = install("sh", ["root", str(old), "x", "x", "{}"], tmp_path)
    assert "is no Python 3.8 or newer" in done.stderr


def test_sources_are_where_they_are_expected() -> None:
    assert pack.HERE == REPOSITORY / "hostctl"
