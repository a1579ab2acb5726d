"""A service's block is its own, and names what the definition says (P7)."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostctl import compose_files
from hostctl.definitions import parse_host, parse_service
from plan.render import definitions, host_files
from tests.hostctl import samples
from tests.plan.stacks import plan_of, put

SERVERS = ("tencent", "alibaba")
MADE = {stack: definitions(plan_of(stack)) for stack in SERVERS}
SPEC = {stack: parse_host(samples.raw(MADE[stack]["host"]))["compose"] for stack in SERVERS}


def problems(value: dict[str, Any], stack: str = "tencent") -> list[str]:
    spec = SPEC[stack]
    assert spec is not None
    return compose_files.service_problems(parse_service(samples.raw(value), value["name"]), spec, stack)


def services(stack: str) -> list[dict[str, Any]]:
    return [one for key, one in MADE[stack].items() if key.startswith("service/")]


@pytest.mark.parametrize("stack", SERVERS)
def test_what_the_plan_renders_is_sound(stack: str) -> None:
    assert compose_files.host_problems(parse_host(samples.raw(MADE[stack]["host"]))) == []
    assert len(services(stack)) >= 12
    for one in services(stack):
        assert problems(one, stack) == [], one["name"]


@pytest.mark.parametrize("stack", SERVERS)
def test_every_block_is_found_again_in_the_whole_file(stack: str) -> None:
    plan = plan_of(stack)
    whole = host_files(plan)[plan.host.layout.compose_file]
    for one in services(stack):
        text = compose_files.text_of(one["parts"], plan.host.layout.compose_file)
        assert compose_files.block_of(whole, one["name"]) == text
    assert compose_files.block_of(whole, "nobody") == ""
    assert compose_files.block_of(whole, "blockchain") == ""  # the beginning of a name is another name


def test_the_owners_of_secrets_are_those_of_the_block() -> None:
    plan = plan_of("tencent", put("secrets", {"mysql": "[secret]", "huawei": "[secret]"}))
    file = plan.host.layout.compose_file
    made = definitions(plan)
    for name, owners in {
        "identity-service": ["mysql"],
        "blockchain-service": ["huawei"],
        "blockchain-audit": [],
    }.items():
        text = compose_files.text_of(made[f"service/{name}"]["parts"], file)
        assert compose_files.secret_owners(text) == owners  # D6
        assert problems(made[f"service/{name}"]) == []


PLAIN = definitions(plan_of("tencent", put("updates", "recreate")))
"""Services publish their own ports."""


def _block(change: Any) -> dict[str, Any]:
    value = copy.deepcopy(PLAIN["service/identity-service"])
    part = next(part for part in value["parts"] if part["file"].endswith(".yml"))
    part["text"] = change(part["text"])
    return value


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text + "  other:\n    image: x\n", "must be one block"),
        (lambda text: text + "volumes:\n", "must be one block"),
        (lambda text: text.replace("  identity-service:", "  governance-service:", 1), "must be one block"),
        (lambda text: text.rstrip("\n"), "must be one block"),
        (lambda text: "", "must be one block"),
        (lambda text: text.replace("image: blockchain-dao", "image: other"), "must say image: blockchain-dao"),
        (lambda text: text.replace("dao.stack: tencent", "dao.stack: x"), "must say blockchain-dao.stack: tencent"),
        (lambda text: text.replace("dao.service: ident", "dao.service: x"), "must say blockchain-dao.service"),
        (lambda text: text.replace("definition: ", "definition: x"), "must say blockchain-dao.definition"),
        (lambda text: text.replace("127.0.0.1:8402", "0.0.0.0:8402"), "must publish 127.0.0.1:8402:8402"),
    ],
)
def test_a_block_that_is_not_its_own_is_refused(change: Any, said: str) -> None:
    assert said in "; ".join(problems(_block(change)))


def behind(change: Any = lambda text: text) -> dict[str, Any]:
    """identity-service as the plan renders it, but behind an edge."""
    plain, pair = '"127.0.0.1:8402:8402"', '"172.28.84.1:16804-16805:8402"'
    return _block(lambda text: change(text.replace(plain, pair))) | {"edge": samples.behind()}


def the_edge(change: Any = lambda text: text) -> dict[str, Any]:
    value = _block(lambda text: change(text.replace('    ports:\n      - "127.0.0.1:8402:8402"\n', HOST_NETWORK)))
    return value | {"proxy": samples.proxy(), "files": {"edge/haproxy.cfg": {"mode": "0644"}}}


HOST_NETWORK = "    network_mode: host\n"


def test_one_behind_the_edge_publishes_its_pair_and_the_edge_nothing() -> None:
    assert problems(behind()) == []
    assert problems(the_edge()) == []


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (_block(lambda text: text) | {"edge": samples.behind()}, "must publish 172.28.84.1:16804-16805:8402"),
        (_block(lambda text: text) | {"edge": samples.behind()}, "must not publish 127.0.0.1:8402:8402"),
        (behind() | {"edge": None}, "must not publish 172.28.84.1:16804-16805:8402"),
        (behind(lambda t: t.replace("16804-16805", "16804")), "must publish 172.28.84.1:16804-16805:8402"),
        (behind(lambda t: t.replace("    ports:\n", '    ports:\n      - "22:22"\n')), "must not publish 22:22"),
        (the_edge(lambda t: t.replace(HOST_NETWORK, "")), "must say network_mode: host"),
        (the_edge(lambda t: t.replace(HOST_NETWORK, HOST_NETWORK + "    ports:\n      - 80:80\n")), "not publish 80"),
    ],
)
def test_ports_past_the_edge_are_refused(value: dict[str, Any], said: str) -> None:
    assert said in "; ".join(problems(value))


def member(change: Any, made: dict[str, Any] = MADE["tencent"]) -> dict[str, Any]:
    """An edition's service, whose container has a documented name (E2)."""
    value = copy.deepcopy(made["service/dao-service-1"])
    part = next(part for part in value["parts"] if part["file"].endswith(".yml"))
    part["text"] = change(part["text"])
    return value


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda t: t.replace("dao.container: dao-service-1", "dao.container: mysql"),
            "dao.container: dao-service-1, or",
        ),
        (lambda t: t.replace("    image", "    container_name: dao-service-1\n    image"), "not say container_name"),
    ],
)
def test_a_name_that_no_second_one_could_have_is_refused(change: Any, said: str) -> None:
    assert said in "; ".join(problems(member(change)))


def test_who_has_a_documented_name() -> None:
    def has(value: dict[str, Any], name: str = "dao-service-1") -> bool:
        text = next(part["text"] for part in value["parts"] if part["file"].endswith(".yml"))
        return compose_files.has_documented_name(text, name)

    same = member(lambda text: text)
    assert problems(same) == problems(member(lambda text: text, PLAIN)) == []
    assert has(same)
    assert has(member(lambda text: text, PLAIN))
    assert has(member(lambda text: text.replace("container: dao-service-1", 'container: "dao-service-1"')))
    assert not has(same, "dao-service")
    assert not has(member(lambda text: text.replace("container: dao-service-1", "container: dao-service-2")))
    assert not has(PLAIN["service/identity-service"], "identity-service")


@given(st.text(alphabet="ab \n:-", max_size=30))
def test_no_line_outside_its_indentation_gets_in(extra: str) -> None:
    """Whatever is put behind a block: what would be another service's or the file's own is refused."""
    value = _block(lambda text: text + extra + "\n")
    foreign = any(not line.startswith("    ") for line in (extra + "\n").split("\n")[:-1])
    assert bool(problems(value)) == foreign


def test_a_container_has_an_image_and_a_process_a_command() -> None:
    value = copy.deepcopy(MADE["tencent"]["service/identity-service"])
    value["launch"]["argv"] = ["true"]
    assert problems(value) == ["launch must name an image, and no argv"]


def test_the_hosts_part_must_end_where_services_begin() -> None:
    host = copy.deepcopy(MADE["tencent"]["host"])
    host["parts"][-1]["text"] += "  sneaky:\n"
    assert "must end with the line `services:`" in "; ".join(compose_files.host_problems(parse_host(samples.raw(host))))
    host = copy.deepcopy(MADE["tencent"]["host"])
    host["compose"]["subnet"] = "10.0.0.0/24"
    assert any(
        "must name the subnet 10.0.0.0/24" in one for one in compose_files.host_problems(parse_host(samples.raw(host)))
    )
