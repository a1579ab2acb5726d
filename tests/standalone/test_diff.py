"""Differences, ignored ones, and how they look."""

from __future__ import annotations

import json

import pytest

from standalone.diff import Change, changes, describe, ignore_changes, parse_path, touches
from standalone.values import LOCKED, UNKNOWN, Redactor, Secret


def lines(change: Change) -> list[str]:
    return describe(change, Redactor())


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("a", ("a",)),
        ("a.b[0]", ("a", "b", 0)),
        ('a["b.c"].d', ("a", "b.c", "d")),
        ("triggers[*]", ("triggers", "*")),
        ("*", ("*",)),
    ],
)
def test_paths(text: str, path: tuple[str | int, ...]) -> None:
    assert parse_path(text) == path


def test_changes_leaf_by_leaf() -> None:
    old = {"same": 1, "a": {"x": 1, "y": [1, 2]}, "gone": True}
    new = {"same": 1.0, "a": {"x": 2, "y": [1]}, "here": "z"}
    assert {(c.where, c.kind) for c in changes(old, new)} == {
        ("a.x", "update"), ("a.y[1]", "delete"), ("gone", "delete"), ("here", "add"),
    }  # fmt: skip
    assert changes({"a": True}, {"a": 1}), "true is not 1"


def test_a_secret_is_one_change_and_a_locked_one_none() -> None:
    assert [c.where for c in changes({"a": Secret({"b": 1})}, {"a": Secret({"b": 2})})] == ["a"]
    assert changes({"a": Secret("x")}, {"a": "x"}) == []
    assert changes({"a": Secret(LOCKED)}, {"a": Secret("x")}) == []
    (change,) = changes({"a": Secret("x")}, {"a": "y"})
    assert lines(change) == ["~ a: [secret] -> [secret]"]


def test_unknown_is_always_a_change() -> None:
    (change,) = changes({"a": "x"}, {"a": UNKNOWN})
    assert lines(change) == ['~ a: "x" -> [unknown]']


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["a"], {"a": 1, "b": {"c": 20, "d": 30}, "l": [10, 20]}),
        (["b.c"], {"a": 10, "b": {"c": 2, "d": 30}, "l": [10, 20]}),
        (["b.d", "a"], {"a": 1, "b": {"c": 20}, "l": [10, 20]}),
        (["b.*"], {"a": 10, "b": {"c": 2}, "l": [10, 20]}),
        (["l[0]"], {"a": 10, "b": {"c": 20, "d": 30}, "l": [1, 20]}),
        (["l[*]"], {"a": 10, "b": {"c": 20, "d": 30}, "l": [1, 2, 3, 4]}),
        (["*"], {"a": 1, "b": {"c": 2}, "l": [1, 2, 3, 4]}),
        (["none.of.these"], {"a": 10, "b": {"c": 20, "d": 30}, "l": [10, 20]}),
    ],
)
def test_ignored_paths_keep_the_old_values(paths: list[str], expected: object) -> None:
    old = {"a": 1, "b": {"c": 2}, "l": [1, 2, 3, 4]}
    new = {"a": 10, "b": {"c": 20, "d": 30}, "l": [10, 20]}
    assert ignore_changes(new, old, paths) == expected  # type: ignore[arg-type]
    assert new["a"] == 10, "the new inputs themselves stay as they are"


def test_touches() -> None:
    assert touches(("triggers",), "triggers[*]")
    assert touches(("triggers", 0, "deep"), "triggers[*]")
    assert not touches(("stdin",), "triggers[*]")


def test_a_json_document_with_many_changes_is_shown_as_a_cut_diff() -> None:
    old, new = ({f"k{i}": i + n for i in range(60)} for n in (1, 2))
    shown = lines(Change(("stdin",), "update", json.dumps(old), json.dumps(new)))
    assert shown[0] == "~ stdin:"
    assert '    -  "k0": 1,' in shown
    assert shown[-1].endswith("more lines")


def test_long_lines_are_cut_to_where_they_differ() -> None:
    text = "x" * 1000
    shown = lines(Change(("create",), "update", f"{text}A{text}", f"{text}B{text}"))
    assert all(len(line) < 250 for line in shown)
    assert "A" in shown[1]
    assert "B" in shown[2]


def test_known_secrets_are_blacked_out_anywhere() -> None:
    redact = Redactor()
    redact.learn({"a": Secret(json.dumps({"PASSWORD": "hunter22", "port": 8301})), "b": "hunter22"})
    assert redact("login with hunter22 on 8301") == "login with [secret] on 8301"
    assert redact.leaks("xhunter22x")


def test_of_a_json_document_only_what_differs_in_it() -> None:
    old = json.dumps({"env": {"PORT": "1", "A": "x"}, "ports": [1]}, indent=2)
    new = json.dumps({"env": {"PORT": "2", "A": "x"}, "ports": [1, 5]})
    (change,) = changes({"stdin": old}, {"stdin": new})
    assert describe(change, Redactor()) == ['~ stdin.env.PORT: "1" -> "2"', "+ stdin.ports[1]: 5"]
