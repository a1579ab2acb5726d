"""The smaller tools: the CLI's installer, `make check`, and who listens on a port."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pulumi.automation import PulumiCommand

import check
import get_pulumi
import listeners


class TestGetPulumi:
    @pytest.fixture
    def target(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr(get_pulumi, "ROOT", tmp_path)
        monkeypatch.setattr(get_pulumi, "TARGET", tmp_path / ".uv" / "pulumi")
        return tmp_path / ".uv" / "pulumi"

    def test_it_is_the_sdks_own_install(
        self, target: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        asked: list[str] = []

        def install(root: str) -> Any:
            asked.append(root)
            return type("Installed", (), {"version": "3.300.0"})

        monkeypatch.setattr(PulumiCommand, "install", install)
        assert get_pulumi.main() == 0
        assert asked == [str(target)]
        assert "pulumi v3.300.0 is installed" in capsys.readouterr().out

    @pytest.mark.parametrize(
        "error",
        [OSError("no route to host"), subprocess.CalledProcessError(1, ["install.sh"], b"curl: no route to host\n")],
    )
    def test_where_it_cannot_be_downloaded_it_says_what_to_do(
        self, target: Path, error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def install(root: str) -> Any:
            (Path(root) / "bin").mkdir(parents=True)
            (Path(root) / "bin" / "pulumi").touch()
            raise error

        monkeypatch.setattr(PulumiCommand, "install", install)
        assert get_pulumi.main() == 1
        told = capsys.readouterr().err
        assert "no route to host" in told
        assert told.count("  cure: ") == 2
        assert not target.exists()


class TestCheck:
    def run(self, monkeypatch: pytest.MonkeyPatch, *commands: tuple[str, list[str]]) -> int:
        monkeypatch.setattr(check, "checks", lambda *_: list(commands))
        return check.main([])

    def test_all_run_and_one_failure_fails(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        bad = ("bad", [sys.executable, "-c", "print('its words'); raise SystemExit(1)"])
        good = ("good", ["true"])
        assert self.run(monkeypatch, bad, good) == 1
        told = capsys.readouterr()
        assert "FAILED bad" in told.out
        assert "its words" in told.out
        assert "ok     good" in told.out
        assert "bad failed" in told.err
        assert self.run(monkeypatch, good) == 0

    def test_every_tool_of_the_house_is_in_it(self) -> None:
        names = [name for name, _ in check.checks(dict(os.environ), ["env.sh"])]
        assert names == ["lock file", "format", "lint", "walls", "shell", "schema", "types"]


class TestListeners:
    @pytest.fixture(params=["127.0.0.1", "0.0.0.0"])
    def port(self, request: pytest.FixtureRequest) -> Any:
        with socket.socket() as server:
            server.bind((request.param, 0))
            server.listen()
            yield server.getsockname()[1]

    def test_a_listener_is_found_and_named(self, port: int) -> None:
        assert listeners.taken(port)
        found = listeners.who(port)
        assert found.pid == os.getpid()
        assert "python" in str(found)

    def test_a_free_port_is_free_at_once_after_its_listener(self) -> None:
        with socket.socket() as server, socket.socket() as client:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
            server.bind(("127.0.0.1", 0))
            server.listen()
            port = server.getsockname()[1]
            client.connect(("127.0.0.1", port))
            server.accept()[0].close()  # leaves TIME_WAIT on the server's side
        assert not listeners.taken(port)
        assert listeners.who(port).pid is None
