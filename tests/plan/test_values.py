"""Values of the wrong type, for every semantic type, each with its exact message."""

from __future__ import annotations

from typing import Any

import pytest

from tests.plan.stacks import Change, drop, plan_of, problems_of, put

IDENTITY = "services.identity-service"
DIGEST = "sha256:" + "a" * 64
LONG = "x" * 4001

PORT = "a port is a whole number from 1 to 65535, for example 8401"
RANGE = "a range is written first-last, for example 8300-8399"
BYTES = "write a number and a unit, for example 64MB or 1.8GB"
LIMIT = "write 6.3MB or more, for example 64MB"
CIDR = "write a network in CIDR form, for example 10.0.0.0/8 or 203.0.113.7/32"
IMAGE = "name a version or, better, a digest, for example registry.example/identity:1.4.2 or …@sha256:<64 hex>"
ADDRESS = "write an IP address or a host name"
ONE_LINE = "write one line of text"
MAP = "is not a map of names to values; write a map of names to values"
LIST = "is not a list, for example [a, b]; write a list, for example [a, b]"


def cases(path: str, wrong: str, right: str, *values: Any, key: str = "") -> list[Any]:
    """One case per value: it is put at `path`, and the problem at `key` shows it."""
    return [(path, value, f"{key or path}: {written(value)} {wrong}; {right}") for value in values]


def written(value: Any) -> str:
    """As YAML's reader writes it, not as Python does."""
    words = [(None, "null"), (True, "true"), (False, "false"), (float("inf"), ".inf")]
    return next((word for one, word in words if value is one or (one == value and value == float("inf"))), repr(value))


PORTS = [
    *cases(f"{IDENTITY}.port", "is not a port", PORT, 0, 65536, -1, 8302.0, True, None, "", "83o2", "8302.0", "+8302"),
    *cases(f"{IDENTITY}.port", "is not a port", PORT, "８３０２", [8302], {"is": 8302}),
    *cases(f"{IDENTITY}.debug_port", "is not a port", PORT, 0),
    *cases("databases.redis.port", "is not a port", PORT, "redis"),
    *cases("host.ssh_port", "is not a port", PORT, 65536),
    *cases("range", "is not a range of ports", RANGE, "8300", "8300-", "8399-8300", "0-10", "1-65536", "a-b", 8300),
    *cases("range", "is not a range of ports", RANGE, " ", ["8300", "8399"]),
]
AMOUNTS = [
    *cases("host.memory", "is not an amount of bytes", BYTES, "16", "16G", "16gb", "GB", 16, -1, "-16GB", "1e3GB"),
    *cases("host.memory", "is not an amount of bytes", BYTES, None, "", "1" * 19 + "GB", ["16GB"]),
    *cases(f"{IDENTITY}.memory", "is not an amount of bytes", BYTES, 64),
    # Docker takes 0 for no limit at all (D14).
    *cases(f"{IDENTITY}.memory", "is less than a container can have", LIMIT, "0MB", "6MB", "6291455B"),
    *cases("defaults.memory", "is less than a container can have", LIMIT, "1B"),
    *cases(f"{IDENTITY}.cpus", "is not a number", "write a number", "many", True, [1], float("inf")),
    *cases("host.cpus", "is not a number", "write a number", None, False),
    *cases("monthly_cost_yuan", "is not a whole number", "write a whole number", 5.5, "5.5", "fifty"),
    *cases("monthly_cost_yuan", "is not a number", "write a number", True),
    *cases("monthly_cost_yuan", "can't be", "input should be greater than or equal to 0", -5),
    *cases(f"{IDENTITY}.cpus", "can't be", "input should be greater than or equal to 0.01", 0, 0.001),
    *cases(f"{IDENTITY}.cpus", "can't be", "input should be less than or equal to 1024", 1025),
    *cases(f"{IDENTITY}.health_timeout", "can't be", "input should be greater than or equal to 0.1", 0, -5),
    *cases(f"{IDENTITY}.stop_grace", "can't be", "input should be less than or equal to 3600", 3601),
]
NETWORKS = [
    *cases("databases.mysql.open_to.0", "is not a network", CIDR, "10.0.0.0", 8, None, ""),
    *cases("databases.mysql.open_to.0", "is not a network (10.0.0.1/8 has host bits set)", CIDR, "10.0.0.1/8"),
    *(
        (
            "databases.mysql.open_to.0",
            text,
            f"databases.mysql.open_to.0: {text!r} is not a network "
            f"({text!r} does not appear to be an IPv4 or IPv6 network); {CIDR}",
        )
        for text in ("10.0.0.0/33", "x/8", "::/129")
    ),
    *cases(
        "host.subnet",
        "has no room for the services' network",
        "write an IPv4 network of /28 or wider, for example 172.28.83.0/24",
        "10.0.0.0/29",
        "fd00::/64",
    ),
    *cases("host.address", "is not an address", ADDRESS, "a b", "-x", "127.0.0.1:22", "300.1.1.1", "1.2.3", "x_y"),
    *cases("host.address", "is not an address", ADDRESS, "https://x", "", 5, True, None),
    *cases("databases.mysql.host", "is not an address", ADDRESS, "tcp://db"),
    (
        "chain_settings.simulation",
        {"endpoint": "node.example", "chain_id": "1"},
        "chain_settings.simulation.endpoint: 'node.example' is not a URL; "
        "write a URL, for example https://node.example:8545",
    ),
]
NO_VERSION = "names no version: what runs would change without a change here"
IMAGES = [
    *cases(
        f"{IDENTITY}.image", "is not an image", IMAGE, "App:1", "app:1 ", "app:1\n", f"app@{DIGEST[:20]}", 5, "", ":1"
    ),
    *cases(f"{IDENTITY}.image", NO_VERSION, IMAGE, "app", "app:latest", "registry.example/app:latest"),
    *cases(f"{IDENTITY}.image", NO_VERSION, IMAGE, "registry.example:5000/app"),
]
TEXTS = [
    *cases(f"{IDENTITY}.env.LOG", "has characters that can't be there", ONE_LINE, "a\nb", "a\x00", "a\x1bb", "a\x85b"),
    # YAML ends a line at these, so the compose file would be another one than was meant.
    *cases(f"{IDENTITY}.env.LOG", "has characters that can't be there", ONE_LINE, "a\u2028b", "a\u2029b", "\uffff"),
    *cases(f"{IDENTITY}.env.LOG", "is not text", "put it in quotes", 5, 0.5, True),
    *cases(f"{IDENTITY}.env.LOG", "is not text", "write text", None, ["a"]),
    *(
        (
            f"{IDENTITY}.env",
            {name: "1"},
            f"{IDENTITY}.env.{shown}: {name!r} has characters that can't be there; "
            "use letters, digits and underscores, for example LOG_LEVEL",
        )
        for name, shown in [("A=B", "A=B"), ("1A", "1A"), ("A\nB", "'A\\nB'"), ("", ""), ("A-B", "A-B")]
    ),
    ("host.user", LONG, f"host.user: {repr(LONG)[:57]}... can't be; string should have at most 4000 characters"),
    *cases("databases.mysql.user", "is not text", "put it in quotes", 5),
]
SHAPES = [
    *((path, value, f"{path}: {value!r} {MAP}") for path in ("services", "host", "databases") for value in ("x", 5)),
    *((path, value, f"{path}: {value!r} {MAP}") for path in (IDENTITY, "host.reserve") for value in (8302, [1])),
    *((path, None, f"{path}: null {MAP}") for path in (IDENTITY, "databases.mysql", "chain_settings.simulation")),
    ("services", ["identity-service"], f"services: ['identity-service'] {MAP}"),
    (f"{IDENTITY}.env", ["LOG=1"], f"{IDENTITY}.env: ['LOG=1'] {MAP}"),
    (f"{IDENTITY}.command", "python main.py", f"{IDENTITY}.command: 'python main.py' {LIST}"),
    (f"{IDENTITY}.needs", {"a": 1}, f"{IDENTITY}.needs: {{'a': 1}} {LIST}"),
    ("databases.redis.ports", 9510, f"databases.redis.ports: 9510 {LIST}"),
    ("chains", "simulation", f"chains: 'simulation' {LIST}"),
    ("chains", [], "chains: is empty; list at least one"),
    ("existing.ai", {"ports": []}, "existing.ai.ports: is empty; list at least one"),
    (f"{IDENTITY}.command", [], f"{IDENTITY}.command: is empty; list at least one"),
    *cases(f"{IDENTITY}.public", "is not true or false", "write true or false", "maybe", 5),
    *cases("dao_group", "is not true or false", "write true or false", "maybe"),
]


@pytest.mark.parametrize(("path", "value", "problem"), [*PORTS, *AMOUNTS, *NETWORKS, *IMAGES, *TEXTS, *SHAPES])
def test_a_value_of_the_wrong_type_is_named_alone(path: str, value: Any, problem: str) -> None:
    """Alone: what the value leaves undone (a service that is gone, a sum) isn't told as another problem."""
    change = put(path.removesuffix(".0"), [value]) if path.endswith(".0") else put(path, value)
    assert problems_of("local", change) == [problem]


def test_every_wrong_item_of_a_list_is_named() -> None:
    ports = [9510, "x", 9511, 0, *range(9512, 9520), None, True]
    assert problems_of("local", put("databases.redis.ports", ports)) == [
        f"databases.redis.ports.1: 'x' is not a port; {PORT}",
        f"databases.redis.ports.12: null is not a port; {PORT}",
        f"databases.redis.ports.13: true is not a port; {PORT}",
        f"databases.redis.ports.3: 0 is not a port; {PORT}",
    ]


MISSING = {
    "mode": "add mode: BLOCKCHAIN_MODE: development, integration or production",
    "chains": "add chains: BLOCKCHAIN_CHAIN, in order, for example [huawei]",
    "range": "add range: the environment's ports, for example 8300-8399",
    "monthly_cost_yuan": "add monthly_cost_yuan: what blockchain adds a month, for example 50 (P11)",
    "host": "add host: the machine: its address, cpus, memory and disk",
    "services": "add services: the environment's services, each with its port",
    "host.address": "add address: IP address or name; also where public services answer",
    "host.cpus": "add cpus: CPU cores, for example 4",
    "host.memory": "add memory: memory, for example 8GB",
    "host.disk": "add disk: disk, for example 100GB",
    "services.identity-service.port": "add port: the port that it listens on, for example 8401",
    "databases.redis.port": "add port: the port that it listens on, for example 8401",
}


@pytest.mark.parametrize(("path", "right"), MISSING.items())
def test_what_is_missing_is_named_alone_with_what_it_is_for(path: str, right: str) -> None:
    assert problems_of("local", drop(path)) == [f"{path}: is missing; {right}"]


def test_an_empty_stack_file_lacks_all_that_is_needed() -> None:
    def nothing(raw: dict[str, Any]) -> None:
        raw.clear()

    wanted = [path for path in MISSING if "." not in path]
    assert problems_of("local", nothing) == sorted(f"{path}: is missing; {MISSING[path]}" for path in wanted)


GOOD: list[tuple[str, Change]] = [
    ("port as text", put(f"{IDENTITY}.port", "8302")),
    ("amount with a space", put(f"{IDENTITY}.memory", " 64 MB ")),
    ("binary amount", put(f"{IDENTITY}.memory", "64MiB")),
    ("least amount", put(f"{IDENTITY}.memory", "6MiB")),
    ("range with spaces", put("range", " 8300 - 8399 ")),
    ("image with a tag", put(f"{IDENTITY}.image", "app:1.2")),
    ("image with a registry's port", put(f"{IDENTITY}.image", "registry.example:5000/a/b:1.2-rc.1")),
    ("image with a digest", put(f"{IDENTITY}.image", f"app@{DIGEST}")),
    ("image with both", put(f"{IDENTITY}.image", f"app:latest@{DIGEST}")),
    ("empty setting", put(f"{IDENTITY}.env", {"LOG": ""})),
    ("setting in Chinese", put(f"{IDENTITY}.env", {"_x1": "区块链 $HOME 'a' \"b\" #c: 😀"})),
    ("none where there is a default", put(f"{IDENTITY}.memory", None)),
    ("a database elsewhere, by name", put("databases.mysql.host", "db-1.internal.example")),
    ("a database elsewhere, IPv6", put("databases.mysql.host", "2001:db8::7")),
    ("subnet", put("host.subnet", "10.9.0.16/28")),
]


@pytest.mark.parametrize("change", [pytest.param(change, id=name) for name, change in GOOD])
def test_these_values_are_fine(change: Change) -> None:
    plan_of("local", put("runtime", "docker"), change)


def test_values_are_what_they_say() -> None:
    plan = plan_of(
        "local",
        put(f"{IDENTITY}.memory", "64MiB"),
        put(f"{IDENTITY}.env", {"B": "2", "A": "区块链"}),
        put("host.memory", "16.5GB"),
        put("databases.mysql.host", "2001:DB8:0::7"),
    )
    identity = next(service for service in plan.services if service.name == "identity-service")
    assert identity.resources.memory == 67_108_864
    assert identity.env == (("A", "区块链"), ("B", "2"))
    assert plan.host.capacity.memory == 16_500_000_000
    assert plan.database("mysql").host == "2001:db8::7"
