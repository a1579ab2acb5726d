"""`make trust`: which key gets pinned, and that none does unless somebody said so. (A real sshd: tests/host.)"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import hostkeys
from hostkeys import HostKey
from tests.workshop.conftest import REAL, Project
from tests.workshop.terminal import typed

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no `ssh-keygen` on PATH")

STACK_FILE = """\
# ours
config:
  blockchain-dao:host:
    address: server.example  # the machine
    ssh_port: 2222
    # host_key: ssh-ed25519 AAAA…   pin the server's key here
  blockchain-dao:mode: integration # kept
"""
KINDS = {"ed25519": "256", "ecdsa": "384", "rsa": "2048", "other": "256"}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Public keys by name, as a server keeps them."""
    folder = tmp_path_factory.mktemp("keys")
    for name, bits in KINDS.items():
        kind = "ed25519" if name == "other" else name
        command = ["ssh-keygen", "-q", "-t", kind, "-b", bits, "-N", "", "-C", "root@server", "-f", folder / name]
        subprocess.run(command, check=True, timeout=60)
    return {name: folder / f"{name}.pub" for name in KINDS}


def key(path: Path) -> HostKey:
    found = HostKey.parse(path.read_text())
    assert found is not None
    return found


class Server:
    """A project and a stand-in of ssh-keyscan that shows the keys of a server."""

    def __init__(self, project: Project, keys: dict[str, Path]) -> None:
        self.project, self.keys = project, keys
        self.file = project.folder / "Pulumi.tencent.yaml"
        self.file.write_text(STACK_FILE)
        self.shows("rsa", "ed25519", "ecdsa")

    def shows(self, *names: str, says: str = "", code: int = 0) -> None:
        lines = [f"[server.example]:2222 {' '.join(self.keys[name].read_text().split()[:2])}" for name in names]
        text = "\n".join(["# server.example:2222 SSH-2.0-OpenSSH_9.2", *lines])
        (self.project.folder / "shown").write_text(f"{text}\n")
        script = f'#!/bin/sh\necho "$@" >> scanned\ncat shown\necho "{says}" >&2\nexit {code}\n'
        self.project.program("ssh-keyscan", script)

    def trust(self, **env: str) -> subprocess.CompletedProcess[str]:
        return self.project.run(sys.executable, "tools/trust.py", STACK="tencent", **env)

    def on_a_terminal(self, answer: str | int | None, prompt: str = "pins none: ") -> tuple[int, str]:
        command = [sys.executable, "tools/trust.py"]
        env = {**self.project.env, "STACK": "tencent"}
        return typed(command, answer, cwd=self.project.folder, env=env, prompt=prompt)

    def pinned(self, name: str) -> bool:
        """Whether this key is pinned, and nothing else of the file is different."""
        waiting = "# host_key: ssh-ed25519 AAAA…   pin the server's key here"
        return self.file.read_text() == STACK_FILE.replace(waiting, f"host_key: {key(self.keys[name]).line}")

    @property
    def untouched(self) -> bool:
        return self.file.read_text() == STACK_FILE


@pytest.fixture
def server(project: Project, keys: dict[str, Path]) -> Server:
    (project.folder / "plan").symlink_to(REAL / "plan")
    return Server(project, keys)


@pytest.mark.parametrize("name", KINDS)
def test_a_fingerprint_is_written_as_ssh_keygen_writes_it(keys: dict[str, Path], name: str) -> None:
    told = subprocess.run(
        ["ssh-keygen", "-lf", keys[name]], capture_output=True, text=True, check=True, timeout=20
    ).stdout.strip()
    assert str(key(keys[name])) == told.replace(" root@server", "")
    assert keys[name].read_text().startswith(key(keys[name]).line + " ")


@pytest.mark.parametrize(
    "text", ["", "ssh-ed25519", "ssh-ed25519 AAAA…", "ssh-ed25519 AAAA", "ssh-dss AAAAB3NzaC1kc3MAAAABAA==", "x y z"]
)
def test_what_is_no_key(text: str) -> None:
    assert HostKey.parse(text) is None


def test_a_key_of_another_type_than_it_says(keys: dict[str, Path]) -> None:
    assert HostKey.parse("ssh-ed25519 " + key(keys["rsa"]).line.split()[1]) is None


class TestOnATerminal:
    def test_yes_pins_the_best_one(self, server: Server) -> None:
        code, said = server.on_a_terminal("yes")
        assert code == 0, said
        assert server.pinned("ed25519")
        shown = [line.strip() for line in said.splitlines() if "SHA256:" in line][:3]
        names = ("ed25519", "ecdsa", "rsa")
        assert shown == [f"{n}  {key(server.keys[name])}" for n, name in enumerate(names, 1)]
        assert "server.example port 2222 shows these host keys" in said
        assert "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub" in said
        (scan,) = (server.project.folder / "scanned").read_text().splitlines()
        assert scan == "-T 10 -p 2222 -t ed25519,ecdsa,rsa -- server.example"

    def test_another_one_by_its_number(self, server: Server) -> None:
        assert server.on_a_terminal("3")[0] == 0
        assert server.pinned("rsa")

    @pytest.mark.parametrize("answer", ["", "no", "0", "4", "yes please", None, int(signal.SIGINT)])
    def test_anything_else_pins_none(self, server: Server, answer: str | int | None) -> None:
        code, said = server.on_a_terminal(answer)
        assert code == (130 if answer == signal.SIGINT else 1), said
        assert "nothing was pinned" in said or "confirms none of them; nothing was pinned" in said
        assert "Traceback" not in said
        assert server.untouched

    def test_a_changed_key_is_typed_never_just_agreed_to(self, server: Server) -> None:
        server.on_a_terminal("yes")
        server.shows("rsa", "other")
        prompt = "characters of its fingerprint: "
        for answer in ("y", "yes", "1", "", key(server.keys["ed25519"]).fingerprint[-8:], "12345678"):
            code, said = server.on_a_terminal(answer, prompt)
            assert code == 1, said
            assert "WARNING: THIS IS NOT THE KEY THAT IS PINNED" in said
            assert f"pinned in Pulumi.tencent.yaml: {key(server.keys['ed25519'])}" in said
            assert server.pinned("ed25519")
        code, said = server.on_a_terminal(key(server.keys["other"]).fingerprint[-8:], prompt)
        assert code == 0, said
        assert server.pinned("other")

    def test_what_somebody_wrote_while_it_was_asked_stays(self, server: Server) -> None:
        changes = f"#!/bin/sh\ncat shown\necho '# more' >> {server.file.name}\n"
        server.project.program("ssh-keyscan", changes)
        code, said = server.on_a_terminal("yes")
        assert code == 1
        assert "was changed by somebody meanwhile" in said
        assert server.file.read_text() == f"{STACK_FILE}# more\n"


class TestWithoutATerminal:
    def test_it_says_how_and_pins_nothing(self, server: Server) -> None:
        done = server.trust()
        assert done.returncode == 2
        fingerprint = key(server.keys["ed25519"]).fingerprint
        assert f"once you have compared it: make trust STACK=tencent FINGERPRINT={fingerprint}" in done.stderr
        assert server.untouched

    @pytest.mark.parametrize("name", ["ed25519", "ecdsa", "rsa"])
    def test_exactly_the_key_that_was_given(self, server: Server, name: str) -> None:
        done = server.trust(FINGERPRINT=key(server.keys[name]).fingerprint)
        assert done.returncode == 0, done.stderr
        assert server.pinned(name)

    def test_a_key_that_the_server_does_not_show(self, server: Server) -> None:
        for given in (key(server.keys["other"]).fingerprint, key(server.keys["rsa"]).fingerprint[:-1], "yes"):
            done = server.trust(FINGERPRINT=given)
            assert done.returncode == 2
            assert f"FINGERPRINT={given} is none of the keys that the server shows" in done.stderr
            assert server.untouched

    def test_the_whole_fingerprint_is_enough_for_a_changed_key(self, server: Server) -> None:
        server.trust(FINGERPRINT=key(server.keys["ed25519"]).fingerprint)
        server.shows("other")
        done = server.trust()
        assert done.returncode == 2
        assert "WARNING" in done.stdout
        assert server.pinned("ed25519")
        assert server.trust(FINGERPRINT=key(server.keys["other"]).fingerprint).returncode == 0
        assert server.pinned("other")

    @pytest.mark.parametrize("name", ["ed25519", "rsa"])
    def test_already_pinned(self, server: Server, name: str) -> None:
        fingerprint = key(server.keys[name]).fingerprint
        server.trust(FINGERPRINT=fingerprint)
        before = server.file.stat().st_mtime_ns
        for env in ({}, {"FINGERPRINT": fingerprint}):
            done = server.trust(**env)
            assert (done.returncode, done.stdout) == (0, f"already pinned: {key(server.keys[name])}\n")
        assert server.file.stat().st_mtime_ns == before

    def test_a_placeholder_that_is_no_key_is_said_and_replaced(self, server: Server) -> None:
        server.file.write_text(STACK_FILE.replace("# host_key: ", "host_key: "))
        done = server.trust()
        assert done.returncode == 2
        assert "what stands in Pulumi.tencent.yaml now is no key" in done.stdout
        server.trust(FINGERPRINT=key(server.keys["ed25519"]).fingerprint)
        assert f"    host_key: {key(server.keys['ed25519']).line}\n" in server.file.read_text()


@pytest.mark.parametrize("says", ["getaddrinfo server.example: Name or service not known", ""])
def test_a_server_that_does_not_answer(server: Server, says: str) -> None:
    server.shows(says=says, code=1)
    done = server.trust()
    assert done.returncode == 1
    assert f"server.example port 2222 shows no host key: {says or 'it does not answer as an SSH server'}" in done.stderr
    assert "are host.address and host.ssh_port right" in done.stderr
    assert server.untouched


def test_a_server_that_keeps_us_waiting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "ssh-keyscan").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "ssh-keyscan").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(hostkeys, "SECONDS", 0.05)
    with pytest.raises(hostkeys.ScanFailed, match="a port 22 does not answer"):
        hostkeys.scan("a", 22)


def test_without_ssh_keyscan(server: Server) -> None:
    (server.project.programs / "ssh-keyscan").unlink()
    done = server.trust(PATH=str(server.project.programs))
    assert done.returncode == 1
    assert "there is no ssh-keyscan on PATH\n  Debian/Ubuntu: apt-get install openssh-client" in done.stderr
    assert server.untouched


def test_a_form_that_is_not_edited_gives_the_line_to_put_in(server: Server) -> None:
    text = "config:\n  blockchain-dao:host: &h\n    address: server.example\n  x:y: *h\n"
    server.file.write_text(text)
    ed25519 = key(server.keys["ed25519"])
    done = server.trust(FINGERPRINT=ed25519.fingerprint)
    assert done.returncode == 1
    assert f"under blockchain-dao:host:\n  host_key: {ed25519.line}\n" in done.stderr
    assert server.file.read_text() == text


@pytest.mark.parametrize("address", ["127.0.0.1", "localhost", "'::1'"])
def test_a_laptop_needs_none(server: Server, address: str) -> None:
    server.file.write_text(STACK_FILE.replace("server.example", address))
    done = server.trust()
    assert (done.returncode, done.stdout) == (0, "tencent is this machine: a laptop needs none\n")
    assert not (server.project.folder / "scanned").exists()


@pytest.mark.parametrize(
    ("was", "now", "words"),
    [
        ("server.example", "-oProxyCommand=x", "'-oProxyCommand=x' is not an address"),
        ("server.example", "a b", "'a b' is not an address"),
        ("ssh_port: 2222", "ssh_port: 99999", "99999 is not a port"),
        ("address: server.example", "cpus: 4", "names no host.address"),
        ("  blockchain-dao:host:", "\t", "Pulumi.tencent.yaml, line 3"),
    ],
)
def test_a_stack_file_that_names_no_server(server: Server, was: str, now: str, words: str) -> None:
    server.file.write_text(STACK_FILE.replace(was, now))
    done = server.trust()
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (server.project.folder / "scanned").exists()


def test_a_stack_that_does_not_exist(server: Server) -> None:
    done = server.project.run(sys.executable, "tools/trust.py", STACK="nowhere")
    assert done.returncode == 1
    assert 'there is no stack "nowhere"; there are: local, tencent' in done.stderr
