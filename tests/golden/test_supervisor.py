"""The supervisor file as supervisord itself reads it (P1)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from supervisor.options import ServerOptions

from plan.render import definitions, host_files
from tests.plan.stacks import Change, plan_of, put

LOCAL = {
    "blockchain-service",
    "identity-service",
    "governance-service",
    "crosschain-service",
    "blockchain-config",
    "blockchain-monitor",
}
IDENTITY = "services.identity-service"
OWN_CODE = [put(f"{IDENTITY}.command", ["python", "main.py", "--port", "{port}"]), put(f"{IDENTITY}.folder", "../id")]


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Name -> what supervisord would run; it refuses its whole file when one value is wrong."""
    for folder in ("logs", "run"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path)

    def read(*changes: Change) -> dict[str, Any]:
        text = host_files(plan_of("local", *changes))["supervisord.conf"]
        (tmp_path / "supervisord.conf").write_text(text, encoding="utf-8")
        options = ServerOptions()
        options.realize(["-c", str(tmp_path / "supervisord.conf")])
        return {one.name: one for group in options.process_group_configs for one in group.process_configs}

    return read


def test_each_service_is_a_program_and_one_reloads_them(programs: Any) -> None:
    found = programs()
    assert set(found) == {*LOCAL, "reloader"}
    made = definitions(plan_of("local"))
    for name in LOCAL:
        digest = made[f"service/{name}"]["digest"]
        assert found[name].command == f"bin/hostctl launch {name} {digest}"
        assert found[name].stdout_logfile == f"logs/{name}.log"
        assert (found[name].autostart, found[name].autorestart is not False) == (True, True)  # D25
        assert (found[name].stopasgroup, found[name].killasgroup, found[name].stopwaitsecs) == (True, True, 10)


def test_times_are_whole_seconds_for_supervisord(programs: Any) -> None:
    assert programs(put(f"{IDENTITY}.stop_grace", 2.5))["identity-service"].stopwaitsecs == 3
    assert programs(put(f"{IDENTITY}.stop_grace", 0.1))["identity-service"].stopwaitsecs == 1


def test_nothing_reloads_where_nothing_is_watched(programs: Any) -> None:
    off = [put(f"services.{name}.reload", False) for name in LOCAL]
    assert set(programs(*off)) == LOCAL
    assert set(programs(put("mode", "integration"))) == LOCAL  # P1: in development by default


def launched(*changes: Change) -> tuple[list[str], str, list[str]]:
    made = definitions(plan_of("local", *changes))["service/identity-service"]
    return made["launch"]["argv"], made["launch"]["cwd"], made["reload"]


def test_what_is_launched() -> None:
    python = ".venv/bin/python"
    assert launched() == ([python, "-m", "standin"], "image", ["image"])  # D13
    assert launched(*OWN_CODE) == ([python, "main.py", "--port", "8302"], "../id", ["../id"])
    assert launched(OWN_CODE[0])[1:] == (".", [])
    assert launched(put(f"{IDENTITY}.command", ["./run.sh"]))[0] == ["./run.sh"]
    assert launched(*OWN_CODE, put(f"{IDENTITY}.reload", False))[2] == []


def test_a_debugger_listens_on_loopback_only() -> None:
    debug = put(f"{IDENTITY}.debug_port", 5678)
    listen = [".venv/bin/python", "-m", "debugpy", "--listen", "127.0.0.1:5678"]
    assert launched(debug)[0] == [*listen, "-m", "standin"]  # P1
    assert launched(debug, *OWN_CODE)[0] == [*listen, "main.py", "--port", "8302"]
    made = definitions(plan_of("local", debug))["service/identity-service"]
    assert made["ports"] == [8302]  # not the debugger's: its helper outlives the service by a moment
