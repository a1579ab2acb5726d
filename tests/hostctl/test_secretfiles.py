"""Secret files: edited by hand they are repaired, and none goes while a service names it (D6)."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from hostctl import secretfiles, status
from hostctl.context import Context
from hostctl.errors import HostctlError
from hostctl.observe import observe
from hostctl.redact import env_file
from tests.hostctl import samples
from tests.hostctl.fake import FakeHost, FakeRuntime

NAME = "identity-service"
BY_HAND = "PASSWORD=hunter2\n"


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    made = FakeHost(tmp_path / "root", monkeypatch)
    made.host()
    return made


def up(fake: FakeHost, **changes: Any) -> Any:
    made = samples.service(NAME, **changes)
    FakeRuntime.ports[made["digest"]] = str(made["ports"][0])
    return fake.up(made)


def write(fake: FakeHost, **values: str) -> Any:
    return fake.act(lambda run: secretfiles.write(run, "mysql", values))


def forget(fake: FakeHost) -> Any:
    return fake.act(lambda run: secretfiles.forget(run, "mysql"))["outcome"]


def file(fake: FakeHost) -> Path:
    return fake.root / "secrets/mysql.env"


def test_the_verb_that_writes_them_repairs_what_a_hand_left(fake: FakeHost) -> None:
    write(fake, PASSWORD="one")
    up(fake, secrets=["mysql"])
    file(fake).write_text(BY_HAND)
    assert observe(fake.context(), {"databases": {}, "secrets": {}, "containers": []})["secrets"]["mysql"].startswith(
        "secrets/mysql.env was edited"
    )
    assert status.log_lines(fake.context(), NAME, 1) == [f"the last line of {NAME}"]
    assert write(fake, PASSWORD="two")["outcome"] == "written"
    assert file(fake).read_text() == env_file({"PASSWORD": "two"})


def test_none_goes_while_a_service_names_it(fake: FakeHost) -> None:
    write(fake, PASSWORD="one")
    up(fake, secrets=["mysql"])
    with pytest.raises(HostctlError, match=f"the secrets of mysql stay, for {NAME} still name them: bring them up"):
        forget(fake)
    assert file(fake).read_text() == env_file({"PASSWORD": "one"})
    # As in an `up` that drops a secret: the service's own change comes first.
    up(fake)
    assert [forget(fake), forget(fake)] == ["removed", "absent"]
    assert not file(fake).exists()


def test_they_go_after_the_service_as_in_a_destroy(fake: FakeHost) -> None:
    write(fake, PASSWORD="one")
    up(fake, secrets=["mysql"])
    fake.down(NAME)
    assert forget(fake) == "removed"


def test_a_change_under_way_counts_as_much_as_the_form_to_go_back_to(fake: FakeHost) -> None:
    write(fake, PASSWORD="one")
    up(fake, secrets=["mysql"])
    run = fake.context()
    run.store.begin(fake_definition(), run.me, "r1")  # without them, and not committed: it may be rolled back yet
    with pytest.raises(HostctlError, match=f"for {NAME} still name them"):
        secretfiles.forget(fake.context(), "mysql")


def fake_definition() -> Any:
    from hostctl.definitions import parse_service

    return parse_service(samples.raw(samples.service(NAME)), NAME)


def test_they_wait_for_the_hosts_lock(fake: FakeHost) -> None:
    write(fake, PASSWORD="one")
    holder: Context = fake.context()
    assert holder.lock.try_acquire()
    thread = threading.Thread(target=secretfiles.forget, args=(fake.context(), "mysql"))
    thread.start()
    time.sleep(0.3)
    assert file(fake).exists()
    holder.lock.release()
    thread.join(20)
    assert not file(fake).exists()


def test_files_of_a_host_that_lost_its_records_go_all_the_same(fake: FakeHost) -> None:
    write(fake, PASSWORD="one")
    (fake.root / "state/host.json").unlink()
    assert forget(fake) == "removed"
