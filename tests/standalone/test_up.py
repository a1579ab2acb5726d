"""up, preview, destroy, outputs: what they do and what they say."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import resource
import subprocess
import time

from tests.standalone.conftest import Project, command

SECONDS_UNCHANGED = 1.2


def test_first_up_creates_all_and_second_changes_nothing(basic: Project) -> None:
    first = basic.run("up")
    assert "5 created" in first.stdout
    log = basic.log()
    assert (log[0], sorted(log[1:])) == ("create first", ["create second", "got hi"]), "dependencies first"
    before = basic.state_path.read_bytes()
    second = basic.run("up", "--show-unchanged")
    assert "5 unchanged" in second.stdout
    assert second.stdout.count("= unchanged") == 5
    assert basic.log() == log
    assert basic.state_path.read_bytes() == before, "a run that changes nothing writes nothing"


def test_outputs(basic: Project) -> None:
    assert "nothing has been deployed" in basic.run("outputs").stderr
    basic.run("up")
    assert json.loads(basic.run("outputs", "--json").stdout) == {"word": "hi", "three": "three"}
    assert "word   hi" in basic.run("outputs").stdout


def test_preview_executes_nothing_and_shows_unknown_outputs(basic: Project) -> None:
    data = json.loads(basic.run("preview", "--json").stdout)
    assert {r["op"] for r in data["resources"]} == {"create"}
    assert data["outputs"] == {"word": "[unknown]", "three": "[unknown]"}
    assert basic.log() == []
    assert not basic.state_path.exists()


def test_messages_of_the_program_are_shown_once(basic: Project) -> None:
    assert basic.run("preview").stdout.count("watch out") == 1


def test_update_shows_what_differs_and_what_depends_on_it(basic: Project) -> None:
    basic.run("up")
    (basic.folder / "Pulumi.dev.yaml").write_text("config:\n  basic:port: 8399\n  basic:word: hey\n")
    preview = basic.run("preview")
    assert "~ stdin.port: 8301 -> 8399" in preview.stdout
    assert '~ create: "echo got hi >> log; echo three" -> [unknown]' in preview.stdout
    assert basic.changes() == {
        "first": "unchanged", "second": "unchanged", "first-run": "update", "second-run": "update", "third": "update",
    }  # fmt: skip
    basic.run("preview", "--expect-no-changes", code=1)
    basic.run("up")
    assert basic.log()[3] == "create first"
    assert sorted(basic.log()[4:]) == ["create second", "got hey"]
    basic.run("preview", "--expect-no-changes")
    assert basic.resources()["third"]["outputs"]["stdout"] == "three"


def test_destroy_goes_in_reverse_and_leaves_nothing(basic: Project) -> None:
    basic.run("up")
    shown = basic.run("destroy", "--preview").stdout
    assert "first-run" in shown
    assert "delete first" not in basic.log()
    basic.run("destroy")
    assert basic.log()[-2:] == ["delete second", "delete first"]
    assert basic.deployment()["resources"] == []
    assert basic.changes() == dict.fromkeys(("first", "second", "first-run", "second-run", "third"), "create")


def test_changed_triggers_replace_create_first_then_delete(project: Project) -> None:
    project.spec(command("a", args={"triggers": [1]}))
    project.run("up")
    old = project.resources()["a"]["id"]
    project.spec(command("a", args={"triggers": [2]}))
    assert project.changes() == {"a": "replace"}
    project.run("up")
    assert project.log() == ["create a", "create a", "delete a"]
    assert project.resources()["a"]["id"] != old
    assert not any(r.get("delete") for r in project.deployment()["resources"])


def test_delete_before_replace(project: Project) -> None:
    project.spec(command("a", args={"triggers": [1]}, options={"delete_before_replace": True}))
    project.run("up")
    project.spec(
        command(
            "a", args={"triggers": [2], "create": "echo again >> log; false"}, options={"delete_before_replace": True}
        )
    )
    project.run("up", code=1)
    assert project.log() == ["create a", "delete a", "again"]
    assert project.resources()["a"]["pendingReplacement"]
    project.spec(command("a", args={"triggers": [2]}, options={"delete_before_replace": True}))
    assert project.changes("up") == {"a": "create"}
    assert "pendingReplacement" not in project.resources()["a"]
    assert project.log()[3:] == ["create a"]


def test_what_is_no_longer_registered_is_deleted_in_reverse_order(project: Project) -> None:
    a, b, c = (
        command("a"),
        command("b", options={"depends_on": ["a"]}),
        command("c", options={"depends_on": ["b"]}),
    )
    project.spec(a, b, c, command("stays"))
    project.run("up")
    project.spec(command("stays"))
    assert project.changes() == {"stays": "unchanged", "a": "delete", "b": "delete", "c": "delete"}
    project.run("up")
    assert project.log()[-3:] == ["delete c", "delete b", "delete a"]
    assert set(project.resources()) == {"stays"}


def test_ignore_changes(project: Project) -> None:
    environment = {"A": "1", "B": "1"}
    project.spec(command("a", args={"environment": environment, "stdin": "x"}))
    project.run("up")
    options = {"ignore_changes": ["stdin", "environment.A"]}
    project.spec(command("a", args={"environment": {"A": "2", "B": "1"}, "stdin": "y"}, options=options))
    assert project.changes() == {"a": "unchanged"}
    project.run("up")
    assert project.resources()["a"]["inputs"]["stdin"] == "x"
    project.spec(command("a", args={"environment": {"A": "2", "B": "2"}, "stdin": "y"}, options=options))
    assert project.changes("up") == {"a": "update"}
    assert project.resources()["a"]["inputs"]["environment"] == {"A": "1", "B": "2"}


def test_protect(project: Project) -> None:
    project.spec(command("a", options={"protect": True}), command("b"))
    project.run("up")
    refused = project.run("destroy", code=1)
    assert "protected: a." in refused.stderr
    assert sorted(project.log()) == ["create a", "create b"]
    project.spec(command("b"))
    assert "it is protected" in project.run("up", code=1).stdout
    project.spec(command("a", args={"triggers": [1]}, options={"protect": True}), command("b"))
    planned = project.run("preview").stdout
    assert "`up` would refuse this: it is protected and can't be replaced" in planned
    assert project.changes() == {"a": "refused", "b": "unchanged"}
    assert "can't be replaced" in project.run("up", code=1).stdout
    project.run("destroy", "--exclude-protected")
    assert set(project.resources()) == {"a"}
    project.spec(command("a"))
    project.run("up")
    project.run("destroy")
    assert project.log()[-1] == "delete a"


def test_retain_on_delete(project: Project) -> None:
    project.spec(command("a", options={"retain_on_delete": True}))
    project.run("up")
    project.spec()
    assert project.changes("up") == {"a": "forget"}
    assert project.log() == ["create a"]
    assert project.resources() == {}


def test_what_is_retained_is_not_deleted_before_its_replacement_either(project: Project) -> None:
    options = {"retain_on_delete": True, "delete_before_replace": True}
    project.spec(command("a", args={"triggers": [1]}, options=options))
    project.run("up")
    project.spec(command("a", args={"triggers": [2]}, options=options))
    project.run("up")
    assert project.log() == ["create a", "create a"]
    assert len(project.deployment()["resources"]) == 3, "the stack, the provider and the new one"


def test_alias_keeps_a_renamed_resource_and_its_children(project: Project) -> None:
    project.spec(command("a"), command("team-a", group="team"), command("b", options={"depends_on": ["a"]}))
    project.run("up")
    urn = project.resources()["a"]["urn"]
    project.spec(
        command("new", args=command("a")["args"], options={"aliases": [urn]}),
        command(
            "squad-a",
            args=command("team-a")["args"],
            group="squad",
            group_options={"aliases": [project.resources()["team"]["urn"]]},
        ),
        command("b", options={"depends_on": ["new"]}),
    )
    assert set(project.changes("up").values()) == {"unchanged"}
    state = project.resources()
    assert set(state) == {"new", "squad", "squad-a", "b"}
    assert state["b"]["dependencies"] == [state["new"]["urn"]]
    assert state["squad-a"]["parent"] == state["squad"]["urn"]


def test_import_is_refused(project: Project) -> None:
    project.spec(command("a", options={"import_": "x"}))
    assert "import of existing resources needs the Pulumi CLI" in project.run("up", code=1).stdout
    assert project.log() == []


DOCKER = """
import pulumi
from pulumi_command import local

local.Command("a", create="echo create a >> log")
pulumi.CustomResource("docker:index/container:Container", "box", {"image": "x"})
"""


def test_other_types_are_refused_before_anything_is_done(project: Project) -> None:
    project.program(DOCKER)
    done = project.run("up", code=1)
    assert "box: standalone can't execute docker:index/container:Container" in done.stdout
    assert project.log() == []
    preview = project.run("preview")
    assert "`up` would refuse box" in preview.stdout
    assert project.changes() == {"a": "create", "box": "refused"}


def test_previous_output_reaches_the_command(project: Project) -> None:
    args = {
        "create": "echo one; echo err >&2",
        "update": "echo was $PULUMI_COMMAND_STDOUT $PULUMI_COMMAND_STDERR",
        "delete": 'echo "bye $PULUMI_COMMAND_STDOUT" >> log',
        "add_previous_output_in_env": None,
    }
    project.spec(command("a", args=args))
    project.run("up")
    project.spec(command("a", args={**args, "stdin": "x"}))
    project.run("up")
    assert project.resources()["a"]["outputs"]["stdout"] == "was one err"
    project.run("destroy")
    assert project.log() == ["bye was one err"]


def test_outputs_are_as_the_plugin_has_them(project: Project) -> None:
    shell = {"create": "printf 'x\\n\\n'; echo e >&2; pwd; echo $N", "dir": "/", "environment": {"N": "5"}}
    python = {"create": "import sys; print(sys.stdin.read(), end='')", "stdin": "in", "interpreter": ["python3", "-c"]}
    project.spec(command("a", args=shell), command("b", args=python))
    project.run("up")
    a, b = project.resources()["a"], project.resources()["b"]
    assert a["outputs"]["stdout"] == "x\n\n/\n5"
    assert a["outputs"]["stderr"] == "e"
    assert b["outputs"]["stdout"] == "in"
    assert a["provider"].startswith("urn:pulumi:dev::spec::pulumi:providers:command::default_1_2_1::")


INVOKE = """
import pulumi
from pulumi_command import local

seen = local.run_output(command="echo observed; echo x >> observed", stdin="q")
local.Command("a", create=seen.stdout.apply(lambda out: f"echo '{out}' >> log"))
pulumi.export("seen", seen.stdout)
"""


def test_a_data_source_runs_in_previews_too(project: Project) -> None:
    project.program(INVOKE)
    data = json.loads(project.run("preview", "--json").stdout)
    assert data["outputs"] == {"seen": "observed"}
    project.run("up")
    assert project.log() == ["observed"]
    assert (project.folder / "observed").read_text() == "x\nx\n"


def test_a_command_does_not_see_the_programs_configuration(project: Project) -> None:
    project.spec(command("a", args={"create": "env | grep -c ^PULUMI_CONFIG; true"}), exports=("a",))
    project.run("up", PULUMI_CONFIG_PASSPHRASE="x")
    assert json.loads(project.run("outputs", "--json").stdout) == {"a": "0"}


def test_a_daemon_left_behind_does_not_hold_the_run(project: Project) -> None:
    project.spec(command("a", args={"create": "sleep 30 & echo started $!"}), exports=("a",))
    began = time.monotonic()
    project.run("up")
    assert time.monotonic() - began < 15
    pid = json.loads(project.run("outputs", "--json").stdout)["a"].split()[1]
    assert pid.isdigit()
    project.spec(command("b", args={"create": f"kill {pid}"}))
    project.run("up")


def test_twenty_unchanged_resources_take_no_time(project: Project) -> None:
    project.spec(*(command(f"c{n}") for n in range(20)))
    project.run("up")
    wall: list[float] = []
    busy: list[float] = []
    for _ in range(3):
        began, used = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        assert "20 unchanged" in project.run("up").stdout
        wall.append(time.monotonic() - began)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        busy.append(after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime)
    print(f"20 unchanged resources: {min(wall):.2f} s, {min(busy):.2f} s of them busy")
    # The processor's time, so that other work on this machine doesn't decide.
    assert min(busy) < SECONDS_UNCHANGED


def test_on_a_terminal(project: Project) -> None:
    """Live progress must not disturb what is said in the end."""
    project.spec(command("a", args={"create": "for i in 1 2 3; do echo step $i; sleep 0.2; done"}), command("b"))
    ours, theirs = pty.openpty()
    process = subprocess.Popen(project.command("up"), cwd=project.folder, env=project.env, stdout=theirs, stderr=theirs)
    os.close(theirs)
    said = b""
    with contextlib.suppress(OSError):  # the end of a terminal is an error of the read
        while part := os.read(ours, 4096):
            said += part
    os.close(ours)
    assert process.wait(20) == 0, said
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said.decode())
    assert "step 3" in text
    assert "up dev: done: 2 created" in text
