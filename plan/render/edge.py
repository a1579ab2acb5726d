"""The edge: its definition, its compose block, and haproxy.cfg, to which each service behind it adds its section."""

from __future__ import annotations

from collections.abc import Iterator

from hostctl.assemble import Part
from plan.catalog import EDGE, EDGE_GROUP
from plan.models import ACME_PORT, LOOPBACK, EdgePlan, EnvironmentPlan, ServicePlan
from plan.render import compose, registration
from plan.render.environment import gateway
from plan.render.parts import BLOCKS, SCHEMA, Definition, amounts, digest, part

FILE = "edge/haproxy.cfg"
SOCKETS = "run/edge"
READY = "/ready"
_SOCKET = "/run/edge/stats.sock"
_CERTIFICATES = "/tls"
_STOP_SECONDS = 30
_HEALTH_SECONDS = 30
_THREADS = 2
_EVERYWHERE = "0.0.0.0"  # noqa: S104 - the firewall says who gets there


def edge_definition(plan: EnvironmentPlan, edge: EdgePlan) -> Definition:
    """The edge as hostctl gets it: a service of its own that takes its configuration from all services' parts."""
    judged: Definition = {
        "secrets": [],
        "health": {"url": f"http://{LOOPBACK}:{edge.port}/health", "timeout_seconds": _HEALTH_SECONDS},
        "stop": {"grace_seconds": _STOP_SECONDS},
        "launch": {"image": edge.image, "bind": LOOPBACK, "env": {}, "resources": amounts(edge.resources)},
    }
    mark = digest(judged)
    parts = [
        part(plan.host.layout.compose_file, BLOCKS, _block(plan, edge, mark)),
        part(FILE, 0, _top(edge)),
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
    if service.behind is None:
        return []
    first, second = service.behind.ports
    lines = [
        "",
        f"listen {service.name}",
        *(f"    bind {bind}" for bind in _binds(plan, service)),
        *(["    http-request set-header X-Forwarded-Proto https if { ssl_fc }"] if service.tls is not None else []),
        f"    server a {service.behind.address}:{first}",
        f"    server b {service.behind.address}:{second}",
    ]
    return [part(FILE, BLOCKS, "\n".join(lines) + "\n")]


def _binds(plan: EnvironmentPlan, service: ServicePlan) -> Iterator[str]:
    """Where the edge takes a service's requests (D19): outside, with TLS, only so; the host and containers plain."""
    if service.public and service.tls is None:
        yield f"{_EVERYWHERE}:{service.port}"
        return
    yield f"{LOOPBACK}:{service.port}"
    yield f"{gateway(plan)}:{service.port}"
    if service.tls is not None:
        yield f"{_EVERYWHERE}:{service.tls} ssl crt {_CERTIFICATES} alpn h2,http/1.1"


def _top(edge: EdgePlan) -> str:
    """What is the same for all services, and the edge's own port."""
    return (
        "# Written by blockchain-dao (hostctl): what is edited here is overwritten by the next `up`.\n"
        "global\n"
        "    log stdout format raw local0 warning\n"
        f"    stats socket {_SOCKET} mode 600 level admin expose-fd listeners\n"
        "    user haproxy\n"
        "    group haproxy\n"
        f"    nbthread {_THREADS}\n"
        f"    maxconn {edge.max_connections}\n"
        f"    hard-stop-after {_STOP_SECONDS}s\n"
        # Workers that finish what they have begun take memory: no more than these after many reloads.
        "    mworker-max-reloads 3\n"
        f"{_TLS if edge.certificates is not None else ''}"
        f"{_DEFAULTS}"
        "\n"
        f"listen {EDGE}\n"
        f"    bind {LOOPBACK}:{edge.port}\n"
        "    monitor-uri /health\n"
        "    http-request use-service prometheus-exporter if { path /metrics }\n"
        "    http-request return status 404\n"
        f"{_acme(edge.acme_thumbprint) if edge.acme_thumbprint is not None else ''}"
    )


_TLS = "    ssl-default-bind-options ssl-min-ver TLSv1.2\n"
# Another server is tried only where none took the connection: a request that may have been read is never sent twice.
_DEFAULTS = """
defaults
    mode http
    log global
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    timeout tunnel 1h
    timeout http-keep-alive 10s
    timeout check 2s
    retries 3
    retry-on conn-failure
    option redispatch 1
    option idle-close-on-response
    option forwardfor
    option httpchk
    http-check send meth GET uri /health ver HTTP/1.1 hdr Host 127.0.0.1
    http-check expect status 200
    http-reuse safe
    default-server check inter 500ms fall 3 rise 1 pool-purge-delay 1s
"""


def _acme(thumbprint: str) -> str:
    """ACME's http-01 without a word from us to its client: the answer is the token and the account's thumbprint."""
    # No service's name has a dot.
    return (
        "\n"
        f"frontend {EDGE}.acme\n"
        f"    bind {_EVERYWHERE}:{ACME_PORT}\n"
        "    acl challenge path_reg ^/\\.well-known/acme-challenge/[A-Za-z0-9_-]+$\n"
        "    http-request return status 200 content-type text/plain "
        f'lf-string "%[path,field(4,/)].{thumbprint}" if challenge\n'
        "    http-request return status 404\n"
    )


def _block(plan: EnvironmentPlan, edge: EdgePlan, mark: str) -> str:
    """Its entry in the compose file: in the host's own network, so that it binds the documented ports itself."""
    certificates = [f"      - {edge.certificates}:{_CERTIFICATES}:ro"] if edge.certificates is not None else []
    # A successor takes the listening sockets over from the one that runs, through the folder of its socket.
    command = ["haproxy", "-W", "-db", "-x", _SOCKET, "-f", f"/{FILE}"]
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
        *compose.stopping(_STOP_SECONDS),
        *compose.labels(plan, EDGE, EDGE_GROUP, mark),
    ]
    return "\n".join(lines) + "\n"


_ASK = (
    "exec 3<>/dev/tcp/127.0.0.1/{port} && printf 'GET /health HTTP/1.0\\r\\n\\r\\n' >&3 "
    '&& read -r _ status _ <&3 && [ "$status" = 200 ]'
)
"""bash alone asks for it: an image of HAProxy has neither wget nor curl."""
