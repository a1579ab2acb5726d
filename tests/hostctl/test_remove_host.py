"""What goes when a host goes, or changes: our own names alone, whatever an older hostctl has left (P7, D16)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hostctl import compose_program, host
from hostctl.context import Context
from hostctl.definitions import parse_host, parse_observe
from hostctl.layout import Layout, read_json, write_json
from hostctl.observe import observe
from tests.hostctl import samples
from tests.hostctl.fake import FakeHost, FakeRuntime, removable

NAME = "identity-service"
SINCE = {
    "host": ("compose", "firewall", "integrations", "prerequisites", "reloader"),
    "service": ("register", "edge", "proxy", "files"),
    "launch": ("image", "bind", "resources"),
}


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    return removable(tmp_path, monkeypatch)


def up(fake: FakeHost) -> Any:
    made = samples.service(NAME)
    FakeRuntime.ports[made["digest"]] = str(made["ports"][0])
    return fake.up(made)


def as_an_older_hostctl_left_it(fake: FakeHost) -> None:
    """Without all keys that came later, in every record."""
    layout = fake.context().layout
    record = read_json(layout.host)
    for key in SINCE["host"]:
        del record["definition"][key]
    write_json(layout.host, record)
    for path in layout.generations.rglob("*.json"):
        made = read_json(path)
        for key in SINCE["service"]:
            del made["definition"][key]
        for key in SINCE["launch"]:
            del made["definition"]["launch"][key]
        write_json(path, made)


def test_the_records_of_an_older_hostctl_are_read_in_full(fake: FakeHost) -> None:
    up(fake)
    now = fake.context()
    before = (now.host(), now.store.good(NAME))
    as_an_older_hostctl_left_it(fake)
    then = fake.context()
    assert (then.host(), then.store.good(NAME)) == before
    assert observe(then, {"databases": {}, "secrets": {}, "containers": []})["services"] == {NAME: ""}
    assert up(fake)["generation"] == 1  # the same settings are no new generation
    assert fake.act(host.forget)["outcome"] == "removed"
    assert not (fake.root / "state/host.json").exists()


def test_the_record_of_a_database_too(fake: FakeHost) -> None:
    made = samples.database("mysql")
    del made["check"]["cwd"]
    record = {"definition": made, "state": "reused", "detail": "", "found": "reused", "label": ""}
    write_json(fake.root / "state/databases/mysql.json", record)
    (found,) = fake.context().databases().values()
    assert (found["container"], found["definition"]["container"], found["definition"]["ports"]) == ("", "", [])
    assert found["definition"]["check"]["cwd"] == "."


def test_only_our_own_names_go(fake: FakeHost) -> None:
    """As if host.root were a folder that others live in too."""
    theirs = ["bin/tool", "lib/libc.so", "lib/hostctl-notes.txt", "secrets/theirs.key", "run/theirs.pid", "notes"]
    ours = ["bin/hostctl", "lib/hostctl-0123.pyz", "run/supervisord.pid", "secrets/.mysql.env.tmp-99999999"]
    ours += ["secrets/mysql.env", "secrets/mysql.compose.env"]
    for name in theirs + ours:
        (fake.root / name).write_text("x")
    fake.act(host.forget)
    left = {str(path.relative_to(fake.root)) for path in fake.root.rglob("*") if path.is_file()}
    assert left == {*theirs, "state/lock", "state/audit.log"}


def test_empty_folders_of_ours_go_too(fake: FakeHost) -> None:
    (fake.root / "bin/hostctl").write_text("x")
    fake.act(host.forget)
    assert {path.name for path in fake.root.iterdir()} == {"state", "data", "logs"}


def test_without_records_what_is_left_goes_too(fake: FakeHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    up(fake)
    (fake.root / "secrets/mysql.env").write_text("x")
    (fake.root / "bin/hostctl").write_text("x")
    (fake.root / "state/host.json").unlink()
    shim = tmp_path / "docker-compose"
    shim.write_bytes(b"#!/bin/sh\n# " + compose_program.MARK + b"\n")
    monkeypatch.setattr(compose_program, "SHIM", str(shim))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(host, "RUNTIMES", ("process",))
    assert fake.act(host.forget) == {"outcome": "absent"}
    assert not shim.exists()
    assert fake.runtime.running == {}
    assert not (fake.root / "secrets").exists()
    assert not (fake.root / "bin").exists()


def test_a_folder_in_which_we_never_were_is_left_alone(fake: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "RUNTIMES", ("process",))
    for path in [fake.root / "state/host.json", fake.root / "state/audit.log"]:
        path.unlink()
    (fake.root / "secrets/theirs.env").write_text("x")
    fake.act(host.forget)
    assert (fake.root / "secrets/theirs.env").exists()


def test_a_root_that_is_gone_is_no_obstacle(tmp_path: Path) -> None:
    gone = Layout(str(tmp_path / "gone"))
    assert gone.own_files() == []
    assert not gone.is_ours()
    assert not gone.root.exists()


def converge(fake: FakeHost, made: dict[str, Any]) -> None:
    run: Context = fake.context("host")
    host.converge(run, parse_host(samples.raw(made)), None)


def test_a_file_that_the_definition_drops_goes(fake: FakeHost) -> None:
    plain = samples.host()
    file = "prometheus-blockchain-local.yml"
    part = {"file": file, "order": 0, "text": "# targets\n"}
    more = {"files": plain["files"] | {file: {"mode": "0644"}}, "parts": [*plain["parts"], part]}
    converge(fake, plain | more)
    assert (fake.root / file).read_text() == "# targets\n"
    (fake.root / "notes").write_text("theirs")
    converge(fake, plain)
    assert not (fake.root / file).exists()
    assert (fake.root / samples.CONF).exists()
    assert (fake.root / "notes").exists()
    before = {path.name: path.stat().st_mtime_ns for path in fake.root.iterdir() if path.is_file()}
    converge(fake, plain)
    assert {path.name: path.stat().st_mtime_ns for path in fake.root.iterdir() if path.is_file()} == before


def test_a_newer_control_side_may_ask_more() -> None:
    asked = {"containers": ["dao-service-1"], "of_tomorrow": {"x": 1}}
    assert parse_observe(json.dumps(asked).encode())["containers"] == ["dao-service-1"]
