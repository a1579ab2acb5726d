"""A server that is none: programs that write down how they were called, and a Docker that answers two questions."""

from __future__ import annotations

import json
import os
import socketserver
import sys
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from hostctl import apt_source, compose_program, packages, prerequisites, system_command

GO = b"\x7fELF" + bytes(200) + b"\x04\0\0\0S\0\0\0\x04\0\0\0Go\0\0" + bytes(300)
"""As a program in Go begins: nothing of it can be run."""

# What the package manager and its helpers are: they write down their arguments, and `installs` says what comes of it.
FAKE = """\
#!{python} -IS
import json, os, pathlib, shutil, sys
home = pathlib.Path({home!r})
name, arguments = pathlib.Path(sys.argv[0]).name, sys.argv[1:]
options = dict(word.split("=", 1) for word in arguments if word.startswith("Dir::"))
seen = {{"argv": [name, *arguments], "umask": os.umask(0o22), "env": dict(os.environ)}}
listed = pathlib.Path(options.get("Dir::Etc::SourceList", "/nowhere"))
if listed.exists():
    seen["sources"] = listed.read_text()
    seen["modes"] = sorted(oct(path.stat().st_mode & 0o777) for path in listed.parent.rglob("*"))
with open(home / "log", "a") as log:
    log.write(json.dumps(seen) + "\\n")
verb = next((word for word in arguments if word in ("update", "policy", "install", "list")), "")
answers = home / "answers" / f"{{name}}-{{verb or 'run'}}"
number = 1
while (answers / f"{{number}}.done").exists():
    number += 1
now = answers / str(number)
if now.exists():  # its answers one after the other, then nothing special
    now.rename(answers / f"{{number}}.done")
    code, text = json.loads((answers / f"{{number}}.done").read_text())
    print(text)
    sys.exit(code)
if verb == "policy":
    for package in arguments:
        if not package.startswith(("-", "Dir::")) and package != "policy":
            there = (home / "packages" / package).exists()
            print(f"{{package}}:\\n  Installed: (none)\\n  Candidate: {{'1.0' if there else '(none)'}}\\n  Version:")
if verb == "list":
    sys.exit(not (home / "packages" / arguments[-1]).exists())
if verb == "install":
    for package in arguments[arguments.index("install") + 1:]:
        for file in (home / "packages" / package).glob("*"):
            shutil.copy(file, home / ("plugins/docker-compose" if file.name == "plugin" else f"bin/{{file.name}}"))
if name in ("service", "systemctl"):
    os.symlink(home / "sleeping.sock", home / "docker.sock")
"""


class Machine:
    """The server; everything of it lies in one folder, and hostctl looks there for all that it looks for."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home, self.bin, self.monkeypatch = home, home / "bin", monkeypatch
        for name in ("bin", "packages", "answers", "plugins", "tmp", "local"):
            (home / name).mkdir()
        self.socket = home / "docker.sock"
        self.shim = home / "local" / "docker-compose"
        self.keyring = home / "keyring.gpg"
        self.keyring.touch()
        self.served: list[socketserver.BaseServer] = []
        path = f"{self.bin}:{self.shim.parent}"
        for module in (packages, system_command):
            monkeypatch.setattr(module, "SYSTEM_PATH", str(self.bin))
        monkeypatch.setattr(prerequisites, "_DAEMON_PATH", str(self.bin))
        monkeypatch.setattr(prerequisites, "DOCKERS_FOLDER", str(home / "docker"))
        monkeypatch.setattr(compose_program, "SHIM", str(self.shim))
        monkeypatch.setattr(compose_program, "PLUGIN_FOLDERS", (str(home / "plugins"),))
        monkeypatch.setattr(packages, "SYSTEMD", str(home / "systemd"))
        monkeypatch.setattr(apt_source, "OS_RELEASE", str(home / "os-release"))
        monkeypatch.setattr(apt_source, "KEYRINGS", {"debian": str(self.keyring), "ubuntu": str(self.keyring)})
        monkeypatch.setattr(apt_source, "_PAUSE_SECONDS", 0.01)
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        monkeypatch.setattr("tempfile.tempdir", str(home / "tmp"))
        monkeypatch.setenv("PATH", path)
        monkeypatch.setenv("HOME", str(home))
        monkeypatch.setenv("DOCKER_HOST", f"unix://{self.socket}")
        self.os_release("debian", "bookworm")

    def os_release(self, kind: str, codename: str, name: str = "This System") -> None:
        text = f'ID={kind}\nVERSION_CODENAME={codename}\nPRETTY_NAME="{name}"\n'
        (self.home / "os-release").write_text(text)

    # -- programs -----------------------------------------------------------------------------------------------------

    def program(self, name: str, content: str | bytes = "", folder: Path | None = None) -> Path:
        """A program of this content; one that writes down how it is called, without."""
        fake = FAKE.format(python=sys.executable, home=str(self.home))
        data = content if isinstance(content, bytes) else (content or fake).encode()
        path = (folder or self.bin) / name
        path.write_bytes(data)
        path.chmod(0o755)
        return path

    def package(self, name: str, *programs: str) -> None:
        """A package that can be had, and the programs that it brings."""
        (self.home / "packages" / name).mkdir()
        for program in programs:
            self.program(program, folder=self.home / "packages" / name)

    def answers(self, program: str, verb: str, *answers: tuple[int, str]) -> None:
        """What a program says (and its exit code) the first times that it is called with a verb."""
        folder = self.home / "answers" / f"{program}-{verb}"
        folder.mkdir()
        for number, answer in enumerate(answers, 1):
            (folder / str(number)).write_text(json.dumps(answer))

    def seen(self) -> list[dict[str, Any]]:
        """Every call of a program, in order."""
        log = self.home / "log"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def calls(self) -> list[str]:
        """The same in words, without apt's options."""
        return [
            " ".join(word for word in one["argv"] if not word.startswith("-") and "::" not in word)
            for one in self.seen()
        ]

    def left_behind(self) -> list[str]:
        return sorted(path.name for path in (self.home / "tmp").iterdir())

    # -- Docker -------------------------------------------------------------------------------------------------------

    def docker(self, version: str = "24.0.7", asleep: bool = False, answer: bytes | None = None) -> None:
        """A daemon that answers; one that is `asleep` does once somebody starts it."""
        self.program("dockerd")
        self.program("docker", "#!/bin/sh\nexit 1\n")
        known = {"/version": {"Version": version}, "/info": {"DockerRootDir": str(self.home / "docker")}}

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                data = answer if answer is not None else json.dumps(known[self.path]).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def address_string(self) -> str:
                return "socket"

            def log_message(self, format: str, *args: Any) -> None: ...

        path = self.home / "sleeping.sock" if asleep else self.socket
        server = socketserver.ThreadingUnixStreamServer(str(path), Handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
        self.served.append(server)

    def close(self) -> None:
        for server in self.served:
            server.shutdown()
            server.server_close()
