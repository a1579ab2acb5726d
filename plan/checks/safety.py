"""What must not happen in production or face the world (D6, D11, D13)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from plan.models import DatabasePlan, EnvironmentPlan
from plan.problems import Notice, Problem

_WIDEST = {4: 8, 6: 32}
"""The shortest prefix that a database may be opened to: anything wider is the world (D11)."""
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def problems(plan: EnvironmentPlan) -> Iterator[Problem]:
    """Simulation in production, chains without settings, open databases, a runtime that can't be."""
    chains = [chain.name for chain in plan.chains]
    if len(set(chains)) < len(chains):
        yield Problem("chains", "lists a chain twice", f"write [{', '.join(dict.fromkeys(chains))}]")
    if plan.mode == "production" and "simulation" in chains:
        yield Problem("chains", "simulation is no chain for production", "use huawei or ethereum")
    for chain in plan.chains:
        if chain.name != "simulation" and chain.endpoint is None:
            wrong = f"chain {chain.name} has no settings"
            right = f"add chain_settings.{chain.name} with endpoint and chain_id"
            yield Problem("chains", wrong, right)
    for database in plan.databases:
        yield from _open_to_the_world(database)
        if database.when_missing == "embedded" and not plan.host.local:
            wrong = "an embedded store is for the laptop only"
            yield Problem(f"databases.{database.name}.when_missing", wrong, "write `fail`")
    if plan.runtime in ("process", "docker") and not plan.host.local:
        wrong = f"runtime {plan.runtime} is for the laptop, {plan.host.address} is a server"
        yield Problem("runtime", wrong, "write `compose`")
    if plan.runtime == "compose" and plan.host.local:
        yield Problem("runtime", "compose is for servers", "write `process` or `docker`")
    if plan.runtime == "process":
        yield from _process_only(plan)
    else:
        yield from _containers_only(plan)


def _open_to_the_world(database: DatabasePlan) -> Iterator[Problem]:
    key = f"databases.{database.name}.open_to"
    narrow: list[_Network] = []
    for cidr in database.open_to:
        network = _as_ipv4(ipaddress.ip_network(cidr))
        if _is_the_world(network):
            right = f"name the networks that need it, /{_WIDEST[network.version]} or narrower, or drop open_to"
            yield Problem(key, f"{cidr} opens the database to the world", right)
        else:
            narrow.append(network)
    # Many narrow ones side by side are a wide one.
    joined: list[_Network] = [
        *ipaddress.collapse_addresses(one for one in narrow if isinstance(one, ipaddress.IPv4Network)),
        *ipaddress.collapse_addresses(one for one in narrow if isinstance(one, ipaddress.IPv6Network)),
    ]
    for network in joined:
        if _is_the_world(network):
            wrong = f"its networks together are {network}: that opens the database to the world"
            yield Problem(key, wrong, "name only those that need it, or drop open_to")


def _as_ipv4(network: _Network) -> _Network:
    """What an IPv6 network means where it holds IPv4 addresses (::ffff:a.b.c.d), else itself."""
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        address = network.network_address.ipv4_mapped
        if address is not None:
            return ipaddress.ip_network((address, network.prefixlen - 96))
    return network


def _is_the_world(network: _Network) -> bool:
    all_of_ipv4 = isinstance(network, ipaddress.IPv6Network) and network.supernet_of(_MAPPED)
    return all_of_ipv4 or network.prefixlen < _WIDEST[network.version]


def _containers_only(plan: EnvironmentPlan) -> Iterator[Problem]:
    """Entries that a container would be started without, so that the stand-in would run unnoticed (D13)."""
    for service in plan.services:
        if service.image_given:
            continue
        if service.folder is not None and plan.runtime == "compose":
            yield Problem(f"{service.key}.folder", "a server builds no images", "add image: the one built of it")
        elif service.command is not None and service.folder is None:
            right = "say image" if plan.runtime == "compose" else "say image or folder"
            yield Problem(f"{service.key}.command", f"runtime {plan.runtime} runs no commands", right)


def _process_only(plan: EnvironmentPlan) -> Iterator[Problem]:
    for service in plan.services:
        if service.folder is not None and service.command is None:
            right = "add command, for example [python, main.py] (or `runtime: docker`)"
            yield Problem(f"{service.key}.folder", "runtime process needs to know what to start there", right)
        if service.image_given:
            right = "say command and folder, or set `runtime: docker`"
            yield Problem(f"{service.key}.image", "runtime process runs no images", right)


def notices(plan: EnvironmentPlan) -> Iterator[Notice]:
    """Stand-ins in production (D13), placeholders for chains, a server whose key isn't pinned."""
    stand_ins = [service.name for service in plan.running if service.stand_in]
    if stand_ins and plan.mode == "production":
        which = f"{len(stand_ins)} services run the stand-in: {', '.join(stand_ins)}"
        end = "allow_stand_in lets them" if plan.allow_stand_in else "`up` refuses it without `allow_stand_in: true`"
        yield Notice("services", f"{which}; {end} (D13)")
    for chain in plan.chains:
        if chain.placeholder:
            yield Notice(
                f"chain_settings.{chain.name}.endpoint",
                f"{chain.endpoint} is a placeholder; `up` in production refuses it",
            )
    if not plan.host.local and plan.host.host_key is None:
        wrong = "no host key is pinned: the server isn't looked at, and `up` refuses"
        yield Notice("host.host_key", f"{wrong}; `make trust STACK={plan.name}` shows and pins it")


def refusals(plan: EnvironmentPlan) -> Iterator[Problem]:
    """What a preview only notices and `up` refuses: a server without a pinned key, stand-ins in production (D13)."""
    if not plan.host.local and plan.host.host_key is None:
        wrong = "no host key is pinned: any machine could pose as the server"
        yield Problem("host.host_key", wrong, f"`make trust STACK={plan.name}` shows and pins it")
    if plan.mode != "production":
        return
    for service in plan.running:
        if service.stand_in and not plan.allow_stand_in:
            yield Problem(
                f"{service.key}.image",
                "a stand-in would serve in production",
                "name the real image, or say allow_stand_in: true",
            )
    for chain in plan.chains:
        if chain.placeholder:
            key = f"chain_settings.{chain.name}.endpoint"
            yield Problem(key, f"{chain.endpoint} is a placeholder", "name the chain's real endpoint")
