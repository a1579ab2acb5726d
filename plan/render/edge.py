"""The edge: its definition and its compose block, and what services behind it say of that."""

from __future__ import annotations

from hostctl.assemble import Part
from plan.catalog import EDGE, EDGE_GROUP
from plan.models import LOOPBACK, EdgePlan, EnvironmentPlan, ServicePlan
from plan.render import compose, haproxy, registration
from plan.render.haproxy import CERTIFICATES, FILE, SOCKET
from plan.render.parts import BLOCKS, SCHEMA, Definition, amounts, digest, part

SOCKETS = "run/edge"
READY = "/ready"
_HEALTH_SECONDS = 30
_STOP_MARGIN_SECONDS = 5


def edge_definition(plan: EnvironmentPlan, edge: EdgePlan) -> Definition:
    """The edge as hostctl gets it: a service of its own that takes its configuration from all services' parts."""
    judged: Definition = {
        "secrets": [],
        "health": {"url": f"http://{LOOPBACK}:{edge.port}/health", "timeout_seconds": _HEALTH_SECONDS},
        "stop": {"grace_seconds": _stop_seconds(edge)},
        "launch": {"image": edge.image, "bind": LOOPBACK, "env": {}, "resources": amounts(edge.resources)},
    }
    mark = digest(judged, _block(plan, edge, ""))
    parts = [
        part(plan.host.layout.compose_file, BLOCKS, _block(plan, edge, mark)),
        part(FILE, 0, haproxy.top(plan, edge)),
    ]
    if registration.scraped(plan):
        parts.append(part(registration.targets_file(plan), BLOCKS, registration.edge_targets(plan, edge)))
    return {
        "schema": SCHEMA,
        "kind": "service",
        "name": EDGE,
        "environment": plan.name,
        "runtime": plan.runtime,
        "digest": mark,
        **judged,
        "ports": [edge.port],
        "reload": [],
        "files": {FILE: {"mode": "0644"}},
        "proxy": {"file": FILE, "sockets": SOCKETS, "certificates": edge.certificates or ""},
        **registration.register_edge(plan),
        "parts": parts,
    }


def behind_edge(service: ServicePlan) -> Definition:
    """What hostctl is told of a service behind the edge: where, and how a new version takes over."""
    if service.behind is None:
        return {}
    return {
        "edge": {
            "address": service.behind.address,
            "ports": list(service.behind.ports),
            "update": "rolling" if service.behind.rolling else "recreate",
            "ready": READY,
            "settle_seconds": service.settle,
        }
    }


def sections(plan: EnvironmentPlan, service: ServicePlan) -> list[Part]:
    """A service's own section of haproxy.cfg; none where it isn't behind the edge."""
    return [part(FILE, BLOCKS, haproxy.section(plan, service))] if service.behind is not None else []


def _stop_seconds(edge: EdgePlan) -> int:
    """HAProxy ends by itself before Docker ends it."""
    return haproxy.last_seconds(edge) + _STOP_MARGIN_SECONDS


def _block(plan: EnvironmentPlan, edge: EdgePlan, mark: str) -> str:
    """Its entry in the compose file: in the host's own network, so that it binds the documented ports itself."""
    certificates = [f"      - {edge.certificates}:{CERTIFICATES}:ro"] if edge.certificates is not None else []
    # A successor takes the listening sockets over from the one that runs, through the folder of its socket.
    command = ["haproxy", "-W", "-db", "-x", SOCKET, "-f", f"/{FILE}"]
    lines = [
        f"  {EDGE}:",
        f"    image: {compose.name(edge.image)}",
        f"    command: {compose.words(command)}",
        "    restart: always",
        "    network_mode: host",
        # It binds its ports as root, and its workers are another user's, whom it has to tell to end.
        '    user: "0:0"',
        "    cap_drop: [ALL]",
        "    cap_add: [KILL, NET_BIND_SERVICE, SETGID, SETUID]",
        "    read_only: true",
        "    volumes:",
        # Folders: a file that is replaced would stay the old one in the container.
        "      - ./edge:/edge:ro",
        f"      - ./{SOCKETS}:/{SOCKETS}",
        *certificates,
        *compose.limits(edge.resources),
        *compose.healthcheck(["CMD", "bash", "-c", _ASK.format(port=edge.port)], _HEALTH_SECONDS),
        # It finishes what is under way; SIGTERM would cut that off.
        "    stop_signal: SIGUSR1",
        *compose.stopping(_stop_seconds(edge)),
        *compose.labels(plan, EDGE, EDGE_GROUP, mark),
    ]
    return "\n".join(lines) + "\n"


_ASK = (
    "exec 3<>/dev/tcp/127.0.0.1/{port} && printf 'GET /health HTTP/1.0\\r\\n\\r\\n' >&3 "
    '&& read -r _ status _ <&3 && [ "$status" = 200 ]'
)
"""bash alone asks for it: an image of HAProxy has neither wget nor curl."""
