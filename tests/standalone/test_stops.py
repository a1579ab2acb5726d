"""Ctrl-C, SIGKILL, two runs at once: the state is right at every moment."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.standalone.conftest import Project, command, stop, until

KILLS = 100 if os.environ.get("SOAK") else 12


def test_ctrl_c_starts_nothing_new_and_finishes_what_is_under_way(project: Project) -> None:
    project.spec(
        command(
            "slow", args={"create": "echo begun >> log; while [ ! -e go ]; do sleep 0.02; done; echo ended >> log"}
        ),
        command("next", options={"depends_on": ["slow"]}),
    )
    process = project.start("up")
    until(lambda: project.log() == ["begun"])
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    until(lambda: "stopping:" in process.stdout.readline())
    (project.folder / "go").touch()
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 130, output
    assert "not started: the run was stopped" in output
    assert project.log() == ["begun", "ended"]
    assert set(project.resources()) == {"slow"}
    assert project.changes("up") == {"slow": "unchanged", "next": "create"}


def test_a_second_ctrl_c_ends_what_is_under_way(project: Project) -> None:
    project.spec(command("slow", args={"create": "echo $$ > pid; sleep 60 & wait"}))
    process = project.start("up")
    pid = int(until(lambda: (project.folder / "pid").exists() and (project.folder / "pid").read_text().strip()))
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    until(lambda: "stopping:" in process.stdout.readline())
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 130, output
    assert not Path(f"/proc/{pid}").exists(), "its whole process group is gone"
    assert [o["type"] for o in project.deployment()["pending_operations"]] == ["creating"]
    project.spec(command("slow"))
    done = project.run("up")
    assert "the last run was interrupted during the creation of slow" in done.stdout
    assert "pending_operations" not in project.deployment()
    assert set(project.resources()) == {"slow"}


def test_an_interrupted_creation_that_is_not_wanted_any_more_is_cleaned_up(project: Project) -> None:
    project.spec(command("slow", args={"create": "echo begun >> log; sleep 60"}), command("b"))
    process = project.start("up")
    until(lambda: "begun" in project.log())
    stop(process)
    process.wait(10)
    project.spec(command("b"))
    done = project.run("up")
    assert "delete slow" in project.log(), done.stdout
    assert "pending_operations" not in project.deployment()
    project.run("destroy")


def test_an_interrupted_update_is_done_again_even_when_taken_back(project: Project) -> None:
    project.spec(command("a"))
    project.run("up")
    project.spec(command("a", args={"update": "echo begun >> log; sleep 60", "stdin": "x"}))
    process = project.start("up")
    until(lambda: "begun" in project.log())
    stop(process)
    process.wait(10)
    project.spec(command("a"))
    assert "the last run was interrupted while it worked on this" in project.run("preview").stdout
    assert project.changes("up") == {"a": "update"}
    assert project.changes() == {"a": "unchanged"}


def test_two_runs_at_once(project: Project) -> None:
    project.spec(command("slow", args={"create": "echo begun >> log; while [ ! -e go ]; do sleep 0.02; done"}))
    process = project.start("up")
    until(lambda: project.log() == ["begun"])
    began = time.monotonic()
    for verb in ("up", "destroy"):
        refused = project.run(verb, code=1)
        assert f"pid {process.pid}" in refused.stderr
        assert "another run works on this stack: `up` by " in refused.stderr
    assert time.monotonic() - began < 10
    assert project.changes() == {"slow": "update"} or project.changes() == {"slow": "create"}, "a preview takes no lock"
    (project.folder / "go").touch()
    process.communicate(timeout=20)
    assert process.returncode == 0
    assert project.changes("up") == {"slow": "unchanged"}


def test_a_dead_holder_is_no_holder(project: Project) -> None:
    project.spec(command("slow", args={"create": "echo begun >> log; sleep 60"}))
    process = project.start("up")
    until(lambda: project.log() == ["begun"])
    stop(process)
    process.wait(10)
    project.spec(command("slow"))
    project.run("up")


@pytest.mark.timeout(60 + 10 * KILLS)
def test_killed_at_random_moments_nothing_is_lost_or_done_twice(project: Project) -> None:
    """Each command appends to its own file. After kills at random moments the last `up` converges: every resource was
    created, and again only as often as a kill interrupted it."""
    names = [f"c{n}" for n in range(6)]
    (project.folder / "made").mkdir()

    def spec(generation: int) -> None:
        project.spec(
            *(
                command(
                    name,
                    args={
                        "create": f"echo {generation} >> made/{name}; sleep 0.03",
                        "update": f"echo {generation} >> made/{name}; sleep 0.03",
                        "stdin": str(generation),
                    },
                    options={"depends_on": names[max(0, n - 2) : n]},
                )
                for n, name in enumerate(names)
            )
        )

    rng = random.Random(7)
    interrupted: Counter[tuple[str, int]] = Counter()
    generation = 0
    for round_ in range(KILLS):
        generation = round_ // 4
        spec(generation)
        process = project.start("up")
        # Between the imports and the end of the last command; the machine's speed sets the scale.
        time.sleep(rng.uniform(0.15, 0.9))
        stop(process)
        process.communicate(timeout=20)
        if project.state_path.exists():
            for operation in project.deployment().get("pending_operations", []):
                interrupted[operation["resource"]["urn"].rsplit("::", 1)[1], generation] += 1
        time.sleep(0.05)  # a command that outlives its run ends
    project.run("up")
    assert project.changes() == dict.fromkeys(names, "unchanged")
    assert "pending_operations" not in project.deployment()
    assert set(project.resources()) == set(names)
    for name in names:
        lines = Counter((project.folder / "made" / name).read_text().split())
        assert lines[str(generation)] >= 1
        for made, times in lines.items():
            allowed = 1 + sum(n for (who, _), n in interrupted.items() if who == name)
            assert times <= allowed, f"{name} was made {times} times in generation {made}"
    left = [path.name for path in project.state_path.parent.iterdir()]
    assert json.loads(project.state_path.read_text())["version"] == 3
    assert "dev.json" in left
