"""The verb `database`: setting up, adopting a container, labels on servers, rotation (D16, D18, D6)."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from hostctl import containers, database, secretfiles
from hostctl.context import Context
from hostctl.definitions import parse_database, parse_service
from hostctl.errors import BadInput, HostctlError
from hostctl.launch import for_services, variable
from hostctl.layout import read_json, write_json
from hostctl.observe import observe
from hostctl.redact import env_file
from tests.hostctl import samples
from tests.hostctl.fake import FakeHost

SETUP = {"admin": "root", "user": "blockchain", "databases": ["blockchain"]}

CLIENT = """
import json, pathlib, sys
question = json.load(sys.stdin)
with open({asked!r}, "a") as stream:
    stream.write(json.dumps(question) + "\\n")
told = json.loads(pathlib.Path({answer!r}).read_text())
if "setup" not in question:
    told = {{key: told[key] for key in told if key not in ("created", "changed", "notices")}}
print(json.dumps(told))
"""


class Databases:
    """A host with a client of databases that answers what a test says, and remembers what it was asked."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fake = FakeHost(folder / "root", monkeypatch)
        self.fake.host()
        self._asked, self._answer = folder / "asked", folder / "answer"
        self.answer(ok=True, version="11.4")
        self.containers: dict[str, dict[str, Any]] = {}

    def answer(self, **told: Any) -> None:
        self._answer.write_text(json.dumps(told))

    @property
    def asked(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._asked.read_text().splitlines()] if self._asked.exists() else []

    def definition(self, setup: Any = SETUP, **changes: Any) -> Any:
        script = CLIENT.format(asked=str(self._asked), answer=str(self._answer))
        made = samples.database("mysql", [sys.executable, "-c", script], **changes)
        if setup is not None:
            made["check"]["input"] |= {"user": "blockchain", "database": "blockchain", "setup": setup}
        made["check"]["timeout_seconds"] = 60
        return parse_database(samples.raw(made), "mysql")

    def secret(self, owner: str, **values: str) -> None:
        self.fake.context().layout.secret_file(owner).write_text(env_file(values))

    def converge(self, observed: str | None = None, **changes: Any) -> dict[str, Any]:
        made = self.definition(**changes)
        return self.fake.act(lambda run: database.converge(run, made, observed, self.containers.get))

    def audit(self, verb: str) -> list[dict[str, Any]]:
        text = self.fake.context().layout.audit.read_text()
        return [line for line in map(json.loads, text.splitlines()) if line["verb"] == verb]

    def server(self) -> None:
        """Makes it a host of the runtime compose, as far as databases look."""
        layout = self.fake.context().layout
        record = read_json(layout.host)
        record["definition"]["runtime"] = "compose"
        write_json(layout.host, record)


@pytest.fixture
def databases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Databases:
    return Databases(tmp_path, monkeypatch)


def test_what_was_made_is_in_the_result_and_in_the_audit_log(databases: Databases) -> None:
    databases.secret("mysql", PASSWORD="user-secret-1")
    databases.secret("mysql-admin", PASSWORD="admin-secret-1")
    databases.answer(
        ok=True,
        version="11.4",
        created=["database blockchain", "user blockchain"],
        changed=[],
        notices=["user blockchain can read admin-secret-1"],
    )
    found = databases.converge()
    assert found == {
        "name": "mysql",
        "state": "reused",
        "detail": "11.4",
        "created": ["database blockchain", "user blockchain"],
        "notices": ["user blockchain can read ***"],
    }
    (asked,) = databases.asked
    assert asked["password"] == "user-secret-1"
    assert asked["setup"] == {**SETUP, "admin_password": "admin-secret-1"}
    (line,) = databases.audit("setup-database")
    assert (line["name"], line["created"]) == ("mysql", ["database blockchain", "user blockchain"])
    assert databases.audit("database")[0]["created"] == ["database blockchain", "user blockchain"]
    text = "".join(path.read_text() for path in databases.fake.root.rglob("state/**/*") if path.is_file())
    assert "secret-1" not in text  # D6


def test_what_was_made_is_on_record_also_where_it_ends_in_a_refusal(databases: Databases) -> None:
    databases.secret("mysql-admin", PASSWORD="admin-secret-1")
    databases.answer(ok=False, reason="refused", detail="no", created=["database blockchain"])
    with pytest.raises(HostctlError, match=r"mysql on 127\.0\.0\.1:9506 can't be used \(refused: no\)"):
        databases.converge(when_missing="fail")
    assert databases.audit("setup-database")[0]["created"] == ["database blockchain"]
    assert databases.fake.context().databases() == {}


def test_an_admin_without_a_password_is_told_before_anything_is_asked(databases: Databases) -> None:
    with pytest.raises(HostctlError, match=r"the password of mysql's admin is not here: `hostctl secrets mysql-admin`"):
        databases.converge()
    assert databases.asked == []


def test_without_an_admin_nothing_is_set_up(databases: Databases) -> None:
    databases.secret("mysql-admin", PASSWORD="admin-secret-1")
    databases.converge(setup=None)
    assert "setup" not in databases.asked[0]


def test_looking_sets_nothing_up(databases: Databases) -> None:
    """`observe` changes nothing: it hands no admin's password over."""
    from hostctl import client

    client.check(str(databases.fake.root), databases.definition(), {"PASSWORD": "user-secret-1"})
    assert "setup" not in databases.asked[0]


@pytest.mark.parametrize(
    "observed", ["missing: connection refused", "not converged yet", "reused; not converged yet (x)"]
)
def test_a_servers_label_is_only_whether_the_port_answered(databases: Databases, observed: str) -> None:
    databases.server()
    databases.converge(observed, setup=None)
    label = databases.fake.context().databases()["mysql"]["label"]
    # One that said nothing of a state is adopted, or the next preview would differ.
    assert label == ("reused" if observed.startswith("missing") else observed)


def test_a_laptops_label_must_hold(databases: Databases) -> None:
    with pytest.raises(HostctlError, match="mysql is 'reused' now, but was 'missing: connection refused'"):
        databases.converge("missing: connection refused", setup=None)
    databases.converge("reused; not converged yet (asked 2026-01-01T00:00:00Z)", setup=None)


def test_a_new_password_opens_the_database_before_services_get_it(databases: Databases) -> None:
    databases.secret("mysql", PASSWORD="user-secret-1")
    databases.secret("mysql-admin", PASSWORD="admin-secret-1")
    databases.converge()
    databases.answer(ok=True, version="11.4", changed=["password of user blockchain"])
    file = databases.fake.context().layout.secret_file("mysql")

    def write(run: Context, password: str) -> Any:
        return secretfiles.write(run, "mysql", {"PASSWORD": password})

    assert databases.fake.act(lambda run: write(run, "user-secret-2"))["outcome"] == "written"
    assert databases.asked[-1]["password"] == "user-secret-2"
    assert databases.asked[-1]["setup"]["admin_password"] == "admin-secret-1"
    assert "user-secret-2" in file.read_text()
    asked = len(databases.asked)
    assert databases.fake.act(lambda run: write(run, "user-secret-2"))["outcome"] == "unchanged"
    assert len(databases.asked) == asked
    databases.answer(ok=False, reason="refused", detail="the admin's login was refused")
    with pytest.raises(HostctlError, match=r"the password of mysql could not be changed .* keep the old one"):
        databases.fake.act(lambda run: write(run, "user-secret-3"))
    assert "user-secret-2" in file.read_text()


def test_an_admins_password_reaches_no_service() -> None:
    assert not for_services("mysql-admin")
    assert not for_services("consul")
    assert for_services("mysql")
    for owner in ("mysql-admin", "consul"):
        with pytest.raises(HostctlError, match="for hostctl alone"):
            variable(owner, "PASSWORD", "identity-service")
        with pytest.raises(HostctlError, match="for hostctl alone"):
            variable(owner, "PASSWORD")
        made = samples.service(secrets=["mysql", owner])
        with pytest.raises(BadInput, match=f"the secrets of {owner} are for hostctl alone"):
            parse_service(samples.raw(made), "identity-service")


def test_an_admins_password_gets_no_file_for_containers(databases: Databases) -> None:
    databases.server()
    layout = databases.fake.context().layout
    # A quote, which compose's form could not hold.
    texts = secretfiles._texts(databases.fake.context(), "mysql-admin", {"PASSWORD": "it's"})
    assert list(texts) == [layout.secret_file("mysql-admin")]
    assert set(secretfiles._texts(databases.fake.context(), "mysql", {"PASSWORD": "x"})) == {
        layout.secret_file("mysql"),
        layout.container_secrets("mysql"),
    }


# --- D18: containers that were there before ---


def container(status: str = "running", ports: Any = None, mode: str = "bridge", id: str = "c1") -> dict[str, Any]:
    held = {"3306/tcp": [{"HostIp": "0.0.0.0", "HostPort": "3306"}], "33060/tcp": None} if ports is None else ports
    return {
        "Id": id,
        "Name": "/test-mysql",
        "State": {
            "Running": status in ("running", "paused", "restarting"),
            "Status": status,
            "Paused": status == "paused",
        },
        "HostConfig": {"NetworkMode": mode},
        "NetworkSettings": {"Ports": held},
    }


IN_A_CONTAINER = {"setup": None, "container": "test-mysql", "ports": [3306]}


def test_the_documented_container_is_adopted_once(databases: Databases) -> None:
    databases.containers["test-mysql"] = container()
    assert databases.converge(**IN_A_CONTAINER)["adopted"] == "test-mysql"
    assert databases.audit("database")[-1]["adopted"] == "test-mysql"
    assert "adopted" not in databases.converge(**IN_A_CONTAINER)
    databases.containers["test-mysql"] = container(id="c2")  # somebody made it anew
    assert databases.converge(**IN_A_CONTAINER)["adopted"] == "test-mysql"


def test_no_container_of_that_name(databases: Databases) -> None:
    found = databases.converge(**IN_A_CONTAINER)
    assert found["notices"] == ["mysql: no container is named test-mysql: what answers on 3306 is used"]


@pytest.mark.parametrize(
    ("there", "message"),
    [
        (container("exited"), r"test-mysql is there but not running \(exited\): .*`docker start test-mysql`"),
        (container("paused"), "test-mysql is paused: look at `docker logs test-mysql`"),
        (
            container(ports={"3306/tcp": [{"HostPort": "3307"}]}),
            "publishes 3307, not 3306: it is never recreated from here; set databases.mysql.port",
        ),
        (container(ports={"3306/tcp": None}), "publishes no port, not 3306"),
        (container(ports={"3306/udp": [{"HostPort": "3306"}]}), "publishes no port, not 3306"),
        (container(ports={}), "publishes no port, not 3306"),
    ],
)
def test_a_container_that_does_not_fit_stops_it(databases: Databases, there: dict[str, Any], message: str) -> None:
    databases.containers["test-mysql"] = there
    with pytest.raises(HostctlError, match=message):
        databases.converge(**IN_A_CONTAINER)
    assert databases.asked == []
    assert databases.fake.context().databases() == {}


def test_a_container_on_the_hosts_own_network_has_the_hosts_ports(databases: Databases) -> None:
    databases.containers["test-mysql"] = container(ports={}, mode="host")
    assert databases.converge(**IN_A_CONTAINER)["adopted"] == "test-mysql"


def test_without_docker_there_is_no_container(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("hostctl.docker_api.socket_path", lambda: str(tmp_path / "nowhere.sock"))
    assert containers.inspect("test-mysql") is None


def test_without_an_admin_a_password_that_is_refused_goes_no_further(databases: Databases) -> None:
    databases.secret("mysql", PASSWORD="user-secret-1")
    databases.converge(setup=None, when_missing="fail")

    def rotated(value: str) -> Any:
        return databases.fake.act(lambda run: secretfiles.write(run, "mysql", {"PASSWORD": value}))

    databases.answer(ok=False, reason="refused", detail="Access denied")
    with pytest.raises(HostctlError, match=r"mysql does not take this password .*; the old one stays"):
        rotated("user-secret-2")
    file = databases.fake.context().layout.secret_file("mysql")
    assert file.read_text() == 'PASSWORD="user-secret-1"\n'
    databases.answer(ok=False, reason="missing", detail="connection refused")
    rotated("user-secret-3")  # nobody can tell
    assert file.read_text() == 'PASSWORD="user-secret-3"\n'


def test_a_password_edited_by_hand_is_no_end_of_observe(databases: Databases) -> None:
    databases.secret("mysql", PASSWORD="user-secret-1")
    databases.converge(setup=None)
    file = databases.fake.context().layout.secret_file("mysql")
    file.write_text("PASSWORD=user-secret-1\n")
    wanted: Any = {"databases": {"mysql": databases.definition(setup=None)}, "secrets": {}, "containers": []}
    label = observe(databases.fake.context(), wanted)["databases"]["mysql"]
    assert label.startswith(f"unknown: {file}, line 1: is not KEY=")
    assert "user-secret" not in label  # D6
    with pytest.raises(HostctlError, match=r"mysql\.env, line 1"):
        databases.converge(setup=None)
    # The very verb that repairs it, with a password that is looked at first (`rotate`).
    told = databases.fake.act(lambda run: secretfiles.write(run, "mysql", {"PASSWORD": "user-secret-2"}))
    assert told["outcome"] == "written"
    assert observe(databases.fake.context(), wanted)["databases"]["mysql"] == "reused"


def test_a_secret_that_the_stack_lacks_is_not_used_although_it_lies_there(databases: Databases) -> None:
    """It is taken away at the end of the very `up` that drops it: what a login with it proves isn't true any more."""
    databases.secret("mysql", PASSWORD="user-secret-1")
    databases.converge(setup=None, secret=False)
    assert "password" not in databases.asked[-1]
    databases.converge(setup=None)
    assert databases.asked[-1]["password"] == "user-secret-1"
