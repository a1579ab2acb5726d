"""Redis: a user that reaches the keys with its own prefixes and no others (D24). Its databases are always there."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from standin import redisdb
from standin.redisdb import told
from standin.setup_plan import Done, Setup, left_alone, not_its_password
from standin.target import Target
from standin.trouble import Refused

DEFAULT = "default"
#: Everything that works on keys; nothing that shows or harms other users' keys, or the server. INFO is for the check.
COMMANDS = ("+@all", "-@admin", "-@dangerous", "-scan", "-randomkey", "+info")
NOT_OURS = "blockchain-dao/not-ours"
"""A key that has none of our prefixes: the user must not be let near it."""
_CHANNELS_SINCE = (6, 2)
_FUNCTIONS_SINCE = (7,)
NO_FUNCTIONS = "-function"
"""One library of functions is everybody's, and Redis calls what deletes or replaces it not dangerous. FCALL stays."""
_FEW = 5


def set_up(target: Target, wanted: Setup, timeout: float, done: Done) -> str:
    """See `setup.run`."""
    place = wanted.as_admin(target)
    # The default user's name is left out: servers that know no users take a password only.
    admin = redisdb.client(replace(place, user="") if wanted.admin == DEFAULT else place, timeout)
    try:
        version = _version(admin)
        user = _User(admin, wanted, target, version)
        user.make(done)
        user.login(timeout, done)
        user.keep(done)
        return version
    finally:
        admin.close()


def rules(prefixes: tuple[str, ...], version: tuple[int, ...]) -> list[str]:
    """What the user may do, as ACL SETUSER of that version takes it."""
    keys = [f"~{glob(prefix)}*" for prefix in prefixes]
    spoken = ["resetchannels", *(f"&{glob(prefix)}*" for prefix in prefixes)] if version >= _CHANNELS_SINCE else []
    without = [NO_FUNCTIONS] if version >= _FUNCTIONS_SINCE else []
    return ["resetkeys", *keys, *spoken, "-@all", *COMMANDS, *without]


def glob(prefix: str) -> str:
    """A prefix as part of a pattern that matches it alone."""
    return re.sub(r"([\\*?\[\]^])", r"\\\1", prefix)


def differences(there: Sequence[str], ours: Sequence[str], categories: Mapping[str, set[str]]) -> list[str]:
    """How a user's rules differ from ours, in a few words; none when they allow the same.

    Commands are compared by what they come to: a server writes `-@dangerous` down as it likes.
    """
    marks = ("~", "&", "%", "(")
    theirs, wanted = ({word for word in words if word.startswith(marks)} for words in (there, ours))
    found = [*sorted(theirs - wanted), *(f"without {word}" for word in sorted(wanted - theirs))]
    found += [word for word in ("off", "nopass") if word in there]
    had, due = (commands(words, categories) for words in (there, ours))
    found += [f"+{name}" for name in sorted(had - due)[:_FEW]]
    return found + [f"without +{name}" for name in sorted(due - had)[:_FEW]]


def commands(words: Iterable[str], categories: Mapping[str, set[str]]) -> set[str]:
    """The commands that rules allow, read from the left as Redis reads them."""
    everything = set[str]().union(*categories.values())
    allowed: set[str] = set()
    for word in words:
        if not word.startswith(("+", "-")):
            continue
        name = word[1:]
        if name.startswith("@"):
            meant = everything if name == "@all" else categories.get(name[1:], set())
        else:
            meant = {one for one in everything if one == name or one.startswith(f"{name}|")} or {name}
        allowed = allowed | meant if word[0] == "+" else allowed - meant
    return allowed


def _version(admin: Any) -> str:
    """The server's version; refuses one that is too old to know users."""
    try:
        info = cast(Mapping[str, object], told(lambda: admin.info("server")))
    except Refused as error:
        raise Refused(f"the admin's login was refused: {error}") from error
    version = str(info.get("redis_version", ""))
    if _number(version) < (6,):
        wrong = f"this Redis ({version}) knows no users, they came with version 6"
        raise Refused(f"{wrong}: drop admin and user, and use its one password")
    return version


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"[0-9]+", version)[:2]) or (0,)


class _User:
    """The user that services log in with."""

    def __init__(self, admin: Any, wanted: Setup, target: Target, version: str) -> None:
        self._admin, self._wanted, self._target = admin, wanted, target
        self._rules = rules(wanted.prefixes, _number(version))
        # Its hash, so that the password itself reaches no command (and no MONITOR).
        self._password = "#" + hashlib.sha256(target.password.encode()).hexdigest()
        self._foreign: list[str] = []
        self._touched = False

    def make(self, done: Done) -> None:
        """Makes it; one that is there with other rules stays as it is."""
        user = self._wanted.user
        there = self._described()
        if there is None:
            self._set("on", self._password, *self._rules)
            done.created.append(f"user {user}")
            return
        self._foreign = differences(there, self._rules, self._categories())
        if self._foreign:
            done.notices.append(left_alone(user, self._foreign))

    def login(self, timeout: float, done: Done) -> None:
        """Logs in; sets the password to the given one first where it has another (rotation). No other key opens."""
        try:
            self._prove(timeout, done)
        except _WrongPassword as error:
            if self._foreign:
                raise Refused(not_its_password(self._wanted.user, self._foreign)) from error
            self._set("on", "resetpass", self._password)
            done.changed.append(f"password of user {self._wanted.user}")
            self._prove(timeout, done)

    def keep(self, done: Done) -> None:
        """Writes it down where the server keeps its users in a file; says so where a restart would lose it."""
        try:
            if self._touched:
                told(lambda: self._admin.execute_command("ACL", "SAVE"))
            elif not told(lambda: self._admin.config_get("aclfile")).get("aclfile"):
                raise Refused("no aclfile")
        except Refused:
            done.notices.append(
                f"user {self._wanted.user} is lost when Redis restarts: set aclfile in its configuration"
            )

    def _prove(self, timeout: float, done: Done) -> None:
        user = redisdb.client(self._wanted.as_user(self._target, self._target.database), timeout)
        try:
            self._enter(user)
            try:
                told(lambda: user.get(NOT_OURS))
            except Refused:
                return
            done.notices.append(f"user {self._wanted.user} can read keys that are not ours")
        finally:
            user.close()

    def _enter(self, user: Any) -> None:
        import redis

        try:
            told(lambda: user.info("server"))
        except Refused as error:
            if isinstance(error.__cause__, redis.AuthenticationError):
                raise _WrongPassword(str(error)) from error
            raise

    def _set(self, *words: str) -> None:
        told(lambda: self._admin.execute_command("ACL", "SETUSER", self._wanted.user, *words))
        self._touched = True

    def _described(self) -> list[str] | None:
        """The words of its rules as the server has them; None when there is no such user."""
        start = f"user {self._wanted.user} "
        for text in self._texts("ACL", "LIST"):
            if text.startswith(start):
                return text.removeprefix(start).split(" ")
        return None

    def _categories(self) -> dict[str, set[str]]:
        """The commands of each category, which differ from version to version."""
        return {name: set(self._texts("ACL", "CAT", name)) for name in self._texts("ACL", "CAT")}

    def _texts(self, *command: str) -> list[str]:
        lines = cast(list[object], told(lambda: self._admin.execute_command(*command)))
        return [one.decode("utf-8", "surrogateescape") if isinstance(one, bytes) else str(one) for one in lines]


class _WrongPassword(Refused):
    """The server doesn't take the user's password."""
