"""The state file and the lock, without running anything."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from standalone.crypto import Keyring
from standalone.errors import UserError
from standalone.lock import exclusive
from standalone.state import Resource, StateFile, in_order, write_atomically
from standalone.values import Secret
from standalone.wire import from_struct, to_struct

DAMAGED = (
    b"", b"{", b"\xff\xfe\x00", b"[]", b"5", b'{"version": 3}', b'{"deployment": null}', b'{"deployment": []}',
    b'{"deployment": {"resources": [1]}}', b'{"deployment": {"resources": [{"urn": 5}]}}',
    b'{"deployment": {"resources": [{"urn": "x", "type": "t:t:T"}]}}', b'{"deployment": {"resources": {"a": 1}}}',
    b'{"deployment": {"pending_operations": [{}]}}', b"[" * 100_000,
)  # fmt: skip


def resource(name: str, *needs: str, **more: object) -> Resource:
    made = Resource(f"urn:pulumi:dev::p::t:t:T::{name}", "t:t:T", True, id=name)
    made.dependencies = [f"urn:pulumi:dev::p::t:t:T::{n}" for n in needs]
    for key, value in more.items():
        setattr(made, key, value)
    return made


def test_dependencies_come_before_dependents_and_replaced_ones_last() -> None:
    resources = [resource("c", "b"), resource("old", delete=True), resource("b", "a"), resource("a"), resource("z")]
    assert [r.name for r in in_order(resources)] == ["a", "b", "c", "z", "old"]


def test_a_chain_longer_than_pythons_stack(tmp_path: Path) -> None:
    chain = [resource(f"r{n}", f"r{n + 1}") for n in range(5000)]
    assert [r.name for r in in_order(chain)] == [f"r{n}" for n in reversed(range(5000))]
    circle = [resource("a", "b"), resource("b", "a")]
    assert {r.name for r in in_order(circle)} == {"a", "b"}


def test_what_the_cli_wrote_beyond_our_needs_is_kept(tmp_path: Path) -> None:
    raw = {
        "urn": "urn:pulumi:dev::p::t:t:T::a", "custom": True, "type": "t:t:T", "id": "a",
        "sourcePosition": "project:///x#1", "customTimeouts": {"create": 5}, "propertyDependencies": {"x": []},
    }  # fmt: skip
    state = StateFile(tmp_path / ".standalone" / "dev.json", Keyring(None))
    state.adopt({"resources": [raw]})
    assert state.deployment()["resources"] == [raw]


def test_a_damaged_state_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "dev.json"
    state = StateFile(path, Keyring(None))
    for text in DAMAGED:
        path.write_bytes(text)
        with pytest.raises(UserError, match=r"dev\.json is not a deployment of ours"):
            state.load()


def test_threads_that_save_together_share_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = StateFile(tmp_path / ".standalone" / "dev.json", Keyring(None))
    writes: list[str] = []

    def counted(path: Path, text: str) -> None:
        writes.append(text)
        write_atomically(path, text)

    monkeypatch.setattr("standalone.state.write_atomically", counted)

    def add(n: int) -> None:
        with state.lock:
            state.resources.append(resource(f"r{n}"))
            state.changed()
        state.save()
        found = json.loads(state.path.read_text())["deployment"]["resources"]
        assert any(r["id"] == f"r{n}" for r in found), "save returns when it is on disk"

    threads = [threading.Thread(target=add, args=(n,)) for n in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(json.loads(state.path.read_text())["deployment"]["resources"]) == 40
    assert len(writes) <= 40
    assert [p.name for p in state.path.parent.iterdir()] == ["dev.json"]


def test_nested_secrets_are_sealed_once_and_come_back(tmp_path: Path) -> None:
    keyring = Keyring("x")
    crypter = keyring.new_salt()
    state = StateFile(tmp_path / "dev.json", keyring)
    state.encrypt_with(crypter)
    made = resource("a", inputs={"connection": Secret({"host": "h", "privateKey": Secret("KEY")}), "n": [1, None]})
    state.resources.append(made)
    state.changed()
    state.save()
    assert "KEY" not in state.path.read_text()
    again = StateFile(tmp_path / "dev.json", keyring)
    again.load()
    assert again.resources[0].inputs == made.inputs
    assert isinstance(again.resources[0].inputs["connection"].value["privateKey"], Secret)  # type: ignore[union-attr]


def test_the_lock_names_its_holder(tmp_path: Path) -> None:
    path = tmp_path / ".standalone" / "dev.json"
    refused = pytest.raises(UserError, match=r"another run works on this stack: `up` by ")
    with exclusive(path, "up"), refused, exclusive(path, "destroy"):
        pass
    with exclusive(path, "up"):
        pass


def test_values_cross_the_wire_unharmed() -> None:
    props = {"a": 1, "b": 1.5, "c": [True, None, {"d": "x"}], "s": Secret({"t": Secret("u")})}
    assert from_struct(to_struct(props)) == props
