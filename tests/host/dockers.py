"""Docker daemons and registries of a test's own, a few seconds each, and a server that has one of them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hostctl import pack
from hostctl.layout import Layout, write_json
from plan.render import host_definition
from tests import packages
from tests.plan.stacks import plan_of
from tests.ports import free_ports

ROOT = Path(__file__).parents[2]
MB = 1_000_000
USER, PASSWORD = "puller", "s3cret-passw0rd!"
_HTPASSWD = f"{USER}:$2y$05$abcdefghijklmnopqrstuu3ymH6IuaoylTfPdXW4DItoAAiTJSjM2\n"


def need_docker() -> None:
    """Debian's packages; installed when we may, else the tests don't run and say why."""
    if os.geteuid() != 0:
        pytest.skip("a Docker daemon of one's own takes root")
    if reason := packages.ensure(packages.REGISTRY):
        pytest.skip(reason)


class Daemon:
    """A dockerd without a network of its own: it keeps images and makes containers, which is all that is asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.data = folder / "data"
        self.host = f"unix://{folder}/sock"
        self.env = os.environ | {"DOCKER_HOST": self.host, "DOCKER_BUILDKIT": "0", "HOME": str(folder)}
        self.env.pop("DOCKER_CONTEXT", None)
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *("dockerd", "--data-root", self.data, "--exec-root", folder / "exec", "-p", folder / "pid"),
                    *("-H", self.host, "--bridge=none", "--iptables=false"),
                ],
                stdout=log,
                stderr=log,
                env=os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin"},
            )
        end = time.monotonic() + 60
        while self("version", code=None).returncode:
            assert self.process.poll() is None, (folder / "log").read_text()[-2000:]
            assert time.monotonic() < end, (folder / "log").read_text()[-2000:]
            time.sleep(0.2)

    def __call__(self, *words: str, code: int | None = 0, given: bytes = b"") -> subprocess.CompletedProcess[str]:
        """Docker's client on this daemon."""
        done = subprocess.run(
            ["docker", *words], env=self.env, input=given, capture_output=True, timeout=60, check=False
        )
        out, err = (text.decode("utf-8", "replace") for text in (done.stdout, done.stderr))
        assert code is None or done.returncode == code, f"docker {words}: {out}{err}"
        return subprocess.CompletedProcess(done.args, done.returncode, out, err)

    def make(self, name: str, *files: bytes, more: str = "") -> str:
        """An image with a layer for each file; its id."""
        context = self.folder / "context"
        context.mkdir(exist_ok=True)
        for index, content in enumerate(files):
            (context / f"file{index}").write_bytes(content)
        copies = "".join(f"COPY file{index} /file{index}\n" for index in range(len(files)))
        (context / "Dockerfile").write_text(f"FROM scratch\n{copies}{more}\n")
        self("build", "-q", "-t", name, str(context))
        return self.id(name)

    def id(self, name: str) -> str:
        """An image's id, empty when it isn't here."""
        return self("image", "inspect", "-f", "{{.Id}}", name, code=None).stdout.strip()

    def images(self) -> list[str]:
        """Every image, with a name or without."""
        return self("images", "-aq", "--no-trunc").stdout.split()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)


class Registry:
    """Debian's docker-registry on a port of its own; with a login where it is told so."""

    def __init__(self, folder: Path, login: bool) -> None:
        folder.mkdir()
        (self.port,) = free_ports(1)
        self.name = f"127.0.0.1:{self.port}"
        auth = ""
        if login:
            (folder / "htpasswd").write_text(_HTPASSWD)
            auth = f"auth: {{htpasswd: {{realm: test, path: {folder}/htpasswd}}}}\n"
        (folder / "config.yml").write_text(
            f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {folder}/data}}}}\n"
            f"http: {{addr: {self.name}}}\nlog: {{level: error}}\n{auth}"
        )
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(["docker-registry", "serve", folder / "config.yml"], stdout=log, stderr=log)
        end = time.monotonic() + 30
        while not self._answers():
            assert self.process.poll() is None, (folder / "log").read_text()[-2000:]
            assert time.monotonic() < end
            time.sleep(0.1)

    def _answers(self) -> bool:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            opener.open(f"http://{self.name}/v2/", timeout=5).close()
        except urllib.error.HTTPError as error:
            with error:
                return error.code == 401
        except OSError:
            return False
        return True

    def put(self, daemon: Daemon, local: str, path: str) -> str:
        """Pushes an image under a path with a tag; its digest there."""
        name = f"{self.name}/{path}"
        daemon("tag", local, name)
        daemon("login", self.name, "-u", USER, "--password-stdin", given=PASSWORD.encode(), code=None)
        said = daemon("push", name).stdout
        daemon("rmi", name)
        return next(word for word in said.split() if word.startswith("sha256:") and len(word) == 71)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)


class Server:
    """A daemon, an sshd whose sessions reach it, and hostctl in a ROOT of its own."""

    def __init__(self, folder: Path, daemon: Daemon) -> None:
        self.folder, self.docker, self.root = folder, daemon, folder / "root"
        folder.mkdir()
        for key in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", folder / key], check=True)
        shutil.copy(folder / "user.pub", folder / "authorized")
        (self.port,) = free_ports(1)
        (folder / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\n"
            f"AuthorizedKeysFile {folder}/authorized\nPidFile none\nStrictModes no\nUsePAM no\n"
            f"PasswordAuthentication no\nSetEnv DOCKER_HOST={daemon.host} HOME={folder}\n"
        )
        Path("/run/sshd").mkdir(exist_ok=True)
        self.sshd = subprocess.Popen(["/usr/sbin/sshd", "-D", "-f", folder / "sshd_config", "-E", folder / "sshd.log"])
        self.agent = subprocess.Popen(
            ["ssh-agent", "-D", "-a", str(folder / "agent")], stdout=subprocess.DEVNULL, start_new_session=True
        )
        end = time.monotonic() + 30
        while not (folder / "agent").exists():
            assert time.monotonic() < end
            time.sleep(0.05)
        self.ssh_env = {"SSH_AUTH_SOCK": str(folder / "agent")}
        subprocess.run(["ssh-add", "-q", folder / "user"], env=os.environ | self.ssh_env, check=True)
        self._converge()

    def _converge(self) -> None:
        """As `hostctl host` leaves it, without the services' network, which needs more than this daemon has."""
        layout = Layout(str(self.root))
        layout.make()
        (self.root / "lib/hostctl.pyz").write_bytes(pack.pack())
        wrapper = self.root / "bin/hostctl"
        wrapper.write_text(
            f'#!/bin/sh\nset -e\nexec {sys.executable} {self.root}/lib/hostctl.pyz --root {self.root} "$@"\n'
        )
        wrapper.chmod(0o755)
        record = {
            "base": str(self.root),
            "definition": host_definition(plan_of("tencent")),
            "generation": 1,
            "label": "",
        }
        write_json(layout.host, record)

    def hostctl(self, *words: str, given: Any = None, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """A verb, with JSON on its stdin."""
        text = "" if given is None else json.dumps(given)
        env = os.environ | {"DOCKER_HOST": self.docker.host, "HOME": str(self.folder)}
        command = [str(self.root / "bin/hostctl"), *words]
        done = subprocess.run(command, input=text, env=env, capture_output=True, text=True, timeout=90, check=False)
        assert code is None or done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def answer(self, *words: str, given: Any = None) -> dict[str, Any]:
        """A verb's result."""
        return json.loads(self.hostctl(*words, given=given).stdout.splitlines()[-1])

    def record(self, name: str) -> dict[str, Any]:
        return json.loads((self.root / f"state/images/{name}.json").read_text())

    def address(self) -> dict[str, Any]:
        """The server as imagetool is told of it."""
        return {
            "address": "127.0.0.1",
            "port": self.port,
            "user": "root",
            "host_key": (self.folder / "host.pub").read_text().strip(),
            "hostctl": f"{self.root}/bin/hostctl",
        }

    def clear(self) -> None:
        """No container, no image, no record."""
        for container in self.docker("ps", "-aq").stdout.split():
            self.docker("rm", "-f", container)
        for image in dict.fromkeys(self.docker.images()):
            self.docker("rmi", "-f", image, code=None)
        shutil.rmtree(self.root / "state/images", ignore_errors=True)
        for file in (self.root / "secrets").iterdir():
            file.unlink()

    def stop(self) -> None:
        for process in (self.sshd, self.agent):
            process.send_signal(signal.SIGTERM)
            process.wait(30)


@contextlib.contextmanager
def stopped(*things: Any) -> Iterator[None]:
    """All of them end, whatever happens."""
    try:
        yield
    finally:
        for thing in things:
            thing.stop()


@contextlib.contextmanager
def two_machines(folder: Path) -> Iterator[tuple[Daemon, Server]]:
    """This machine's Docker, and a server with another one."""
    need_docker()
    here = Daemon(folder / "here")
    with stopped(here):
        there = Daemon(folder / "there")
        with stopped(there):
            server = Server(folder / "server", there)
            with stopped(server):
                yield here, server
