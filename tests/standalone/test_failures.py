"""A failure stays where it is; what doesn't depend on it is done, and the state tells the truth."""

from __future__ import annotations

import json

from tests.standalone.conftest import Project, command

FAILS = "echo tried >> log; echo some words; echo the reason >&2; exit 3"


def test_what_does_not_depend_on_a_failure_is_done(project: Project) -> None:
    project.spec(
        command("bad", args={"create": FAILS}),
        command("child", options={"depends_on": ["bad"]}),
        command("grandchild", options={"depends_on": ["child"]}),
        command("by-value", args={"stdin": "$out:bad"}),
        command("free"),
        command("after-free", options={"depends_on": ["free"]}),
        exports=("bad", "free"),
    )
    done = project.run("up", "--json", code=1)
    said = {r["name"]: r for r in json.loads(done.stdout)["resources"]}
    assert {name: r["status"] for name, r in said.items()} == {
        "bad": "failed", "child": "skipped", "grandchild": "skipped", "by-value": "skipped",
        "free": "done", "after-free": "done",
    }  # fmt: skip
    assert said["grandchild"]["detail"] == "not done: depends on bad, which failed"
    assert said["bad"]["detail"] == "exit status 3\nthe reason"
    assert set(project.resources()) == {"free", "after-free"}
    assert "pending_operations" not in project.deployment()
    assert json.loads(project.run("outputs", "--json").stdout) == {"free": "free made"}
    project.spec(command("bad"), command("child", options={"depends_on": ["bad"]}), command("free"))
    assert "free" not in [n for n, op in project.changes("up").items() if op == "create"]


def test_what_depends_on_a_failure_through_its_component_is_not_done(project: Project) -> None:
    project.spec(
        command("bad", args={"create": FAILS}),
        command("inside", group="after-bad", group_options={"depends_on": ["bad"]}),
        command("outside"),
    )
    done = project.run("up", "--json", code=1)
    said = {r["name"]: r["status"] for r in json.loads(done.stdout)["resources"]}
    assert said == {"bad": "failed", "after-bad": "skipped", "inside": "skipped", "outside": "done"}
    assert set(project.resources()) == {"outside"}


def test_a_failed_update_keeps_the_old_inputs_and_is_tried_again(project: Project) -> None:
    project.spec(command("a"))
    project.run("up")
    project.spec(command("a", args={"update": FAILS, "stdin": "new"}))
    assert "the reason" in project.run("up", code=1).stdout
    state = project.resources()["a"]
    assert "stdin" not in state["inputs"]
    assert state["initErrors"] == ["exit status 3\nthe reason"]
    # Even when the change is taken back: nobody knows how far the failed update came.
    project.spec(command("a"))
    preview = project.run("preview")
    assert "the last update failed: exit status 3" in preview.stdout
    assert project.changes("up") == {"a": "update"}
    assert "initErrors" not in project.resources()["a"]
    assert project.changes() == {"a": "unchanged"}


def test_a_renamed_resource_that_needs_what_the_old_one_holds_converges(project: Project) -> None:
    """A service on a port, renamed: the new one can't have the port before the old one is gone."""
    holds = {"create": "[ ! -e port ] && echo $0 > port", "delete": "rm port"}
    project.spec(command("before", args=holds))
    project.run("up")
    project.spec(command("after", args=holds))
    done = project.run("up", "--json", code=1)
    assert {r["name"]: (r["op"], r["status"]) for r in json.loads(done.stdout)["resources"]} == {
        "after": ("create", "failed"), "before": ("delete", "done"),
    }  # fmt: skip
    assert project.changes("up") == {"after": "create"}


def test_what_a_failed_one_still_needs_is_not_deleted(project: Project) -> None:
    project.spec(
        command("base"),
        command("old", options={"depends_on": ["base"]}),
        command("a", options={"depends_on": ["old"]}),
        command("after-a", options={"depends_on": ["a"]}),
        command("unrelated"),
    )
    project.run("up")
    project.spec(command("a", args={"update": FAILS, "stdin": "new"}))
    done = project.run("up", code=1)
    # `after-a` may be missing only because the program could not come to it.
    assert "not deleted while something fails: after-a, base, old" in done.stdout
    assert set(project.resources()) == {"base", "old", "a", "after-a"}
    project.spec(command("a", args={"stdin": "new"}))
    assert project.changes("up") == {"a": "update", "after-a": "delete", "old": "delete", "base": "delete"}


def test_nothing_is_deleted_when_the_program_did_not_come_to_its_end(project: Project) -> None:
    project.spec(command("old"))
    project.run("up")
    project.program("raise ValueError('half way')\n")
    project.run("up", code=1)
    assert "old" in project.resources()


def test_a_failed_delete_keeps_what_it_needs(project: Project) -> None:
    project.spec(
        command("a"),
        command("b", args={"delete": "exit 4"}, options={"depends_on": ["a"]}),
        command("c", options={"depends_on": ["b"]}),
        command("other"),
    )
    project.run("up")
    done = project.run("destroy", code=1)
    assert "exit status 4" in done.stdout
    assert "not deleted: b is still there" in done.stdout
    assert set(project.resources()) == {"a", "b"}


RUN_ERROR = """
import pulumi
from pulumi_command import local

local.Command("a", create="echo create a >> log")
raise pulumi.RunError("Pulumi.dev.yaml: services.x.port is taken twice")
"""


def test_a_run_error_is_its_message_and_nothing_is_touched(project: Project) -> None:
    project.program(RUN_ERROR)
    for verb in ("preview", "up"):
        done = project.run(verb, code=1)
        assert "error: Pulumi.dev.yaml: services.x.port is taken twice" in done.stdout
        assert "Traceback" not in done.stdout + done.stderr
        assert "nothing was touched" in done.stdout
    assert project.log() == []


def test_another_exception_shows_the_programs_own_frames(project: Project) -> None:
    project.program("def helper():\n    return {}['missing']\n\nhelper()\n")
    done = project.run("preview", code=1)
    assert "__main__.py" in done.stdout
    assert "in helper" in done.stdout
    assert "KeyError: 'missing'" in done.stdout
    assert "standalone/program.py" not in done.stdout
    project.program("import nothing_of_that_name\n")
    assert "ModuleNotFoundError" in project.run("preview", code=1).stdout


APPLY = """
import pulumi
from pulumi_command import local

a = local.Command("a", create="echo create a >> log; echo 1")

def wrong(out):
    raise ValueError("not this one")

local.Command("b", create=a.stdout.apply(wrong))
c = local.Command("c", create=a.stdout.apply(lambda out: f"sleep 0.5; echo create c >> log; echo {out}"))
local.Command("d", create=c.stdout.apply(lambda out: f"echo create d >> log"))
"""


def test_an_exception_in_one_apply_does_not_take_the_others_along(project: Project) -> None:
    project.program(APPLY)
    done = project.run("up", code=1)
    assert "ValueError: not this one" in done.stdout
    assert project.log() == ["create a", "create c", "create d"]
    assert set(project.resources()) == {"a", "c", "d"}


def test_a_failing_data_source_is_an_error_of_the_program(project: Project) -> None:
    project.program(
        "import pulumi\nfrom pulumi_command import local\n"
        "x = local.run_output(command='echo why >&2; exit 5')\n"
        "local.Command('a', create=x.stdout)\n"
        "local.Command('b', create='echo b >> log')\n"
    )
    done = project.run("up", code=1)
    assert "exit status 5" in done.stdout
    assert "why" in done.stdout
    assert project.log() == ["b"]


def test_two_resources_of_one_name(project: Project) -> None:
    project.program(
        "from pulumi_command import local\nlocal.Command('a', create='true')\nlocal.Command('a', create='true')\n"
    )
    assert "two resources have the same URN" in project.run("up", code=1).stdout


def test_inputs_that_the_plugin_would_not_take(project: Project) -> None:
    project.spec(command("a", args={"asset_paths": ["x"]}), command("b", args={"logging": "loud"}))
    done = project.run("up", code=1).stdout
    assert "assetPaths: files as outputs need the Pulumi CLI" in done
    assert "logging must be one of stdout, stderr" in done


def test_a_folder_or_interpreter_that_is_not_there(project: Project) -> None:
    project.spec(command("a", args={"dir": "/no/such"}), command("b", args={"interpreter": ["no-such-program"]}))
    done = project.run("up", code=1).stdout
    assert "No such file or directory: /no/such" in done
    assert "can't start no-such-program" in done


def test_what_a_failed_deletion_still_needs_stays_whole(project: Project) -> None:
    project.spec(
        command("base", group="first"),
        command("top", args={"delete": FAILS}, group="second", group_options={"depends_on": ["base"]}),
    )
    project.run("up")
    project.run("destroy", code=1)
    # Nothing that is left names something that is gone.
    assert set(project.resources()) == {"base", "top", "first", "second"}
    known = {resource["urn"] for resource in project.deployment()["resources"]}
    for resource in project.deployment()["resources"]:
        assert {resource.get("parent") or resource["urn"], *resource.get("dependencies", [])} <= known
    assert "delete base" not in project.log()
    project.spec(command("base", group="first"), command("top", group="second", group_options={"depends_on": ["base"]}))
    project.run("up")
    project.run("destroy")
    assert project.resources() == {}
