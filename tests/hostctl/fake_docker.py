"""A Docker daemon in memory, and a compose that works on it: enough to see what the runtime does with both."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hostctl import compose_containers, compose_files
from hostctl.docker_api import DockerMissing, DockerRefused

BLOCK = re.compile(r"^  ([a-z0-9-]+):$", re.MULTILINE)
PAIR = re.compile(r'      - "([0-9.]+):(\d+)-(\d+):(\d+)"')
CONTAINER = re.compile(r"blockchain-dao\.container: (\S+)")
DIGEST = re.compile(r'blockchain-dao\.definition: "?([0-9a-f]+)')


class FakeDocker:
    """The calls of `DockerApi` that hostctl makes."""

    def __init__(self) -> None:
        self.path = "/dev/null"
        self.there: dict[str, dict[str, Any]] = {}
        self.networks: dict[str, dict[str, Any]] = {}
        self.images: dict[str, dict[str, Any]] = {}
        self.done: list[str] = []
        self.up = True
        self.refuses: set[str] = set()  # such as "start dao-service-1"
        self.killed_after = ""  # the same: the run ends there
        self.watch: Callable[[str], None] = lambda what: None  # sees every change, once it is made
        self._ids = (f"{number:064x}" for number in itertools.count(1))

    def add(self, name: str, labels: dict[str, str], state: str = "running", **more: Any) -> str:
        """A container as if somebody had made it."""
        id_ = next(self._ids)
        self.there[id_] = {
            "Id": id_,
            "Name": f"/{name}",
            "Created": more.pop("created", f"2026-11-25T00:00:{len(self.there):02d}Z"),
            "State": {"Status": state, "Running": state == "running", "Pid": int(id_, 16) if state == "running" else 0,
                      "StartedAt": f"started {id_[-2:]}", "ExitCode": 3, "OOMKilled": more.pop("oom", False)},
            "Config": {"Labels": labels, "Image": "x:1"},
            "HostConfig": {"Memory": 64_000_000,
                           "RestartPolicy": {"Name": more.pop("restart", ""), "MaximumRetryCount": 0}},
            "Ports": [{"Type": "tcp"} | port for port in more.pop("ports", [])],
            "Logs": [f"the log of {name}"],
            "NetworkSettings": {"Ports": {}},
            "Pair": more.pop("pair", ()),
        }  # fmt: skip
        if state == "running":
            self._publish(self.there[id_])
        return id_

    def _publish(self, one: dict[str, Any]) -> None:
        """Docker gives each container that starts a port of the range that nobody else has."""
        others = [other for other in self.there.values() if other is not one and other["State"]["Running"]]
        taken = {
            int(each["HostPort"])
            for other in others
            for ports in other["NetworkSettings"]["Ports"].values()
            for each in ports
        }
        had = one.get("Had", 0)
        # As Docker does: at each start another one of the range, where one is free.
        free = sorted((port for port in one["Pair"] if port not in taken), key=lambda port: (port == had, port))
        if one["Pair"]:
            one["Had"] = free[0]
            one["NetworkSettings"]["Ports"] = {"1/tcp": [{"HostIp": "172.28.84.1", "HostPort": str(free[0])}]}

    def ours(self, service: str, digest: str = "", **more: Any) -> str:
        name = more.pop("name", f"blockchain-services_{service}_1")
        labels = {
            compose_files.STACK: "tencent",
            compose_files.SERVICE: service,
            compose_files.DEFINITION: digest,
            "com.docker.compose.project.working_dir": more.pop("folder", "/x"),
        }
        if "documented" in more:
            labels[compose_files.CONTAINER] = more.pop("documented")
        if more.pop("oneoff", False):
            labels["com.docker.compose.oneoff"] = "True"
        return self.add(name, labels, **more)

    # --- the API ---

    def _require(self) -> None:
        if not self.up:
            raise DockerMissing(f"Docker doesn't answer on {self.path}: Connection refused")

    def get(self, path: str, **query: Any) -> Any:
        self._require()
        assert path == "/networks"
        return [{"Id": name} for name in self.networks]

    def containers(self, labels: dict[str, str] | None = None) -> list[dict[str, Any]]:
        self._require()
        wanted = (labels or {}).items()
        return [
            {"Id": one["Id"], "Names": [one["Name"]], "Labels": one["Config"]["Labels"], "Ports": one["Ports"]}
            for one in self.there.values()
            if wanted <= one["Config"]["Labels"].items()
        ]

    def inspect(self, container: str) -> dict[str, Any] | None:
        self._require()
        by_name = {one["Name"][1:]: one for one in self.there.values()}
        return self.there.get(container) or by_name.get(container)

    def image(self, name: str) -> dict[str, Any] | None:
        return self.images.get(name)

    def network(self, name: str) -> dict[str, Any] | None:
        return self.networks.get(name)

    def logs(self, container: str, lines: int, since: int = 0) -> list[str]:
        return self.there[container]["Logs"][-lines:]

    def post(self, path: str, body: Any = None, seconds: float = 0, **query: Any) -> Any:
        self._require()
        if path == "/networks/create":
            self.networks[body["Name"]] = {"Name": body["Name"], "IPAM": body["IPAM"], "Labels": body["Labels"]}
            return None
        _, _, id_, verb = path.split("/")
        if id_ not in self.there:
            raise DockerRefused(404, "no such container")
        one = self.there[id_]
        what = f"{verb} {one['Name'][1:]}"
        if what in self.refuses:
            raise DockerRefused(500, f"it won't {what}")
        self.done.append(what)
        if verb == "rename":
            if self.inspect(query["name"]) is not None:
                raise DockerRefused(409, "the name is in use")
            one["Name"] = f"/{query['name']}"
        elif verb == "update":
            one["HostConfig"]["RestartPolicy"] = {"MaximumRetryCount": 0} | body["RestartPolicy"]
        else:
            status = {"stop": "exited", "start": "running", "unpause": "running", "restart": "running"}[verb]
            one["State"].update(Status=status, Running=status == "running")
            if verb == "start":
                self._publish(one)
                one["State"]["Pid"] = one["State"]["Pid"] or 4000 + len(self.done)
            if verb == "restart":
                one["State"]["StartedAt"] += "+"
                self._publish(one)
        self._tell(what)
        return None

    def _tell(self, what: str) -> None:
        self.watch(what)
        if what == self.killed_after:
            self.killed_after = ""
            raise KeyboardInterrupt(what)  # no handler of ours may do anything useful after it

    def delete(self, path: str, **query: Any) -> None:
        self._require()
        kind, name = path.split("/")[1:]
        if kind == "networks":
            del self.networks[name]
        else:
            what = f"remove {self.there[name]['Name'][1:]}"
            if what in self.refuses:
                raise DockerRefused(500, f"it won't {what}")
            self.done.append(what)
            del self.there[name]
            self._tell(what)


class FakeCompose:
    """Recreates a container whose block has another digest; fails for those in `broken`."""

    def __init__(self, docker: FakeDocker, root: Path) -> None:
        self.docker, self.root = docker, root
        self.runs: list[list[str]] = []
        self.broken: dict[str, str] = {}
        self.silent = ""  # a failure that names nobody, before anything is done
        self.changed_secrets: set[str] = set()

    def up(self, file: str, names: list[str]) -> str:
        self.runs.append(list(names))
        if self.silent:
            return self.silent
        text = (self.root / file).read_text()
        said: list[str] = []
        for name in names:
            block = compose_files.block_of(text, name)
            found = DIGEST.search(block)
            assert found, f"{name} has no block"
            if name in self.broken:
                said.append(f"ERROR: for {name} {self.broken[name]}")
                continue
            self._converge(name, found.group(1), block)
        return "; ".join(said)

    def beside(self, file: str, name: str) -> str:
        self.runs.append([name, "beside"])
        if name in self.broken:
            return f"ERROR: for {name} {self.broken[name]}"
        self._make(name, compose_files.block_of((self.root / file).read_text(), name), "created")
        return ""

    def problem(self, file: str) -> str:
        return "yaml is broken" if "BROKEN" in (self.root / file).read_text() else ""

    def _make(self, name: str, block: str, state: str = "running") -> None:
        found, pair = DIGEST.search(block), PAIR.search(block)
        assert found
        ports = (int(pair.group(2)), int(pair.group(3))) if pair else ()
        # As compose counts: by what it wrote on its containers, however they are called by now.
        mine = self.docker.containers({compose_files.STACK: "tencent", compose_files.SERVICE: name})
        number = 1 + max((self.docker.there[one["Id"]].get("Number", 1) for one in mine), default=0)
        own = name if f"    container_name: {name}\n" in block else f"blockchain-services_{name}_{number}"
        label = CONTAINER.search(block)
        more = {"documented": label.group(1)} if label else {}
        made = self.docker.ours(name, found.group(1), name=own, pair=ports, state=state, restart="always", **more)
        self.docker.there[made]["Number"] = number

    def _converge(self, name: str, digest: str, block: str) -> None:
        labels = {compose_files.STACK: "tencent", compose_files.SERVICE: name}
        mine = [one for one in self.docker.containers(labels) if "com.docker.compose.oneoff" not in one["Labels"]]
        if mine:
            one = self.docker.there[mine[0]["Id"]]
            if one["Config"]["Labels"][compose_files.DEFINITION] == digest and name not in self.changed_secrets:
                if not one["State"]["Running"]:
                    self.docker.post(f"/containers/{one['Id']}/start")
                return
            del self.docker.there[one["Id"]]
        self.changed_secrets.discard(name)
        self._make(name, block)


__all__ = ["FakeCompose", "FakeDocker", "compose_containers"]
