"""What starts on the control machine and runs on a server: exactly the pinned key, exactly one connection (design)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostctl import pack
from tests.host.test_standalone_ssh import ROOT, Host, need_sshd

pytestmark = [pytest.mark.host, pytest.mark.timeout(120)]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    need_sshd()
    made = Host(tmp_path)
    yield made
    made.close()


def login(host: Host, key: str = "host") -> list[str]:
    public = (host.folder / f"{key}.pub").read_text().strip()
    return ["127.0.0.1", str(host.port), "root" if os.geteuid() == 0 else os.environ["USER"], public]


def over(
    host: Host, command: str, *more: str, key: str = "host", stdin: str = "", **env: str
) -> subprocess.CompletedProcess[str]:
    argv = ["sh", "components/scripts/over-ssh.sh", *login(host, key), command, *more]
    return subprocess.run(
        argv, cwd=ROOT, env=host.env | env, input=stdin, capture_output=True, text=True, timeout=60, check=False
    )


def there(host: Host, *words: str, key: str = "host", stdin: str = "") -> subprocess.CompletedProcess[str]:
    verb, *rest = words
    argv = [sys.executable, "-m", "hostctl.there", verb, *login(host, key), *rest]
    return subprocess.run(
        argv, cwd=ROOT, env=host.env, input=stdin, capture_output=True, text=True, timeout=60, check=False
    )


def connections(host: Host) -> int:
    return host.log.read_text().count("Accepted publickey")


def test_streams_and_exit_code_are_the_commands(host: Host) -> None:
    done = over(host, "cat; echo 'it''s \"here\"' >&2; exit 7", stdin="in\n")
    assert (done.returncode, done.stdout, done.stderr) == (7, "in\n", 'its "here"\n')
    assert connections(host) == 1


def test_another_host_key_is_refused(host: Host) -> None:
    done = over(host, "true", key="other")
    assert done.returncode == 255
    assert "Host key verification failed" in done.stderr or "no matching host key" in done.stderr
    assert connections(host) == 0


def test_no_key_no_agent_no_server(host: Host, tmp_path: Path) -> None:
    argv = ["sh", "components/scripts/over-ssh.sh", "127.0.0.1", str(host.port), "root", "", "true"]
    done = subprocess.run(argv, cwd=ROOT, env=host.env, capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, connections(host)) == (255, 0)
    assert "no host key is pinned for 127.0.0.1" in done.stderr
    assert "make trust" in done.stderr
    done = over(host, "true", SSH_AUTH_SOCK=str(tmp_path / "nobody"))
    assert done.returncode == 255
    assert "no ssh-agent" in done.stderr
    host.sshd.terminate()
    host.sshd.wait(10)
    began = time.monotonic()
    done = over(host, "true", "3")
    assert done.returncode == 255
    assert "Connection refused" in done.stderr
    assert time.monotonic() - began < 10


def test_the_users_own_ssh_settings_decide_nothing(host: Host, tmp_path: Path) -> None:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text("Host *\n  Port 1\n  ProxyCommand /bin/false\n")
    assert over(host, "echo there", HOME=str(tmp_path)).stdout == "there\n"
    assert not (tmp_path / ".ssh" / "known_hosts").exists()


def test_no_file_is_left_behind(host: Host, tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    assert over(host, "exit 3", TMPDIR=str(tmp_path / "tmp")).returncode == 3
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_bare_host_says_so_and_one_that_is_not_there_too(host: Host, tmp_path: Path) -> None:
    done = there(host, "observe", str(tmp_path / "nothing"))
    assert (done.returncode, json.loads(done.stdout)) == (0, {"bare": True})
    done = there(host, "observe", str(tmp_path), key="other")
    assert done.returncode == 0
    assert json.loads(done.stdout)["unreachable"].startswith("it shows another host key than the pinned one")
    subprocess.run(["ssh-add", "-q", "-D"], env=host.env, check=True, capture_output=True)
    done = there(host, "observe", str(tmp_path))
    assert json.loads(done.stdout)["unreachable"].startswith("it refuses the login")


def test_a_hostctl_that_cant_answer_is_installed_anew(host: Host, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    wrapper = tmp_path / "bin" / "hostctl"
    for text, said in {
        "echo not json": "what answered is not hostctl: not json",
        "echo broken >&2; exit 1": "hostctl observe failed: broken",
    }.items():
        wrapper.write_text(f"#!/bin/sh\n{text}\n")
        wrapper.chmod(0o755)
        assert json.loads(there(host, "observe", str(tmp_path)).stdout) == {"bare": True, "why": said}


def test_one_that_gives_no_answer_is_not_reached_and_nothing_goes_on(host: Host, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "tmp").mkdir()
    wrapper = tmp_path / "bin" / "hostctl"
    wrapper.write_text("#!/bin/sh\nexec sleep 20\n")
    wrapper.chmod(0o755)
    program = "import sys; from hostctl import there; there.OBSERVE_SECONDS = 3.0; sys.exit(there.main(sys.argv[1:]))"
    argv = [sys.executable, "-c", program, "observe", *login(host), str(tmp_path)]
    env = host.env | {"TMPDIR": str(tmp_path / "tmp")}
    began = time.monotonic()
    done = subprocess.run(argv, cwd=ROOT, env=env, input="{}", capture_output=True, text=True, timeout=60, check=False)
    assert json.loads(done.stdout) == {"unreachable": "it gave no answer within 3 s"}
    assert time.monotonic() - began < 20
    assert connections(host) == 1
    left = subprocess.run(["pgrep", "-f", f"ssh -F none .*{tmp_path}"], capture_output=True, text=True, check=False)
    assert left.stdout == ""
    assert list((tmp_path / "tmp").iterdir()) == []  # the file with the host key


def test_what_is_taken_away_does_not_need_what_is_there(host: Host, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "lib").mkdir(parents=True)
    (root / "lib/hostctl-0123.pyz").write_text("of before")
    (root / "notes").write_text("theirs")  # bin/hostctl is gone, and the records with it
    (tmp_path / "tmp").mkdir()
    done = there(host, "remove", str(root))
    assert (done.returncode, json.loads(done.stdout)) == (0, {"outcome": "absent"}), done.stderr
    assert [path.name for path in root.iterdir()] == ["notes"]
    done = there(host, "remove", str(tmp_path / "nothing"))
    assert (done.returncode, json.loads(done.stdout)) == (0, {"outcome": "absent"}), done.stderr
    assert connections(host) == 2


def test_what_cant_be_taken_away_is_no_success(host: Host, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state/host.json").write_text("damaged")
    done = there(host, "remove", str(tmp_path))
    assert done.returncode == 1
    assert "host.json is damaged" in done.stderr
    assert there(host, "remove", str(tmp_path), key="other").returncode == 255


def test_what_is_installed_are_the_sources_that_the_command_names(host: Host, tmp_path: Path) -> None:
    done = there(host, "install", str(tmp_path / "root"), "0" * 64, stdin="{}")
    assert (done.returncode, connections(host)) == (2, 0)
    assert "hostctl's sources changed while this ran" in done.stderr
    # A definition that is none: hostctl itself is in place by then, and says what is wrong.
    done = there(host, "install", str(tmp_path / "root"), pack.digest(), "it's a label", stdin='{"schema": 1}')
    assert done.returncode == 2
    assert "the host's definition: " in done.stderr
    (archive,) = (tmp_path / "root" / "lib").iterdir()
    assert archive.read_bytes() == pack.pack()
    assert connections(host) == 1


def test_its_command_line() -> None:
    for words in ([], ["observe"], ["install", "x"], ["other"]):
        argv = [sys.executable, "-m", "hostctl.there", *words]
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        assert "hostctl.there observe" in done.stderr
