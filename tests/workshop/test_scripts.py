"""The documented entry points (P8): thin, callable from anywhere, and clear when they can't go on."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.workshop.conftest import REAL, Project

SCRIPTS = sorted((REAL / "scripts").glob("*.sh"))


@pytest.fixture
def with_make(project: Project) -> Project:
    project.program("make", '#!/bin/sh\necho "make $* in $PWD"\nexit "${FAKE_EXIT:-0}"\n')
    return project


def call(project: Project, name: str, *arguments: str, stdin: str = "", **env: str) -> CompletedProcess[str]:
    return project.run(str(project.folder / "scripts" / name), *arguments, stdin=stdin, cwd=Path("/"), **env)


def test_the_documented_names_are_there() -> None:
    assert [path.name for path in SCRIPTS] == [
        "check-blockchain-service-standalone.sh",
        "deploy-blockchain-dao-environments.sh",
        "start-blockchain-service-standalone.sh",
        "stop-blockchain-service-standalone.sh",
    ]
    assert all(os.access(path, os.X_OK) for path in SCRIPTS)


@pytest.mark.parametrize(("name", "verb"), [("start", "up"), ("stop", "destroy")])
def test_start_and_stop(with_make: Project, name: str, verb: str) -> None:
    done = call(with_make, f"{name}-blockchain-service-standalone.sh")
    assert done.stdout == f"make --no-print-directory {verb} STACK=local in {with_make.folder}\n"
    assert call(with_make, f"{name}-blockchain-service-standalone.sh", FAKE_EXIT="2").returncode == 2


class TestCheck:
    NAME = "check-blockchain-service-standalone.sh"

    def hostctl(self, project: Project, **services: dict[str, object]) -> None:
        path = project.folder / ".local" / "bin" / "hostctl"
        path.parent.mkdir(parents=True, exist_ok=True)
        (project.folder / "answer").write_text(json.dumps({"services": services}))
        path.write_text(f"#!/bin/sh\n[ \"$*\" = 'status --json' ] && cat '{project.folder}/answer'\n")
        path.chmod(0o755)

    def service(self, port: int, **more: object) -> dict[str, object]:
        return {"state": "running", "pid": 12, "ports": [port], "healthy": True, "detail": "", **more}

    @pytest.fixture
    def port(self) -> Iterator[int]:
        """A service whose Redis is gone: alive, not ready."""

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = {
                    "ready": False,
                    "reasons": ["redis: refused"],
                    "databases": {"mysql": {"state": "used", "detail": "mysql 8"}},
                }
                self.send_response(503 if self.path == "/ready" else 404)
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            def log_message(self, format: str, *args: object) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield server.server_port
            server.shutdown()

    def test_health_and_the_databases_of_ready(self, installed: Project, port: int) -> None:
        self.hostctl(installed, **{"identity-service": self.service(port)})
        done = call(installed, self.NAME)
        assert done.stdout == f"identity-service  {port}  healthy  mysql used (mysql 8), not ready: redis: refused\n"
        assert done.returncode == 0, done.stderr

    def test_one_that_is_not_healthy(self, installed: Project, port: int) -> None:
        sick = self.service(1, state="fatal", detail="exit status 3", healthy=False)
        self.hostctl(installed, **{"identity-service": self.service(port), "x": sick})
        done = call(installed, self.NAME)
        assert done.returncode == 1
        assert "x                 1  NOT HEALTHY (fatal: exit status 3)" in done.stdout

    def test_nothing_runs(self, installed: Project) -> None:
        for _ in range(2):
            done = call(installed, self.NAME)
            assert done.returncode == 1
            assert "`make up`" in done.stderr
            self.hostctl(installed)


class TestDeploy:
    NAME = "deploy-blockchain-dao-environments.sh"

    @pytest.mark.parametrize(("choice", "stack"), [("1", "local"), ("2", "tencent"), ("3", "alibaba")])
    def test_a_choice_from_the_menu_or_the_command_line(self, with_make: Project, choice: str, stack: str) -> None:
        command = f"make --no-print-directory up STACK={stack} in {with_make.folder}\n"
        asked = call(with_make, self.NAME, stdin=f"{choice}\n")
        assert asked.stdout.endswith(command)
        assert "本地开发环境" in asked.stdout
        for argument in (choice, stack):
            assert call(with_make, self.NAME, argument).stdout == command

    @pytest.mark.parametrize("choice", ["0", "q"])
    def test_quitting(self, with_make: Project, choice: str) -> None:
        done = call(with_make, self.NAME, stdin=f"{choice}\n")
        assert done.returncode == 0
        assert "make " not in done.stdout.replace("make up", "")

    def test_no_input_ends_with_a_clear_message(self, with_make: Project) -> None:
        done = call(with_make, self.NAME)
        assert done.returncode == 2
        assert "没有输入 / no input" in done.stderr

    def test_a_wrong_choice_is_asked_again(self, with_make: Project) -> None:
        done = call(with_make, self.NAME, stdin="4\n\n2\n")
        assert done.returncode == 0
        assert "STACK=tencent" in done.stdout
        assert done.stderr.count("no such choice") == 2

    def test_three_wrong_choices_end_it(self, with_make: Project) -> None:
        done = call(with_make, self.NAME, stdin="4\nx\n$(touch hacked)\n1\n")
        assert done.returncode == 2
        assert "three wrong choices" in done.stderr
        assert "STACK=" not in done.stdout
        assert not (with_make.folder / "hacked").exists()

    def test_a_wrong_argument(self, with_make: Project) -> None:
        done = call(with_make, self.NAME, "9")
        assert done.returncode == 2
        assert "no such choice: 9" in done.stderr

    def test_makes_exit_code(self, with_make: Project) -> None:
        assert call(with_make, self.NAME, "1", FAKE_EXIT="2").returncode == 2
