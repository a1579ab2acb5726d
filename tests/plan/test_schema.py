"""The JSON Schema that editors use says of a stack file what the program says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from plan.load import load_plan
from plan.problems import InvalidStackError
from plan.schema import schema_text
from tests.plan.small_schema import errors
from tests.plan.stacks import PREFIX, ROOT, STACKS, Change, changed, drop, put, stack_file

SCHEMA: dict[str, Any] = json.loads((ROOT / "schema" / "stack.schema.json").read_text(encoding="utf-8"))


def test_the_file_is_up_to_date() -> None:
    assert (ROOT / "schema" / "stack.schema.json").read_text(encoding="utf-8") == schema_text(), "run `make schema`"


@pytest.mark.parametrize("stack", STACKS)
def test_the_stack_files_are_valid(stack: str) -> None:
    assert errors(SCHEMA, stack_file(stack)) == []


@pytest.mark.parametrize("stack", STACKS)
def test_editors_find_the_schema(stack: str) -> None:
    first = (ROOT / f"Pulumi.{stack}.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert first == "# yaml-language-server: $schema=./schema/stack.schema.json"


def test_what_is_pulumis_own_is_fine() -> None:
    file = stack_file("local")
    file |= {"secretsprovider": "passphrase", "encryptionsalt": "v1:abc="}
    file["config"] |= {"docker:host": "unix:///run/docker.sock", f"{PREFIX}secrets": {"mysql": {"secure": "v1:x"}}}
    assert errors(SCHEMA, file) == []


@pytest.mark.parametrize(
    ("stack", "change", "error"),
    [
        ("local", put("mods", 1), "$.config.blockchain-dao:mods is not known"),
        ("local", drop("mode"), "$.config lacks blockchain-dao:mode"),
        ("local", put("mode", "prod"), "$.config.blockchain-dao:mode is none of "),
        ("local", put("chains", []), "$.config.blockchain-dao:chains has less than 1"),
        ("local", put("chains", ["etherium"]), "$.config.blockchain-dao:chains[0] is none of "),
        ("local", put("range", "8300"), "$.config.blockchain-dao:range breaks pattern "),
        ("local", put("host.adress", 1), "$.config.blockchain-dao:host.adress is not known"),
        ("local", put("host.memory", 16), "$.config.blockchain-dao:host.memory is no string"),
        ("local", put("host.memory", "16"), "$.config.blockchain-dao:host.memory breaks pattern "),
        ("local", put("host.cpus", 0), "$.config.blockchain-dao:host.cpus breaks minimum "),
        ("local", put("host.cpus", True), "$.config.blockchain-dao:host.cpus is no number"),
        ("local", put("monthly_cost_yuan", -1), "$.config.blockchain-dao:monthly_cost_yuan breaks minimum 0"),
        (
            "local",
            put("services.identity-service.port", 70000),
            "$.config.blockchain-dao:services.identity-service.port breaks maximum 65535",
        ),
        (
            "local",
            put("services.identity-service.prot", 8302),
            "$.config.blockchain-dao:services.identity-service.prot is not known",
        ),
        ("local", put("services.X", {"port": 1}), "$.config.blockchain-dao:services.X is not known"),
        (
            "local",
            put("services.identity-service.env", {"A": "two\nlines"}),
            "$.config.blockchain-dao:services.identity-service.env.A breaks pattern ",
        ),
        ("tencent", put("edition", "doa"), "$.config.blockchain-dao:edition is nothing that it may be"),
        (
            "tencent",
            put("editions.futur", {"services": {}}),
            "$.config.blockchain-dao:editions's name futur is none of ",
        ),
        (
            "tencent",
            put("editions.dao.services.dao-service-1.port", "x"),
            "$.config.blockchain-dao:editions.dao.services.dao-service-1.port is no integer",
        ),
        ("local", put("secrets", {"mysql": "hunter2"}), "$.config.blockchain-dao:secrets.mysql is no object"),
    ],
)
def test_editors_show_what_the_program_would_refuse(stack: str, change: Change, error: str) -> None:
    raw = changed(stack, change)
    found = errors(SCHEMA, {"config": {f"{PREFIX}{key}": value for key, value in raw.items()}})
    assert len(found) == 1, found
    assert found[0].startswith(error)
    with pytest.raises(InvalidStackError):
        load_plan(stack, raw)


def test_every_key_is_described() -> None:
    """What a key is for is what an editor shows; and what the program says when the key is missing."""
    models = [SCHEMA["properties"]["config"]["properties"], *(d["properties"] for d in SCHEMA["$defs"].values())]
    bare = [name for model in models for name, one in model.items() if not one.get("description")]
    assert bare == []


def test_the_check_itself_knows_every_keyword_or_says_so() -> None:
    with pytest.raises(NotImplementedError, match="not known here"):
        errors({"oneOf": []}, 1)
