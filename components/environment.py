"""The environment itself: its host, databases, services and the edition that runs, in the documented order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from components import docker
from components.chain import ChainCredential, ChainCredentialArgs, environment_of
from components.database import ReusedDatabase, ReusedDatabaseArgs
from components.docker import Place
from components.edge import Edge, EdgeArgs
from components.edition import Edition, EditionArgs
from components.host import Host, HostArgs
from components.image import HostImage, RegistryLogin, RegistryLoginArgs, host_image
from components.integration import Integration, IntegrationArgs
from components.observation import Foreign, Observation, from_sources
from components.outputs import together
from components.remote import Target
from components.service import BlockchainService, BlockchainServiceArgs
from plan.catalog import CONSUL, EDGE, database_prefix
from plan.images import REGISTRY, images_of
from plan.models import EnvironmentPlan, ExistingPlan, ServicePlan
from plan.render import database_definition, edge_definition, host_definition, service_definition
from plan.summary import costs, endpoint, ports

CLOCK_SECONDS = 120
"""Clocks that differ by more are worth a word."""
Secrets = Mapping[str, pulumi.Output[str]]


@dataclass(frozen=True, slots=True)
class EnvironmentArgs:
    """What an Environment needs: the whole plan, hostctl's digest, the secrets by name, and what was observed."""

    plan: EnvironmentPlan
    digest: str
    """SHA-256 of hostctl's zipapp."""
    secrets: Secrets
    observation: Observation
    preview: bool = False
    """Whether this run only shows what would be done."""


class Environment(pulumi.ComponentResource):
    """One stack's environment, converged; its outputs are the stack's."""

    TYPE = "blockchain:environment:Environment"
    endpoints: pulumi.Output[dict[str, str]]
    """Service -> URL."""
    databases: pulumi.Output[dict[str, Any]]
    """Name -> host, port, and how it is had: reused, embedded."""
    ports: pulumi.Output[dict[str, int]]
    chains: pulumi.Output[list[str]]
    mode: pulumi.Output[str]
    monthly_cost_yuan: pulumi.Output[int]
    notices: pulumi.Output[list[str]]
    edge: pulumi.Output[str] | None
    """The URL of the edge's statistics on its host; None where services publish their own ports."""

    def __init__(self, name: str, args: EnvironmentArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(self.TYPE, name, None, opts)
        self._args, self._plan = args, args.plan
        plan = args.plan
        self._target = Target(
            hostctl=f"{plan.host.layout.root}/bin/hostctl",
            observed=args.observation.reason is None,
            remover=from_sources(plan) if plan.host.local else (),
            preview=args.preview,
            secret_label=args.observation.secret,
            address=None if plan.host.local else plan.host.address,
            port=plan.host.ssh_port,
            user=plan.host.user,
            host_key=plan.host.host_key,
        )
        first: list[pulumi.Resource] = []
        place = docker.place(plan, self._child()) if plan.runtime == "docker" else None
        if place is None:
            first.append(self._host())
        images = self._images(first)
        edge = self._edge(first, images)
        # The databases' client is the stand-in's image.
        client = [*first, *(one for image, one in images.items() if image == plan.images.stand_in)]
        stores = {database.name: self._database(database.name, client) for database in plan.databases}
        others = [self._integration(existing, first) for existing in plan.existing]
        if place is None and CONSUL in args.secrets:  # services are registered with its token
            first += [one for one, existing in zip(others, plan.existing, strict=True) if existing.name == CONSUL]
        credentials = self._credentials(first) if place is None else []
        self._services(place, first, images, stores, credentials, edge)
        # The edge holds the ports of an edition's containers, too.
        self._edition([*first, *images.values(), *([edge] if edge is not None else [])], stores)

        self.endpoints = pulumi.Output.from_input({s.name: endpoint(plan, s) for s in plan.running})
        self.databases = self._describe(stores)
        self.ports = pulumi.Output.from_input(ports(plan))
        self.chains = pulumi.Output.from_input([chain.name for chain in plan.chains])
        self.mode = pulumi.Output.from_input(str(plan.mode))
        self.edge = edge.metrics if edge is not None else None
        self.monthly_cost_yuan = pulumi.Output.from_input(plan.monthly_cost_yuan)
        self.notices = self._notices([*(one.notice for one in stores.values()), *(one.notice for one in others)])
        self.register_outputs(self.outputs())

    def outputs(self) -> dict[str, pulumi.Output[Any]]:
        """The stack's outputs by name (P9)."""
        return {
            "endpoints": self.endpoints,
            "databases": self.databases,
            "ports": self.ports,
            "chains": self.chains,
            "mode": self.mode,
            "monthly_cost_yuan": self.monthly_cost_yuan,
            "costs_yuan": pulumi.Output.from_input(costs()),
            "notices": self.notices,
            **({"edge": self.edge} if self.edge is not None else {}),
        }

    def _child(self, after: Sequence[pulumi.Resource] = ()) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, depends_on=list(after))

    def _host(self) -> Host:
        plan, args = self._plan, self._args
        host = HostArgs(plan.host, self._target, host_definition(plan), args.digest, args.observation.host)
        return Host(f"{plan.name}-host", host, self._child())

    def _images(self, first: Sequence[pulumi.Resource]) -> dict[str, HostImage]:
        """Every image that the server needs, by the name by which containers run it."""
        plan, args = self._plan, self._args
        found = images_of(plan)
        after = list(first)
        if REGISTRY in args.secrets and plan.images.login and any(image.source == "registry" for image in found):
            login = RegistryLoginArgs(self._target, args.secrets[REGISTRY])
            after.append(RegistryLogin(REGISTRY, login, self._child(first)))
        return {
            image.run_as: host_image(
                plan,
                image,
                self._target,
                args.observation.image(image.name),
                self._child(after if image.source == "registry" else first),
            )
            for image in found
        }

    def _edge(self, first: Sequence[pulumi.Resource], images: Mapping[str, HostImage]) -> Edge | None:
        """The proxy in front of the services, after its host and its image; None where they publish their own ports."""
        plan = self._plan
        if plan.edge is None:
            return None
        label = self._args.observation.service(EDGE)
        given = EdgeArgs(plan.edge, edge_definition(plan, plan.edge), self._target, label)
        return Edge(EDGE, given, self._child([*first, images[plan.edge.image]]))

    def _database(self, name: str, first: Sequence[pulumi.Resource]) -> ReusedDatabase:
        plan, args = self._plan, self._args
        database = plan.database(name)
        given = ReusedDatabaseArgs(
            database=database,
            target=self._target,
            managed=plan.runtime != "docker",
            definition=database_definition(plan, database),
            label=args.observation.database(name),
            password=args.secrets.get(name),
            admin_password=args.secrets.get(database.admin_secret) if database.admin else None,
            users=tuple(service.name for service in plan.running if name in service.databases),
        )
        return ReusedDatabase(name, given, self._child(first))

    def _integration(self, existing: ExistingPlan, first: Sequence[pulumi.Resource]) -> Integration:
        args = self._args
        managed = self._plan.runtime != "docker"
        given = IntegrationArgs(
            existing=existing,
            target=self._target,
            label=args.observation.integration(existing.name),
            token=args.secrets.get(CONSUL) if managed and existing.name == CONSUL else None,
        )
        return Integration(existing.name, given, self._child(first))

    def _service_args(
        self, service: ServicePlan, place: Place | None, stores: Mapping[str, ReusedDatabase]
    ) -> BlockchainServiceArgs:
        plan = self._plan
        states = together({d: stores[d].state for d in service.databases if d in stores})
        secrets: list[pulumi.Output[dict[str, str]]] = []
        if place is not None:
            for name in service.databases:
                if name in self._args.secrets:
                    key = f"{database_prefix(name)}_PASSWORD"
                    secrets.append(self._args.secrets[name].apply(lambda value, key=key: {key: value}))
            if service.chains:
                given = [chain.name for chain in plan.chains if chain.name in self._args.secrets]
                secrets += [environment_of(name, self._args.secrets[name]) for name in given]
        return BlockchainServiceArgs(
            service=service,
            definition=states.apply(lambda found: service_definition(plan, service, found)),
            url=endpoint(plan, service),
            target=self._target,
            label=self._args.observation.service(service.name),
            docker=place,
            secrets=tuple(secrets),
        )

    def _credentials(self, first: Sequence[pulumi.Resource]) -> list[ChainCredential]:
        return [
            ChainCredential(
                chain.name,
                ChainCredentialArgs(chain, self._target, self._args.secrets[chain.name]),
                self._child(first),
            )
            for chain in self._plan.chains
            if chain.name in self._args.secrets
        ]

    def _services(
        self,
        place: Place | None,
        first: Sequence[pulumi.Resource],
        images: Mapping[str, HostImage],
        stores: Mapping[str, ReusedDatabase],
        credentials: Sequence[ChainCredential],
        edge: Edge | None,
    ) -> None:
        """Each after its host, its databases, its chains' credentials, the edge and the services that it needs (P5)."""
        made: dict[str, BlockchainService] = {}
        for service in self._plan.services:
            needs = [made[need.name] for need in service.needs if need.name in made]
            bases: list[pulumi.Resource] = [stores[name] for name in service.databases if name in stores]
            bases += credentials if service.chains else []
            bases += [images[service.image]] if service.image in images else []
            # The edge holds the port that it answers on: there before it, and gone after it.
            bases += [edge] if edge is not None and service.behind is not None else []
            args = self._service_args(service, place, stores)
            made[service.name] = BlockchainService(service.name, args, self._child([*first, *bases, *needs]))

    def _edition(self, first: Sequence[pulumi.Resource], stores: Mapping[str, ReusedDatabase]) -> None:
        active = self._plan.active_edition
        if active is None:
            return
        given = EditionArgs(
            edition=active,
            services=tuple(self._service_args(member, None, stores) for member in active.services),
            shared=self._service_args(active.shared, None, stores),
        )
        used = [store for name, store in stores.items() if any(name in m.databases for m in active.members)]
        Edition(active.name, given, self._child([*first, *used]))

    def _describe(self, stores: Mapping[str, ReusedDatabase]) -> pulumi.Output[dict[str, Any]]:
        return together(
            {
                name: together({"host": store.host, "port": store.port, "state": store.state})
                for name, store in stores.items()
            }
        )

    def _notices(self, of_others: Sequence[pulumi.Output[str]]) -> pulumi.Output[list[str]]:
        """The plan's, where nobody looked why not, and what isn't had as planned (`of_others`); each is logged."""
        said = [str(notice) for notice in self._plan.notices]
        said += [
            f"databases.{name}: was not asked: its password can't be opened without the stack's passphrase"
            for name in sorted(self._args.observation.unasked)
        ]
        said += observation_notices(self._args.observation, self._plan)
        for text in said:
            pulumi.log.info(text, self)

        def with_others(found: list[str]) -> list[str]:
            warnings = [text for text in found if text]
            for text in warnings:
                pulumi.log.warn(text, self)
            return said + warnings

        return pulumi.Output.all(*of_others).apply(with_others)


def observation_notices(observation: Observation, plan: EnvironmentPlan) -> list[str]:
    """What a reader should know of how the host was found."""
    address = plan.host.address
    active = plan.active_edition
    ours = {member.name for member in active.members} if active else set[str]()
    said = [text for one in observation.adopts if (text := _foreign(one, one.name in ours))]
    if observation.reason is not None:
        said.append(f"host {address} was not observed: {observation.reason}")
    if observation.trouble:
        said.append(f"host {address}: {observation.trouble}; `up` installs hostctl anew and converges everything again")
    if abs(observation.clock_off) > CLOCK_SECONDS:
        way = "ahead" if observation.clock_off > 0 else "behind"
        minutes = round(abs(observation.clock_off) / 60)
        said.append(f"host.address: the clock of {address} is {minutes} minutes {way} of this machine's: set one right")
    return said


def _foreign(one: Foreign, starts: bool) -> str:
    """What `up` does about a container that somebody else made; `starts`: whether its name is one that `up` starts."""
    there = f"{one.name} is there already and not ours (image {one.image})"
    if starts:
        stops = "stops it and keeps it" if one.running else "keeps it"
        return f"{there}: `up` {stops} as {one.name}.before-blockchain-dao, `destroy` gives it back (D18)"
    if one.running:
        return (
            f"{there}, and runs although its edition is off (E1): `up` leaves it; `docker stop {one.name}`, "
            f"or switch to its edition and back"
        )
    return ""
