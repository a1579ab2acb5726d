"""`. ./env.sh`: after it, a hand-typed `pulumi up -s local` works, in bash and in zsh, from any folder."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.workshop.conftest import Project
from tools.engine import LOGINS_AT_ONCE

SHOW = 'echo "status=$? passphrase=${PULUMI_CONFIG_PASSPHRASE-unset} bytecode=${PYTHONDONTWRITEBYTECODE-unset}"'


@pytest.fixture(params=["bash", "zsh"])
def shell(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if shutil.which(name) is None:
        pytest.skip(f"no `{name}` on PATH")
    return name


def source(project: Project, shell: str, after: str = SHOW, **env: str) -> CompletedProcess[str]:
    options = ["-f"] if shell == "zsh" else ["--norc", "--noprofile"]
    lines = f'set -u\n. "{project.folder}/env.sh"\n{after}\n'
    return project.run(shell, *options, "-c", lines, cwd=Path("/"), **env)


def test_everything_is_set_and_the_stack_selected(installed: Project, shell: str) -> None:
    installed.with_pulumi()
    done = source(installed, shell, PYTHONDONTWRITEBYTECODE="1")
    assert done.stdout.splitlines()[-1] == "status=0 passphrase=local-only bytecode=unset", done.stderr
    (call,) = installed.calls("pulumi")
    assert call["argv"] == [
        *("-C", str(installed.folder), "--non-interactive", "stack", "select", "--create", "local"),
    ]
    assert (installed.folder / ".state").is_dir()


def test_uv_and_an_installed_cli_come_onto_path_once(installed: Project, shell: str) -> None:
    cli = installed.with_pulumi()
    home = installed.folder / ".uv" / "pulumi" / "bin"
    home.mkdir(parents=True)
    cli.rename(home / "pulumi")
    again = f'. "{installed.folder}/env.sh" >/dev/null; printf "%s\\n" "$PATH"; command -v uv pulumi'
    *_, path, uv, pulumi = source(installed, shell, again).stdout.splitlines()
    assert path.split(":").count(str(home)) == 1
    assert uv == str(installed.programs / "uv")
    assert pulumi == str(home / "pulumi")


def test_a_passphrase_that_is_set_stays(installed: Project, shell: str) -> None:
    installed.with_pulumi()
    assert "passphrase=mine" in source(installed, shell, PULUMI_CONFIG_PASSPHRASE="mine").stdout
    assert "passphrase=unset" in source(installed, shell, PULUMI_CONFIG_PASSPHRASE_FILE="/a/file").stdout


def test_another_stack_needs_its_own_passphrase(installed: Project, shell: str) -> None:
    installed.with_pulumi()
    done = source(installed, shell, STACK="tencent", PULUMI_CONFIG_PASSPHRASE="local-only")
    assert "status=1 passphrase=unset" in done.stdout
    assert "PULUMI_CONFIG_PASSPHRASE_FILE" in done.stderr
    assert not installed.calls("pulumi")
    given = source(installed, shell, STACK="tencent", PULUMI_CONFIG_PASSPHRASE="theirs")
    assert "status=0 passphrase=theirs" in given.stdout


LIMITS = 'echo "parallel=${PULUMI_PARALLEL-unset} on=${PULUMI_CONTINUE_ON_ERROR-unset}"'


def test_a_typed_up_is_as_careful_as_make(installed: Project, shell: str) -> None:
    installed.with_pulumi()
    said = [
        source(installed, shell, LIMITS, **env).stdout.splitlines()[-1]
        for env in (
            {"STACK": "tencent", "PULUMI_CONFIG_PASSPHRASE": "theirs"},
            {"STACK": "local"},
            {"STACK": "tencent", "PULUMI_CONFIG_PASSPHRASE": "theirs", "PULUMI_PARALLEL": "2"},
        )
    ]
    assert said == [f"parallel={LOGINS_AT_ONCE} on=true", "parallel=unset on=true", "parallel=2 on=true"]


@pytest.mark.engine
@pytest.mark.skipif(shutil.which("pulumi") is None, reason="no `pulumi` on PATH")
@pytest.mark.parametrize("verb", ["up", "destroy"])
def test_the_real_cli_reads_what_env_sh_sets(verb: str) -> None:
    env = {**os.environ, "PULUMI_PARALLEL": "3", "PULUMI_CONTINUE_ON_ERROR": "true", "PULUMI_SKIP_UPDATE_CHECK": "true"}
    told = subprocess.run(["pulumi", verb, "--help"], env=env, capture_output=True, text=True, timeout=60, check=True)
    lines = told.stdout.splitlines()
    for option, value in (("--parallel", "3"), ("--continue-on-error", "true")):
        (line,) = [line for line in lines if option in line.split()]
        assert line.endswith(f"(default {value})"), line


def test_what_is_missing_is_said(installed: Project, shell: str) -> None:
    none = source(installed, shell)
    assert "status=1" in none.stdout
    assert "`make pulumi` installs it" in none.stderr
    installed.with_pulumi()
    wrong = source(installed, shell, STACK="nowhere")
    assert "there is no stack 'nowhere'" in wrong.stderr
    theirs = source(installed, shell, FAKE_OWNER="standalone")
    assert "`make handover STACK=local TO=pulumi` first" in theirs.stderr
    assert not installed.calls("pulumi")


def test_it_leaves_nothing_of_its_own_behind(installed: Project, shell: str) -> None:
    installed.with_pulumi()
    done = source(installed, shell, "set | grep -a '^_be_\\|^_blockchain_env' || echo clean")
    assert done.stdout.splitlines()[-1] == "clean"
