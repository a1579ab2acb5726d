"""The lab's faults: each is what it is called, and each ends."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest

from tests.host.test_lab import get, listens, over_ssh, tiny
from tests.lab.host import FOREIGN, LabHost

pytestmark = [pytest.mark.host, pytest.mark.timeout(150)]


def test_a_cut_network_loses_packets_and_no_connection(tencent: LabHost) -> None:
    assert len(get(tencent, 9502)) == 3
    with socket.create_connection((tencent.address, 22), timeout=10) as connection:
        assert connection.recv(100).startswith(b"SSH-2.0-")
        tencent.cut_network(3)
        began = time.monotonic()
        connection.sendall(b"SSH-2.0-test\r\n")
        with pytest.raises(TimeoutError):
            socket.create_connection((tencent.address, 3306), timeout=1)
        connection.settimeout(1)
        with pytest.raises(TimeoutError):
            connection.recv(100)
        connection.settimeout(30)
        assert connection.recv(100), "the same connection goes on"
        assert time.monotonic() - began > 2.5
    with tencent.network_cut(), pytest.raises(TimeoutError):
        socket.create_connection((tencent.address, 22), timeout=1)
    assert tencent.ssh("echo back").stdout == "back\n"
    assert "DROP" not in tencent.run("iptables-save -t raw; iptables-save -t mangle")


def test_reset_ends_a_cut(tencent: LabHost) -> None:
    tencent.cut_network(600)
    assert not listens(tencent, 22)
    tencent.reset()
    assert tencent.ssh("true").returncode == 0


def test_docker_is_stopped_or_killed_and_comes_back(tencent: LabHost) -> None:
    for kill in (False, True):
        tiny(tencent, "ours")
        before = tencent.ours()["ours"]
        pid = tencent.run("pgrep -x dockerd")
        tencent.restart_docker(kill=kill)
        assert tencent.run("pgrep -x dockerd") != pid
        tencent.wait_for(lambda: tencent.ours()["ours"].state == "running", "the container is back")
        assert tencent.ours()["ours"].id == before.id
        assert tencent.containers()[FOREIGN].state == "running"
        tencent.reset()


def test_sshd_and_its_sessions_are_killed(tencent: LabHost) -> None:
    pool = ThreadPoolExecutor(1)
    for kill in (tencent.kill_sshd_sessions, tencent.restart_sshd):
        session = pool.submit(over_ssh, tencent, "touch /run/begun; sleep 60")
        tencent.wait_for(lambda: tencent.run("ls /run/begun", code=None), "the session has begun")
        began = time.monotonic()
        kill()
        assert session.result(20).returncode == 255
        assert time.monotonic() - began < 15
        tencent.run(["rm", "/run/begun"])
        assert tencent.ssh("echo again").stdout == "again\n"


def test_a_full_disk_is_full_and_has_room_again(tencent: LabHost) -> None:
    tencent.put("/opt/blockchain-services/one", "before")
    tencent.fill_disk()
    full = tencent.call("echo more words | tee /opt/blockchain-services/two")
    assert "No space left on device" in full.stderr
    assert tencent.read("/opt/blockchain-services/one") == "before"
    tencent.fill_disk(leave=8192)
    tencent.run("echo fits >/opt/blockchain-services/two")
    tencent.free_disk()
    tencent.run("head -c 1000000 /dev/zero >/opt/blockchain-services/two")
    tencent.reset()
    assert tencent.files() == {}


def test_a_stranger_takes_a_port(tencent: LabHost) -> None:
    assert not listens(tencent, 8402)
    tencent.take_port(8402)
    assert listens(tencent, 8402)
    taken = tencent.call(["docker", "run", "--rm", "-p", "8402:8000", tencent.containers()[FOREIGN].image, "true"])
    assert "address already in use" in taken.stderr
    tencent.free_port(8402)
    assert not listens(tencent, 8402)
    tencent.take_port(8402)
    tencent.reset()
    assert not listens(tencent, 8402)


def test_the_clock_is_off_for_what_comes_over_ssh_only(tencent: LabHost) -> None:
    def year_and_day(text: str) -> datetime:
        return datetime.fromtimestamp(float(text))  # noqa: DTZ006

    ask = "python3 -c 'import time; print(time.time())'; date +%s"
    for days in (1, -1):
        with tencent.with_clock_off(days):
            here = datetime.now()  # noqa: DTZ005
            for said in tencent.ssh(ask).stdout.split():
                off = year_and_day(said) - here
                assert abs(off - timedelta(days=days)) < timedelta(minutes=1)
            monotonic = "import time; a = time.monotonic(); time.sleep(.2); print(time.monotonic() - a)"
            assert 0.15 < float(tencent.ssh(f"python3 -c '{monotonic}'").stdout) < 2
            assert abs(year_and_day(tencent.run("date +%s")) - here) < timedelta(minutes=1)
            assert tencent.ssh("docker version >/dev/null && docker-compose version --short").stdout.startswith("1.29")
    assert abs(year_and_day(tencent.ssh("date +%s").stdout) - datetime.now()) < timedelta(minutes=1)  # noqa: DTZ005


def test_a_sample_holds_every_command_line_of_the_time(tencent: LabHost) -> None:
    with tencent.sample_ps() as sample:
        tencent.ssh(
            "sleep 0.0501; /bin/sh -c 'sleep 0.3 && : --password=hunter2'; cat >/dev/null", stdin="hidden words"
        )
    assert sample.holding("hunter2")
    assert sample.holding("sleep 0.0501")
    assert not sample.holding("hidden words")
    tencent.run(["true", "after-the-end"])
    assert not sample.holding("after-the-end")


def test_a_delayed_server_answers_later_and_the_same(tencent: LabHost) -> None:
    def seconds(port: int) -> float:
        began = time.monotonic()
        done = over_ssh(tencent, "head -c 3000000 /dev/zero | base64 -w0 | wc -c; echo end", port)
        assert done.stdout.split() == ["4000000", "end"]
        return time.monotonic() - began

    near = min(seconds(22) for _ in range(2))
    with tencent.delayed(80) as port:
        assert seconds(port) - near > 0.4, "a login takes some six round trips"
        began = time.monotonic()
        flood = over_ssh(tencent, "head -c 20000000 /dev/zero | tr '\\0' x", port)
        assert len(flood.stdout) == 20_000_000
        assert time.monotonic() - began < 8, "the bandwidth is not taken away"
    assert over_ssh(tencent, "true", port).returncode != 0
