"""What can happen to a server: every fault of the lab, and how it ends."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from tests.lab.machine import LabError, docker
from tests.lab.proxy import delayed

TAKER = "/usr/local/lib/lab/taker.py"
SAMPLER = "/usr/local/lib/lab/sampler.py"
SAMPLED = "/run/lab/sampled"
SLEEP = "/usr/local/lib/lab/absolute-sleep.so"
CLOCK = "/etc/ssh/sshd_config.d/lab-clock.conf"
FILLED = "/opt/.lab-full"
# Before any chain that a program writes for itself: what comes in and what goes out of the server's network card.
CUTS = (("raw", "PREROUTING", "-i eth0"), ("mangle", "POSTROUTING", "-o eth0"))


class Sample:
    """The command lines that a server showed while it was watched; complete when the watching is over."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def holding(self, text: str) -> list[str]:
        """Those in which `text` was to be read."""
        return [line for line in self.lines if text in line]


class Faults:
    """The faults of a LabHost. `lift` ends all of them; `reset` calls it."""

    container: str
    kind: str
    address: str
    gateway: str

    def run(self, command: str | list[str], **more: Any) -> str:
        """LabHost has it."""
        raise NotImplementedError

    # --- daemons ---

    def restart_docker(self, kill: bool = False) -> None:
        """Stop Docker and start it again, its containers with it; `kill`: end it as a crash does.

        After a crash Docker 20.10 brings back what has the restart policy `always`, and not what has `unless-stopped`.
        """
        if kill:
            self.run("pkill -KILL -x dockerd; sleep 0.2")
            self.run(["systemctl", "start", "docker"], timeout=90)
        else:
            self.run(["systemctl", "restart", "docker"], timeout=90)

    def kill_sshd_sessions(self) -> None:
        """End every SSH connection that is open, as a crash of its sshd does; new ones are taken."""
        self.run("pkill -KILL -f '^sshd: [r]oot' || :")

    def restart_sshd(self, down_seconds: float = 0) -> None:
        """End sshd and every SSH connection, and start it again after a while."""
        self.run("pkill -KILL -x sshd || :")
        self.run(f"sleep {down_seconds}; systemctl start ssh", timeout=60 + down_seconds)

    # --- the network ---

    def cut_network(self, seconds: float) -> None:
        """Cut the server off for so long: packets vanish both ways, also those of open connections; no RST, no error.

        Returns at once; the network comes back by itself.
        """
        self._cut()
        words = ["exec", "-d", self.container, "sh", "-c", f"sleep {seconds}; {_undo_cut()}"]
        docker(*words)

    @contextlib.contextmanager
    def network_cut(self) -> Iterator[None]:
        """The same for the time of a block."""
        self._cut()
        try:
            yield
        finally:
            self.run(_undo_cut())

    def _cut(self) -> None:
        for table, chain, match in CUTS:
            self.run(f"iptables -w -t {table} -I {chain} 1 {match} -j DROP")

    def delayed(self, milliseconds: float) -> contextlib.AbstractContextManager[int]:
        """A port on `gateway` (an address of this machine, none of loopback) that leads to sshd, so far away."""
        return delayed(self.gateway, (self.address, 22), milliseconds)

    # --- the disk, the ports, the clock ---

    def fill_disk(self, leave: int = 0) -> None:
        """Fill the file system of /opt, but for `leave` bytes."""
        if self.run(["stat", "-f", "-c", "%T", "/opt"]).strip() != "tmpfs":
            raise LabError("/opt of this server is no small file system of its own: it isn't filled")
        self.run(f"cat /dev/zero >{FILLED} 2>/dev/null; truncate -s -{leave} {FILLED}")

    def free_disk(self) -> None:
        """The disk has room again."""
        self.run(["rm", "-f", FILLED])

    def take_port(self, port: int) -> None:
        """A stranger's process listens on this port of all addresses."""
        docker("exec", "-d", self.container, "python3", TAKER, str(port))
        self.run(f"for i in $(seq 100); do ss -Hltn sport = :{port} | grep -q . && exit 0; sleep 0.05; done; exit 1")

    def free_port(self, port: int) -> None:
        """The stranger is gone."""
        self.run(f"pkill -KILL -f 'lab/take[r].py {port}$' || :")

    @contextlib.contextmanager
    def with_clock_off(self, days: float) -> Iterator[None]:
        """Whatever is run over SSH sees a clock that is off by so much; no clock is set."""
        self.run(
            "lib=$(ls /usr/lib/*/faketime/libfaketimeMT.so.1) && mkdir -p /etc/ssh/sshd_config.d &&"
            f" echo SetEnv LD_PRELOAD={SLEEP}:$lib FAKETIME={days:+}d FAKETIME_DONT_FAKE_MONOTONIC=1 >{CLOCK} &&"
            " systemctl reload ssh"
        )
        try:
            yield
        finally:
            self._clock_right()

    def _clock_right(self) -> None:
        self.run(f"[ ! -e {CLOCK} ] || {{ rm {CLOCK}; systemctl reload ssh; }}")

    # --- watching ---

    @contextlib.contextmanager
    def sample_ps(self) -> Iterator[Sample]:
        """Collect every command line that `ps axww` shows on the server, looking each 20 ms."""
        sample = Sample()
        self.run(["rm", "-f", SAMPLED])
        docker("exec", "-d", self.container, "python3", SAMPLER, SAMPLED)
        self.run(f"for i in $(seq 100); do [ -s {SAMPLED} ] && exit 0; sleep 0.05; done; exit 1")
        try:
            yield sample
        finally:
            sample.lines = self.run(f"cat {SAMPLED}; rm {SAMPLED}").splitlines()

    # --- the end ---

    def lift(self) -> None:
        """Every fault ends; a server that doesn't run has none."""
        if docker("inspect", "-f", "{{.State.Running}}", self.container).strip() == "true":
            self.run(f"{_undo_cut()}; rm -f {FILLED} {SAMPLED}; pkill -KILL -f 'lab/take[r].py' || :")
            self._clock_right()


def _undo_cut() -> str:
    """A shell command that removes the rules of a cut, however often it was made."""
    return "; ".join(
        f"while iptables -w -t {table} -D {chain} {match} -j DROP 2>/dev/null; do :; done"
        for table, chain, match in CUTS
    )
