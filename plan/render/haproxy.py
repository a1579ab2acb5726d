"""haproxy.cfg: the edge's own part, with all that holds for every service, and each service's section."""

from __future__ import annotations

from plan.catalog import EDGE
from plan.models import ACME_PORT, LOOPBACK, EdgePlan, EnvironmentPlan, ServicePlan
from plan.network import is_ipv6
from plan.render.environment import gateway
from plan.sums import FORMER_WORKERS

FILE = "edge/haproxy.cfg"
SOCKET = "/run/edge/stats.sock"
CERTIFICATES = "/tls"
_THREADS = 2
_IPV4, _IPV6 = "0.0.0.0", "[::]"  # noqa: S104 - the firewall says who gets there
_STOP_MARGIN_SECONDS = 5


def last_seconds(edge: EdgePlan) -> int:
    """How long a worker that has a successor goes on with what it has begun: no request may take longer."""
    return edge.timeout + _STOP_MARGIN_SECONDS


def top(plan: EnvironmentPlan, edge: EdgePlan) -> str:
    """The edge's own part: what is the same for all services, its own port, and TLS.

    TLS isn't in the services' sections: with these the certificates would have to go, or come, at the same moment.
    """
    return (
        "# Written by blockchain-dao (hostctl): what is edited here is overwritten by the next `up`.\n"
        f"{_global(edge)}"
        f"{_defaults(edge)}"
        "\n"
        f"listen {EDGE} from all\n"
        f"    bind {LOOPBACK}:{edge.port}\n"
        "    monitor-uri /health\n"
        "    http-request use-service prometheus-exporter if { path /metrics }\n"
        "    http-request return status 404\n"
        "\n"
        # No service's name has a dot.
        f"backend {EDGE}.outside from all\n"
        "    stick-table type integer size 1 store conn_cur\n"
        f"{_acme(plan, edge.acme_thumbprint) if edge.acme_thumbprint is not None else ''}"
        f"{''.join(_tls(plan, service, service.tls) for service in plan.services if service.tls is not None)}"
    )


def section(plan: EnvironmentPlan, service: ServicePlan) -> str:
    """A service's own section: its listeners but for TLS, and its two places."""
    assert service.behind is not None
    lines: list[str] = []
    if service.public and service.tls is None:
        lines += _outside(f"{service.name}.outside", service.port, _by_ipv6(plan, service))
        lines.append(f"    default_backend {service.name}")
    first, second = service.behind.ports
    lines += [
        "",
        f"frontend {service.name}.inside from inside",
        f"    bind {LOOPBACK}:{service.port}",
        f"    bind {gateway(plan)}:{service.port}",
        # Not containers of other networks, which reach the gateway, too. The host itself does so from any address of
        # its own: Docker's rules for the network change it.
        f"    tcp-request connection reject unless {{ src 127.0.0.0/8 {plan.host.subnet} }} || {{ src_is_local }}",
        f"    default_backend {service.name}",
        "",
        f"backend {service.name} from behind",
        f"    server a {service.behind.address}:{first}",
        f"    server b {service.behind.address}:{second}",
    ]
    return "\n".join(lines) + "\n"


def _outside(name: str, port: int, by_ipv6: bool, options: str = "") -> list[str]:
    """Who asks from outside (D19): together no more than there may be, or they would keep out those inside."""
    return [
        "",
        f"frontend {name} from outside",
        f"    bind {_IPV4}:{port}{options}",
        *([f"    bind {_IPV6}:{port} v6only{options}"] if by_ipv6 else []),
        # These two can't be in the defaults: HAProxy 2.6 forgets them there.
        f"    tcp-request connection track-sc0 int(1) table {EDGE}.outside",
        "    tcp-request connection reject if { sc0_conn_cur,sub(proc.outside) gt 0 }",
    ]


def _by_ipv6(plan: EnvironmentPlan, service: ServicePlan) -> bool:
    """Whether the stack file says that somebody comes by IPv6: a host without it could not listen there."""
    return is_ipv6(plan.host.address) or any(is_ipv6(network) for network in service.open_to)


def _global(edge: EdgePlan) -> str:
    return (
        "global\n"
        "    log stdout format raw local0 warning\n"
        f"    stats socket {SOCKET} mode 600 level admin expose-fd listeners\n"
        "    user haproxy\n"
        "    group haproxy\n"
        f"    nbthread {_THREADS}\n"
        f"    maxconn {edge.all_connections}\n"
        f"    hard-stop-after {last_seconds(edge)}s\n"
        # Workers that finish what they have begun take memory: no more than these after many reloads.
        f"    mworker-max-reloads {FORMER_WORKERS}\n"
        f"    set-var proc.outside int({edge.max_connections})\n"
        f"{_SSL if edge.certificates is not None else ''}"
    )


_SSL = "    ssl-default-bind-options ssl-min-ver TLSv1.2\n"


def _defaults(edge: EdgePlan) -> str:
    most = edge.max_connections
    return (
        "\n"
        "defaults all\n"
        "    mode http\n"
        "    log global\n"
        f"    timeout client {edge.timeout}s\n"
        f"    timeout server {edge.timeout}s\n"
        f"{_ALL}"
        "\n"
        # One service leaves some of what comes from outside to the others; who is one too many waits in the kernel.
        "defaults outside from all\n"
        f"    maxconn {most - most // 4}\n"
        f"{_OUTSIDE}"
        "\n"
        "defaults inside from all\n"
        f"{_INSIDE}"
        "\n"
        "defaults behind from all\n"
        f"{_BEHIND}"
    )


_ALL = """\
    timeout connect 2s
    timeout tunnel 1h
    timeout http-request 10s
    timeout http-keep-alive 10s
    timeout check 2s
    backlog 1024
    option disable-h2-upgrade
    option idle-close-on-response
    option abortonclose
    option forwardfor
"""
# Whatever a client says of where it comes from; programs that read headers as variables take `_` for `-`.
_OUTSIDE = """\
    http-request del-header ^(x[-_])?(forwarded|real[-_]ip) -m reg
    http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]
"""
_INSIDE = """\
    http-request set-header X-Forwarded-Proto http unless { req.hdr(X-Forwarded-Proto) -m found }
"""
# Another server is tried only where none took the connection: a request that may have been read is never sent twice.
_BEHIND = """\
    retries 3
    retry-on conn-failure
    option redispatch 1
    option httpchk
    http-check send meth GET uri /health ver HTTP/1.1 hdr Host 127.0.0.1
    http-check expect status 200
    http-reuse safe
    default-server check inter 500ms fall 3 rise 1 pool-purge-delay 1s
"""


def _tls(plan: EnvironmentPlan, service: ServicePlan, port: int) -> str:
    """A service's TLS, of HTTP/1.1: a connection of HTTP/2 holds a hundred requests, with memory for each.

    The service's section comes later, and goes later: while it isn't there the answer is 503.
    """
    options = f" ssl crt {CERTIFICATES} alpn http/1.1"
    lines = _outside(f"{service.name}.tls", port, _by_ipv6(plan, service), options)
    return "\n".join([*lines, f"    use_backend %[str({service.name})]", ""])


def _acme(plan: EnvironmentPlan, thumbprint: str) -> str:
    """ACME's http-01 without a word from us to its client: the answer is the token and the account's thumbprint."""
    by_ipv6 = is_ipv6(plan.host.address) or any(_by_ipv6(plan, service) for service in plan.services if service.public)
    return "\n".join(
        [
            *_outside(f"{EDGE}.acme", ACME_PORT, by_ipv6),
            "    acl challenge path_reg ^/\\.well-known/acme-challenge/[A-Za-z0-9_-]+$",
            "    http-request return status 200 content-type text/plain "
            f'lf-string "%[path,field(4,/)].{thumbprint}" if challenge',
            "    http-request return status 404",
            "",
        ]
    )
