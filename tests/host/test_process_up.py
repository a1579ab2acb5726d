"""Up, down, restart and rollback with a real supervisord (P1, P9)."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.laptop import Laptop, alive, ask, converged, free_ports, wait_for
from tests.hostctl import samples

pytestmark = pytest.mark.host

NAMES = [
    "blockchain-service",
    "identity-service",
    "governance-service",
    "crosschain-service",
    "blockchain-config",
    "blockchain-monitor",
]
IDENTITY, GOVERNANCE = "identity-service", "governance-service"


@pytest.fixture
def laptop(tmp_path: Path) -> Iterator[Laptop]:
    yield from converged(tmp_path)


@pytest.fixture
def port() -> int:
    return free_ports(1)[0]


def test_up_and_up_again(laptop: Laptop, port: int) -> None:
    definition = laptop.service(IDENTITY, port)
    assert json.loads(laptop.up(definition, "--observed", "").stdout)["outcome"] == "started"
    before = laptop.status()[IDENTITY]
    assert before["healthy"]
    assert before["ports"] == [port]
    began = time.monotonic()
    assert json.loads(laptop.up(definition, "--observed", "").stdout)["outcome"] == "unchanged"
    assert time.monotonic() - began < 3
    assert laptop.pids() == {IDENTITY: before["pid"]}
    assert laptop.observe()["services"] == {IDENTITY: ""}


def test_a_change_restarts_that_service_only(laptop: Laptop) -> None:
    one, two = free_ports(2)
    laptop.up(laptop.service(IDENTITY, one))
    laptop.up(laptop.service(GOVERNANCE, two))
    before = laptop.pids()
    laptop.up(laptop.service(IDENTITY, one, env={"COLOUR": "blue"}))
    after = laptop.pids()
    assert after[GOVERNANCE] == before[GOVERNANCE]
    assert after[IDENTITY] != before[IDENTITY]
    assert not alive(before[IDENTITY])
    assert ask(one)["env"]["COLOUR"] == "blue"


def test_a_changed_line_of_the_env_file_restarts_nothing(laptop: Laptop, port: int) -> None:
    definition = laptop.service(IDENTITY, port)
    laptop.up(definition)
    before = laptop.pids()
    definition["parts"][0]["text"] = "# a remark\n" + definition["parts"][0]["text"]
    assert json.loads(laptop.up(definition).stdout)["generation"] == 2
    assert laptop.pids() == before
    assert "# a remark" in laptop.text(samples.ENV_FILE)


def test_the_files_are_the_union_of_what_converged(laptop: Laptop) -> None:
    one, two = free_ports(2)
    identity, governance = laptop.service(IDENTITY, one), laptop.service(GOVERNANCE, two)
    laptop.up(identity)
    laptop.up(governance)
    assert laptop.text(samples.CONF) == "".join(
        [samples.HEADER, governance["parts"][1]["text"], identity["parts"][1]["text"]]
    )
    assert (laptop.root / samples.CONF).stat().st_mode & 0o777 == 0o600
    assert (laptop.root / samples.ENV_FILE).stat().st_mode & 0o777 == 0o644
    laptop.run("down", GOVERNANCE)
    assert laptop.text(samples.CONF) == samples.HEADER + identity["parts"][1]["text"]
    assert list(laptop.pids()) == [IDENTITY]
    with pytest.raises(OSError, match="refused"):
        ask(two)


def test_down_twice_is_fine(laptop: Laptop, port: int) -> None:
    laptop.up(laptop.service(IDENTITY, port))
    assert json.loads(laptop.run("down", IDENTITY).stdout)["outcome"] == "removed"
    assert json.loads(laptop.run("down", IDENTITY).stdout)["outcome"] == "absent"
    assert json.loads(laptop.run("down", "never-seen").stdout)["outcome"] == "absent"


def test_a_crash_at_once_fails_fast_and_the_last_good_one_serves_again(laptop: Laptop, port: int) -> None:
    laptop.up(laptop.service(IDENTITY, port))
    began = time.monotonic()
    failed = laptop.up(laptop.service(IDENTITY, port, "crash", timeout=50), fails=1)
    assert time.monotonic() - began < 15
    assert "identity-service did not come up: its process ended" in failed.stderr
    assert "Generation 1 serves again." in failed.stderr
    assert "line 29 of the crash" in failed.stderr
    assert "line 1 of the crash" not in failed.stderr  # the last 20 only
    assert "MODE=ok" not in failed.stderr  # of this start only
    assert laptop.status()[IDENTITY]["healthy"]
    assert ask(port)["env"]["MODE"] == "ok"


def test_never_healthy_is_rolled_back_after_its_time(laptop: Laptop, port: int) -> None:
    laptop.up(laptop.service(IDENTITY, port))
    failed = laptop.up(laptop.service(IDENTITY, port, "never", timeout=2), fails=1)
    assert f"not healthy within 2 s: http://127.0.0.1:{port}/health answers HTTP 503" in failed.stderr
    assert "Generation 1 serves again." in failed.stderr
    assert ask(port)["env"]["MODE"] == "ok"
    assert laptop.observe()["services"] == {IDENTITY: ""}


def test_a_first_one_that_fails_is_removed_again(laptop: Laptop, port: int) -> None:
    failed = laptop.up(laptop.service(IDENTITY, port, "crash"), fails=1)
    assert "It was new, so it was removed again." in failed.stderr
    assert laptop.status() == {}
    assert laptop.text(samples.CONF) == samples.HEADER
    assert not (laptop.root / "state/services/identity-service.json").exists()


def test_a_program_that_is_not_there(laptop: Laptop, port: int) -> None:
    failed = laptop.up(laptop.service(IDENTITY, port, argv=["./no/such/program"]), fails=2)
    assert "its program" in failed.stderr
    assert "is not there, or can't be run; nothing was touched" in failed.stderr


def test_one_that_ends_by_itself_while_it_starts(laptop: Laptop, port: int) -> None:
    """It answers before it is RUNNING, then ends: the gate asks for the same process throughout."""
    failed = laptop.up(
        laptop.service(IDENTITY, port, "late", env={"LATE": "9"}, argv=[sys.executable, "-c", DROPS]), fails=1
    )
    assert "its process ended" in failed.stderr


DROPS = """
import os, threading
threading.Timer(1.6, lambda: os._exit(4)).start()
threading.Event().wait()
"""


def test_a_running_but_sick_service_is_started_again(laptop: Laptop, port: int) -> None:
    definition = laptop.service(IDENTITY, port, grace=1)
    laptop.up(definition)
    before = laptop.pids()[IDENTITY]
    os.kill(before, signal.SIGSTOP)
    try:
        assert "it is started again" in laptop.up(definition).stderr
    finally:
        if alive(before):
            os.kill(before, signal.SIGCONT)
    assert laptop.status()[IDENTITY]["healthy"]
    assert laptop.pids()[IDENTITY] != before


def test_a_stranger_on_the_port_is_named_and_nothing_is_stopped(laptop: Laptop) -> None:
    one, two = free_ports(2)
    laptop.up(laptop.service(IDENTITY, one))
    before = laptop.pids()
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", two))
        stranger.listen()
        failed = laptop.up(laptop.service(IDENTITY, two), fails=1)
        assert f"port {two} is taken by pid {os.getpid()} (" in failed.stderr
        assert "python" in failed.stderr
        assert laptop.pids() == before
    laptop.up(laptop.service(IDENTITY, two))


def test_a_stranger_on_another_address_is_none(laptop: Laptop, port: int) -> None:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.2", port))
        stranger.listen()
        laptop.up(laptop.service(IDENTITY, port, env={"SERVICE_BIND": "127.0.0.1"}))


def test_two_services_swap_their_ports_in_one_group(laptop: Laptop) -> None:
    one, two = free_ports(2)
    laptop.up(laptop.service(IDENTITY, one))
    laptop.up(laptop.service(GOVERNANCE, two))
    assert f"port {two} is taken by {GOVERNANCE}" in laptop.up(laptop.service(IDENTITY, two), fails=1).stderr
    with laptop.locked_until(2):
        runs = [
            laptop.begin("up", name, stdin=laptop.service(name, port))
            for name, port in ((IDENTITY, two), (GOVERNANCE, one))
        ]
    outputs = [run.communicate(timeout=60) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs
    assert ask(two)["env"]["SERVICE_PORT"] == str(two)
    assert all(entry["healthy"] for entry in laptop.status().values())


def test_six_at_once_cost_a_few_reloads(laptop: Laptop) -> None:
    ports = free_ports(6)
    runs = [laptop.begin("up", name, stdin=laptop.service(name, port)) for name, port in zip(NAMES, ports, strict=True)]
    outputs = [run.communicate(timeout=60) for run in runs]
    assert [run.returncode for run in runs] == [0] * 6, outputs
    assert all(entry["healthy"] for entry in laptop.status().values())
    reloads = laptop.audit("apply")
    assert len(reloads) <= 4, reloads
    print(f"six at once: {len(reloads)} reloads")


def test_six_that_wait_cost_one_reload(laptop: Laptop) -> None:
    ports = free_ports(6)
    with laptop.locked_until(6):
        runs = [
            laptop.begin("up", name, stdin=laptop.service(name, port)) for name, port in zip(NAMES, ports, strict=True)
        ]
    outputs = [run.communicate(timeout=60) for run in runs]
    assert [run.returncode for run in runs] == [0] * 6, outputs
    assert len(laptop.audit("apply")) == 1
    with laptop.locked_until(6):
        runs = [laptop.begin("down", name) for name in NAMES]
    assert [run.wait(60) for run in runs] == [0] * 6, [run.communicate() for run in runs]
    assert len(laptop.audit("apply")) == 2
    assert laptop.pids() == {}


def test_a_bad_one_of_six_fails_alone(laptop: Laptop) -> None:
    ports = free_ports(6)
    definitions = [laptop.service(name, port) for name, port in zip(NAMES, ports, strict=True)]
    definitions[1]["parts"][1]["text"] += "stopwaitsecs=%(nonsense)s\n"
    definitions[3] = laptop.service(NAMES[3], ports[3], "crash")
    runs = [laptop.begin("up", definition["name"], stdin=definition) for definition in definitions]
    outputs = [run.communicate(timeout=60) for run in runs]
    assert [run.returncode for run in runs] == [0, 1, 0, 1, 0, 0], outputs
    assert "can't be expanded" in outputs[1][1]
    assert "its process ended" in outputs[3][1]
    assert sorted(laptop.pids()) == sorted(set(NAMES) - {NAMES[1], NAMES[3]})


def test_what_only_supervisord_refuses_fails_alone_too(laptop: Laptop) -> None:
    one, two = free_ports(2)
    bad = laptop.service(IDENTITY, one)
    bad["parts"][1]["text"] += "startsecs=soon\n"
    runs = [
        laptop.begin("up", IDENTITY, stdin=bad),
        laptop.begin("up", GOVERNANCE, stdin=laptop.service(GOVERNANCE, two)),
    ]
    outputs = [run.communicate(timeout=60) for run in runs]
    assert [run.returncode for run in runs] == [1, 0], outputs
    assert "supervisord: " in outputs[0][1]
    assert list(laptop.pids()) == [GOVERNANCE]
    assert IDENTITY not in laptop.text(samples.CONF)


def test_two_people_change_one_service_at_once(laptop: Laptop, port: int) -> None:
    laptop.up(laptop.service(IDENTITY, port))
    runs = [
        laptop.begin("up", IDENTITY, stdin=laptop.service(IDENTITY, port, env={"WHO": who})) for who in ("one", "two")
    ]
    outputs = [run.communicate(timeout=60) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs
    assert sorted(json.loads(output[0])["generation"] for output in outputs) == [2, 3]
    assert ask(port)["env"]["WHO"] in ("one", "two")


def test_restart(laptop: Laptop, port: int) -> None:
    laptop.up(laptop.service(IDENTITY, port))
    before = laptop.pids()[IDENTITY]
    laptop.run("restart", IDENTITY)
    assert laptop.pids()[IDENTITY] != before
    assert laptop.observe()["services"] == {IDENTITY: ""}
    assert laptop.run("restart", "nobody", fails=2).stderr.startswith("hostctl: nobody is no service")


def test_ctrl_c_rolls_back(laptop: Laptop, port: int) -> None:
    laptop.up(laptop.service(IDENTITY, port))
    run = laptop.begin(
        "up", IDENTITY, stdin=laptop.service(IDENTITY, port, "never", timeout=50), start_new_session=True
    )
    wait_for(lambda: "MODE=never" in laptop.text("logs/identity-service.log"))
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does: everybody in the foreground gets it
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 1
    assert "asked to stop" in errors
    assert "did not come up: interrupted" in errors
    assert "Generation 1 serves again." in errors
    assert alive(laptop.supervisord())
    assert ask(port)["env"]["MODE"] == "ok"


def test_a_cut_connection_does_not_stop_a_transaction(laptop: Laptop, port: int) -> None:
    reading, writing = os.pipe()
    run = laptop.begin(
        "up",
        IDENTITY,
        stdin=laptop.service(IDENTITY, port, "late", env={"LATE": "2"}),
        stdout=writing,
        stderr=writing,
        start_new_session=True,
        text=True,
    )
    os.close(writing)
    os.close(reading)  # nobody reads any more
    wait_for((laptop.root / "logs/identity-service.log").exists)
    os.killpg(run.pid, signal.SIGHUP)
    assert run.wait(60) == 0
    assert laptop.status()[IDENTITY]["healthy"]
    assert laptop.audit("up")[-1]["outcome"] == "started"


def test_closed_descriptors(laptop: Laptop, port: int) -> None:
    done = subprocess.run(
        ["sh", "-c", f"exec '{laptop.wrapper}' up {IDENTITY} >&- 2>&-"],
        cwd=laptop.base,
        env=laptop.environment,
        input=json.dumps(laptop.service(IDENTITY, port)).encode(),
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
    assert laptop.status()[IDENTITY]["healthy"]


def test_a_deaf_service_is_killed_after_its_grace(laptop: Laptop, port: int) -> None:
    laptop.up(laptop.service(IDENTITY, port, "deaf", grace=1))
    pid = laptop.pids()[IDENTITY]
    laptop.run("down", IDENTITY)
    assert not alive(pid)


def test_a_service_ends_cleanly_on_sigterm(laptop: Laptop, port: int) -> None:
    laptop.up(laptop.service(IDENTITY, port))
    laptop.run("down", IDENTITY)
    assert laptop.text("logs/identity-service.log").splitlines()[-1] == "ended cleanly"


def test_bad_input_touches_nothing(laptop: Laptop, port: int) -> None:
    before = sorted(path for path in laptop.root.rglob("*") if path.is_file())
    definition = laptop.service(IDENTITY, port) | {"helth": {}}
    assert "helth is unknown (did you mean health?)" in laptop.up(definition, fails=2).stderr
    assert "verb says" in laptop.run("up", "other", stdin=laptop.service(IDENTITY, port), fails=2).stderr
    assert "is no name" in laptop.run("down", "../etc", fails=2).stderr
    assert sorted(path for path in laptop.root.rglob("*") if path.is_file()) == before


def test_logs(laptop: Laptop, port: int) -> None:
    laptop.up(laptop.service(IDENTITY, port))
    assert laptop.run("logs", IDENTITY, "-n", "1").stdout == "starting, MODE=ok\n"
    assert laptop.run("logs", "nobody", fails=2).stdout == ""
