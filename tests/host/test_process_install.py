"""The zipapp, put in place by install.sh as the control side runs it, on Pythons old and new (P7)."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hostctl import pack
from tests.host.laptop import SUPERVISORD, Laptop, ask, free_ports
from tests.hostctl import samples
from tests.hostctl.test_sources import old_python

pytestmark = pytest.mark.host

SHELLS = [name for name in ("dash", "bash", "zsh", "busybox") if shutil.which(name)]
IDENTITY = "identity-service"


def install(
    base: Path, root: str = ".local", python: str = sys.executable, shell: str = "sh", label: str | None = None
) -> subprocess.CompletedProcess[str]:
    """As components/host.py does: the script as the command's text, the label set in front of it."""
    bundle = pack.bundle()
    text = bundle.script if label is None else f"set -- {shlex.quote(label)}\n{bundle.script}"
    lines = [root, python, bundle.digest, bundle.payload, json.dumps(samples.host(str(SUPERVISORD)))]
    command = [shell, "sh"] if shell == "busybox" else [shell]
    return subprocess.run(
        [*command, "-c", text],
        input="\n".join(lines) + "\n",
        cwd=base,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def whole_life(laptop: Laptop) -> None:
    port = free_ports(1)[0]
    laptop.up(laptop.service(IDENTITY, port), "--observed", "")
    assert laptop.observe()["services"] == {IDENTITY: ""}
    assert ask(port)["cwd"] == str(laptop.base)
    laptop.run("restart", IDENTITY)
    failed = laptop.up(laptop.service(IDENTITY, port, "crash"), fails=1)
    assert "Generation 1 serves again." in failed.stderr
    laptop.run("secrets", "mysql", stdin={"PASSWORD": "x"})
    laptop.run("down", IDENTITY)
    done = laptop.run("remove-host")  # it removes the very zipapp that it runs from
    assert json.loads(done.stdout)["outcome"] == "removed"
    assert "Traceback" not in done.stderr
    assert not laptop.wrapper.exists()


@pytest.mark.parametrize("shell", SHELLS)
def test_in_every_shell(shell: str, tmp_path: Path) -> None:
    laptop = Laptop(tmp_path / "it's a 100% odd 文件夹")
    laptop.base.mkdir()
    try:
        done = install(laptop.base, shell=shell, label="it's new")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == {"name": "local", "generation": 1, "root": str(laptop.root)}
        assert laptop.observe()["host"] == "it's new"
        assert laptop.wrapper.stat().st_mode & 0o777 == 0o755
        whole_life(laptop)
    finally:
        laptop.clean_up()
    assert list(laptop.leftovers()) == []


@pytest.mark.parametrize("version", ["3.8", "3.9", "3.10"])
def test_on_an_old_python(version: str, tmp_path: Path) -> None:
    python = old_python(version)
    if python is None:
        pytest.skip(f"no Python {version} here")
    laptop = Laptop(tmp_path)
    try:
        done = install(laptop.base, python=python)
        assert done.returncode == 0, done.stderr
        assert python in laptop.wrapper.read_text()
        whole_life(laptop)
    finally:
        laptop.clean_up()


def test_again_and_again(tmp_path: Path) -> None:
    laptop = Laptop(tmp_path)
    absolute = str(laptop.root)
    try:
        assert install(laptop.base, root=absolute, python="python3", label="").returncode == 0
        library = laptop.root / "lib"
        (archive,) = library.iterdir()
        before = archive.stat().st_mtime_ns, laptop.supervisord(), laptop.wrapper.read_text()
        for number, name in enumerate(("hostctl-1.pyz", "hostctl-2.pyz")):
            (library / name).write_bytes(b"an older one")
            os.utime(library / name, (number, number))
        assert install(laptop.base, root=absolute, python="python3", label="").returncode == 0
        assert (archive.stat().st_mtime_ns, laptop.supervisord(), laptop.wrapper.read_text()) == before
        assert sorted(path.name for path in library.iterdir()) == sorted([archive.name, "hostctl-2.pyz"])
        archive.write_bytes(b"damaged")
        assert install(laptop.base, root=absolute, python="python3", label="").returncode == 0
        assert archive.read_bytes() == pack.pack()
    finally:
        laptop.clean_up()


def test_a_relative_python_is_the_projects(tmp_path: Path) -> None:
    laptop = Laptop(tmp_path)
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv/python").symlink_to(sys.executable)
    try:
        assert install(laptop.base, python="venv/python").returncode == 0
        assert f"{tmp_path}/venv/python -IS " in laptop.wrapper.read_text()
    finally:
        laptop.clean_up()
