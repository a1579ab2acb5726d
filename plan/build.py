"""Settings and catalog -> one `EnvironmentPlan`. Judges nothing: `checks` does."""

from __future__ import annotations

import graphlib
from collections.abc import Mapping

from plan import catalog
from plan.edge import behind, edge_plan, has_edge, said, with_room
from plan.images import images_plan, run_as, source_of
from plan.models import (
    LOOPBACK,
    ChainPlan,
    DatabasePlan,
    EditionPlan,
    EnvironmentPlan,
    ExistingPlan,
    HostPlan,
    ImagesPlan,
    Layout,
    Need,
    Resources,
    Runs,
    ServicePlan,
)
from plan.network import gateway_of, is_loopback, is_placeholder, same_address
from plan.settings import Amounts, Database, Defaults, EditionService, Existing, Host, Placement, Service, Settings

SERVER_ROOT = "/opt/blockchain-services"
LAPTOP_ROOT = ".local"
_SUBNET = "172.28.{octet}.0/24"


def build_plan(
    stack: str,
    settings: Settings,
    stand_in_image: str = catalog.STAND_IN_IMAGE,
    edge_image: str = catalog.EDGE_IMAGE,
) -> EnvironmentPlan:
    """The plan of one stack; the same settings always give the same plan.

    A name that the settings use and nothing declares (a dependency, a group) is kept as it is,
    for `checks` to report. `stand_in_image` and `edge_image` are the program's own on a server.
    """
    enabled = _enabled(settings)
    images = images_plan(settings, stand_in_image, edge_image)
    host = _host(stack, settings.host)
    gateway = gateway_of(host.subnet) if has_edge(settings) else None
    services = [_service(stack, name, given, settings, images, gateway) for name, given in enabled]
    plan = EnvironmentPlan(
        name=stack,
        mode=settings.mode,
        chains=tuple(_chain(name, settings) for name in settings.chains),
        runtime=settings.runtime,
        range=settings.range,
        monthly_cost_yuan=settings.monthly_cost_yuan,
        host=host,
        services=tuple(in_dependency_order(services)),
        databases=tuple(_database(name, given, settings) for name, given in settings.databases.items()),
        existing=tuple(_existing(name, given, settings) for name, given in settings.existing.items()),
        editions=tuple(_edition(name, settings, images, gateway) for name in settings.editions),
        edition=settings.edition,
        allow_stand_in=settings.allow_stand_in,
        own_services=frozenset(name for name, given in settings.services.items() if given.own),
        services_off=frozenset(settings.services) - {name for name, _ in enabled},
        images=images,
        edge=edge_plan(settings, images),
        said=said(settings),
        secret_names=tuple(settings.secrets),
        chain_settings=tuple(settings.chain_settings),
    )
    return with_room(plan)


def group_of(name: str, given: Service) -> catalog.Group:
    """A service's group: what its entry says, else the documents', else core."""
    known = catalog.SERVICES.get(name)
    return given.group or (known.group if known else "core")


def in_dependency_order(services: list[ServicePlan]) -> list[ServicePlan]:
    """Each after what it needs, otherwise as given (P5); as given where there is a cycle."""
    by_name = {service.name: service for service in services}
    graph = {s.name: [need.name for need in s.needs if need.name in by_name] for s in services}
    try:
        return [by_name[name] for name in graphlib.TopologicalSorter(graph).static_order()]
    except graphlib.CycleError:
        return services


def _enabled(settings: Settings) -> list[tuple[str, Service]]:
    return [
        (name, given)
        for name, given in settings.services.items()
        if settings.dao_group or group_of(name, given) != "dao"
    ]


def _resources(given: Amounts | Database | Existing) -> Resources:
    return Resources(given.cpus, given.memory, given.disk)


def _limits(given: Placement, defaults: Defaults) -> Resources:
    return Resources(
        defaults.cpus if given.cpus is None else given.cpus,
        defaults.memory if given.memory is None else given.memory,
        defaults.disk if given.disk is None else given.disk,
    )


def _host(stack: str, given: Host) -> HostPlan:
    local = is_loopback(given.address)
    return HostPlan(
        address=given.address,
        local=local,
        user=given.user,
        ssh_port=given.ssh_port,
        host_key=given.host_key,
        subnet=given.subnet or _SUBNET.format(octet={"local": 83, "tencent": 84, "alibaba": 85}.get(stack, 86)),
        capacity=Resources(given.cpus, given.memory, given.disk),
        reserve=_resources(given.reserve),
        install_docker=given.install_docker,
        packages_mirror=given.packages_mirror,
        layout=Layout(
            root=given.root or (LAPTOP_ROOT if local else SERVER_ROOT),
            env_file=f"blockchain-{stack}.env",
            compose_file=f"docker-compose-blockchain-{stack}.yml",
        ),
    )


def _needs(names: tuple[str, ...], settings: Settings, gateway: str | None) -> tuple[Need, ...]:
    found: list[Need] = []
    for name in names:
        given = settings.services.get(name)
        port = given.port if given else 0
        # In one network of containers a service answers by its name, also one that isn't ready: not behind an edge.
        host = gateway or (name if settings.runtime != "process" else LOOPBACK)
        found.append(Need(name, port, f"http://{host}:{port}"))
    return tuple(found)


def _runs(given: Service, settings: Settings) -> Runs:
    if settings.runtime == "process":
        return "command" if given.command else "stand-in"
    if given.image:
        return "image"
    return "folder" if given.folder else "stand-in"


def _service(
    stack: str, name: str, given: Service, settings: Settings, images: ImagesPlan, gateway: str | None
) -> ServicePlan:
    known = catalog.SERVICES.get(name)
    default_needs = known.needs if known else ()
    default_databases = known.databases if known else ()
    runs = _runs(given, settings)
    public = given.public if given.public is not None else name in catalog.PUBLIC.get(stack, frozenset())
    return ServicePlan(
        name=name,
        key=f"services.{name}",
        group=group_of(name, given),
        port=given.port,
        public=public,
        open_to=_open_to(given, public),
        needs=_needs(default_needs if given.needs is None else given.needs, settings, gateway),
        databases=default_databases if given.databases is None else given.databases,
        chains=given.chains if given.chains is not None else bool(known and known.chains),
        resources=_limits(given, settings.defaults),
        runs=runs,
        image=run_as(given, settings, images),
        reference=given.image or images.stand_in,
        image_from=source_of(given, images),
        image_from_given=given.image_from is not None,
        image_given=given.image is not None,
        command=given.command,
        folder=given.folder,
        env=tuple(sorted(given.env.items())),
        debug_port=given.debug_port,
        reload=given.reload if given.reload is not None else settings.mode == "development",
        reload_given=given.reload is not None,
        health_timeout=given.health_timeout,
        stop_grace=given.stop_grace,
        behind=behind(given.port, gateway),
        settle=settings.defaults.settle if given.settle is None else given.settle,
        tls=given.tls,
    )


def _open_to(given: Placement, public: bool) -> tuple[str, ...]:
    """An empty list is said on purpose: it opens the service to nobody."""
    if given.open_to is not None:
        return given.open_to
    return ("0.0.0.0/0",) if public else ()


def _edition(name: catalog.EditionName, settings: Settings, images: ImagesPlan, gateway: str | None) -> EditionPlan:
    shared_name = catalog.shared_service(name)
    members = {
        member: _edition_service(name, member, given, settings, images, gateway)
        for member, given in settings.editions[name].services.items()
    }
    shared = members.pop(shared_name, None)
    if shared is None:
        # An edition without its shared service is a problem that `checks` names; the plan stays whole.
        nowhere = EditionService.model_construct(port=0)
        shared = _edition_service(name, shared_name, nowhere, settings, images, gateway)
    return EditionPlan(name, tuple(members.values()), shared)


def _edition_service(
    edition: catalog.EditionName,
    name: str,
    given: EditionService,
    settings: Settings,
    images: ImagesPlan,
    gateway: str | None,
) -> ServicePlan:
    public = True if given.public is None else given.public
    shared = name == catalog.shared_service(edition)
    return ServicePlan(
        name=name,
        key=f"editions.{edition}.services.{name}",
        group=edition,
        port=given.port,
        public=public,
        open_to=_open_to(given, public),
        needs=(),
        databases=tuple(d for d in ("mysql",) if d in settings.databases),
        chains=False,
        resources=_limits(given, settings.defaults),
        runs="image" if given.image else "stand-in",
        image=run_as(given, settings, images),
        reference=given.image or images.stand_in,
        image_from=source_of(given, images),
        image_from_given=given.image_from is not None,
        image_given=given.image is not None,
        command=None,
        folder=None,
        env=tuple(sorted(given.env.items())),
        debug_port=None,
        reload=False,
        health_timeout=30,
        stop_grace=10,
        edition=edition,
        shared=shared,
        behind=behind(given.port, gateway),
        settle=settings.defaults.settle,
    )


def _database(name: str, given: Database, settings: Settings) -> DatabasePlan:
    kind = given.kind or catalog.DATABASE_KINDS.get(name, "mysql")
    users, names = (_OWN_USERS, _OWN_DATABASES) if given.admin is not None else (_DEFAULT_USERS, _DEFAULT_DATABASES)
    host = given.host or (LOOPBACK if is_loopback(settings.host.address) else settings.host.address)
    return DatabasePlan(
        name=name,
        kind=kind,
        host=host,
        local=_is_here(given.host, settings),
        port=given.port,
        ports=given.ports,
        user=given.user if given.user is not None else users.get(kind, ""),
        database=given.database if given.database is not None else names.get(kind, ""),
        admin=given.admin,
        container=given.container,
        when_missing=given.when_missing,
        open_to=given.open_to,
        has_password=name in settings.secrets,
        resources=_resources(given),
        kind_given=given.kind is not None,
    )


def _existing(name: str, given: Existing, settings: Settings) -> ExistingPlan:
    local = _is_here(given.host, settings)
    return ExistingPlan(
        name=name,
        ports=given.ports,
        resources=_resources(given) if local else Resources(),
        host=LOOPBACK if given.host is None or local else given.host,
        local=local,
        when_missing=given.when_missing,
    )


def _is_here(host: str | None, settings: Settings) -> bool:
    """Whether what is at `host` is on the stack's own host."""
    return host is None or same_address(host, settings.host.address) or is_loopback(host)


_DEFAULT_USERS: Mapping[str, str] = {"mysql": "root", "postgres": "postgres", "neo4j": "neo4j"}
_DEFAULT_DATABASES: Mapping[str, str] = {"redis": "0", "postgres": "postgres"}
# What an admin makes where the stack file names nothing else.
_OWN_USERS: Mapping[str, str] = dict.fromkeys(catalog.SETUP_KINDS, catalog.OWN_NAME)
_OWN_DATABASES: Mapping[str, str] = {"redis": "0", "mysql": catalog.OWN_NAME, "postgres": catalog.OWN_NAME}


def _chain(name: catalog.Chain, settings: Settings) -> ChainPlan:
    given = settings.chain_settings.get(name)
    return ChainPlan(
        name=name,
        endpoint=given.endpoint if given else None,
        chain_id=given.chain_id if given else None,
        has_credential=name in settings.secrets,
        placeholder=given is not None and is_placeholder(given.endpoint),
    )
