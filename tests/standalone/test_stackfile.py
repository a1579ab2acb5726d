"""Pulumi.yaml and the stack files: what the program gets, and what is said when they are wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from standalone.crypto import Keyring
from standalone.errors import UserError
from standalone.stackfile import Project, Stack, StackConfig

PROJECT = """
name: shop
config:
  mode: {type: string, default: development}
  ports: {type: array, default: [1, 2]}
  plain: value
  "other:key": {value: 5}
"""


def resolve(folder: Path, stack: str, project: str = PROJECT) -> StackConfig:
    (folder / "Pulumi.yaml").write_text(project)
    (folder / "Pulumi.dev.yaml").write_text(stack)
    return Stack.load(Project.load(folder), "dev").resolve(Keyring(None), placeholders=False)


def test_values_are_as_the_language_host_gets_them(tmp_path: Path) -> None:
    stack = """
config:
  shop:mode: production
  shop:n: 5
  shop:x: 1.5
  shop:on: on
  shop:flag: true
  shop:when: 2025-01-27
  shop:pair: 8301:22
  shop:zero: 0644
  shop:quoted: "5"
  shop:tree: {a: 1, b: [true, null, "x"]}
  aws:region: eu
"""
    values = resolve(tmp_path, stack).values
    assert values == {
        "shop:mode": "production", "shop:n": "5", "shop:x": "1.5", "shop:on": "on", "shop:flag": "true",
        "shop:when": "2025-01-27", "shop:pair": "8301:22", "shop:zero": "420", "shop:quoted": "5",
        "shop:tree": '{"a":1,"b":[true,null,"x"]}', "aws:region": "eu",
        "shop:ports": "[1,2]", "shop:plain": "value", "other:key": "5",
    }  # fmt: skip


# Each as Pulumi 3.259.0 handed it to a program.
AS_THE_CLI = {
    "010": "8", "8_301": "8301", "0b101": "5", "0o17": "15", "0x1F": "31", "08": "8", "-010": "-8", "1.50": "1.5",
    "1e3": "1000", "12345678901234567890": "12345678901234567890",
    "123456789012345678901234567890": "1.2345678901234568e+29", "1_0.5": "10.5", "1000000.0": "1000000",
    "1e30": "1e+30", "+5": "5", "0B11": "3", "0X1f": "31", "0O17": "15", "-0b11": "-3", "_1": "_1", "1_": "1",
    "0_1": "1", "1.": "1", ".5": "0.5", "-.5": "-0.5", "1__2": "12", "0x_1": "1", "yes": "yes", "TRUE": "true",
    "8301:22": "8301:22", '"010"': "010", "null": "", "~": "", "": "", "{}": "{}", "[]": "[]",
    "[010, 8_301, 1.50, null, 1000000.0, 08, TRUE, yes]": '[8,8301,1.5,null,1000000,8,true,"yes"]',
    "{010: b, true: c, 2: }": '{"8":"b","true":"c","2":null}',
}  # fmt: skip


def test_scalars_mean_what_they_mean_to_the_cli(tmp_path: Path) -> None:
    lines = "".join(f"  shop:k{n}: {text}\n" for n, text in enumerate(AS_THE_CLI))
    values = resolve(tmp_path, f"config:\n{lines}", "name: shop\n").values
    assert {text: values[f"shop:k{n}"] for n, text in enumerate(AS_THE_CLI)} == AS_THE_CLI


def test_secret_keys_name_the_values_with_a_secret_inside(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.yaml").write_text("name: shop\n")
    (tmp_path / "Pulumi.dev.yaml").write_text("config:\n  shop:a: {b: [{secure: v1:x:y}], c: open}\n  shop:d: e\n")
    stack = Stack.load(Project.load(tmp_path), "dev")
    config = stack.resolve(Keyring(None), placeholders=True)
    assert config.placeholders
    assert config.secret_keys == ["shop:a"]
    # This very text: the program knows by it that the secret isn't known (docs/contracts.md).
    assert json.loads(config.values["shop:a"]) == {"b": ["[secret]"], "c": "open"}
    with pytest.raises(UserError, match="no encryptionsalt"):
        stack.resolve(Keyring("x"), placeholders=False)


@pytest.mark.parametrize(
    ("stack", "message"),
    [
        ("config:\n  shop:a: [1\n  shop:b: 2\n", r"Pulumi\.dev\.yaml, line 3, column \d+: "),
        ("config:\n\tshop:a: 1\n", r"Pulumi\.dev\.yaml, line 2"),
        ("config:\n  shop:a: 1\n  shop:a: 2\n", r"line 3, column 3: the key 'shop:a' is there twice"),
        ("- a\n", "expected keys and values at the top, found a list"),
        ("config: 5\n", "config is not a mapping"),
        ("config:\n  a:b:c:d: 1\n", "'a:b:c:d' is not a configuration key"),
        ("config:\n  shop:ports: 5\n", "ports must be of type array"),
        ("secretsprovider: awskms://x\n", "only the passphrase secrets provider"),
        ("encryptionsalt: 5\nconfig:\n  shop:a: {secure: v1:x:y}\n", "encryptionsalt is not a text"),
        ("config:\n  [1]: 2\n", r"Pulumi\.dev\.yaml, line 2, column 3: a list or a map can't be a key"),
        ("config:\n  {a: 1}: 2\n", "line 2, column 3: a list or a map can't be a key"),
        ("config:\n  shop:a: !!int abc\n", "line 2, column 11: this is no value of the type int"),
        (f"config:\n  shop:a: !!int {'9' * 5000}\n", "line 2, column 11: this is no value of the type int"),
        ("config:\n  shop:a: !!float abc\n", "line 2, column 11: this is no value of the type float"),
        ("config:\n  shop:a: !!bool abc\n", "line 2, column 11: this is no value of the type bool"),
        ("config:\n  shop:a: !!map [1]\n", r"Pulumi\.dev\.yaml"),
        ("config:\n  shop:a: !!timestamp 2025-01-27\n", "line 2, column 11: .*timestamp"),
        ("config:\n  shop:a: !!binary aGk=\n", "line 2, column 11: .*binary"),
        ("config:\n  shop:a: !!set {a}\n", "line 2, column 11: .*set"),
        ("config:\n  shop:a: .inf\n", "infinity and NaN are no values"),
        ("config:\n  shop:a: .nan\n", "infinity and NaN are no values"),
        (f"config:\n  shop:a: {'[' * 800}{']' * 800}\n", "nested deeper than 100 levels"),
        (f"config:\n  shop:a: {'[' * 150}{']' * 150}\n", "nested deeper than 100 levels"),
        ("config:\n  shop:a: &a {x: *a}\n", "nested deeper than 100 levels, or holding itself"),
        (
            "config:\n  shop:secrets: {mysql: {secure: v1:x:y}, redis: CLEAR}\n",
            r"^Pulumi\.dev\.yaml: not encrypted: shop:secrets\.redis\. `make encrypt STACK=dev`",
        ),
        ("config:\n  secrets: {mysql: CLEAR, redis: 5}\n", r"not encrypted: secrets\.mysql, secrets\.redis\."),
        ('config:\n  shop:config:secrets: \'{"mysql": "CLEAR"}\'\n', r"not encrypted: shop:config:secrets\."),
    ],
)
def test_mistakes_are_named_with_their_place(tmp_path: Path, stack: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        resolve(tmp_path, stack)


def test_a_number_too_long_for_any_computer_is_text(tmp_path: Path) -> None:
    assert resolve(tmp_path, f"config:\n  shop:a: {'9' * 5000}\n").values["shop:a"] == "9" * 5000


def test_secrets_that_may_stand_in_clear(tmp_path: Path) -> None:
    """Another namespace's, and none at all; what is said of a clear one never repeats it."""
    assert resolve(tmp_path, "config:\n  other:secrets: {a: b}\n  shop:secrets:\n").values["shop:secrets"] == ""
    with pytest.raises(UserError) as refused:
        resolve(tmp_path, "config:\n  shop:secrets: {a: HUNTER2}\n")
    assert "HUNTER2" not in str(refused.value)


def test_types_and_missing_values(tmp_path: Path) -> None:
    typed = "name: shop\nconfig:\n  n: {type: integer}\n  b: {type: boolean, default: true}\n  s: {type: string}\n"
    with pytest.raises(UserError, match="n must be of type integer, not 'five'"):
        resolve(tmp_path, "config: {shop:n: five, shop:s: x}\n", typed)
    with pytest.raises(UserError, match="missing configuration values: n, s"):
        resolve(tmp_path, "config: {}\n", typed)
    secret = "name: shop\nconfig:\n  s: {type: string, secret: true}\n"
    with pytest.raises(UserError, match="s must be encrypted"):
        resolve(tmp_path, "config: {shop:s: x}\n", secret)


def test_a_missing_stack_names_those_that_exist(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.yaml").write_text("name: shop\n")
    for name in ("local", "tencent"):
        (tmp_path / f"Pulumi.{name}.yaml").write_text("")
    project = Project.load(tmp_path)
    with pytest.raises(UserError, match=r"no stack 'locla': .* stacks here: local, tencent"):
        Stack.load(project, "locla")
    with pytest.raises(UserError, match="is not a stack name"):
        Stack.load(project, "../x")


def test_a_missing_project(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no Pulumi\.yaml in"):
        Project.load(tmp_path)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("config: {}  # none", "encryptionsalt: v1:x:y\nconfig: {}  # none"),
        ("# mine\nconfig:\n  a:b: 1\n", "# mine\nencryptionsalt: v1:x:y\nconfig:\n  a:b: 1\n"),
        ("# nothing yet", "# nothing yet\nencryptionsalt: v1:x:y\n"),
    ],
)
def test_a_salt_is_added_above_what_secrets_are_pasted_into(tmp_path: Path, before: str, after: str) -> None:
    (tmp_path / "Pulumi.yaml").write_text("name: shop\n")
    path = tmp_path / "Pulumi.dev.yaml"
    path.write_text(before)
    path.chmod(0o640)
    Stack.load(Project.load(tmp_path), "dev").add_salt("v1:x:y")
    assert path.read_text() == after
    assert path.stat().st_mode & 0o777 == 0o640
