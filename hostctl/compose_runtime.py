"""The runtime `compose`: each service is a container of the documented compose file (P7, D5)."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple, cast

from hostctl import compose_files, compose_ports
from hostctl.compose_command import Compose
from hostctl.compose_containers import Containers, Seen, stack_of
from hostctl.compose_files import STACK
from hostctl.compose_outcome import outcome_of, reasons_of
from hostctl.compose_rolling import Change, Rolling
from hostctl.console import say
from hostctl.docker_api import DockerApi, DockerMissing
from hostctl.edge import EDGE, FILE, Edge, is_edge
from hostctl.errors import HostctlError
from hostctl.forms import Behind, ComposeSpec, HostDefinition, ServiceDefinition
from hostctl.generations import Store
from hostctl.layout import Layout, file_identity, read_json, read_text, remove, write_atomic, write_json
from hostctl.lock import HostLock
from hostctl.runtime import (
    FAILED,
    OLDER_SECRETS,
    OTHER_SETTINGS,
    RESTARTED,
    STARTED,
    Outcome,
    Process,
    Target,
)


class ComposeRuntime:
    """Implements `hostctl.runtime.Runtime`."""

    def __init__(
        self,
        layout: Layout,
        lock: Optional[HostLock] = None,
        api: Optional[DockerApi] = None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._layout, self._lock, self._stopped = layout, lock, stopped
        self._api = api or DockerApi()
        self._store = Store(layout)

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
        return problems

    def files_problem(self, texts: Mapping[str, str]) -> Optional[str]:
        """Whether compose and the edge would read their files; what is in place already was read before."""
        return self._compose_problem(texts) or self._edge_problem(texts)

    def _edge_problem(self, texts: Mapping[str, str]) -> Optional[str]:
        text = texts.get(FILE, "")
        if not text or text == read_text(self._layout.root / FILE):
            return None
        block = compose_files.block_of(texts.get(self._spec()["file"], ""), EDGE)
        return self._edge().problem(text, block)

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
        """One run of compose for all that was asked for."""
        containers = self._containers()
        found = containers.remove(unwanted)
        # What gets its name back, and runs again, may want the port that the edge has had for ours.
        if not wanted or any(target.undone for target in unwanted):
            self._let_go(unwanted)
        found.update(containers.give_back([target for target in unwanted if target.name not in found]))
        outcomes = {name: Outcome(FAILED, reason) for name, reason in found.items()}
        if not wanted:  # whatever is wrong with the network: to be gone needs none
            return outcomes
        try:
            outcomes.update(self._bring_up(wanted, host)[0])
        except HostctlError as error:  # no reason to doubt what was removed
            outcomes.update({target.name: Outcome(FAILED, str(error)) for target in wanted})
        return outcomes

    def _let_go(self, unwanted: Sequence[Target]) -> None:
        """The edge stops listening for those that are gone; what it can't load now it loads with the next change."""
        edge = self._edge()
        if edge.services() & {target.name for target in unwanted}:
            trouble = edge.load()
            if trouble:
                say("warning: " + trouble)

    def rolls(self, definition: ServiceDefinition) -> bool:
        """Whether a container serves, beside which the new one is to prove itself."""
        now = self._containers().current(definition["name"])
        if now is None or now.state != "running" or now.digest == definition["digest"]:
            return False
        return is_edge(definition) or self._rolling().rolls(definition, now)

    def restart(self, targets: Sequence[Target]) -> Dict[str, Outcome]:
        """Recreates what compose would recreate (secrets changed), and starts the others again."""
        containers = self._containers()
        before = {target.name: containers.current(target.name) for target in targets}
        try:
            outcomes, reason = self._bring_up(targets, self._host(), anew=True)
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

    def _bring_up(
        self, wanted: Sequence[Target], host: HostDefinition, anew: bool = False
    ) -> Tuple[Dict[str, Outcome], str]:
        """What became of each, and compose's reason when it failed for any of them.

        With `anew`, what could be changed without a loss is made anew in any case.
        """
        self.start(host)
        changes = self._changes(wanted, anew)
        plain = [target for target in wanted if target.name not in changes]
        edge = self._edge()
        trouble = ""
        if edge.services() & {one.name for one in plain if self._behind(one.name) is None and one.name != EDGE}:
            trouble = edge.load()  # it lets go of ports that the services publish themselves from now on
        outcomes, reason = self._by_compose(plain)
        trouble = self._lead_edge(outcomes, changes) or trouble
        for name, change in changes.items():
            outcomes[name] = Outcome(FAILED, trouble) if trouble else self._roll(change)
        for target in plain:
            if trouble and self._behind(target.name) is not None and outcomes[target.name].what != FAILED:
                outcomes[target.name] = Outcome(FAILED, trouble)
        for target in wanted:
            self._containers().call(target.name)
        return outcomes, reason

    def _changes(self, wanted: Sequence[Target], anew: bool) -> Dict[str, Change]:
        """Those that are changed beside what serves; what killed runs have left of any is taken away first."""
        rolling = self._rolling()
        found: Dict[str, Change] = {}
        for target in wanted:
            definition = self._store.now(target.name)
            if definition is None or not (definition["edge"] or is_edge(definition)):
                continue
            digest = definition["digest"]
            serving = rolling.tidy(
                target.name, definition["edge"], target.grace_seconds, lambda one, digest=digest: one.digest == digest
            )
            if serving is None or not (anew or self._differs(target.name, digest, serving)):
                continue
            if is_edge(definition) or rolling.rolls(definition, serving):
                found[target.name] = Change(target.name, definition, target.grace_seconds, serving)
        return found

    def _lead_edge(self, outcomes: Dict[str, Outcome], changes: Dict[str, Change]) -> str:
        """The edge itself, and its configuration, before what it forwards to changes; "" or what is wrong."""
        edge, change = self._edge(), changes.pop(EDGE, None)
        if change is not None:
            outcomes[EDGE] = done = self._roll(change)
            return done.detail if done.what == FAILED else edge.load()
        if EDGE in outcomes and outcomes[EDGE].what in (STARTED, RESTARTED):
            return edge.await_started()
        return edge.load()

    def _roll(self, change: Change) -> Outcome:
        image = change.definition["launch"]["image"]
        if self._api.image(image) is None:  # compose would pull it
            return Outcome(FAILED, "its image %s is not on this host" % image)
        try:
            rolling = self._rolling()
            outcome = rolling.swap(change) if is_edge(change.definition) else rolling.roll(change)
        except HostctlError as error:
            return Outcome(FAILED, str(error))
        now = self._containers().current(change.name)
        if outcome.what != FAILED and now is not None:
            self._note(change.name, now, read_text(self._layout.root / self._spec()["file"]) or "")
        return outcome

    def _by_compose(self, wanted: Sequence[Target]) -> Tuple[Dict[str, Outcome], str]:
        """One run of compose for all of them."""
        containers = self._containers()
        spec = self._spec()
        text = read_text(self._layout.root / spec["file"]) or ""
        outcomes: Dict[str, Outcome] = {}
        before: Dict[str, Optional[Seen]] = {}
        for target in wanted:
            try:
                self._make_ready(containers, target.name, compose_files.block_of(text, target.name))
                before[target.name] = containers.current(target.name)
            except HostctlError as error:
                outcomes[target.name] = Outcome(FAILED, str(error))
        reason = self._compose().up(spec["file"], list(before)) if before else ""
        for target in wanted:
            if target.name not in before:
                continue
            old, now = before[target.name], containers.current(target.name)
            outcomes[target.name] = outcome_of(target, old, now, reason)
            # What compose left alone has the secrets that there are: it compared them. When it failed, nobody knows.
            if now is not None and (not reason or old is None or old.id != now.id):
                self._note(target.name, now, text)
        return outcomes, reason

    def _make_ready(self, containers: Containers, name: str, block: str) -> None:
        """Before compose: what it would pull, or stumble over."""
        image = compose_files.image_of(block)
        if image and self._api.image(image) is None:
            raise HostctlError("its image %s is not on this host" % image)
        containers.tidy(name)
        if name == EDGE:
            self._edge().make_ready()
        if compose_files.has_documented_name(block, name):
            containers.aside.make_way(name)

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
        containers = self._containers()
        try:
            found = {name: containers.current(name) for name in containers.names()}
        except DockerMissing:
            return None
        return {name: one.process() for name, one in found.items() if one is not None}

    def process(self, name: str) -> Optional[Process]:
        """One service's container."""
        found = self._containers().current(name)
        return None if found is None else found.process()

    def strangers(self, wanted: Mapping[str, ServiceDefinition], leaving: Sequence[str]) -> Dict[str, List[str]]:
        """Who holds a port that a service wants: another container, or a process of the host."""
        known = compose_ports.Known(self._stack(), self._edge().pids())
        return compose_ports.strangers(wanted, leaving, self._api.containers(), known, self._spec()["file"])

    def differs(self, name: str, digest: str, process: Process) -> str:
        """Compares the container's label, and the secrets that it was made with."""
        now = self._containers().current(name)
        if now is None:
            return OTHER_SETTINGS
        return self._differs(name, digest, now) or (self._edge().differs() if name == EDGE else "")

    def misnamed(self, name: str) -> str:
        """By its container's label; compose itself sees to a fixed name."""
        return self._containers().misnamed(name)

    def _differs(self, name: str, digest: str, now: Seen) -> str:
        if now.digest != digest:
            return OTHER_SETTINGS
        known = self._noted(name)
        if known is None or known["container"] != now.id:
            return ""  # made by hand: with the files that are there
        current = {owner: file_identity(self._layout, owner) for owner in known["secrets"]}
        return "" if current == known["secrets"] else OLDER_SECRETS

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
        newest = self._containers().newest(name)
        since = mark[0] if mark else 0
        return [] if newest is None else self._api.logs(newest.id, lines, since)

    def _note(self, name: str, now: Seen, text: str) -> None:
        """Writes down which secrets a container has."""
        owners = compose_files.secret_owners(compose_files.block_of(text, name))
        secrets = {owner: file_identity(self._layout, owner) for owner in owners}
        entry = {"container": now.id, "secrets": secrets}
        if self._noted(name) != entry:
            write_json(self._layout.running / (name + ".json"), entry, durable=False)

    def _noted(self, name: str) -> Optional[Dict[str, Any]]:
        return cast("Optional[Dict[str, Any]]", read_json(self._layout.running / (name + ".json")))

    def _host(self) -> HostDefinition:
        record = read_json(self._layout.host)
        if record is None:
            raise HostctlError("nothing was converged in %s yet" % self._layout.root)
        return cast(HostDefinition, record["definition"])

    def _spec(self) -> ComposeSpec:
        spec = self._host()["compose"]
        assert spec is not None
        return spec

    def _stack(self) -> str:
        return self._host()["name"]

    def _containers(self) -> Containers:
        return Containers(self._layout, self._api, self._stack())

    def _behind(self, name: str) -> Optional[Behind]:
        definition = self._store.now(name)
        return None if definition is None else definition["edge"]

    def _edge(self) -> Edge:
        return Edge(self._layout, self._api, self._containers())

    def _rolling(self) -> Rolling:
        return Rolling(self._containers(), self._edge(), self._compose(), self._spec()["file"], self._stopped)

    def _compose(self) -> Compose:
        return Compose(self._layout.root, self._layout.run, self._lock.descriptor if self._lock else None)
