"""The runtime `compose`: each service is a container of the documented compose file (P7, D5)."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence

from hostctl import compose_files, compose_ports, edge_certificates
from hostctl.compose_bringup import BringUp
from hostctl.compose_containers import Containers, stack_of
from hostctl.compose_files import STACK
from hostctl.compose_outcome import reasons_of
from hostctl.docker_api import DockerMissing
from hostctl.edge import EDGE, FILE, is_edge
from hostctl.errors import HostctlError
from hostctl.forms import HostDefinition, ServiceDefinition
from hostctl.layout import read_json, read_text, remove, write_atomic
from hostctl.runtime import (
    FAILED,
    OTHER_SETTINGS,
    RESTARTED,
    Outcome,
    Process,
    Target,
)


class ComposeRuntime(BringUp):
    """Implements `hostctl.runtime.Runtime`."""

    def host_problems(self, definition: HostDefinition) -> List[str]:
        """The file's top must be what the rest of this module relies on."""
        return compose_files.host_problems(definition)

    def host_programs(self, definition: HostDefinition) -> List[str]:
        """None: nothing of the host's own runs beside the services."""
        return []

    def service_problems(self, definition: ServiceDefinition) -> List[str]:
        """The block must be this service's, its image be here: compose would give up on all of a group for one."""
        problems = compose_files.service_problems(definition, self._spec(), self._stack())
        image = definition["launch"]["image"]
        if not problems and self._api.image(image) is None:
            problems.append("its image %s is not on this host" % image)
        return [*problems, *filter(None, [edge_certificates.problem(definition)])]

    def files_problem(self, texts: Mapping[str, str]) -> Optional[str]:
        """Whether compose and the edge would read their files; what is in place already was read before."""
        return self._compose_problem(texts) or self._edge_problem(texts)

    def _edge_problem(self, texts: Mapping[str, str]) -> Optional[str]:
        text = texts.get(FILE, "")
        if not text or text == read_text(self._layout.root / FILE):
            return None
        block = compose_files.block_of(texts.get(self._spec()["file"], ""), EDGE)
        return self.edge().problem(text, block)

    def _compose_problem(self, texts: Mapping[str, str]) -> Optional[str]:
        spec = self._spec()
        text = texts.get(spec["file"], "")
        if not compose_files.has_services(texts, spec) or text == read_text(self._layout.root / spec["file"]):
            return None
        trial = self._layout.root / (".%s.tmp-%d" % (spec["file"], os.getpid()))
        write_atomic(trial, text, 0o600, durable=False)
        try:
            return self._compose().problem(trial.name).replace(trial.name, spec["file"]) or None
        finally:
            remove(trial)

    def host_differs(self, host: HostDefinition) -> str:
        """The services' network must be there."""
        spec = host["compose"]
        if spec is None or self._api.network(spec["network"]) is not None:
            return ""
        return "the network %s is missing" % spec["network"]

    def start(self, host: HostDefinition, renew: bool = False) -> List[str]:
        """Docker itself is the system's; the services' network is ours."""
        spec = host["compose"]
        if spec is None:
            raise HostctlError("the host's definition has no compose")
        found = self._api.network(spec["network"])
        if found is not None:
            configs: List[Dict[str, str]] = found["IPAM"]["Config"] or []
            subnets = [config.get("Subnet", "") for config in configs]
            if spec["subnet"] not in subnets:
                message = "the network %s is %s here, and %s in the plan: destroy first, or write host.subnet so"
                raise HostctlError(message % (spec["network"], ", ".join(subnets), spec["subnet"]))
            return []
        body = {
            "Name": spec["network"],
            "CheckDuplicate": True,
            "Driver": "bridge",
            "IPAM": {"Driver": "default", "Config": [{"Subnet": spec["subnet"], "Gateway": spec["gateway"]}]},
            # As compose itself would have made it: typing `up` by hand takes it for its own (P7).
            "Labels": {
                "com.docker.compose.project": self._layout.root.name,
                "com.docker.compose.network": "default",
                STACK: host["name"],
            },
        }
        self._api.post("/networks/create", body)
        return ["network %s created" % spec["network"]]

    def converge(
        self, wanted: Sequence[Target], unwanted: Sequence[Target], host: HostDefinition
    ) -> Dict[str, Outcome]:
        """What is to go first; then what is wanted, each by a roll where that may be, the rest by compose at once."""
        containers = self.containers()
        found = containers.remove(unwanted)
        # What gets its name back, and runs again, may want the port that the edge has had for ours.
        if not wanted or any(target.undone for target in unwanted):
            self.let_go(unwanted)
        found.update(containers.give_back([target for target in unwanted if target.name not in found]))
        outcomes = {name: Outcome(FAILED, reason) for name, reason in found.items()}
        if not wanted:  # whatever is wrong with the network: to be gone needs none
            return outcomes
        try:
            self.start(host)
            outcomes.update(self.bring_up(wanted)[0])
        except HostctlError as error:  # no reason to doubt what was removed
            outcomes.update({target.name: Outcome(FAILED, str(error)) for target in wanted})
        return outcomes

    def rolls(self, definition: ServiceDefinition) -> bool:
        """Whether a container serves, beside which the new one is to prove itself."""
        now = self.containers().current(definition["name"])
        if now is None or now.state != "running" or now.digest == definition["digest"]:
            return False
        return is_edge(definition) or self._rolling().rolls(definition, now)

    def restart(self, targets: Sequence[Target]) -> Dict[str, Outcome]:
        """Makes anew what rolls, or what compose would recreate (secrets changed); starts the others again."""
        containers = self.containers()
        before = {target.name: containers.current(target.name) for target in targets}
        try:
            self.start(self._host())
            outcomes, reason = self.bring_up(targets, anew=True)
        except HostctlError as error:
            return {target.name: Outcome(FAILED, str(error)) for target in targets}
        # A reason that is nobody's own: compose may not have come to look at anyone's secrets.
        broken = reason if not any(reasons_of(target.name, reason) for target in targets) else ""
        for target in targets:
            old, now = before[target.name], containers.current(target.name)
            left_alone = old is not None and now is not None and (old.id, old.started) == (now.id, now.started)
            if now is not None and left_alone and outcomes[target.name].what != FAILED:
                outcomes[target.name] = Outcome(FAILED, broken) if broken else self._restart(target, now.id)
        return outcomes

    def _restart(self, target: Target, container: str) -> Outcome:
        seconds = int(target.grace_seconds) + 1
        try:
            self._api.post("/containers/%s/restart" % container, seconds=seconds + 60.0, t=seconds)
        except HostctlError as error:
            return Outcome(FAILED, str(error))
        return Outcome(RESTARTED)

    def stop_everything(self) -> None:
        """Removes all containers of this stack and its network; databases and other people's stay (D16, D20)."""
        record = read_json(self._layout.host)
        # Where nothing is on record, whoever may not ask Docker has started nothing there.
        if not os.access(self._api.path, os.F_OK if record else os.R_OK | os.W_OK):
            return
        stack = record["definition"]["name"] if record else stack_of(self._api, str(self._layout.root))
        if stack is not None:
            Containers(self._layout, self._api, stack).remove_all()

    def processes(self) -> Optional[Dict[str, Process]]:
        """Every service that has a container; None when Docker doesn't answer."""
        containers = self.containers()
        try:
            found = {name: containers.current(name) for name in containers.names()}
        except DockerMissing:
            return None
        return {name: one.process() for name, one in found.items() if one is not None}

    def process(self, name: str) -> Optional[Process]:
        """One service's container."""
        found = self.containers().current(name)
        return None if found is None else found.process()

    def strangers(self, wanted: Mapping[str, ServiceDefinition], leaving: Sequence[str]) -> Dict[str, List[str]]:
        """Who holds a port that a service wants: another container, or a process of the host."""
        known = compose_ports.Known(self._stack(), self.edge().pids())
        return compose_ports.strangers(wanted, leaving, self._api.containers(), known, self._spec()["file"])

    def differs(self, name: str, digest: str, process: Process) -> str:
        """Compares the container's label, and the secrets that it was made with."""
        now = self.containers().current(name)
        if now is None:
            return OTHER_SETTINGS
        return self._differs(name, digest, now) or (self.edge().differs() if name == EDGE else "")

    def misnamed(self, name: str) -> str:
        """By its container's label; compose itself sees to a fixed name."""
        return self.containers().misnamed(name)

    def leftover(self, name: str) -> str:
        """Whether there are two containers of it: compose would remove the newer one, whichever of them serves."""
        return self.containers().leftover(name)

    def own_data(self, definition: ServiceDefinition, folder: Path) -> None:
        """The service's folder belongs to the user that its image runs as, where that is a number."""
        image = self._api.image(definition["launch"]["image"])
        config: Dict[str, Any] = (image["Config"] if image else None) or {}
        number, _, group = str(config.get("User", "")).partition(":")
        if number.isdigit() and folder.stat().st_uid == 0 and number != "0":
            os.chown(str(folder), int(number), int(group) if group.isdigit() else -1)

    def log_mark(self, name: str) -> List[int]:
        """The time: a new container has a log of its own."""
        return [int(time.time())]

    def log_tail(self, name: str, lines: int, mark: Optional[List[int]] = None) -> List[str]:
        """The last lines of the newest container's log."""
        newest = self.containers().newest(name)
        since = mark[0] if mark else 0
        return [] if newest is None else self._api.logs(newest.id, lines, since)
