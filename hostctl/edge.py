"""The edge: HAProxy, which has the documented ports and forwards to the services.

It runs in the host's own network. Its configuration is an assembled file like the others (P7); it is read before it
is put in place, and loaded: HAProxy hands the listening sockets from worker to worker, and the former one finishes what
it has begun, for as long as `edge.timeout` allows.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import time
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Set

from hostctl import compose_files
from hostctl.compose_containers import Containers, Seen
from hostctl.console import say, say_once
from hostctl.docker_api import DockerApi, DockerRefused, client_environment
from hostctl.edge_socket import EdgeSilent, EdgeSocket, until
from hostctl.errors import HostctlError
from hostctl.forms import ServiceDefinition
from hostctl.layout import Layout, make_folder, read_json, read_text, remove, write_json

EDGE = "edge"
FILE, SOCKET = "edge/haproxy.cfg", "run/edge/stats.sock"
_CERTIFICATES = ":/tls:ro"
START_SECONDS, RELOAD_SECONDS, CHECK_SECONDS = 15.0, 15.0, 60.0
SILENT_SECONDS = 3.0
MASTER_AND_WORKER, MOST_PROCESSES, CALM_SECONDS = 2, 4, 10.0
"""The master, the worker, and workers before it that finish what they have begun: each has some 3 MB of its limit."""
LONGEST_REASON = 600
_DOCKERS_OWN = (125, 126, 127)
"""Exit codes of `docker run` itself, where HAProxy did not come to say anything."""
# HAProxy's own words, without the process' and the file's name.
_WORD = re.compile(
    r"^\[(?:ALERT|WARNING|NOTICE)\]\s*\(\d+\)\s*:\s*(?:config\s*:\s*)?(?:parsing \[\S+?:(\d+)\]\s*:\s*)?"
)
_HARMLESS = ("Fatal errors found", "Error(s) found in configuration", "haproxy version is", "path to executable is")


class Loaded(NamedTuple):
    """Which configuration the edge has: of which container, since which start, and the digest of the text."""

    container: str
    started: str
    text: str


class Edge:
    """One host's edge, where it has one."""

    def __init__(self, layout: Layout, api: DockerApi, containers: Containers) -> None:
        self._layout, self._api, self._containers = layout, api, containers
        self.socket = EdgeSocket(layout.root / SOCKET)

    def running(self) -> Optional[Seen]:
        """Its container, while it runs."""
        now = self._containers.current(EDGE)
        return now if now is not None and now.state == "running" else None

    def services(self) -> Set[str]:
        """Those that it forwards to now; none while it doesn't run, or doesn't say."""
        try:
            return set(self.socket.slots()) if self.running() is not None else set()
        except EdgeSilent:
            return set()

    def pids(self) -> Set[int]:
        """Its processes, as the host counts."""
        now = self.running()
        if now is None:
            return set()
        try:
            table = self._api.get("/containers/%s/top" % now.id, ps_args="-o pid")
        except DockerRefused:  # ended this moment
            return set()
        return {int(row[0]) for row in table["Processes"]}

    def make_ready(self) -> None:
        """What must be there before its container is. Raises HostctlError where the disk is full, say."""
        try:
            self._layout.run.mkdir(mode=0o700, exist_ok=True)
            for folder, mode in ((self.socket.path.parent, 0o700), ((self._layout.root / FILE).parent, 0o755)):
                make_folder(folder, mode)
        except OSError as error:
            raise HostctlError("the edge's folders can't be made: %s: %s" % (error.filename, error.strerror)) from None

    def problem(self, text: str, block: str) -> Optional[str]:
        """Why the edge of this compose block would not take a configuration, or None: HAProxy reads it, apart.

        An image that isn't here can't be asked: its own service's check says so.
        """
        image = compose_files.image_of(block)
        if not image or self._api.image(image) is None:
            return None
        argv = ["docker", "run", "--rm", "-i", "--pull", "never", "--network", "none", "--user", "0:0", "--read-only"]
        argv += ["--cap-drop", "ALL", "--entrypoint", "haproxy", *_mount(block), image, "-c", "-f", "/dev/stdin"]
        try:
            done = subprocess.run(
                argv,
                input=text.encode("utf-8", "surrogateescape"),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=client_environment(),
                timeout=CHECK_SECONDS,
                # A session of its own: Ctrl-C ends hostctl where it can stop cleanly, not the program under it.
                start_new_session=True,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return "the edge's configuration can't be checked: Docker did not do it within %g s" % CHECK_SECONDS
        except OSError as error:
            return "the edge's configuration can't be checked: docker: %s" % (error.strerror or error)
        if done.returncode == 0:
            return None
        said = done.stdout.decode("utf-8", "replace").splitlines()
        if done.returncode in _DOCKERS_OWN:
            words = " ".join(" ".join(line for line in said if "--help" not in line).split())[:LONGEST_REASON]
            return "the edge's configuration can't be checked: %s" % (words or "exit code %d" % done.returncode)
        return "the edge would not take %s: %s" % (FILE, reason_of(said) or "exit code %d" % done.returncode)

    def await_started(self) -> str:
        """Waits for a container that was just started with the file in place; "" or what is wrong."""
        text, since = self._digest(), int(time.time())
        answers = until(lambda: self.socket.worker() != 0, START_SECONDS)
        now = self.running()
        if not answers or now is None:
            trouble = "the edge ended" if now is None else "the edge does not answer on its socket"
            found = self._containers.current(EDGE)
            said = "" if found is None else self._said(found, since - int(START_SECONDS))
            return "%s: %s" % (trouble, said) if said else trouble
        self._note(Loaded(now.id, now.started, text))
        return ""

    def closed(self) -> Dict[str, Set[str]]:
        """Services, and which of their places get no requests, as it was told; none while it doesn't say."""
        try:
            return self.socket.closed() if self.running() is not None else {}
        except HostctlError:
            return {}

    def silent(self) -> bool:
        """Whether it runs, and for some seconds does not answer on its socket: nobody can tell it anything."""
        return self.running() is not None and not self._answers()

    def _answers(self) -> bool:
        return until(lambda: self.socket.worker() != 0, SILENT_SECONDS)

    def differs(self) -> str:
        """Whether it is silent, or runs with another configuration than the file ("" when all is well)."""
        now = self.running()
        if now is None:
            return ""
        if not self._answers():
            return "it runs, and does not answer on its socket"
        # A start by Docker itself reads the file that is there: only an older one of the same start is stale.
        stale = self._same_start(now) and self._noted() != self._wanted(now)
        return "it has not loaded %s as it is now" % FILE if stale else ""

    def loaded(self) -> bool:
        """Whether there is nothing to load: it has the file as it is, or it doesn't run."""
        now = self.running()
        return now is None or self._noted() == self._wanted(now)

    def calm(self, seconds: float) -> None:
        """Waits for workers that finish what they began: what is told to the edge from now on they don't hear.

        They would go on sending their clients' requests to a container that is about to be removed.
        """
        if len(self.pids()) <= MASTER_AND_WORKER:
            return
        say("waiting for requests that the edge took before it read its configuration again, %g s at most" % seconds)
        if not until(lambda: len(self.pids()) <= MASTER_AND_WORKER, seconds + CALM_SECONDS):
            say("warning: an older worker of the edge goes on; its requests may be lost")

    def load(self, always: bool = False) -> str:
        """Has it take the file as it is now, unless it has; "" or why it did not: the former one is in force then."""
        now = self.running()
        if now is None:
            return ""
        wanted = self._wanted(now)
        if not always:
            if not self._answers():
                return "the edge does not answer on its socket"
            if self._noted() == wanted:
                return ""
        until(lambda: len(self.pids()) <= MOST_PROCESSES, CALM_SECONDS)
        before, since = self.socket.worker(), int(time.time())
        # Until it has taken it, whoever is killed and whatever file is put back: nobody knows what it has.
        self._note(wanted._replace(text=""))
        try:
            self._api.post("/containers/%s/kill" % now.id, signal="SIGUSR2")
        except DockerRefused as error:  # ended this moment
            return "the edge can't be told to read its new configuration: %s" % error
        if not until(lambda: self.socket.worker() not in (0, before), RELOAD_SECONDS):
            said = self._said(now, since)
            return "the edge did not take its new configuration: %s" % (said or "it says nothing")
        self._note(wanted)
        return ""

    def _said(self, now: Seen, since: int) -> str:
        """HAProxy's reasons in its log since then; "" where it gives none, or Docker doesn't give its log."""
        try:
            return reason_of(self._api.logs(now.id, 20, since))
        except HostctlError:
            return ""

    def _same_start(self, now: Seen) -> bool:
        """Whether what is noted is of this start of this container."""
        noted = self._noted()
        return noted is not None and (noted.container, noted.started) == (now.id, now.started)

    def _wanted(self, now: Seen) -> Loaded:
        """What is noted of this start once it has the file as it is."""
        return Loaded(now.id, now.started, self._digest())

    def _digest(self) -> str:
        return hashlib.sha256(
            (read_text(self._layout.root / FILE) or "").encode("utf-8", "surrogateescape")
        ).hexdigest()

    def _note(self, loaded: Loaded) -> None:
        try:
            write_json(self._path(), loaded._asdict(), durable=False)
        except OSError as error:  # it has loaded it; the next run has it load it once more
            remove(self._path())
            say_once("%s: %s; which configuration the edge has is not written down" % (self._path(), error.strerror))

    def _noted(self) -> Optional[Loaded]:
        found: Optional[Dict[str, str]] = read_json(self._path())
        return None if found is None else Loaded(**found)

    def _path(self) -> Path:
        return self._layout.running / "edge.configuration.json"


def is_edge(definition: Optional[ServiceDefinition]) -> bool:
    """Whether a definition is the edge's own."""
    return definition is not None and definition["proxy"] is not None


def reason_of(lines: List[str]) -> str:
    """The reasons among what HAProxy printed, each once, on one line, with the line of the file."""
    reasons: List[str] = []
    for line in lines:
        match = _WORD.match(line)
        if match is None or line.startswith("[NOTICE]"):
            continue
        where = "line %s: " % match.group(1) if match.group(1) else ""
        text = where + " ".join(line[match.end() :].split())
        if not any(word in text for word in _HARMLESS) and text not in reasons:
            reasons.append(text)
    return "; ".join(reasons)[:LONGEST_REASON]


def _mount(block: str) -> List[str]:
    """The team's certificates, as the block mounts them."""
    for line in block.split("\n"):
        volume = line.strip().lstrip("- ").strip('"')
        if volume.endswith(_CERTIFICATES):
            source = volume[: -len(_CERTIFICATES)].replace("$$", "$")
            # Unlike --volume it never makes a folder that is missing; read as CSV, for a comma in the name.
            return ["--mount", 'type=bind,"source=%s",target=/tls,readonly' % source]
    return []
