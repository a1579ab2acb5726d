"""What is to be set up on a server, and what was."""

from dataclasses import dataclass, field, replace

from standin.target import Target


@dataclass(frozen=True, slots=True)
class Setup:
    """A service's own databases and user, made by an admin. Their password is the target's."""

    admin: str
    admin_password: str = field(repr=False)
    user: str
    databases: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    """Redis: what the names of its keys start with (D24)."""
    subnet: str = ""
    """The services' network, such as 172.28.84.0/24: who may log in, where the server can tell."""

    def as_admin(self, target: Target, database: str = "") -> Target:
        """The same server for the admin."""
        return replace(target, user=self.admin, password=self.admin_password, database=database)

    def as_user(self, target: Target, database: str = "") -> Target:
        """The same server for the user that is made."""
        return replace(target, user=self.user, database=database)


@dataclass(slots=True)
class Done:
    """What a setup did, in words for people; never a password."""

    created: list[str] = field(default_factory=list[str])
    """What wasn't there: `database blockchain`, `user blockchain`."""
    changed: list[str] = field(default_factory=list[str])
    """What was ours already and is different now: `password of user blockchain`."""
    notices: list[str] = field(default_factory=list[str])
    """What isn't ours and was left as it is."""


def left_alone(user: str, foreign: list[str]) -> str:
    """The notice about a user that has other grants than those that we would give it."""
    return f"user {user} has other grants than ours and is left as it is: {'; '.join(foreign)}"


def not_its_password(user: str, foreign: list[str]) -> str:
    """Why such a user's password isn't changed: it may be somebody else's user."""
    return (
        f"user {user} takes another password, and has other grants than ours ({'; '.join(foreign)}): "
        "it was not changed; give its own password, or name another user"
    )
