"""A database that already runs: checked by a real login and query, never created, never dropped (P1-P3, D16)."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

import pulumi

from components import remote
from components.remote import Target
from plan.labels import found
from plan.models import DatabasePlan, DatabaseState
from plan.render import Definition


@dataclass(frozen=True, slots=True)
class ReusedDatabaseArgs:
    """What a ReusedDatabase needs."""

    database: DatabasePlan
    target: Target
    managed: bool
    """Whether hostctl works on that host (runtimes process and compose): it checks again while converging."""
    definition: Definition
    label: pulumi.Output[str] | None
    """What the observation found (docs/contracts.md, observed labels); None where nobody looked."""
    password: pulumi.Output[str] | None
    admin_password: pulumi.Output[str] | None
    """Of the admin who makes the user and the database; for hostctl alone, no service gets it."""
    users: tuple[str, ...]
    """Services that use it, for the warning."""


class ReusedDatabase(pulumi.ComponentResource):
    """One database; `state` is `reused`, or `embedded` where it doesn't answer and the stack allows that."""

    TYPE = "blockchain:databases:ReusedDatabase"
    host: pulumi.Output[str]
    port: pulumi.Output[int]
    state: pulumi.Output[DatabaseState]
    notice: pulumi.Output[str]
    """What a reader should know of it; empty when it is reused."""

    def __init__(self, name: str, args: ReusedDatabaseArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(self.TYPE, name, None, opts)
        database = args.database
        label = pulumi.Output.from_input("reused") if args.label is None else args.label
        # A server's services never fall back to another store: `hostctl database` refuses where it can't be had.
        self.state = label.apply(state_of) if args.target.address is None else pulumi.Output.from_input("reused")
        # What the check says; behind it may stand that nobody has remembered it on that host yet.
        self.notice = label.apply(lambda label: notice_of(args, found(label)))
        self.host = pulumi.Output.from_input(database.host)
        self.port = pulumi.Output.from_input(database.port)
        if args.managed:
            self._converge(name, args)
        self.register_outputs({"host": self.host, "port": self.port, "state": self.state})

    def _converge(self, name: str, args: ReusedDatabaseArgs) -> None:
        child = pulumi.ResourceOptions(parent=self)
        looked = args.target.observed and args.label is not None
        target = dataclasses.replace(args.target, observed=looked)
        # The admin's first: with it the user's password is changed before services get a new one.
        for owner, password in ((args.database.admin_secret, args.admin_password), (name, args.password)):
            if password is not None:
                written = remote.secret(owner, remote.password(password), target, child)
                child = pulumi.ResourceOptions(parent=self, depends_on=written)
        check = remote.CommandArgs(
            target=target,
            create=remote.observed(target, remote.hostctl(target, "database", name), args.label),
            stdin=json.dumps(args.definition, ensure_ascii=False, indent=2),
            delete=remote.removal(target, "remove-database", name),
        )
        remote.run(f"{name}-check", check, child)


def state_of(label: str) -> DatabaseState:
    """How a database is had, by its observed label; one that nobody looked at is reused."""
    return "embedded" if label.startswith(("missing", "refused")) else "reused"


def notice_of(args: ReusedDatabaseArgs, label: str) -> str:
    """The warning about a database that isn't had as planned; raises where the stack insists on it.

    Of a server only the address on record was knocked at, and it may be about to move: there it is never more than
    a warning, and the changed label makes `hostctl database` ask where it is to be now.
    """
    if state_of(label) == "reused":
        return ""
    database = args.database
    key, where = f"databases.{database.name}", f"{database.name} on {database.host}:{database.port}"
    cure = _cure(database, label)
    if args.target.address is not None:
        asked = f"`up` asks {where} and ends there if it can't be used; {cure}"
        return f"{key}: where the host has it on record it can't be used ({label}): {asked}"
    trouble = f"{where} can't be used ({label})"
    if database.when_missing == "fail":
        raise pulumi.RunError(f"{key}: {trouble}, and it has to be there (`when_missing: fail`); {cure}")
    users = ", ".join(args.users)
    told = f"{users} get an embedded store of their own" if users else "no service uses it"
    return f"{key}: {trouble}: {told}; {cure}"


def _cure(database: DatabasePlan, label: str) -> str:
    key = f"databases.{database.name}"
    if not label.startswith("refused"):
        return f"start it, or set {key}.host and {key}.port right"
    user = f"{key}.user and " if database.kind != "redis" else ""
    return f"set {user}its password under secrets.{database.name} (`make encrypt`, or `pulumi config set --secret`)"
