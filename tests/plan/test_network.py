"""URLs, servers' keys, networks and addresses: what is refused, and what is the same in other words (D6, D11)."""

from __future__ import annotations

import base64
import struct

import pytest

from plan.network import is_loopback, same_address
from plan.render import definitions
from tests.plan.stacks import HOST_KEY, STACKS, Change, plan_of, problems_of, put

ENDPOINT = "chain_settings.ethereum.endpoint"
URL = "write a URL, for example https://node.example:8545"
KEY = (
    "is not a server's public key; "
    "write its type and its base64, for example ssh-ed25519 AAAA… (`ssh-keyscan` shows it)"
)


def key(kind: str, *fields: bytes) -> str:
    """A public key of that type, written as ssh writes it."""
    blob = b"".join(struct.pack(">I", len(field)) + field for field in fields)
    return f"{kind} {base64.b64encode(blob).decode()}"


@pytest.mark.parametrize(
    "url",
    [
        "http://[",
        "http://[::1",
        "http://a]b",
        "http://node:port",
        "http://node:99999",
        "http://",
        "https:///path",
        "ftp://node.example",
        "http://a b",
        "http://node.example/\x00",
        "http://node.example/a\nb",
        "http://[fe80::zz]:1",
        "https://bcs.huawei\u3002invalid",
        "https://bcs.inval%69d",
        "https://real.example\\.invalid",
        "x" * 5,
        "",
    ],
)
def test_what_is_no_url_is_told(url: str) -> None:
    assert problems_of("tencent", put(ENDPOINT, url)) == [f"{ENDPOINT}: {url!r} is not a URL; {URL}"]


@pytest.mark.parametrize(("value", "shown"), [(5, "5"), (None, "null"), (True, "true"), (["x"], "['x']")])
def test_what_is_no_text_is_no_url(value: object, shown: str) -> None:
    assert problems_of("tencent", put(ENDPOINT, value)) == [f"{ENDPOINT}: {shown} is not a URL; {URL}"]


@pytest.mark.parametrize(
    "url", ["https://user:hunter2@node.example", "https://hunter2@node.example/x", "http://a:hunter2@["]
)
def test_user_information_in_a_url_is_refused_and_not_shown(url: str) -> None:
    assert problems_of("tencent", put(ENDPOINT, url)) == [
        f"{ENDPOINT}: names a user or a password, which previews show; keep them under secrets.NAME only"
    ]  # D6


@pytest.mark.parametrize(
    "url", ["http://node:8545", "wss://node.example/ws?x=a@b", "http://[2001:db8::7]:8545/", "https://my_node.example."]
)
def test_these_are_urls(url: str) -> None:
    assert plan_of("tencent", put(ENDPOINT, url)).chains[1].endpoint == url


@pytest.mark.parametrize(
    "value",
    [
        "not a key",
        "ssh-ed25519",
        "ssh-ed25519 AAAA",
        "ssh-ed25519 not-base64!",
        HOST_KEY[:-1],
        HOST_KEY[:-8],
        HOST_KEY.replace("ssh-ed25519", "ssh-rsa"),
        key("ssh-ed25519", b"ssh-rsa", b"x"),
        key("ssh-ed25519", b"ssh-ed25519"),
        key("ssh-frobnicate", b"ssh-frobnicate", b"x"),
        "-----BEGIN OPENSSH PRIVATE KEY----- hunter2",
        f"{HOST_KEY}\nssh-rsa B",
        f"101.33.251.158 {HOST_KEY}",
        5,
        "",
    ],
)
def test_what_is_no_public_key_is_told_and_not_shown(value: object) -> None:
    assert problems_of("tencent", put("host.host_key", value)) == [f"host.host_key: {KEY}"]  # D6


@pytest.mark.parametrize(
    "value",
    [
        HOST_KEY,
        f"{HOST_KEY} root@tencent, 2026",
        key("ssh-rsa", b"ssh-rsa", b"\x01\x00\x01", b"n" * 257),
        key("ecdsa-sha2-nistp256", b"ecdsa-sha2-nistp256", b"nistp256", b"q" * 65),
    ],
)
def test_these_are_public_keys(value: str) -> None:
    assert plan_of("tencent", put("host.host_key", value)).host.host_key == value


OPEN_TO = "databases.mysql.open_to"
RIGHT = "name only those that need it, or drop open_to"


@pytest.mark.parametrize("cidr", ["::ffff:0:0/96", "::ffff:0.0.0.0/96", "::ffff:0.0.0.0/97", "::/32", "::/64"])
def test_the_ipv4_world_in_ipv6_is_the_world(cidr: str) -> None:
    (problem,) = problems_of("tencent", put(OPEN_TO, [cidr]))
    assert problem.startswith(f"{OPEN_TO}: ")
    assert " opens the database to the world; name the networks that need it, /" in problem  # D11


@pytest.mark.parametrize(
    ("cidrs", "together"),
    [
        ([f"{n}.0.0.0/8" for n in range(256)], "0.0.0.0/0"),
        (["10.0.0.0/8", "11.0.0.0/8"], "10.0.0.0/7"),
        (["10.0.0.0/8", "::ffff:11.0.0.0/104"], "10.0.0.0/7"),
        (["2001:db8::/32", "2001:db9::/32"], "2001:db8::/31"),
    ],
)
def test_narrow_networks_that_are_a_wide_one_together_are_told(cidrs: list[str], together: str) -> None:
    assert problems_of("tencent", put(OPEN_TO, cidrs)) == [
        f"{OPEN_TO}: its networks together are {together}: that opens the database to the world; {RIGHT}"
    ]  # D11


def test_narrow_networks_apart_from_each_other_are_fine() -> None:
    cidrs = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::ffff:203.0.113.7/128", "fd00::/32"]
    assert len(plan_of("tencent", put(OPEN_TO, cidrs)).database("mysql").open_to) == 5  # D11


def test_an_empty_list_opens_a_service_to_nobody() -> None:
    def open_to(stack: str, *changes: Change) -> dict[str, tuple[str, ...]]:
        return {service.name: service.open_to for service in plan_of(stack, *changes).running}

    gateway, edition = "services.blockchain-gateway", "editions.dao.services.dao-service-1"
    found = open_to("tencent", put(f"{gateway}.open_to", []), put(f"{edition}.open_to", []))
    assert (found["blockchain-gateway"], found["dao-service-1"]) == ((), ())  # D19
    assert open_to("tencent")["blockchain-gateway"] == ("0.0.0.0/0",)


@pytest.mark.parametrize("address", ["LOCALHOST", "localhost", "127.0.0.2", "127.9.9.9", "::1"])
def test_the_laptop_is_the_laptop_whatever_it_is_called(address: str) -> None:
    plan = plan_of("local", put("host.address", address))
    assert plan.host.local
    assert {database.host for database in plan.databases} == {"127.0.0.1"}


def test_what_is_the_machine_itself() -> None:
    assert [one for one in ("x.localhost", "::ffff:127.0.0.1", "LocalHost") if not is_loopback(one)] == []
    assert [one for one in ("localhost.example", "10.0.0.1", "::2", "0.0.0.0") if is_loopback(one)] == []
    assert same_address("Db.Example", "db.example")
    assert same_address("localhost", "127.0.0.2")
    assert not same_address("db.example", "127.0.0.1")


@pytest.mark.parametrize("host", ["127.0.0.2", "LOCALHOST", "::1"])
def test_a_database_on_any_loopback_address_is_on_this_host(host: str) -> None:
    changes = [put("databases.mysql.host", host), put("databases.mysql.port", 8301)]
    assert problems_of("local", *changes) == [
        "services.blockchain-service.port: 8301 is taken on 127.0.0.1 by mysql; 8305 is free"
    ]  # P6
    env = definitions(plan_of("local", changes[0]))["service/identity-service"]["launch"]["env"]
    # By number: clients take the name for a socket file.
    assert env["BLOCKCHAIN_MYSQL_HOST"] == {"LOCALHOST": "127.0.0.1"}.get(host, host)


def test_a_database_under_the_servers_own_name_is_on_this_host() -> None:
    changes = [put("host.address", "Host.Example"), put("databases.mysql.host", "host.example")]
    assert plan_of("tencent", *changes).database("mysql").local


ON_SERVERS = "write an absolute folder of its own, for example /opt/blockchain-services"
ON_LAPTOPS = "write a folder inside the project, for example .local"
SYSTEMS = "is the system's own folder, and hostctl makes and removes bin, lib, run and more in it"
EVERYBODYS = [
    "/usr",
    "/usr/local",
    "/usr/local/",
    "//usr/local",
    "/usr/./local",
    "/usr/local/lib",
    "/opt",
    "/etc",
    "/etc/blockchain",
    "/var",
    "/var/lib",
    "/var/lib/docker",
    "/root",
    "/home",
    "/srv",
    "/bin",
    "/lib",
    "/boot",
    "/dev",
    "/dev/shm",
    "/proc",
    "/sys",
    "/run",
    "/run/x",
    "/tmp",
    "/tmp/x",
    "/mnt",
]
ROOTS = [
    ("tencent", "/", "is the whole machine", ON_SERVERS),
    ("tencent", "//", "is the whole machine", ON_SERVERS),
    ("tencent", "/./", "is the whole machine", ON_SERVERS),
    ("tencent", "/opt/../..", "leads upwards", ON_SERVERS),
    ("tencent", "../..", "is relative, and a server has no project folder", ON_SERVERS),
    ("tencent", ".local", "is relative, and a server has no project folder", ON_SERVERS),
    ("alibaba", "~/x", "is relative, and a server has no project folder", ON_SERVERS),
    *(("tencent", root, SYSTEMS, ON_SERVERS) for root in EVERYBODYS),
    ("tencent", "/home/deploy", "is somebody's whole home", ON_SERVERS),
    ("local", "/", "is outside the project", ON_LAPTOPS),
    ("local", "/opt/x", "is outside the project", ON_LAPTOPS),
    ("local", "~/x", "is outside the project", ON_LAPTOPS),
    ("local", "../..", "leads upwards", ON_LAPTOPS),
    ("local", "a/../..", "leads upwards", ON_LAPTOPS),
    ("local", ".", "is the project itself", ON_LAPTOPS),
    ("local", "./", "is the project itself", ON_LAPTOPS),
]


@pytest.mark.parametrize(("stack", "root", "wrong", "right"), ROOTS)
def test_a_root_that_isnt_a_folder_of_ours_is_told(stack: str, root: str, wrong: str, right: str) -> None:
    assert problems_of(stack, put("host.root", root)) == [f"host.root: {root!r} {wrong}; {right}"]  # P7


FINE = (
    "/srv/blockchain",
    "/opt/blockchain",
    "/home/deploy/blockchain",
    "/var/lib/blockchain",
    "/blockchain",
    "/optional",
)


@pytest.mark.parametrize(
    ("stack", "root"), [*(("tencent", root) for root in FINE), ("local", ".other"), ("local", "./a/b/")]
)
def test_another_root_is_fine(stack: str, root: str) -> None:
    assert plan_of(stack, put("host.root", root)).host.layout.root == root


def test_whether_a_root_is_right_isnt_asked_of_a_host_that_cant_be_read() -> None:
    changes = [put("host.root", ".other"), put("host.address", "a b"), put("host.ssh_port", 8302)]
    found = problems_of("local", *changes)
    assert found == ["host.address: 'a b' is not an address; write an IP address or a host name"]


def test_there_are_three_stacks_of_which_none_names_its_root() -> None:
    assert [plan_of(stack).host.layout.root.startswith("/") for stack in STACKS] == [False, True, True]
