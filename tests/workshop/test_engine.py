"""Which engine runs a verb, with what, and what is refused (D: `make` and the Pulumi CLI)."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from standalone.lock import exclusive
from tests.workshop.conftest import REAL, Project

# A CLI that finds out whether it runs under the lock.
TRIES_THE_LOCK = """\
#!{python}
import sys
if sys.argv[1] == "version":
    sys.exit()
sys.path.insert(0, {real!r})
from pathlib import Path
from standalone.lock import take
take(Path({state!r}), "pulumi")
"""
VERBS = ("up", "preview", "destroy", "outputs")


def made(project: Project, stack: str) -> None:
    """The stack is in the backend."""
    kept = project.folder / ".state" / ".pulumi" / "stacks" / "blockchain-dao"
    kept.mkdir(parents=True)
    (kept / f"{stack}.json").write_text("{}")


@pytest.mark.parametrize("verb", VERBS)
def test_without_a_cli_standalone_runs_it(project: Project, verb: str) -> None:
    done = project.engine(verb, "tencent")
    assert done.returncode == 0, done.stderr
    calls = [{key: call[key] for key in ("argv", "PULUMI_CONFIG_PASSPHRASE")} for call in project.calls("standalone")]
    assert calls == [
        {"argv": [verb, "--stack", "tencent", *(["--json"] * (verb == "outputs"))], "PULUMI_CONFIG_PASSPHRASE": None},
    ]
    said = done.stderr if verb == "outputs" else done.stdout
    assert said == "engine: standalone (no pulumi on PATH; `make pulumi` installs it)\n"


def test_local_gets_its_well_known_passphrase_and_a_given_one_stays(project: Project) -> None:
    project.engine("up")
    project.engine("up", PULUMI_CONFIG_PASSPHRASE="mine")
    project.engine("up", PULUMI_CONFIG_PASSPHRASE="")
    project.engine("up", PULUMI_CONFIG_PASSPHRASE_FILE="/a/file")
    given = [call["PULUMI_CONFIG_PASSPHRASE"] for call in project.calls("standalone")]
    assert given == ["local-only", "mine", "", None]


def test_the_cli_on_path_is_used_and_named(project: Project) -> None:
    cli = project.with_pulumi()
    made(project, "local")
    done = project.engine("up")
    assert done.stdout == f"engine: pulumi v3.300.0 ({cli})\n", done.stderr
    (call,) = project.calls("pulumi")
    assert call["argv"] == ["up", "--stack", "local", "--yes", "--skip-preview", "--continue-on-error"]
    assert call["cwd"] == str(project.folder)
    assert call["PULUMI_CONFIG_PASSPHRASE"] == "local-only"
    assert not project.calls("standalone")


def test_the_cli_that_make_pulumi_installed_is_found_without_path(project: Project) -> None:
    cli = project.with_pulumi()
    home = project.folder / ".uv" / "pulumi" / "bin"
    home.mkdir(parents=True)
    cli.rename(home / "pulumi")
    made(project, "local")
    done = project.engine("preview")
    assert str(home / "pulumi") in done.stdout
    assert project.calls("pulumi")[0]["argv"] == ["preview", "--stack", "local"]


def test_a_new_stack_is_made_before_up(project: Project) -> None:
    project.with_pulumi()
    done = project.engine("up")
    assert done.returncode == 0, done.stderr
    assert [call["argv"][:4] for call in project.calls("pulumi")] == [
        ["stack", "select", "--create", "local"],
        ["up", "--stack", "local", "--yes"],
    ]
    assert (project.folder / ".state").is_dir()


def test_more_arguments_reach_the_engine_unharmed(project: Project) -> None:
    project.engine("up", ARGS="--target 'a b' --diff")
    assert project.calls("standalone")[0]["argv"] == ["up", "--stack", "local", "--target", "a b", "--diff"]


@pytest.mark.parametrize("engine", ["pulumi", "standalone"])
def test_the_engines_exit_code_is_ours(project: Project, engine: str) -> None:
    project.with_pulumi()
    made(project, "local")
    assert project.engine("up", ENGINE=engine, FAKE_EXIT="7").returncode == 7


def test_outputs_are_nothing_but_json(project: Project) -> None:
    project.with_pulumi()
    made(project, "local")
    done = project.engine("outputs")
    assert done.stdout == '{"mode": "development"}\n'
    assert done.stderr.startswith("engine: pulumi v3.300.0")


def test_nothing_to_destroy_and_no_outputs_without_a_stack(project: Project) -> None:
    project.with_pulumi()
    gone = project.engine("destroy", "tencent")
    assert gone.returncode == 0
    assert "nothing to destroy: pulumi has no stack tencent" in gone.stdout
    none = project.engine("outputs", "tencent")
    assert none.returncode == 1
    assert none.stdout == ""
    assert "`make up STACK=tencent`" in none.stderr
    assert not project.calls("pulumi")


class TestPreviewOfANewStack:
    """No passphrase, nothing written: P2 and P3 on a fresh clone."""

    @pytest.mark.parametrize("stack", ["local", "tencent"])
    def test_it_needs_no_passphrase_and_changes_no_file(self, project: Project, stack: str) -> None:
        project.with_pulumi()
        before = {path: path.read_text() for path in project.folder.glob("Pulumi*.yaml")}
        done = project.engine("preview", stack)
        assert done.returncode == 0, done.stderr
        assert {path: path.read_text() for path in project.folder.glob("Pulumi*.yaml")} == before
        init, preview = project.calls("pulumi")
        folder = Path(init["argv"][1])
        assert init["argv"] == ["-C", str(folder), "stack", "init", stack, "--no-select", "--non-interactive"]
        copy = str(folder / f"Pulumi.{stack}.yaml")
        assert preview["argv"] == ["preview", "--stack", stack, "--config-file", copy]
        assert preview["cwd"] == str(project.folder)
        assert preview["PULUMI_BACKEND_URL"] == init["PULUMI_BACKEND_URL"] == f"file://{folder}/state"
        assert preview["PULUMI_CREDENTIALS_PATH"] == str(folder)
        assert preview["PULUMI_CONFIG_PASSPHRASE"] == init["PULUMI_CONFIG_PASSPHRASE"] != "local-only"
        assert preview["PULUMI_CONFIG_PASSPHRASE_FILE"] is None
        assert not folder.exists()

    def test_secure_values_of_an_unknown_passphrase_become_placeholders(self, project: Project) -> None:
        project.with_pulumi()
        (project.folder / "Pulumi.tencent.yaml").write_text(
            "encryptionsalt: v1:theirs\n"
            "config:\n"
            "  blockchain-dao:secrets:\n"
            "    mysql: {secure: AAAA}\n"
            "    a-b: {secure: BBBB}\n"
            "  blockchain-dao:list: [{secure: CCCC}, plain]\n"
        )
        done = project.engine("preview", "tencent", PULUMI_CONFIG_PASSPHRASE_FILE="/not/there")
        assert done.returncode == 0, done.stderr
        _, sets, preview = project.calls("pulumi")
        assert sets["argv"][2:] == [
            *("config", "set-all", "--path", "--stack", "tencent"),
            *("--secret", "blockchain-dao:secrets.mysql=[secret]"),
            *("--secret", 'blockchain-dao:secrets["a-b"]=[secret]'),
            *("--secret", "blockchain-dao:list[0]=[secret]"),
            "--non-interactive",
        ]
        for theirs in ("v1:theirs", "AAAA", "BBBB", "CCCC"):
            assert theirs not in preview["config"]

    def test_its_exit_code_is_ours(self, project: Project) -> None:
        cli = project.with_pulumi()
        text = cli.read_text().replace("sys.exit(int(", 'sys.exit(arguments[0] == "preview" and int(')
        cli.write_text(text)
        assert project.engine("preview", FAKE_EXIT="255").returncode == 255


class TestPassphrase:
    @pytest.mark.parametrize("verb", ["up", "preview", "destroy"])
    def test_a_remote_stack_needs_its_own(self, project: Project, verb: str) -> None:
        project.with_pulumi()
        made(project, "tencent")
        for given in ({}, {"PULUMI_CONFIG_PASSPHRASE": "local-only"}):  # what `. ./env.sh` may have left
            done = project.engine(verb, "tencent", **given)
            assert done.returncode == 1
            assert "error: the stack tencent needs its passphrase" in done.stderr
            assert "PULUMI_CONFIG_PASSPHRASE_FILE" in done.stderr
        assert not project.calls("pulumi")

    def test_a_file_does(self, project: Project) -> None:
        project.with_pulumi()
        made(project, "tencent")
        done = project.engine("up", "tencent", PULUMI_CONFIG_PASSPHRASE_FILE="/a/file")
        assert done.returncode == 0, done.stderr
        assert project.calls("pulumi")[0]["PULUMI_CONFIG_PASSPHRASE_FILE"] == "/a/file"

    def test_a_clouds_key_service_needs_none(self, project: Project) -> None:
        project.with_pulumi()
        made(project, "tencent")
        (project.folder / "Pulumi.tencent.yaml").write_text("secretsprovider: awskms://alias/x\nconfig: {}\n")
        assert project.engine("up", "tencent").returncode == 0


class TestRefused:
    @pytest.mark.parametrize("verb", VERBS)
    @pytest.mark.parametrize(("engine", "owner"), [("pulumi", "standalone"), ("standalone", "pulumi")])
    def test_a_stack_that_the_other_engine_owns(self, project: Project, verb: str, engine: str, owner: str) -> None:
        project.with_pulumi()
        done = project.engine(verb, ENGINE=engine, FAKE_OWNER=owner)
        assert done.returncode == 1
        assert f"error: the stack local is owned by {owner}" in done.stderr
        assert f"`make handover STACK=local TO={engine}`" in done.stderr
        assert f"ENGINE={owner}" in done.stderr
        assert not project.calls("pulumi")
        assert not project.calls("standalone")

    @pytest.mark.parametrize("verb", ["up", "destroy"])
    def test_a_stack_that_another_run_works_on(self, project: Project, verb: str) -> None:
        """Before the owner is asked: the other run may be the other engine's first."""
        project.with_pulumi()
        made(project, "local")
        with exclusive(project.folder / ".standalone" / "local.json", "up"):
            done = project.engine(verb, FAKE_OWNER="standalone")
            assert done.returncode == 1
            assert "error: another run works on this stack: `up` by " in done.stderr
            assert not project.calls("pulumi")
            for harmless in ("preview", "outputs"):
                assert project.engine(harmless).returncode == 0
        assert project.engine(verb).returncode == 0

    @pytest.mark.parametrize("verb", ["up", "destroy"])
    def test_the_cli_keeps_the_lock_that_make_took(self, project: Project, verb: str) -> None:
        made(project, "local")
        state = project.folder / ".standalone" / "local.json"
        project.program("pulumi", TRIES_THE_LOCK.format(python=sys.executable, real=str(REAL), state=str(state)))
        done = project.engine(verb)
        assert done.returncode == 1
        assert f"another run works on this stack: `pulumi {verb}` by " in done.stderr
        with exclusive(state, "up"):
            pass  # with the CLI the lock is gone

    @pytest.mark.parametrize("engine", ["pulumi", "standalone"])
    @pytest.mark.parametrize("verb", ["up", "preview"])
    def test_a_password_in_clear(self, project: Project, engine: str, verb: str) -> None:
        project.with_pulumi()
        text = "config:\n  blockchain-dao:secrets: {mysql: {secure: v1:x:y}, redis: HUNTER2}\n"
        (project.folder / "Pulumi.tencent.yaml").write_text(text)
        done = project.engine(verb, "tencent", ENGINE=engine)
        assert done.returncode == 1
        assert "error: Pulumi.tencent.yaml: not encrypted: blockchain-dao:secrets.redis." in done.stderr
        assert "`make encrypt STACK=tencent`" in done.stderr
        assert "HUNTER2" not in done.stdout + done.stderr
        assert not project.calls("pulumi")
        assert not project.calls("standalone")

    def test_the_owner_itself_goes_on(self, project: Project) -> None:
        project.with_pulumi()
        made(project, "local")
        assert project.engine("up", FAKE_OWNER="pulumi").returncode == 0
        assert project.engine("up", ENGINE="standalone", FAKE_OWNER="standalone").returncode == 0

    @pytest.mark.parametrize("stack", ["locale", "", "../local", "local; touch hacked"])
    def test_a_stack_that_does_not_exist(self, project: Project, stack: str) -> None:
        done = project.engine("up", stack)
        assert done.returncode == 1
        assert "there are: local, tencent" in done.stderr
        assert not (project.folder / "hacked").exists()

    def test_an_engine_that_does_not_exist(self, project: Project) -> None:
        done = project.engine("up", ENGINE="terraform")
        assert done.returncode == 1
        assert "ENGINE=terraform is neither standalone nor pulumi" in done.stderr

    def test_a_cli_that_is_asked_for_and_not_there(self, project: Project) -> None:
        done = project.engine("up", ENGINE="pulumi")
        assert done.returncode == 1
        assert "`make pulumi` installs it" in done.stderr


class TestHandover:
    def test_standalone_does_it_with_the_cli_in_reach(self, project: Project) -> None:
        home = project.folder / ".uv" / "pulumi" / "bin"
        home.mkdir(parents=True)
        project.with_pulumi().rename(home / "pulumi")
        done = project.engine("handover", TO="pulumi", FAKE_OWNER="standalone")
        assert done.returncode == 0, done.stderr
        (call,) = project.calls("standalone")
        assert call["argv"] == ["handover", "--stack", "local", "--to", "pulumi"]
        assert str(home) in call["PATH"]

    def test_taking_it_back_needs_no_cli(self, project: Project) -> None:
        assert project.engine("handover", TO="standalone", FAKE_OWNER="pulumi").returncode == 0
        assert project.calls("standalone")[0]["argv"] == ["handover", "--stack", "local", "--to", "standalone"]

    def test_pulumi_needs_the_stacks_passphrase(self, project: Project) -> None:
        project.with_pulumi()
        done = project.engine("handover", "tencent", TO="pulumi")
        assert done.returncode == 1
        assert "the stack tencent needs its passphrase" in done.stderr

    @pytest.mark.parametrize("to", ["", "terraform"])
    def test_it_must_say_to_whom(self, project: Project, to: str) -> None:
        done = project.engine("handover", TO=to)
        assert done.returncode == 1
        assert "TO=pulumi or TO=standalone" in done.stderr

    def test_it_needs_the_cli(self, project: Project) -> None:
        done = project.engine("handover", TO="pulumi")
        assert done.returncode == 1
        assert "needs the Pulumi CLI on PATH" in done.stderr
