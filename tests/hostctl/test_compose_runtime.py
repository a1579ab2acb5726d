"""What the runtime compose does with Docker and compose: by labels, one run for all, nothing of other people's (D5)."""

from __future__ import annotations

import json
import os
import shutil
import socket
from pathlib import Path
from typing import Any, cast

import pytest

from hostctl import files, host, observe
from hostctl.compose_files import STACK
from hostctl.context import Context
from hostctl.errors import HostctlError
from hostctl.layout import write_atomic
from hostctl.runtime import FAILED, OLDER_SECRETS, OTHER_SETTINGS, RESTARTED, STARTED, UNCHANGED
from tests.hostctl.compose_place import FILE, IMAGE, Place
from tests.plan.stacks import put


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_one_run_for_all_and_the_network_first(place: Place) -> None:
    found = place.converge("identity-service", "governance-service", "blockchain-audit")
    assert set(found.values()) == {STARTED}
    assert place.compose.runs == [["identity-service", "governance-service", "blockchain-audit"]]
    network = place.docker.networks["blockchain-tencent"]
    assert network["IPAM"]["Config"] == [{"Subnet": "172.28.84.0/24", "Gateway": "172.28.84.1"}]
    assert network["Labels"][STACK] == "tencent"
    assert network["Labels"]["com.docker.compose.network"] == "default"  # P7: compose takes it for its own
    assert set(place.converge("identity-service", "governance-service").values()) == {UNCHANGED}


def test_a_changed_service_is_recreated_alone(place: Place) -> None:
    place.converge("identity-service", "governance-service")
    before = dict(place.docker.there)
    place.plan(put("services.identity-service.env", {"A": "1"}))
    assert place.converge("identity-service") == {"identity-service": RESTARTED}
    assert len(set(before) & set(place.docker.there)) == 1


def test_a_bad_one_fails_alone_with_its_own_reason(place: Place) -> None:
    place.compose.broken["identity-service"] = "port is already allocated"
    targets = [place.target(name) for name in ("identity-service", "blockchain-audit")]
    found = place.runtime.converge(targets, [], place.host)
    assert (found["identity-service"].what, found["blockchain-audit"].what) == (FAILED, STARTED)
    assert found["identity-service"].detail == "ERROR: for identity-service port is already allocated"


def test_what_stopped_is_started_and_what_is_paused_goes_on(place: Place) -> None:
    place.converge("identity-service", "blockchain-audit")
    for one in place.docker.there.values():
        paused = "audit" in one["Name"]
        one["State"].update(Status="paused" if paused else "exited", Running=paused)
    found = place.converge("identity-service", "blockchain-audit")
    assert found["identity-service"] == STARTED
    assert {one["State"]["Status"] for one in place.docker.there.values()} == {"running"}


@pytest.mark.parametrize("running", ["old", "new", "none"])
def test_what_a_killed_compose_left_is_one_container_again(place: Place, running: str) -> None:
    """Compose 1.29 renames the old container, makes the new one, starts it, removes the old one."""
    digest = place.service("identity-service")["digest"]
    old_state, new_state = ("running" if running == one else "exited" for one in ("old", "new"))
    odd = "0123456789ab_blockchain-services_identity-service_1"
    place.docker.ours("identity-service", "0" * 12, name=odd, state=old_state)
    place.docker.ours("identity-service", digest, state=new_state)
    place.converge("identity-service")
    assert place.names() == ["blockchain-services_identity-service_1"]
    (one,) = place.docker.there.values()
    assert one["Config"]["Labels"]["blockchain-dao.definition"] == digest


def test_a_name_that_only_looks_like_ours_is_left_alone(place: Place) -> None:  # D5
    place.docker.add("blockchain-audit", {})
    place.docker.add("blockchain-something", {"blockchain-dao.stack": "another"})
    place.converge("blockchain-audit")
    place.converge(gone=("blockchain-audit",))
    place.runtime.stop_everything()
    assert place.names() == ["blockchain-audit", "blockchain-something"]
    assert not any(
        word.startswith(("stop blockchain-audit", "stop blockchain-something")) for word in place.docker.done
    )


def test_everything_of_ours_goes_and_nothing_else(place: Place) -> None:
    place.docker.add("test-mysql", {})
    place.converge("identity-service", "dao-service-1")
    place.runtime.stop_everything()
    assert (place.names(), place.docker.networks) == (["test-mysql"], {})
    place.runtime.stop_everything()


def test_it_goes_even_when_the_records_are_gone(place: Place) -> None:
    place.docker.ours("identity-service", folder=str(place.layout.root))
    place.layout.host.unlink()
    cast(Any, place.docker).containers = lambda labels=None: [
        {"Id": one["Id"], "Labels": one["Config"]["Labels"], "Names": [one["Name"]], "Ports": []}
        for one in place.docker.there.values()
        if (labels or {}).items() <= one["Config"]["Labels"].items()
    ]
    shutil.rmtree(place.layout.root)  # nor does the folder have to be there
    place.runtime.stop_everything()
    assert place.docker.there == {}


def test_strangers_on_a_port_are_named(place: Place) -> None:  # P6
    definition = {"blockchain-audit": place.service("blockchain-audit")}
    place.docker.add("their-app", {}, ports=[{"PublicPort": 8433}])
    (said,) = place.runtime.strangers(definition, [])["blockchain-audit"]
    assert said.startswith("port 8433 is taken by the container their-app")
    place.docker.there.clear()
    place.docker.ours("identity-service", ports=[{"PublicPort": 8433}])
    (said,) = place.runtime.strangers(definition, [])["blockchain-audit"]
    assert said.startswith("port 8433 is taken by identity-service: if that one is being removed, run `up` again")
    assert place.runtime.strangers(definition, ["identity-service"]) == {}  # it leaves
    place.docker.there.clear()
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 8433))
        listening.listen()
        (said,) = place.runtime.strangers(definition, [])["blockchain-audit"]
    assert said.startswith(f"port 8433 is taken by pid {os.getpid()} (")


def test_only_what_would_be_set_aside_may_hold_the_port(place: Place) -> None:  # P6, D18
    audit = {"blockchain-audit": place.service("blockchain-audit")}
    place.docker.add("blockchain-audit", {}, ports=[{"PublicPort": 8433}])
    (said,) = place.runtime.strangers(audit, [])["blockchain-audit"]  # its block has no container_name
    assert said.startswith("port 8433 is taken by the container blockchain-audit: end that")
    member = {"dao-service-1": place.service("dao-service-1")}
    (port,) = member["dao-service-1"]["ports"]
    place.docker.add("dao-service-1", {STACK: "another"}, ports=[{"PublicPort": port}])
    (said,) = place.runtime.strangers(member, [])["dao-service-1"]  # another stack's: never set aside
    assert said.startswith(f"port {port} is taken by the container dao-service-1")


def test_a_port_of_udp_or_of_another_stack_is_judged_as_such(place: Place) -> None:  # P6
    definition = {"blockchain-audit": place.service("blockchain-audit")}
    place.docker.add("their-app", {}, ports=[{"PublicPort": 8433, "Type": "udp"}])
    assert place.runtime.strangers(definition, []) == {}
    labels = {STACK: "another", "blockchain-dao.service": "blockchain-audit"}
    place.docker.add("blockchain-services_blockchain-audit_1", labels, ports=[{"PublicPort": 8433}])
    (said,) = place.runtime.strangers(definition, [])["blockchain-audit"]
    assert said.startswith("port 8433 is taken by the container blockchain-services_blockchain-audit_1")


def test_a_one_off_container_is_no_service(place: Place) -> None:
    """`docker-compose run identity-service sh`, typed by hand."""
    place.converge("identity-service")
    place.docker.ours("identity-service", name="run-1", oneoff=True, created="2027-01-01T00:00:00Z")
    found = place.runtime.process("identity-service")
    assert place.converge("identity-service") == {"identity-service": UNCHANGED}
    place.converge(gone=("identity-service",))
    assert found is not None
    assert place.names() == ["run-1"]
    assert place.runtime.processes() == {}
    place.runtime.stop_everything()
    assert (place.names(), place.docker.networks) == ([], {})


def test_what_is_to_go_goes_with_any_network(place: Place) -> None:
    place.converge("identity-service", "blockchain-audit")
    place.plan(put("host.subnet", "172.30.0.0/24"))
    found = place.converge("identity-service", gone=("blockchain-audit",))
    assert found == {"identity-service": FAILED}
    assert place.names() == ["blockchain-services_identity-service_1"]
    place.docker.networks.clear()
    assert place.converge(gone=("identity-service",)) == {}
    assert (place.names(), place.docker.networks) == ([], {})


def test_an_image_that_is_gone_is_never_pulled_by_compose(place: Place) -> None:
    place.plan(put("services.blockchain-audit.image", "registry.example/audit:1"))
    targets = [place.target(name) for name in ("identity-service", "blockchain-audit")]
    found = place.runtime.converge(targets, [], place.host)
    assert found["blockchain-audit"][:2] == (FAILED, "its image registry.example/audit:1 is not on this host")
    assert found["identity-service"].what == STARTED
    assert place.compose.runs == [["identity-service"]]
    place.docker.images.clear()
    assert place.converge("identity-service") == {"identity-service": FAILED}
    assert len(place.compose.runs) == 1


def secret(place: Place, value: str) -> None:
    write_atomic(place.layout.secret_file("mysql"), f'PASSWORD="{value}"\n')


def differs(place: Place, name: str) -> str:
    process = place.runtime.process(name)
    assert process is not None
    return place.runtime.differs(name, place.service(name)["digest"], process)


def test_a_container_with_older_secrets_or_settings_is_known(place: Place) -> None:
    place.plan(put("secrets", {"mysql": "[secret]"}))
    secret(place, "one")
    place.converge("identity-service", "blockchain-audit")
    assert (differs(place, "identity-service"), differs(place, "blockchain-audit")) == ("", "")
    secret(place, "two")
    assert (differs(place, "identity-service"), differs(place, "blockchain-audit")) == (OLDER_SECRETS, "")
    place.compose.changed_secrets.add("identity-service")
    found = place.runtime.restart([place.target("identity-service")])
    assert found["identity-service"].what == RESTARTED
    assert differs(place, "identity-service") == ""
    place.docker.there[next(iter(place.docker.there))]["Config"]["Labels"]["blockchain-dao.definition"] = "0"
    assert OTHER_SETTINGS in (differs(place, "identity-service"), differs(place, "blockchain-audit"))


def test_a_secret_that_was_written_again_as_it_was_is_no_older_one(place: Place) -> None:
    place.plan(put("secrets", {"mysql": "[secret]"}))
    secret(place, "one")
    place.converge("identity-service")
    secret(place, "one")
    assert differs(place, "identity-service") == OLDER_SECRETS
    place.compose.broken["identity-service"] = "no space left"
    place.converge("identity-service")
    assert differs(place, "identity-service") == OLDER_SECRETS  # compose failed: nobody compared them
    place.compose.broken.clear()
    assert place.converge("identity-service") == {"identity-service": UNCHANGED}
    assert differs(place, "identity-service") == ""
    secret(place, "one")
    assert place.runtime.restart([place.target("identity-service")])["identity-service"].what == RESTARTED
    assert differs(place, "identity-service") == ""


def test_a_failure_of_compose_is_no_restart(place: Place) -> None:
    place.converge("identity-service", "blockchain-audit")
    targets = [place.target(name)._replace(digest="") for name in ("identity-service", "blockchain-audit")]
    place.compose.broken["identity-service"] = "no space left"
    found = place.runtime.restart(targets)
    assert found["identity-service"][:2] == (FAILED, "ERROR: for identity-service no space left")
    assert found["blockchain-audit"].what == RESTARTED
    place.compose.silent = "docker-compose up was not done within 600 s"
    assert {one[:2] for one in place.runtime.restart(targets).values()} == {(FAILED, place.compose.silent)}
    place.compose.silent = ""
    place.compose.broken.clear()
    place.docker.refuses.add("restart blockchain-services_blockchain-audit_1")
    found = place.runtime.restart(targets)
    assert (found["identity-service"].what, found["blockchain-audit"].what) == (RESTARTED, FAILED)


def test_what_compose_could_not_start_failed(place: Place) -> None:
    place.converge("identity-service")
    (one,) = place.docker.there.values()
    place.compose.silent = "driver failed programming external connectivity"
    assert place.converge("identity-service") == {"identity-service": UNCHANGED}  # it runs, as its block says
    one["State"].update(Status="exited", Running=False)
    found = place.runtime.converge([place.target("identity-service")], [], place.host)
    assert found["identity-service"][:2] == (FAILED, place.compose.silent)


def test_a_restart_restarts_what_compose_would_leave(place: Place) -> None:
    place.converge("blockchain-audit")
    (one,) = place.docker.there.values()
    before = one["State"]["StartedAt"]
    assert place.runtime.restart([place.target("blockchain-audit")])["blockchain-audit"].what == RESTARTED
    assert one["State"]["StartedAt"] != before


@pytest.mark.parametrize(
    ("state", "oom", "said"),
    [
        ("exited", False, ("failed", "exit status 3")),
        ("restarting", False, ("failed", "exit status 3, and is started again and again")),
        ("exited", True, ("failed", "killed: it took more than its memory limit of 64 MB")),
        ("paused", False, ("stopped", "its container is paused")),
        ("created", False, ("starting", "")),
        ("running", False, ("running", "")),
    ],
)
def test_states_in_words(place: Place, state: str, oom: bool, said: tuple[str, str]) -> None:
    place.docker.ours("identity-service", state=state, oom=oom)
    found = (place.runtime.processes() or {})["identity-service"]
    assert (found.state, found.detail) == said
    assert place.runtime.process("identity-service") == found


def test_without_docker_nothing_is_known(place: Place) -> None:
    place.docker.up = False
    assert place.runtime.processes() is None


def test_what_is_there_before_us_is_told_while_docker_answers(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # D18
    look = cast(Any, observe)._to_adopt
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    assert look(["dao-service-1"]) == {}  # no Docker at all
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(f"{tmp_path}/docker.sock")
    assert look(["dao-service-1"]) == {}  # it is stopped
    place.docker.add("dao-service-1", {})
    place.docker.add("dao-service-2", {}, state="exited")
    place.converge("dao-service-3")
    monkeypatch.setattr("hostctl.docker_api.DockerApi", lambda: place.docker)
    assert look([f"dao-service-{number}" for number in range(1, 5)]) == {
        "dao-service-1": {"image": "x:1", "running": True},
        "dao-service-2": {"image": "x:1", "running": False},
    }


def test_a_file_that_compose_refuses_never_gets_in_place(place: Place) -> None:
    present = {FILE: (place.layout.root / FILE).read_text()}
    assert place.runtime.files_problem(present) is None
    assert place.runtime.files_problem({FILE: present[FILE] + "BROKEN"}) == "yaml is broken"
    assert place.runtime.files_problem({FILE: "services:\n"}) is None  # no service yet: compose would not read that
    assert [path.name for path in place.layout.root.glob(".*")] == []


def test_an_image_that_is_not_there_is_told_before_anything(place: Place) -> None:
    place.docker.images.clear()
    assert place.runtime.service_problems(place.service("identity-service")) == [
        f"its image {IMAGE} is not on this host"
    ]


def test_another_subnet_is_refused(place: Place) -> None:
    place.converge("identity-service")
    place.plan(put("host.subnet", "172.30.0.0/24"))
    with pytest.raises(HostctlError, match=r"is 172\.28\.84\.0/24 here, and 172\.30\.0\.0/24 in the plan"):
        place.runtime.start(place.host)
    place.docker.networks.clear()
    assert place.runtime.host_differs(place.host) == "the network blockchain-tencent is missing"


def test_its_folder_is_the_images_users(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    owned: list[tuple[str, int, int]] = []
    monkeypatch.setattr(os, "chown", lambda path, user, group: owned.append((Path(path).name, user, group)))
    folder = place.layout.data / "identity-service"
    folder.mkdir()
    if folder.stat().st_uid != 0:
        pytest.skip("only root's folders are handed over, and this is not root")
    place.runtime.own_data(place.service("identity-service"), folder)
    assert owned == [("identity-service", 10001, 10001)]
    for user in ("", "root", "0", "node"):
        place.docker.images[IMAGE] = {"Config": {"User": user}}
        place.runtime.own_data(place.service("identity-service"), folder)
    assert len(owned) == 1


def test_the_log_is_the_newest_containers(place: Place) -> None:
    place.docker.ours("identity-service", name="old", created="2026-01-01T00:00:00Z")
    place.docker.ours("identity-service", name="new", state="exited", created="2026-02-01T00:00:00Z")
    assert place.runtime.log_tail("identity-service", 5) == ["the log of new"]
    assert place.runtime.log_tail("nobody", 5) == []


def test_the_files_module_and_the_runtime_agree_on_the_file(place: Place) -> None:
    assert json.loads((place.layout.host).read_text())["definition"]["compose"]["file"] == FILE
    assert files.contains((place.layout.root / FILE).read_text(), "  identity-service:\n")


def test_a_host_that_lost_its_records_lets_its_containers_run(place: Place) -> None:
    converge_programs = cast(Any, host)._converge_programs
    place.converge("identity-service", "blockchain-audit")
    run = Context(str(place.layout.root), "host")
    before = run.host()
    assert converge_programs(run, place.runtime, None, place.host) == []
    assert place.converge("identity-service") == {"identity-service": UNCHANGED}  # `up` finds it by its label
    run.store.begin(place.service("identity-service"), run.me, "")
    said = converge_programs(run, place.runtime, before, place.host)
    assert said == ["ended blockchain-audit: it does not belong here"]
    assert place.names() == ["blockchain-services_identity-service_1"]
    run.store.forget("identity-service")
    place.docker.refuses.add("stop blockchain-services_identity-service_1")
    said = converge_programs(run, place.runtime, before, place.host)
    assert said == ["identity-service can't be removed: it won't stop blockchain-services_identity-service_1"]
