"""Setting up without a server: quoting, who may log in from where, what counts as somebody else's (D16, D24)."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import re
import socket
import threading
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standin import setup_mysql, setup_postgres, setup_redis
from standin.setup import bad_setup
from standin.setup_plan import Setup
from standin.target import Target
from tests.image.service import run

#: Letters that statements and patterns are made of, and any other.
names = st.text(
    st.one_of(st.sampled_from("`\"'\\%_;-*? "), st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    min_size=1,
    max_size=20,
)


def unquoted(text: str, quote: str) -> str:
    """What a server reads of one quoted identifier: the rest of a statement must not begin inside of it."""
    assert text[0] == text[-1] == quote
    inside = text[1:-1]
    assert re.fullmatch(rf"(?:[^{quote}]|{quote}{quote})*", inside, re.DOTALL)
    return inside.replace(quote * 2, quote)


def like(pattern: str, name: str) -> bool:
    """Whether MySQL's pattern of a grant fits a database's name."""
    parts: list[str] = []
    letters = iter(pattern)
    for letter in letters:
        if letter == "\\":
            parts.append(re.escape(next(letters)))
        else:
            parts.append({"_": ".", "%": ".*"}.get(letter, re.escape(letter)))
    return re.fullmatch("".join(parts), name, re.DOTALL) is not None


@given(names)
def test_identifiers_are_read_back_as_they_were(name: str) -> None:
    assert unquoted(setup_mysql.identifier(name), "`") == name
    if len(name.encode()) <= 63:
        assert unquoted(setup_postgres.identifier(name), '"') == name


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_what_is_no_identifier_is_refused(name: str) -> None:
    for quote in (setup_mysql.identifier, setup_postgres.identifier):
        with pytest.raises(ValueError, match="no name"):
            quote(name)
    with pytest.raises(ValueError, match="no name"):
        setup_postgres.identifier("道" * 22)  # 66 bytes: it would be cut, and be another's name


@given(names, names)
def test_a_grants_pattern_fits_its_own_database_alone(name: str, other: str) -> None:
    pattern = unquoted(setup_mysql.pattern(name), "`")
    assert like(pattern, name)
    assert like(pattern, other) is (other == name)


def test_the_pattern_of_an_editions_database() -> None:
    assert setup_mysql.pattern("dao_users") == "`dao\\_users`"
    assert not like(unquoted(setup_mysql.pattern("dao_users"), "`"), "daoXusers")


@given(names, st.text(max_size=20))
def test_a_prefix_in_a_rule_of_redis_is_that_prefix(prefix: str, rest: str) -> None:
    glob = setup_redis.glob(prefix)
    literal = re.sub(r"\\(.)", r"\1", glob, flags=re.DOTALL)
    assert literal == prefix
    assert not re.search(r"(?<!\\)(?:\\\\)*[*?\[\]^]", glob)


@given(st.ip_addresses(v=4), st.integers(8, 28))
def test_an_account_is_for_the_services_network_and_no_other(address: ipaddress.IPv4Address, length: int) -> None:
    network = ipaddress.ip_network(f"{address}/{length}", strict=False)
    host = setup_mysql.host_pattern(str(network))
    if "/" in host:
        assert ipaddress.ip_network(host) == network
    else:
        assert host.endswith(".%")
        assert ipaddress.ip_network(host.replace(".%", ".0" * (4 - host.count("."))) + f"/{length}") == network


@pytest.mark.parametrize(
    ("subnet", "seen", "hosts"),
    [
        ("172.28.84.0/24", "172.28.84.7", ["localhost", "172.28.84.%"]),
        ("172.28.84.0/24", "localhost", ["172.28.84.%", "localhost"]),
        ("172.28.84.0/24", "172.17.0.1", ["localhost", "172.28.84.%", "172.17.0.1"]),  # behind Docker's proxy
        ("172.28.84.0/24", "some.host.name", ["localhost", "172.28.84.%"]),
        ("", "localhost", ["localhost"]),
        ("", "127.0.0.1", ["localhost", "127.0.0.1"]),
    ],
)
def test_the_account_that_fits_this_client_comes_last(subnet: str, seen: str, hosts: list[str]) -> None:
    assert setup_mysql.hosts(subnet, seen) == hosts


TO = " TO `blockchain`@`localhost`"


@pytest.mark.parametrize(
    ("lines", "foreign", "whole"),
    [
        (["GRANT USAGE ON *.*" + TO + " IDENTIFIED BY PASSWORD '*A'"], [], set()),
        (["GRANT ALL PRIVILEGES ON `dao\\_users`.*" + TO], [], {"dao_users"}),
        (["GRANT SELECT, INSERT ON `dao\\_users`.*" + TO], [], set()),
        (["GRANT SELECT ON `dao_users`.`t`" + TO], [], set()),
        (["GRANT ALL PRIVILEGES ON `dao_users`.*" + TO], ["ALL PRIVILEGES ON `dao_users`.*"], set()),
        (["GRANT ALL PRIVILEGES ON *.*" + TO + " IDENTIFIED BY PASSWORD '*A'"], ["ALL PRIVILEGES ON *.*"], set()),
        (["GRANT SELECT ON `other`.*" + TO], ["SELECT ON `other`.*"], set()),
        (["GRANT `role`@`%`" + TO], ["`role`@`%`"], set()),
        (
            ["GRANT ALL PRIVILEGES ON `dao\\_users`.*" + TO + " WITH GRANT OPTION"],
            ["ALL PRIVILEGES ON `dao\\_users`.* WITH GRANT OPTION"],
            set(),
        ),
    ],
)
def test_grants_of_ours_and_of_others(lines: list[str], foreign: list[str], whole: set[str]) -> None:
    assert setup_mysql.foreign_grants(lines, ["dao_users"]) == (foreign, whole)


CATEGORIES = {"read": {"get", "scan"}, "write": {"set"}, "dangerous": {"keys", "info"}, "admin": {"acl|setuser"}}


def test_what_rules_of_redis_come_to() -> None:
    ours = setup_redis.rules(("blockchain:",), (6, 2))
    assert setup_redis.commands(ours, CATEGORIES) == {"get", "set", "info"}
    rewritten = ["on", "#hash", "~blockchain:*", "resetchannels", "&blockchain:*", "+@all", "-@admin", "-keys", "-scan"]
    assert setup_redis.differences(rewritten, ours, CATEGORIES) == []
    wider = [*rewritten, "~*", "+keys", "nopass"]
    assert setup_redis.differences(wider, ours, CATEGORIES) == ["~*", "nopass", "+keys"]
    assert setup_redis.differences(["on", "~blockchain:*", "+get"], ours, CATEGORIES) == [
        "without &blockchain:*",
        "without +info",
        "without +set",
    ]
    assert not any(word.startswith("&") for word in setup_redis.rules(("x:",), (6, 0)))
    # Redis 6 has no such command, and refuses the whole of it.
    assert setup_redis.NO_FUNCTIONS not in setup_redis.rules(("x:",), (6, 2))
    assert setup_redis.rules(("x:",), (7, 0))[-1] == setup_redis.NO_FUNCTIONS


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1), st.binary(min_size=16, max_size=16))
def test_postgres_gets_what_proves_a_password_and_not_the_password(password: str, salt: bytes) -> None:
    made = setup_postgres.verifier(password, salt)
    method, rounds_salt, keys = made.split("$")
    rounds, text = rounds_salt.split(":")
    assert (method, rounds, b64decode(text)) == ("SCRAM-SHA-256", "4096", salt)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, 4096)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    assert [b64decode(key) for key in keys.split(":")] == [stored, hmac.digest(salted, b"Server Key", "sha256")]


BASE = Setup("root", "admin-1", "blockchain", ("blockchain",))
TARGET = Target("mysql", "127.0.0.1", 3306, "blockchain", "geheim-1")


@pytest.mark.parametrize(
    ("kind", "changes", "wrong"),
    [
        ("mysql", {}, None),
        ("postgres", {}, None),
        ("redis", {"prefixes": ("blockchain:",)}, None),
        ("neo4j", {}, "setup: kind 'neo4j' can't be set up (only mysql, mariadb, postgres, redis)"),
        ("mysql", {"user": "root"}, "setup: user 'root' is the server's own or the admin"),
        ("mysql", {"admin": "boss", "user": "root"}, "setup: user 'root' is the server's own or the admin"),
        ("postgres", {"admin": "boss", "user": "boss"}, "setup: user 'boss' is the server's own or the admin"),
        ("redis", {"user": "default"}, "setup: user 'default' is the server's own or the admin"),
        ("mysql", {"databases": ("MySQL",)}, "setup: database 'MySQL' is the server's own"),
        ("postgres", {"databases": ("template1",)}, "setup: database 'template1' is the server's own"),
        ("mysql", {"databases": ()}, "setup: nothing to give the user"),
        ("redis", {}, "setup: nothing to give the user"),
        ("mysql", {"databases": ("x" * 65,)}, f"setup: '{'x' * 65}' is no name here (1 to 64 printable characters)"),
        (
            "postgres",
            {"databases": ("道" * 22,)},
            f"setup: '{'道' * 22}' is no name here (1 to 63 printable characters)",
        ),
        ("mysql", {"user": "a\nb"}, "setup: 'a\\nb' is no name here (1 to 32 printable characters)"),
        ("mysql", {"user": ""}, "setup: admin and user must be named"),
        ("mysql", {"admin_password": ""}, "setup: a password is missing"),
    ],
)
def test_what_can_not_be_set_up(kind: str, changes: dict[str, Any], wrong: str | None) -> None:
    fields = {name: getattr(BASE, name) for name in ("admin", "admin_password", "user", "databases", "prefixes")}
    target = Target(kind, "127.0.0.1", 1, "blockchain", "geheim-1")
    assert bad_setup(target, Setup(**(fields | changes))) == wrong


@pytest.mark.parametrize(
    ("setup", "message"),
    [
        ([], "setup is not an object"),
        ({"admin": 1}, "admin is not a text"),
        ({"admin": "root", "databases": "x"}, "databases is not a list of texts"),
        ({"admin": "root", "databases": [1]}, "databases is not a list of texts"),
        ({"admin": "root", "admin_password": "hush-1", "user": "root"}, "setup: user 'root' is the server's own"),
    ],
)
def test_bad_input(setup: Any, message: str) -> None:
    fields = {"kind": "mysql", "host": "h", "port": 1, "password": "hush-2", "setup": setup}
    done = run("standin.dbcheck", [], json.dumps(fields).encode(), {})
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode().startswith(f"standin.dbcheck: {message}")
    assert b"hush" not in done.stderr


def test_no_password_is_shown_by_its_holder() -> None:
    assert "admin-1" not in repr(BASE)
    assert "geheim" not in repr(TARGET)


@contextmanager
def old_redis(version: str) -> Iterator[int]:
    """A Redis from before version 6: no users, so AUTH takes a password only."""

    def serve(connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            while line := stream.readline():
                words = [stream.read(int(stream.readline()[1:]) + 2)[:-2] for _ in range(int(line[1:]))]
                if words[0] == b"AUTH" and len(words) > 2:
                    connection.sendall(b"-ERR wrong number of arguments for 'auth' command\r\n")
                elif words[0] == b"INFO":
                    text = f"redis_version:{version}\r\n".encode()
                    connection.sendall(b"$%d\r\n%s\r\n" % (len(text), text))
                else:
                    connection.sendall(b"+OK\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("admin", ["default", "boss"])
def test_a_redis_that_knows_no_users_is_told(admin: str) -> None:
    with old_redis("5.0.7") as port:
        setup = {"admin": admin, "admin_password": "admin-1", "user": "blockchain", "prefixes": ["blockchain:"]}
        fields = {"kind": "redis", "host": "127.0.0.1", "port": port, "password": "geheim-1", "setup": setup}
        done = run("standin.dbcheck", [], json.dumps(fields).encode(), {})
    answer = json.loads(done.stdout)
    assert (answer["ok"], answer["reason"], answer["created"]) == (False, "refused", [])
    assert answer["detail"] == (
        "this Redis (5.0.7) knows no users, they came with version 6: drop admin and user, and use its one password"
    )
