"""The host itself: folders, supervisord, odd folder names, secrets, databases, and taking it all away again."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.laptop import SUPERVISORD, Laptop, alive, ask, free_ports, wait_for
from tests.hostctl import samples

pytestmark = pytest.mark.host

IDENTITY, GOVERNANCE = "identity-service", "governance-service"


@contextlib.contextmanager
def a_laptop(base: Path) -> Iterator[Laptop]:
    base.mkdir(parents=True, exist_ok=True)
    made = Laptop(base).make()
    try:
        yield made
    finally:
        made.clean_up()
    assert list(made.leftovers()) == []


@pytest.fixture
def laptop(tmp_path: Path) -> Iterator[Laptop]:
    with a_laptop(tmp_path / "base") as made:
        made.host("")
        yield made


@pytest.fixture
def port() -> int:
    return free_ports(1)[0]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_folders_and_modes(laptop: Laptop) -> None:
    for name, wanted in {"bin": 0o755, "logs": 0o755, "state": 0o700, "secrets": 0o700, "run": 0o700}.items():
        assert mode(laptop.root / name) == wanted, name


def test_host_again_keeps_supervisord(laptop: Laptop, port: int) -> None:
    laptop.up(laptop.service(IDENTITY, port))
    before = laptop.supervisord(), laptop.pids()
    laptop.host()
    assert (laptop.supervisord(), laptop.pids()) == before


def test_only_a_changed_header_restarts_supervisord(laptop: Laptop, port: int) -> None:
    laptop.up(laptop.service(IDENTITY, port))
    before = laptop.supervisord()
    parts = [dict(part) for part in samples.host()["parts"]]
    parts[1]["text"] += "# another remark\n"
    laptop.host(parts=parts)
    assert laptop.supervisord() == before
    parts[0]["text"] = parts[0]["text"].replace("umask=077", "umask=027")
    done = laptop.run("host", stdin=samples.host(str(SUPERVISORD), parts=parts))
    assert "supervisord restarts: its own settings changed" in done.stderr
    assert laptop.supervisord() != before
    assert laptop.status()[IDENTITY]["healthy"]  # it waited for the services to be back
    assert laptop.observe()["services"] == {IDENTITY: ""}


def test_an_unknown_runtime(tmp_path: Path) -> None:
    with a_laptop(tmp_path) as bare:
        done = bare.run("host", stdin=samples.host(runtime="k8s"), fails=2)
        assert done.stderr == "hostctl: this hostctl has no runtime 'k8s'; it has: compose, process\n"
        assert sorted(path.name for path in bare.root.iterdir()) == ["bin"]


def test_another_environment_in_the_same_folder(laptop: Laptop) -> None:
    done = laptop.run("host", stdin=samples.host(str(SUPERVISORD), environment="tencent"), fails=2)
    assert "belongs to the environment 'local'" in done.stderr


def test_a_header_that_supervisord_refuses_is_put_back(laptop: Laptop, port: int) -> None:
    laptop.up(laptop.service(IDENTITY, port))
    before = laptop.text(samples.CONF)
    parts = [dict(part) for part in samples.host()["parts"]]
    parts[0]["text"] = parts[0]["text"].replace("umask=077", "umask=nonsense")
    done = laptop.run("host", stdin=samples.host(str(SUPERVISORD), parts=parts), fails=1)
    assert "supervisord: " in done.stderr
    assert laptop.text(samples.CONF) == before
    wait_for(lambda: laptop.status()[IDENTITY]["healthy"])


def test_no_supervisord_there(tmp_path: Path) -> None:
    with a_laptop(tmp_path) as bare:
        done = bare.run("host", stdin=samples.host("no/such/supervisord"), fails=1)
        assert "no/such/supervisord can't be started: No such file or directory" in done.stderr


def test_up_before_host(tmp_path: Path, port: int) -> None:
    with a_laptop(tmp_path) as bare:
        assert "run `hostctl host` first" in bare.up(bare.service(IDENTITY, port), fails=2).stderr
        assert bare.run("status", "--json").stdout == '{"services": {}}\n'
        assert bare.run("watches").stdout == "{}\n"
        assert json.loads(bare.run("remove-host").stdout) == {"outcome": "absent"}


def test_supervisord_is_a_daemon_of_its_own(laptop: Laptop) -> None:
    pid = laptop.supervisord()
    assert os.getsid(pid) != os.getsid(0)
    for descriptor in (0, 1, 2):
        assert str(Path(f"/proc/{pid}/fd/{descriptor}").readlink()) == "/dev/null"
    targets = [str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir() if entry.exists()]
    assert not any("state/lock" in target for target in targets)


def test_nothing_of_the_callers_environment_comes_in(tmp_path: Path, port: int) -> None:
    with a_laptop(tmp_path) as bare:
        bare.environment |= {"PULUMI_CONFIG_PASSPHRASE": "very secret", "PYTHONPATH": "", "TMPDIR": "/tmp"}
        bare.host()
        bare.up(bare.service(IDENTITY, port, env={"DATA": "{root}/data/identity-service", "BASE": "{base}"}))
        env = ask(port)["env"]
        assert set(env) <= {"PATH", "HOME", "LANG", "TMPDIR", "MODE", "SERVICE_PORT", "DATA", "BASE", "LC_CTYPE"}
        assert env["DATA"] == f"{bare.root}/data/identity-service"
        assert env["BASE"] == str(bare.base)
        assert b"very secret" not in Path(f"/proc/{bare.supervisord()}/environ").read_bytes()


@pytest.mark.parametrize(
    "name",
    [
        "区块链 with spaces",
        '100% sure; it\'s "quoted" back\\slash #hash',
        "%(here)s",
        "long-" + "x" * 150,
        "长" * 60,
    ],
)
def test_odd_folder_names(name: str, tmp_path: Path, port: int) -> None:
    with a_laptop(tmp_path / name) as odd:
        odd.host("")
        definition = odd.service(IDENTITY, port)
        odd.up(definition, "--observed", "")
        assert odd.observe() == {"host": "", "services": {IDENTITY: ""}, "databases": {}}
        assert ask(port)["cwd"].startswith(str(odd.base))
        before = odd.pids()
        odd.up(definition)
        assert odd.pids() == before
        assert "starting" in odd.run("logs", IDENTITY).stdout
        odd.up(odd.service(IDENTITY, port, env={"CHANGED": "1"}))
        assert odd.pids() != before


def test_a_long_folder_survives_the_loss_of_its_link(tmp_path: Path, port: int) -> None:
    with a_laptop(tmp_path / ("long-" + "x" * 150)) as long:
        long.host("")
        long.up(long.service(IDENTITY, port), "--observed", "")
        links = [path for path in Path("/tmp").glob("hostctl-*/root") if path.resolve() == long.root]
        assert len(links) == 1
        assert mode(links[0].parent) == 0o700
        links[0].unlink()
        links[0].parent.rmdir()
        pid = long.supervisord()
        assert long.observe()["services"] == {IDENTITY: ""}
        os.kill(long.pids()[IDENTITY], signal.SIGKILL)  # its restart by supervisord needs no link either
        wait_for(lambda: long.status()[IDENTITY]["healthy"])
        long.up(long.service(IDENTITY, port, env={"CHANGED": "1"}))
        assert long.supervisord() == pid
        link = links[0]
    assert not link.parent.exists()


def test_a_folder_that_was_moved(tmp_path: Path, port: int) -> None:
    """The clone is renamed while its services run: the next `host` starts afresh from the new place."""
    with a_laptop(tmp_path / "old") as old:
        old.host("")
        old.up(old.service(IDENTITY, port), "--observed", "")
        before = old.supervisord()
        (tmp_path / "old").rename(tmp_path / "new")
        (tmp_path / "old").mkdir()
        moved = Laptop(tmp_path / "new")
        moved.make()
        try:
            moved.host("")
            moved.up(moved.service(IDENTITY, port))
            assert moved.supervisord() != before
            assert not alive(before)
            assert ask(port)["cwd"].startswith(str(tmp_path / "new"))
        finally:
            moved.clean_up()


def test_a_program_added_by_hand_is_ended(laptop: Laptop, port: int) -> None:
    laptop.up(laptop.service(IDENTITY, port))
    before = laptop.pids()
    conf = laptop.root / samples.CONF
    conf.write_text(conf.read_text() + "\n[program:stranger]\ncommand=sleep 1000\n")
    program = SUPERVISORD.with_name("supervisorctl")
    subprocess.run([program, "-c", conf, "update"], check=True, timeout=30, cwd=laptop.root, capture_output=True)
    label = laptop.observe()["host"]
    assert label == "supervisord.conf was edited (after generation 1)"
    done = laptop.run("host", "--observed", label, stdin=samples.host(str(SUPERVISORD)))
    assert "ended stranger: it does not belong here" in done.stderr
    assert laptop.pids() == before


def test_the_reloader(laptop: Laptop, port: int) -> None:
    laptop.up(laptop.service(IDENTITY, port))
    before = laptop.supervisord(), laptop.pids()
    script = "import os, sys, time; print(sys.argv[1], os.getcwd(), flush=True); time.sleep(1000)"
    parts = samples.host()["parts"] + [{"file": samples.CONF, "order": 99, "text": samples.RELOADER}]
    laptop.host("", parts=parts, reloader=[sys.executable, "-c", script])
    log = laptop.root / "logs/reloader.log"
    wait_for(lambda: log.exists() and log.read_text())
    assert log.read_text() == f"{laptop.wrapper} {laptop.base}\n"
    assert (laptop.supervisord(), laptop.pids()) == before  # it is no reason to restart anything
    assert laptop.observe()["host"] == ""
    refused = laptop.up(laptop.service("reloader", free_ports(1)[0]), fails=1)
    assert "is a program of the host's own" in refused.stderr
    laptop.host("")
    assert "reloader" not in laptop.text(samples.CONF)
    assert (laptop.supervisord(), laptop.pids()) == before


def test_remove_host_keeps_data_and_logs(laptop: Laptop, port: int) -> None:
    laptop.up(laptop.service(IDENTITY, port))
    (laptop.root / "data" / IDENTITY / "records").write_text("kept")
    laptop.run("secrets", "mysql", stdin={"PASSWORD": "x"})
    supervisord, service = laptop.supervisord(), laptop.pids()[IDENTITY]
    assert json.loads(laptop.run("remove-host").stdout)["outcome"] == "removed"
    assert not alive(supervisord)
    assert not alive(service)
    left = sorted(str(path.relative_to(laptop.root)) for path in laptop.root.rglob("*") if path.is_file())
    assert left == [
        "data/identity-service/records",
        "logs/identity-service.log",
        "logs/supervisord.log",
        "state/audit.log",
        "state/lock",
    ]
    laptop.make()
    laptop.host("")
    laptop.up(laptop.service(IDENTITY, port), "--observed", "")
    assert laptop.observe() == {"host": "", "services": {IDENTITY: ""}, "databases": {}}


def test_secrets_reach_only_those_who_name_them(laptop: Laptop) -> None:
    one, two = free_ports(2)
    laptop.run("secrets", "mysql", stdin={"PASSWORD": "first secret"})
    assert mode(laptop.root / "secrets/mysql.env") == 0o600
    laptop.up(laptop.service(IDENTITY, one, secrets=["mysql", "identity-service"]))
    laptop.up(laptop.service(GOVERNANCE, two))
    before = laptop.pids()
    assert ask(one)["env"]["BLOCKCHAIN_MYSQL_PASSWORD"] == "first secret"
    assert "PASSWORD" not in ask(one)["env"]
    assert "BLOCKCHAIN_MYSQL_PASSWORD" not in ask(two)["env"]
    done = json.loads(laptop.run("secrets", "mysql", stdin={"PASSWORD": "second secret"}).stdout)
    assert done == {"name": "mysql", "outcome": "written", "restarted": [IDENTITY]}
    assert ask(one)["env"]["BLOCKCHAIN_MYSQL_PASSWORD"] == "second secret"
    assert laptop.pids()[GOVERNANCE] == before[GOVERNANCE]
    again = json.loads(laptop.run("secrets", "mysql", stdin={"PASSWORD": "second secret"}).stdout)
    assert again == {"name": "mysql", "outcome": "unchanged", "restarted": []}
    assert laptop.observe()["services"] == {IDENTITY: "", GOVERNANCE: ""}
    secret_file = laptop.root / "secrets/mysql.env"
    secret_file.write_text(secret_file.read_text().replace("second", "third"))
    label = "it runs with older secrets (after generation 1)"
    assert laptop.observe()["services"][IDENTITY] == label
    definition = laptop.service(IDENTITY, one, secrets=["mysql", "identity-service"])
    assert json.loads(laptop.up(definition, "--observed", label).stdout)["outcome"] == "restarted"
    assert ask(one)["env"]["BLOCKCHAIN_MYSQL_PASSWORD"] == "third secret"
    assert laptop.observe()["services"] == {IDENTITY: label, GOVERNANCE: ""}
    assert "secret" not in laptop.text("state/audit.log").replace('"secrets"', "")
    everything = "".join(path.read_text() for path in laptop.root.rglob("*.json")) + laptop.text(samples.CONF)
    assert "second secret" not in everything


def test_secrets_that_break_a_service_are_put_back(laptop: Laptop, port: int) -> None:
    laptop.run("secrets", IDENTITY, stdin={"MODE": "ok"})
    definition = laptop.service(IDENTITY, port, secrets=[IDENTITY], timeout=20)
    del definition["launch"]["env"]["MODE"]
    laptop.up(definition)
    done = laptop.run("secrets", IDENTITY, stdin={"MODE": "crash"}, fails=1)
    assert "The secrets of identity-service were put back, and serve again." in done.stderr
    assert (laptop.root / "secrets/identity-service.env").read_text() == 'MODE="ok"\n'
    assert laptop.status()[IDENTITY]["healthy"]


def test_no_secret_in_the_last_lines_of_a_log(laptop: Laptop, port: int) -> None:
    laptop.run("secrets", "mysql", stdin={"PASSWORD": 's3cr"t & more'})
    failed = laptop.up(laptop.service(IDENTITY, port, "crash", secrets=["mysql"]), fails=1)
    assert "the password is ***" in failed.stderr
    assert "s3cr" not in failed.stderr
    assert "s3cr" not in laptop.text("state/audit.log")


def test_secrets_while_nothing_uses_them(laptop: Laptop) -> None:
    laptop.run("secrets", "mysql", stdin={"PASSWORD": "x"})
    assert json.loads(laptop.run("remove-secrets", "mysql").stdout)["outcome"] == "removed"
    assert json.loads(laptop.run("remove-secrets", "mysql").stdout)["outcome"] == "absent"
    assert (
        "not a name for an environment variable" in laptop.run("secrets", "mysql", stdin={"a-b": "x"}, fails=2).stderr
    )


CLIENT = """
import json, sys
question = json.load(sys.stdin)
told = {answer}
print("noise before the answer")
print(json.dumps(told))
"""


def client(answer: str) -> list[str]:
    return [sys.executable, "-c", CLIENT.format(answer=answer)]


REUSED = '{"ok": True, "version": "11.4 for " + question["user"] + str(len(question.get("password", "")))}'
MISSING = '{"ok": False, "reason": "missing", "detail": "connection refused"}'
REFUSED = '{"ok": False, "reason": "refused", "detail": "Access denied with " + question["password"]}'


def test_a_database_that_answers(laptop: Laptop) -> None:
    laptop.run("secrets", "mysql", stdin={"PASSWORD": "four"})
    definition = samples.database("mysql", client(REUSED))
    done = json.loads(laptop.run("database", "mysql", "--observed", "reused", stdin=definition).stdout)
    assert done == {"name": "mysql", "state": "reused", "detail": "11.4 for root4"}
    assert "BLOCKCHAIN_MYSQL_PORT=9506\n" in laptop.text(samples.ENV_FILE)
    assert laptop.observe(databases={"mysql": definition})["databases"] == {"mysql": "reused"}
    laptop.run("remove-database", "mysql")
    assert "MYSQL" not in laptop.text(samples.ENV_FILE)
    assert json.loads(laptop.run("remove-database", "mysql").stdout)["outcome"] == "absent"


def test_a_database_that_is_missing(laptop: Laptop) -> None:
    definition = samples.database("mysql", client(MISSING))
    done = laptop.run("database", "mysql", stdin=definition)
    assert json.loads(done.stdout)["state"] == "embedded"
    assert "warning: mysql can't be used (missing: connection refused)" in done.stderr
    failed = laptop.run("database", "mysql", stdin=definition | {"when_missing": "fail"}, fails=1)
    assert "when_missing: fail" in failed.stderr
    stale = laptop.run("database", "mysql", "--observed", "reused", stdin=definition, fails=1)
    assert "mysql is 'missing: connection refused' now, but was 'reused' when it was previewed" in stale.stderr


def test_a_database_that_refuses_us(laptop: Laptop) -> None:
    laptop.run("secrets", "mysql", stdin={"PASSWORD": "hush"})
    definition = samples.database("mysql", client(REFUSED))
    assert laptop.observe(databases={"mysql": definition})["databases"] == {
        "mysql": "refused: Access denied with ***; ABSENT"
    }


def test_observe_may_know_a_password_that_the_host_does_not_have(laptop: Laptop) -> None:
    definition = samples.database("mysql", client(REFUSED))
    told = laptop.observe(databases={"mysql": definition}, secrets={"mysql": {"PASSWORD": "unseen"}})
    assert told["databases"] == {"mysql": "refused: Access denied with ***; ABSENT"}


def test_a_client_that_hangs_or_breaks(laptop: Laptop) -> None:
    definition = samples.database("mysql", [sys.executable, "-c", "import time; time.sleep(100)"])
    definition["check"]["timeout_seconds"] = 0.5
    assert laptop.observe(databases={"mysql": definition})["databases"] == {
        "mysql": "missing: no answer within 0.5 s; ABSENT"
    }
    broken = samples.database("mysql", [sys.executable, "-c", "import sys; sys.exit('it is broken')"])
    assert "ended with exit code 1: it is broken" in laptop.run("database", "mysql", stdin=broken, fails=1).stderr
    told = laptop.observe(databases={"mysql": broken})["databases"]["mysql"]
    assert told == "unknown: the check of mysql ended with exit code 1: it is broken; ABSENT"
    absent = samples.database("mysql", ["./no/client"])
    assert "can't be run" in laptop.run("database", "mysql", stdin=absent, fails=1).stderr
