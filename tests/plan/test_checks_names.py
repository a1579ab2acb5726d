"""Misspelt names at every level, with the nearest right one; unknown keys; names that are taken."""

from __future__ import annotations

import pytest

from plan.semantic import SECRET
from tests.plan.stacks import Change, drop, plan_of, problems_of, put

TOP_KEYS = (
    "allow_stand_in, chain_settings, chains, dao_group, databases, defaults, edge, edition, editions, existing, "
    "host, images, mode, monthly_cost_yuan, range, runtime, secrets, services, updates"
)
OWN = {"port": 8305, "own": True}
CHAIN = {"endpoint": "https://x.example", "chain_id": "1"}

KEYS = [
    ("local", put("mods", 1), "mods: is not a known key; did you mean 'mode'?"),
    ("local", put("xyzzy", 1), f"xyzzy: is not a known key; known here: {TOP_KEYS}"),
    ("local", put("host.adress", 1), "host.adress: is not a known key; did you mean 'address'?"),
    ("local", put("host.reserve.mem", 1), "host.reserve.mem: is not a known key; did you mean 'memory'?"),
    ("local", put("defaults.cpu", 1), "defaults.cpu: is not a known key; did you mean 'cpus'?"),
    (
        "local",
        put("services.identity-service.prot", 1),
        "services.identity-service.prot: is not a known key; did you mean 'port'?",
    ),
    ("local", put("databases.redis.prot", 1), "databases.redis.prot: is not a known key; did you mean 'port'?"),
    ("alibaba", put("existing.consul.port", 1), "existing.consul.port: is not a known key; did you mean 'ports'?"),
    ("tencent", put("editions.dao.servces", 1), "editions.dao.servces: is not a known key; did you mean 'services'?"),
    (
        "tencent",
        put("editions.dao.services.dao-service-1.needs", []),
        "editions.dao.services.dao-service-1.needs: is not a known key; "
        "known here: cpus, disk, env, image, image_from, memory, open_to, port, public",
    ),
    (
        "tencent",
        put("chain_settings.ethereum.url", 1),
        "chain_settings.ethereum.url: is not a known key; known here: chain_id, endpoint",
    ),
]

WORDS = [
    ("local", put("mode", "developement"), "mode: 'developement' is not known; did you mean 'development'?"),
    ("local", put("runtime", "proces"), "runtime: 'proces' is not known; did you mean 'process'?"),
    ("local", put("runtime", "k8s"), "runtime: 'k8s' is not known; known here: compose, docker, process"),
    ("tencent", put("edition", "doa"), "edition: 'doa' is not known; did you mean 'dao'?"),
    (
        "tencent",
        put("editions.futur", {"services": {}}),
        "editions.futur: 'futur' is not known; did you mean 'future'?",
    ),
    ("local", put("chains", ["simulatoin"]), "chains.0: 'simulatoin' is not known; did you mean 'simulation'?"),
    (
        "tencent",
        put("chains", ["huawei", "etherium"]),
        "chains.1: 'etherium' is not known; did you mean 'ethereum'?",
    ),
    (
        "tencent",
        put("chain_settings.etherium", CHAIN),
        "chain_settings.etherium: 'etherium' is not known; did you mean 'ethereum'?",
    ),
    (
        "local",
        put("databases.redis.kind", "reddis"),
        "databases.redis.kind: 'reddis' is not known; did you mean 'redis'?",
    ),
    (
        "local",
        put("databases.redis.when_missing", "embeded"),
        "databases.redis.when_missing: 'embeded' is not known; did you mean 'embedded'?",
    ),
    (
        "alibaba",
        put("existing.ai.when_missing", "notic"),
        "existing.ai.when_missing: 'notic' is not known; did you mean 'notice'?",
    ),
    (
        "local",
        put("services.identity-service.group", "cor"),
        "services.identity-service.group: 'cor' is not known; did you mean 'core'?",
    ),
]

NAMES = [
    (
        "local",
        put("services.blockchain-gatway", {"port": 8313}),
        "services.blockchain-gatway: the documents name no such service; did you mean 'blockchain-gateway'?",
    ),
    (  # What was meant can't be one that is there already.
        "local",
        put("services.identity-service2", {"port": 8313}),
        "services.identity-service2: the documents name no such service; "
        "say `own: true` if it is a service of your own",
    ),
    (
        "local",
        put("services.frobnicator", {"port": 8313}),
        "services.frobnicator: the documents name no such service; say `own: true` if it is a service of your own",
    ),
    (
        "local",
        put("databases.postgress", {"port": 9510}),
        "databases.postgress: a database of this name needs its kind; "
        "did you mean 'postgres'? Otherwise add kind, for example `kind: mysql`",
    ),
    (
        "local",
        put("databases.redis2", {"port": 9510}),
        "databases.redis2: a database of this name needs its kind; add kind, for example `kind: mysql`",
    ),
    (
        "local",
        put("databases.ledger", {"port": 9510}),
        "databases.ledger: a database of this name needs its kind; add kind, for example `kind: mysql`",
    ),
    (
        "tencent",
        put("editions.dao.services.dao-service-4", {"port": 8202}),
        "editions.dao.services.dao-service-4: edition dao has no such container; drop it: all four are there",
    ),
    (
        "tencent",
        drop("editions.future.services.future-service-2"),
        "editions.future.services: 'future-service-2' is missing; add future-service-2 with a port of 8000-8099",
    ),
    (
        "tencent",
        drop("editions.dao.services.dao-shared-service"),
        "editions.dao.services: 'dao-shared-service' is missing; add dao-shared-service with a port of 8400-8499",
    ),
    (
        "tencent",
        drop("editions.dao"),
        "edition: 'dao' has no entry under editions; known here: blockchain, future",
    ),
    (
        "alibaba",
        put("chain_settings.ethereum", CHAIN),
        "chain_settings.ethereum: chains lists huawei only; add 'ethereum' to chains, or drop this",
    ),
    ("local", put("secrets", {"mysq": SECRET}), "secrets.mysq: opens nothing in this stack; did you mean 'mysql'?"),
    (
        "local",
        put("secrets", {"stripe": SECRET}),
        "secrets.stripe: opens nothing in this stack; known here: mysql, redis, simulation",
    ),
]

TAKEN = [
    (
        "tencent",
        put("services.dao-service-1", {"port": 8405, "own": True}),
        "services.dao-service-1: is the name of a container of edition dao; choose another name",
    ),
    (
        "local",
        put("services.reloader", OWN),
        "services.reloader: is the name of what restarts services on a code change; choose another name",
    ),
    (
        "local",
        put("services.blockchain-mysql", OWN),
        "services.blockchain-mysql: its key BLOCKCHAIN_MYSQL_PORT is that of mysql; choose another name",
    ),
    (
        "local",
        put("services.service", OWN),
        "services.service: its key SERVICE_PORT is that of every service itself; choose another name",
    ),
]

RIGHT_NAME = "use lower-case letters, digits and hyphens, for example identity-service"
FORMS = [
    (
        "local",
        put("services.Identity_Service", OWN),
        f"services.Identity_Service: 'Identity_Service' has characters that can't be there; {RIGHT_NAME}",
    ),
    ("local", put("databases.", {"port": 9510}), f"databases.: '' has characters that can't be there; {RIGHT_NAME}"),
    (
        "local",
        put("services.two\nlines", OWN),
        f"services.'two\\nlines': 'two\\nlines' has characters that can't be there; {RIGHT_NAME}",
    ),
    (
        "local",
        put("services." + "a" * 51, OWN),
        f"services.{'a' * 51}: '{'a' * 51}' can't be; string should have at most 50 characters",
    ),
    ("local", put("services.8305", OWN), f"services.8305: '8305' has characters that can't be there; {RIGHT_NAME}"),
]


@pytest.mark.parametrize(
    ("stack", "change", "problem"),
    [pytest.param(*case, id=case[2].split(";")[0][:60]) for case in [*KEYS, *WORDS, *NAMES, *TAKEN, *FORMS]],
)
def test_a_name_that_nothing_knows_is_told_with_the_nearest(stack: str, change: Change, problem: str) -> None:
    assert problems_of(stack, change) == [problem]


def test_a_misspelt_service_is_told_where_it_is_missed_too() -> None:
    change = [drop("services.identity-service"), put("services.identiy-service", {"port": 8302})]
    assert problems_of("local", *change) == [
        "services.blockchain-service.needs: needs 'identity-service', which this stack lacks; "
        "add services.identity-service, or list others",
        "services.identiy-service: the documents name no such service; did you mean 'identity-service'?",
    ]


def test_a_misspelt_member_of_an_edition_is_told_the_one_that_is_missing() -> None:
    change = [drop("editions.dao.services.dao-service-2"), put("editions.dao.services.dao-servce-3", {"port": 8201})]
    assert problems_of("tencent", *change) == [
        "editions.dao.services: 'dao-service-2' is missing; add dao-service-2 with a port of 8200-8299",
        "editions.dao.services.dao-servce-3: edition dao has no such container; did you mean 'dao-service-2'?",
    ]


def test_a_service_of_ones_own_is_welcome() -> None:
    plan = plan_of("local", put("services.frobnicator", OWN), put("databases.ledger", {"port": 9510, "kind": "mysql"}))
    mine = next(service for service in plan.services if service.name == "frobnicator")
    assert (mine.group, mine.port, mine.needs, mine.databases) == ("core", 8305, (), ())
    assert plan.database("ledger").kind == "mysql"


def test_a_number_as_a_name_is_refused_as_yaml_reads_it() -> None:
    def change(raw: dict[str, object]) -> None:
        raw["services"] = {8305: {"port": 8305}}

    found = problems_of("local", change)
    assert found == [f"services.8305: '8305' has characters that can't be there; {RIGHT_NAME}"]


def test_secrets_are_named_by_what_they_open() -> None:
    secrets = put("secrets", {"mysql": SECRET, "huawei": SECRET})
    plan = plan_of("alibaba", secrets)
    assert plan.secret_names == ("mysql", "huawei")
    assert plan.database("mysql").has_password
    assert [chain.has_credential for chain in plan.chains] == [True]
    assert not plan.database("redis").has_password


@pytest.mark.parametrize("value", ["hunter2", ["hunter2"], {"mysql": "hunter2"}, {"mysql": {"a": "hunter2"}}, 42])
def test_a_secret_in_clear_text_is_refused_and_not_shown(value: object) -> None:
    found = problems_of("local", put("secrets", value))
    if isinstance(value, dict):
        right = "set it with `pulumi config set --secret --path 'secrets.NAME'`"
        assert found == [f"secrets.mysql: is in clear text; {right}"]  # D6
    else:
        right = "write one secret a name: secrets.NAME"
        assert found == [f"secrets: is not a map of names to secrets; {right}"]  # D6
    assert "hunter2" not in "".join(found)
