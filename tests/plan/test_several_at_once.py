"""Every problem in one list: values that can't be read beside rules that are broken, and no echoes of either."""

from __future__ import annotations

import json
from typing import Any

import pytest

from plan.load import load_plan
from plan.problems import InvalidStackError, Problem
from tests.plan.stacks import (
    STACKS,
    Change,
    as_pulumi_hands_it,
    changed,
    drop,
    paths_in,
    plan_of,
    problems_of,
    put,
    put_at,
    raw_stack,
    refusal,
)

PORT = "a port is a whole number from 1 to 65535, for example 8401"
BYTES = "write a number and a unit, for example 64MB or 1.8GB"


def test_values_that_cant_be_read_hide_no_broken_rule() -> None:
    error = refusal(
        "tencent",
        changed(
            "tencent",
            put("mods", "integration"),
            put("services.blockchain-config.port", 8412),
            put("services.blockchain-audit.memory", "64"),
            put("services.blockchain-auth.port", 70000),
            put("services.crosschain-service.needs", ["blockchain-servce"]),
            put("databases.mysql.open_to", ["0.0.0.0/0", "10.0.0.0/8"]),
            put("editions.dao.services.dao-service-1.port", 8300),
            put("secrets", {"mysql": "hunter2"}),
        ),
    )
    assert str(error) == (
        "Pulumi.tencent.yaml has 9 problems; nothing was touched:\n"
        "  - databases.mysql.open_to: 0.0.0.0/0 opens the database to the world; "
        "name the networks that need it, /8 or narrower, or drop open_to\n"
        "  - editions.dao.services.dao-service-1.port: 8300 is outside 8200-8299, the range of dao-service-1; "
        "8200 is free\n"
        "  - editions.dao.services.dao-service-3.port: 8300 is taken on 101.33.251.158 by dao-service-1; "
        "8301 is free\n"
        "  - mods: is not a known key; did you mean 'mode'?\n"
        "  - secrets.mysql: is in clear text; set it with `pulumi config set --secret --path 'secrets.NAME'`\n"
        f"  - services.blockchain-audit.memory: '64' is not an amount of bytes; {BYTES}\n"
        f"  - services.blockchain-auth.port: 70000 is not a port; {PORT}\n"
        "  - services.blockchain-config.port: 8412 is taken on 101.33.251.158 by blockchain-monitor; 8410 is free\n"
        "  - services.crosschain-service.needs: needs 'blockchain-servce', which nobody knows; "
        "did you mean 'blockchain-service'?"
    )


ECHOES = [
    # What is needed isn't told to be missing when its own entry can't be read.
    ("local", put("services.identity-service", {"prot": 8302}), 2),
    ("local", put("services.identity-service.port", "x"), 1),
    ("local", put("databases.mysql.port", "x"), 1),
    ("local", put("databases", "x"), 1),
    ("tencent", put("editions.dao.services.dao-shared-service.port", "x"), 1),
    ("tencent", put("editions.dao", "x"), 1),
    ("tencent", put("editions", "x"), 1),
    # A host that can't be read is neither a server nor a laptop, and neither too small nor too large.
    ("local", put("host.address", "not an address"), 1),
    ("local", put("host", "x"), 1),
    ("alibaba", put("host.memory", "1800"), 1),
    # A chain that can't be read lacks no settings, and its settings lack no chain.
    ("alibaba", put("chains", ["huawai"]), 1),
    ("alibaba", put("chain_settings.huawei.endpoint", "bcs"), 1),
    ("alibaba", put("mode", "prod"), 1),
    # With defaults in the place of limits that can't be read, a sum says nothing (56 MB there, 64 MB otherwise).
    ("alibaba", put("defaults", "small"), 1),
    ("alibaba", put("defaults.memory", "small"), 1),
]


@pytest.mark.parametrize(("stack", "change", "count"), ECHOES)
def test_what_cant_be_read_isnt_told_twice(stack: str, change: Change, count: int) -> None:
    assert len(problems_of(stack, change)) == count, problems_of(stack, change)


def test_what_is_missed_for_itself_is_told_beside_what_cant_be_read() -> None:
    lacks = "needs 'mysql', which this stack lacks; add databases.mysql, or list others"
    assert problems_of("local", put("secrets", {"mysql": "hunter2"}), drop("databases.mysql")) == [
        "secrets.mysql: is in clear text; set it with `pulumi config set --secret --path 'secrets.NAME'`",
        f"services.governance-service.databases: {lacks}",
        f"services.identity-service.databases: {lacks}",
    ]


JUNK: list[Any] = [{"x": 1}, ["x"], "junk of some kind", None, -3, 3.5, True, "", [], {}]


@pytest.mark.parametrize("stack", STACKS)
def test_junk_at_any_one_place_is_told_there_and_nowhere_else(stack: str) -> None:
    told = 0
    for path in paths_in(raw_stack(stack)):
        for junk in JUNK:
            raw = raw_stack(stack)
            put_at(raw, path, junk)
            key = ".".join(map(str, path))
            if readable(key, junk):
                continue  # another value, not junk: judged by the rules
            found = [problem.key for problem in refusal(stack, raw).problems]
            assert found, (key, junk)
            assert all(one == key or one.startswith(f"{key}.") for one in found), (key, junk, found)
            told += 1
    assert told > 300


OPTIONAL = {
    *("edition", "editions", "databases", "existing", "chain_settings", "defaults", "runtime", "edge"),
    *("reserve", "container", "when_missing"),
}


def readable(key: str, junk: Any) -> bool:
    """Whether a stack file may say this there: then it is something else's turn to judge it."""
    parent, _, last = key.rpartition(".")
    number = isinstance(junk, float) and last == "cpus"
    text = isinstance(junk, str) and last in ("container", "chain_id", "user")
    # Nothing behind a key that may be absent is as good as no key.
    none = junk is None and (last in OPTIONAL or (last in ("cpus", "memory", "disk") and parent != "host"))
    none |= junk is None and key == "databases.neo4j.ports"
    none |= junk == "" and key in OPTIONAL
    empty = junk == {} and key in (
        "services",
        "databases",
        "existing",
        "editions",
        "chain_settings",
        "defaults",
        "edge",
    )
    empty |= (junk == {} and key == "host.reserve") or (junk == [] and key == "databases.neo4j.ports")
    alone = junk == {"x": 1} and key in ("databases", "editions", "existing", "chain_settings", "services")
    return number or text or none or empty or alone


def test_one_error_names_the_file_and_counts() -> None:
    error = refusal("alibaba", changed("alibaba", drop("mode"), drop("range")))
    assert isinstance(error, InvalidStackError)
    assert (error.stack, len(error.problems)) == ("alibaba", 2)
    assert str(error).splitlines()[0] == "Pulumi.alibaba.yaml has 2 problems; nothing was touched:"
    assert str(InvalidStackError("x", [Problem("a", "b", "c")] * 2)) == (
        "Pulumi.x.yaml has 1 problem; nothing was touched:\n  - a: b; c"
    )


@pytest.mark.parametrize("stack", STACKS)
def test_values_may_come_as_pulumi_hands_them_over(stack: str) -> None:
    raw = raw_stack(stack)
    as_text = as_pulumi_hands_it(raw)
    assert all(isinstance(value, str) for value in as_text.values())
    assert load_plan(stack, as_text) == load_plan(stack, raw)
    assert load_plan(stack, {**as_text, "dao_group": "true", "allow_stand_in": "false"}) == load_plan(stack, raw)


def test_a_scalar_may_be_text_anywhere() -> None:
    as_numbers = plan_of("local", put("services.identity-service.port", 8302), put("host.cpus", 8))
    as_text = plan_of("local", put("services.identity-service.port", "8302"), put("host.cpus", "8"))
    assert as_numbers == as_text


def test_text_that_is_no_json_is_told_like_any_other_wrong_value() -> None:
    assert problems_of("local", put("host", "{address: 127.0.0.1}")) == [
        "host: '{address: 127.0.0.1}' is not a map of names to values; write a map of names to values"
    ]
    deep = "[" * 100_000
    assert [problem.split(":")[0] for problem in problems_of("local", put("services", deep))] == ["services"]
    deep_json = json.dumps({"a": 1}).replace("1", "[" * 400 + "]" * 400)
    assert [problem.split(":")[0] for problem in problems_of("local", put("host.reserve", json.loads(deep_json)))] == [
        "host.reserve.a"
    ]


@pytest.mark.parametrize("stack", STACKS)
def test_what_was_handed_over_stays_as_it_was(stack: str) -> None:
    """Reading takes out what it can't read: out of its own copy only, and what it puts in stays its own."""
    raw = changed(stack, put("chains", ["x"]), put("host", {"address": 5}), put("services.x", {"port": "y"}))
    before = json.dumps(raw)
    first = str(refusal(stack, raw))
    assert json.dumps(raw) == before
    assert str(refusal(stack, raw)) == first
    load_plan(stack, raw_stack(stack))
