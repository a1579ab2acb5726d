"""standalone's SSH client against a real sshd with its default limits."""

from __future__ import annotations

import getpass
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import packages

pytestmark = [pytest.mark.host, pytest.mark.timeout(180)]

ROOT = Path(__file__).parents[2]
SSHD = "/usr/sbin/sshd"

PROGRAM = """
import json
from pathlib import Path

import pulumi
from pulumi_command import remote

for entry in json.loads(Path("spec.json").read_text()):
    remote.Command(
        entry["name"],
        connection=remote.ConnectionArgs(**entry["connection"]),
        add_previous_output_in_env=False,
        **entry["args"],
    )
"""


def need_sshd() -> None:
    """Debian's openssh-server; installed when we may, else the tests don't run and say why."""
    reason = packages.ensure(packages.SSHD)
    if reason:
        pytest.skip(reason)


class Host:
    """A running sshd, a user's key in an agent, and a project that talks to it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.work = folder, folder / "project"
        self.work.mkdir()
        for key in ("host", "other", "user", "stranger"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", folder / key], check=True)
        shutil.copy(folder / "user.pub", folder / "authorized")
        self.port = self._free_port()
        (folder / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\n"
            f"HostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\n"
            f"PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
        )
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # what a root sshd wants to see
        self.log = folder / "sshd.log"
        self.sshd = subprocess.Popen([SSHD, "-D", "-f", folder / "sshd_config", "-E", self.log])
        agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(folder / "agent")], stdout=subprocess.DEVNULL)
        self.agent = agent
        self._until_listening()
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("PULUMI", "SSH_"))}
        self.env |= {
            "PYTHONPATH": str(ROOT),
            "PULUMI_CONFIG_PASSPHRASE": "test",
            "SSH_AUTH_SOCK": str(folder / "agent"),
        }
        subprocess.run(["ssh-add", "-q", folder / "user"], env=self.env, check=True)
        (self.work / "Pulumi.yaml").write_text("name: ssh\nruntime: python\n")
        (self.work / "Pulumi.dev.yaml").write_text("config: {}\n")
        (self.work / "__main__.py").write_text(PROGRAM)

    @staticmethod
    def _free_port() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    def _until_listening(self) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0 and (self.folder / "agent").exists():
                    return
            time.sleep(0.02)
        pytest.fail(f"sshd does not listen: {self.log.read_text()}")

    def close(self) -> None:
        for process in (self.sshd, self.agent):
            process.terminate()
            process.wait(10)

    def connection(self, **more: Any) -> dict[str, Any]:
        base = {
            "host": "127.0.0.1",
            "port": self.port,
            "user": getpass.getuser(),
            "host_key": (self.folder / "host.pub").read_text().strip(),
            "dial_error_limit": 3,
        }
        return {key: value for key, value in {**base, **more}.items() if value is not None}

    def spec(self, *entries: tuple[str, dict[str, Any], dict[str, Any]]) -> None:
        (self.work / "spec.json").write_text(
            json.dumps([{"name": name, "connection": c, "args": args} for name, c, args in entries])
        )

    def run(self, verb: str, *args: str, code: int = 0, **env: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "standalone", verb, "--stack", "dev", *args],
            cwd=self.work,
            env={**self.env, **env},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def outputs(self) -> dict[str, dict[str, Any]]:
        deployment = json.loads((self.work / ".standalone" / "dev.json").read_text())["deployment"]
        return {r["urn"].rsplit("::", 1)[1]: r.get("outputs", {}) for r in deployment["resources"]}


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    need_sshd()
    made = Host(tmp_path)
    try:
        yield made
    finally:
        made.close()


def test_create_update_delete_with_a_key_from_the_agent(host: Host) -> None:
    args = {
        "create": f"cat > {host.folder}/got; echo made; echo words >&2",
        "update": f"cat > {host.folder}/got; echo updated",
        "delete": f"rm {host.folder}/got",
        "stdin": "one",
    }
    host.spec(("a", host.connection(), args))
    host.run("preview", PULUMI_CONFIG_PASSPHRASE="test")
    host.run("up")
    assert (host.folder / "got").read_text() == "one"
    outputs = host.outputs()["a"]
    assert (outputs["stdout"], outputs["stderr"]) == ("made", "words")
    assert "ciphertext" in outputs["connection"], "a connection is stored like the CLI stores it"
    assert "1 unchanged" in host.run("up")
    host.spec(("a", host.connection(), {**args, "stdin": "two"}))
    assert '~ stdin: "one" -> "two"' in host.run("up")
    assert (host.folder / "got").read_text() == "two"
    assert host.outputs()["a"]["stdout"] == "updated"
    host.run("destroy")
    assert not (host.folder / "got").exists()


def test_a_preview_needs_no_key_and_no_passphrase(host: Host) -> None:
    host.spec(("a", host.connection(), {"create": "true"}))
    host.env.pop("SSH_AUTH_SOCK")
    host.env.pop("PULUMI_CONFIG_PASSPHRASE")
    assert "1 to create" in host.run("preview")
    assert "set PULUMI_CONFIG_PASSPHRASE" in host.run("up", code=1)


def test_another_host_key_is_refused(host: Host) -> None:
    other = (host.folder / "other.pub").read_text().strip()
    host.spec(("a", host.connection(host_key=other), {"create": f"touch {host.folder}/never"}))
    assert "shows another host key than the pinned one" in host.run("up", code=1)
    assert not (host.folder / "never").exists()


def test_without_a_pinned_host_key_nothing_is_sent(host: Host) -> None:
    host.spec(("a", host.connection(host_key=None), {"create": f"touch {host.folder}/never"}))
    assert f"no host key is pinned for {getpass.getuser()}@127.0.0.1" in host.run("up", code=1)
    host.spec(("a", host.connection(host_key="nonsense"), {"create": "true"}))
    assert "the pinned host key can't be read" in host.run("up", code=1)


def test_a_known_hosts_line_pins_as_well(host: Host) -> None:
    line = f"[127.0.0.1]:{host.port} " + (host.folder / "host.pub").read_text().strip() + " root@somewhere"
    host.spec(("a", host.connection(host_key=line), {"create": "true"}))
    host.run("up")


def test_no_agent_or_the_wrong_key(host: Host) -> None:
    host.spec(("a", host.connection(), {"create": "true"}))
    socket_path = host.env.pop("SSH_AUTH_SOCK")
    assert "SSH_AUTH_SOCK is not set" in host.run("up", code=1)
    assert "no ssh-agent answers at /no/such" in host.run("up", code=1, SSH_AUTH_SOCK="/no/such")
    subprocess.run(["ssh-add", "-q", "-D"], env={**host.env, "SSH_AUTH_SOCK": socket_path}, check=True)
    assert "refuses the login" in host.run("up", code=1, SSH_AUTH_SOCK=socket_path)
    subprocess.run(
        ["ssh-add", "-q", host.folder / "stranger"], env={**host.env, "SSH_AUTH_SOCK": socket_path}, check=True
    )
    said = host.run("up", code=1, SSH_AUTH_SOCK=socket_path)
    assert "refuses the login" in said
    assert "offered: 1 key (" in said


def test_a_key_in_the_connection(host: Host) -> None:
    key = (host.folder / "user").read_text()
    host.spec(("a", host.connection(private_key=key), {"create": "true"}))
    host.env.pop("SSH_AUTH_SOCK")
    host.run("up")
    text = (host.work / ".standalone" / "dev.json").read_text()
    assert key.splitlines()[1] not in text


def test_a_failing_command_says_how_it_ended_but_not_what_it_was_told(host: Host) -> None:
    host.spec(
        ("a", host.connection(), {"create": "cat >/dev/null; echo the reason >&2; exit 7", "stdin": "private words"})
    )
    said = host.run("up", code=1)
    assert f"exit status 7 on {getpass.getuser()}@127.0.0.1:{host.port}" in said
    assert "the reason" in said
    assert "private words" not in said


def test_nobody_there(host: Host) -> None:
    host.spec(("a", host.connection(port=host._free_port(), dial_error_limit=1), {"create": "true"}))
    assert "after 2 attempts" in host.run("up", code=1)


def test_thirty_commands_at_once_with_the_default_limits(host: Host) -> None:
    """sshd drops logins beyond 10 that are not finished (MaxStartups 10:30:100); none of ours may get lost."""
    count = 30
    host.spec(*((f"c{n}", host.connection(), {"create": f"echo {n} >> {host.folder}/all"}) for n in range(count)))
    began = time.monotonic()
    assert f"{count} created" in host.run("up")
    print(f"{count} commands over SSH: {time.monotonic() - began:.1f} s")
    assert sorted(map(int, (host.folder / "all").read_text().split())) == list(range(count))
    assert not re.search("drop connection|past MaxStartups", host.log.read_text())


def test_a_second_ctrl_c_ends_a_command_over_ssh(host: Host) -> None:
    host.spec(("a", host.connection(), {"create": f"touch {host.folder}/begun; sleep 60"}))
    process = subprocess.Popen(
        [sys.executable, "-m", "standalone", "up", "--stack", "dev"],
        cwd=host.work,
        env=host.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + 30
    while not (host.folder / "begun").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    while "stopping:" not in process.stdout.readline():
        assert time.monotonic() < deadline
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 130, output
    host.spec(("a", host.connection(), {"create": "true"}))
    assert "interrupted during the creation of a" in host.run("up")
