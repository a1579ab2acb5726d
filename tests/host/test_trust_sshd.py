"""`make trust` against a real sshd with Debian's defaults: what it pins, an `ssh` that trusts nothing else accepts."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.test_standalone_ssh import SSHD, need_sshd
from tests.workshop.terminal import typed

pytestmark = [pytest.mark.host, pytest.mark.timeout(180)]

ROOT = Path(__file__).parents[2]
DEBIANS = Path("/etc/ssh/sshd_config")
NAME = "a-server.test"


class Server:
    """An sshd as Debian starts one, with new keys of all three kinds, and a stack file that names it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.keys = {kind: folder / f"ssh_host_{kind}_key" for kind in ("rsa", "ecdsa", "ed25519")}
        self.new_keys(*self.keys)
        self.project = folder / "project"
        for name in ("tools", "standalone", "plan"):
            shutil.copytree(ROOT / name, self.project / name, ignore=shutil.ignore_patterns("__pycache__"))
        (self.project / "Pulumi.yaml").write_text("name: blockchain-dao\nruntime: python\n")
        self.file = self.project / "Pulumi.tencent.yaml"
        text = (ROOT / "Pulumi.tencent.yaml").read_text()
        # 0.0.0.0 is this machine and yet no loopback address, which a server's never is.
        self.text = text.replace("address: 101.33.251.158", f"address: 0.0.0.0\n    ssh_port: {self.port}")
        self.file.write_text(self.text)
        self.sshd: subprocess.Popen[bytes] | None = None
        self.start()

    def new_keys(self, *kinds: str) -> None:
        for kind in kinds:
            self.keys[kind].unlink(missing_ok=True)
            command = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", f"root@{NAME}", "-f", self.keys[kind]]
            subprocess.run(command, check=True, timeout=60)

    def start(self) -> None:
        """Debian's own configuration; only where it listens and its keys are ours."""
        Path("/run/sshd").mkdir(exist_ok=True)
        given = [f"Port={self.port}", *(f"HostKey={key}" for key in self.keys.values()), "PidFile=none"]
        options = [word for option in given for word in ("-o", option)]
        log = self.folder / "sshd.log"
        self.sshd = subprocess.Popen([SSHD, "-D", "-f", str(DEBIANS), "-E", str(log), *options])
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        pytest.fail(f"sshd does not listen: {log.read_text()}")

    def stop(self) -> None:
        if self.sshd is not None:
            self.sshd.terminate()
            self.sshd.wait(10)
            self.sshd = None

    def env(self, **more: str) -> dict[str, str]:
        return {**os.environ, "STACK": "tencent", **more}

    def trust(self, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "tools/trust.py"],
            cwd=self.project,
            env=self.env(**env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    def type(self, answer: str, prompt: str) -> tuple[int, str]:
        command = [sys.executable, "tools/trust.py"]
        return typed(command, answer, cwd=self.project, env=self.env(), prompt=prompt)

    def console(self, kind: str) -> str:
        """The fingerprint that its own console shows, asked as the tool tells."""
        command = ["ssh-keygen", "-lf", f"{self.keys[kind]}.pub"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.split()[1]

    def pinned(self) -> str:
        (line,) = [line for line in self.file.read_text().splitlines() if line.strip().startswith("host_key:")]
        return line.strip().removeprefix("host_key: ")

    def key_of(self, kind: str) -> str:
        return " ".join(Path(f"{self.keys[kind]}.pub").read_text().split()[:2])

    def ssh(self) -> str:
        """What `ssh` says that trusts the pinned key only; it has no user's key, so it gets no further than that."""
        known = self.folder / "known"
        known.write_text(f"pinned {self.pinned()}\n")
        options = ["StrictHostKeyChecking=yes", "HostKeyAlias=pinned", f"UserKnownHostsFile={known}", "BatchMode=yes"]
        words = [word for option in (*options, "IdentityFile=none", "IdentityAgent=none") for word in ("-o", option)]
        command = ["ssh", "-F", "none", *words, "-p", str(self.port), "0.0.0.0", "true"]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False).stderr


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    need_sshd()
    if os.geteuid() != 0 or not DEBIANS.exists():
        pytest.skip("sshd with Debian's own configuration can be started by root on a Debian only")
    made = Server(tmp_path)
    try:
        yield made
    finally:
        made.stop()


def test_the_key_of_the_console_is_the_one_that_gets_pinned(server: Server) -> None:
    refused = server.trust()
    assert refused.returncode == 2
    for kind in server.keys:
        assert server.console(kind) in refused.stdout
    assert f"FINGERPRINT={server.console('ed25519')}" in refused.stderr
    assert server.file.read_text() == server.text
    done = server.trust(FINGERPRINT=server.console("ed25519"))
    assert done.returncode == 0, done.stderr
    assert server.pinned() == server.key_of("ed25519")
    waiting = "# host_key: ssh-ed25519 AAAA…   pin the server's key here"
    assert server.file.read_text() == server.text.replace(waiting, f"host_key: {server.pinned()}")
    assert "Permission denied" in server.ssh(), "the host key was accepted"
    assert server.trust().stdout.startswith("already pinned: 256 SHA256:")


@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
def test_a_server_without_the_best_one(server: Server, kind: str) -> None:
    server.stop()
    server.keys = {kind: server.keys[kind]}
    server.start()
    assert server.type("yes", "pins none: ")[0] == 0
    assert server.pinned() == server.key_of(kind)
    assert "Permission denied" in server.ssh()


def test_a_machine_that_was_installed_anew(server: Server) -> None:
    server.trust(FINGERPRINT=server.console("ed25519"))
    before = server.file.read_text()
    server.stop()
    server.new_keys(*server.keys)
    server.start()
    assert "Host key verification failed" in server.ssh()
    prompt = "characters of its fingerprint: "
    code, said = server.type("yes", prompt)
    assert code == 1
    assert "WARNING: THIS IS NOT THE KEY THAT IS PINNED" in said
    assert server.file.read_text() == before
    code, said = server.type(server.console("ed25519")[-8:], prompt)
    assert code == 0, said
    assert server.pinned() == server.key_of("ed25519")
    assert "Permission denied" in server.ssh()


def test_nobody_there(server: Server) -> None:
    server.stop()
    done = server.trust(FINGERPRINT="SHA256:x")
    assert done.returncode == 1
    assert f"0.0.0.0 port {server.port} shows no host key" in done.stderr
    assert server.file.read_text() == server.text


def test_something_that_is_no_ssh_server(server: Server) -> None:
    server.stop()
    with socket.create_server(("127.0.0.1", server.port)):  # takes connections and says nothing
        done = server.trust()
    assert done.returncode == 1
    assert "shows no host key" in done.stderr or "does not answer" in done.stderr
    assert server.file.read_text() == server.text
