"""The install: once, mended when it was cut short, and free when there is nothing to do."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.workshop.conftest import Project

UV = """\
#!/bin/sh
if [ "$1" = --version ]; then echo "uv ${{FAKE_UV:-99.0.0}} (abc)"; exit 0; fi
echo "$*" >>uv.log
[ -z "${{FAKE_UV_HANGS:-}}" ] || {{ mkdir -p .venv/lib; echo $$ >uv.pid; exec sleep 30; }}
[ -z "${{FAKE_UV_FAILS:-}}" ] || {{ echo "no network" >&2; exit "$FAKE_UV_FAILS"; }}
mkdir -p .venv/bin
ln -sf {python} .venv/bin/python
"""
# A Python of which the test decides what it can: it makes a "venv" whose pip makes a "uv".
PYTHON = """\
#!/bin/sh
case "$*" in
*ensurepip*) [ "{venv}" = yes ] ;;
"-m venv "*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python" ;;
"-m pip --version") [ "{pip}" = yes ] ;;
"-m pip install "*--target*) mkdir -p .uv/tool/bin; echo target >>pip.log; {uv} ;;
"-m pip install "*) echo venv >>pip.log; {uv} ;;
*version_info*executable*) echo "$0" ;;
*) exec {python} "$@" ;;
esac
"""
GET_UV = "printf '#!/bin/sh\\necho uv 0.13.9\\n' >.uv/tool/bin/uv; chmod +x .uv/tool/bin/uv"


@pytest.fixture
def fresh(project: Project) -> Project:
    project.program("uv", UV.format(python=sys.executable))
    return project


def bootstrap(project: Project, what: str = "runtime", **env: str) -> subprocess.CompletedProcess[str]:
    return project.run("tools/bootstrap.sh", what, **env)


def syncs(project: Project) -> list[str]:
    log = project.folder / "uv.log"
    return log.read_text().splitlines() if log.exists() else []


def without_uv(project: Project, **can: str) -> None:
    (project.programs / "uv").unlink()
    text = PYTHON.format(**{"venv": "yes", "pip": "yes", "uv": GET_UV, "python": sys.executable, **can})
    project.program("python3", text)


def test_runtime_is_frozen_compiled_and_without_the_workshop(fresh: Project) -> None:
    done = bootstrap(fresh)
    assert done.returncode == 0, done.stderr
    (call,) = syncs(fresh)
    assert call.startswith("sync --frozen --compile-bytecode --quiet --no-dev --python ")


def test_a_second_run_asks_nobody_anything(fresh: Project) -> None:
    bootstrap(fresh)
    fresh.program("uv", "#!/bin/sh\nexit 66\n")
    fresh.program("python3", "#!/bin/sh\nexit 66\n")
    done = bootstrap(fresh)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_an_up_to_date_check_is_cheap(fresh: Project) -> None:
    bootstrap(fresh)
    times: list[float] = []
    for _ in range(10):
        started = time.monotonic()
        bootstrap(fresh)
        times.append(time.monotonic() - started)
    assert min(times) < 0.03


def test_up_after_test_keeps_the_workshop(fresh: Project) -> None:
    bootstrap(fresh)
    bootstrap(fresh, "dev")
    for what in ("runtime", "dev", "runtime"):
        bootstrap(fresh, what)
    assert ["--no-dev" in call for call in syncs(fresh)] == [True, False]
    with (fresh.folder / "uv.lock").open("a") as lock:
        lock.write("# changed\n")
    bootstrap(fresh, "runtime")
    bootstrap(fresh, "dev")
    assert ["--no-dev" in call for call in syncs(fresh)] == [True, False, False]


@pytest.mark.parametrize("name", ["uv.lock", "pyproject.toml"])
def test_a_changed_file_installs_again(fresh: Project, name: str) -> None:
    bootstrap(fresh)
    with (fresh.folder / name).open("a") as file:
        file.write("# changed\n")
    bootstrap(fresh)
    assert len(syncs(fresh)) == 2


def test_a_lost_python_installs_again(fresh: Project) -> None:
    bootstrap(fresh)
    link = fresh.folder / ".venv" / "bin" / "python"
    link.unlink()
    link.symlink_to("/nowhere/python3")
    done = bootstrap(fresh)
    assert done.returncode == 0, done.stderr
    assert len(syncs(fresh)) == 2


def test_a_moved_project_starts_afresh(fresh: Project) -> None:
    bootstrap(fresh)
    (fresh.folder / ".venv" / "old").touch()
    moved = fresh.folder.with_name("moved")
    fresh.folder.rename(moved)
    fresh.folder = moved
    done = bootstrap(fresh)
    assert ".venv was made for another folder or Python" in done.stderr
    assert not (moved / ".venv" / "old").exists()


def test_an_install_that_was_cut_short_is_mended(fresh: Project) -> None:
    process = subprocess.Popen(
        ["tools/bootstrap.sh", "runtime"],
        cwd=fresh.folder,
        env={**fresh.env, "FAKE_UV_HANGS": "1"},
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    pid = fresh.folder / "uv.pid"
    deadline = time.monotonic() + 20
    while not (pid.exists() and pid.read_text().strip()) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, 2)  # Ctrl-C reaches them all
    assert process.wait(timeout=20) != 0
    assert (fresh.folder / ".venv" / "lib").exists()
    done = bootstrap(fresh)
    assert done.returncode == 0, done.stderr
    assert "an earlier install was cut short" in done.stderr
    assert not (fresh.folder / ".venv" / "lib").exists()
    assert bootstrap(fresh).stderr == ""


def test_a_killed_install_is_mended(fresh: Project) -> None:
    (fresh.folder / ".uv").mkdir()
    ended = subprocess.Popen(["true"])
    ended.wait()
    (fresh.folder / ".uv" / "lock").symlink_to(str(ended.pid))
    (fresh.folder / ".venv").mkdir()
    (fresh.folder / ".venv" / "half").touch()
    done = bootstrap(fresh)
    assert done.returncode == 0, done.stderr
    assert not (fresh.folder / ".venv" / "half").exists()


def test_a_refused_install_keeps_what_is_there(fresh: Project) -> None:
    bootstrap(fresh)
    with (fresh.folder / "uv.lock").open("a") as lock:
        lock.write("# changed\n")
    (fresh.folder / ".venv" / "mine").touch()
    done = bootstrap(fresh, FAKE_UV_FAILS="2")
    assert done.returncode == 1
    assert "no network" in done.stderr
    assert "cure: check the network" in done.stderr
    assert bootstrap(fresh).returncode == 0
    assert (fresh.folder / ".venv" / "mine").exists()


def test_two_at_once_install_once(fresh: Project) -> None:
    text = (fresh.programs / "uv").read_text().replace("mkdir -p .venv/bin", "sleep 1; mkdir -p .venv/bin")
    fresh.program("uv", text)
    both = [
        subprocess.Popen(["tools/bootstrap.sh", "runtime"], cwd=fresh.folder, env=fresh.env, stderr=subprocess.DEVNULL)
        for _ in range(2)
    ]
    assert [process.wait(timeout=30) for process in both] == [0, 0]
    assert len(syncs(fresh)) == 1


class TestUv:
    def test_one_on_path_that_is_new_enough_is_used(self, fresh: Project) -> None:
        assert bootstrap(fresh, "uv").stdout.strip() == str(fresh.programs)

    @pytest.mark.parametrize(("version", "enough"), [("0.13.9", True), ("0.14.0", True), ("1.0.0", True)])
    def test_versions_count_as_numbers(self, fresh: Project, version: str, enough: bool) -> None:
        assert (bootstrap(fresh, "uv", FAKE_UV=version).stdout.strip() == str(fresh.programs)) is enough

    @pytest.mark.parametrize("old", ["0.13.8", "0.9.30", "0.2.10"])
    def test_an_old_one_on_path_is_not(self, fresh: Project, old: str) -> None:
        uv = fresh.programs / "uv"
        text = uv.read_text()
        without_uv(fresh)
        fresh.program("uv", text)
        done = bootstrap(fresh, "uv", FAKE_UV=old)
        assert done.stdout.strip() == str(fresh.folder / ".uv" / "tool" / "bin"), done.stderr

    def test_it_comes_by_venv_and_pip(self, fresh: Project) -> None:
        without_uv(fresh)
        done = bootstrap(fresh, "uv")
        assert done.stdout.strip() == str(fresh.folder / ".uv" / "tool" / "bin"), done.stderr
        bootstrap(fresh, "uv")
        assert (fresh.folder / "pip.log").read_text() == "venv\n"

    def test_without_venv_it_comes_by_pip_alone(self, fresh: Project) -> None:
        without_uv(fresh, venv="no")
        done = bootstrap(fresh, "uv")
        assert done.returncode == 0, done.stderr
        assert (fresh.folder / "pip.log").read_text() == "target\n"

    def test_without_both_the_cure_is_said(self, fresh: Project) -> None:
        without_uv(fresh, venv="no", pip="no")
        done = bootstrap(fresh, "uv")
        assert done.returncode == 1
        assert "has neither venv nor pip" in done.stderr
        assert "apt-get install python3-venv" in done.stderr

    def test_a_failed_download_says_so_and_leaves_nothing(self, fresh: Project) -> None:
        without_uv(fresh, uv="echo 'no route to host' >&2; exit 1")
        done = bootstrap(fresh, "uv")
        assert done.returncode == 1
        assert "no route to host" in done.stderr
        assert "could not be installed from PyPI" in done.stderr
        assert not (fresh.folder / ".uv" / "tool").exists()


class TestPython:
    def test_an_old_python3_is_passed_over(self, project: Project) -> None:
        project.program("python3", "#!/bin/sh\nexit 1\n")
        project.program("python3.13", "#!/bin/sh\nexit 127\n")  # a shim with nothing behind it
        project.program("python3.12", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        done = project.run("tools/bootstrap.sh", "python", PATH=self.only(project))
        assert Path(done.stdout.strip()).exists()

    def test_none_that_is_new_enough(self, project: Project) -> None:
        project.program("python3", '#!/bin/sh\n[ "$1" != --version ] || echo "Python 3.9.6"\nexit 1\n')
        done = project.run("tools/bootstrap.sh", "python", PATH=self.only(project))
        assert done.returncode == 1
        assert "error: Python 3.11 or newer is needed" in done.stderr
        assert "brew install python" in done.stderr

    @staticmethod
    def only(project: Project) -> str:
        """A PATH with the test's Pythons and the plain tools that the script needs."""
        for name in ("sh", "dirname", "readlink"):
            link = project.programs / name
            if not link.exists():
                link.symlink_to(next(p for p in (Path("/usr/bin") / name, Path("/bin") / name) if p.exists()))
        return str(project.programs)
