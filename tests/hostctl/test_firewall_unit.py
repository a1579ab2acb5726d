"""The systemd unit that puts the firewall back at boot (D11)."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from hostctl import boot_unit
from hostctl.errors import HostctlError
from hostctl.layout import Layout

SYSTEMCTL = Path(__file__).parent / "firewall/systemctl"
UNIT = boot_unit.NAME


@pytest.fixture
def units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that systemd runs, with a systemctl that makes and removes the link as the real one does."""
    folder, running, tools = tmp_path / "units", tmp_path / "running", tmp_path / "tools"
    for path in (folder / "multi-user.target.wants", running, tools):
        path.mkdir(parents=True)
    (tools / "systemctl").symlink_to(SYSTEMCTL)
    monkeypatch.setattr(boot_unit, "UNITS", folder)
    monkeypatch.setattr(boot_unit, "RUNNING", running)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setenv("UNITS", str(folder))
    return folder


def called(units: Path) -> list[str]:
    calls = units / "calls"
    return calls.read_text().splitlines() if calls.exists() else []


def test_the_unit() -> None:
    text = boot_unit.text_for(Layout("/opt/blockchain-services"))
    lines = text.splitlines()
    assert lines[0].startswith("# blockchain-dao: written by hostctl of /opt/blockchain-services,")
    assert 'ExecStart=/bin/sh "/opt/blockchain-services/bin/hostctl" firewall restore' in lines
    assert "Type=oneshot" in lines
    (before,) = [line for line in lines if line.startswith("Before=")]
    assert {"network-pre.target", "docker.service"} <= set(before.removeprefix("Before=").split())
    assert "@" not in text


def test_what_systemd_says_of_it(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here")
    root = tmp_path / 'a "root" of 100%'
    hostctl = root / "bin/hostctl"
    hostctl.parent.mkdir(parents=True)
    hostctl.write_text("#!/bin/sh\n")
    hostctl.chmod(0o755)
    unit = tmp_path / UNIT
    unit.write_text(boot_unit.text_for(Layout(str(root))))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, timeout=60, check=False
    )
    assert [line for line in done.stderr.splitlines() if "blockchain-dao" in line] == []


def test_a_folder_with_a_name_of_its_own() -> None:
    text = boot_unit.text_for(Layout('/srv/100% "mine" $HOME'))
    assert 'ExecStart=/bin/sh "/srv/100%% \\"mine\\" $$HOME/bin/hostctl" firewall restore\n' in text
    assert 'RequiresMountsFor="/srv/100%% \\"mine\\" $HOME"\n' in text


def test_installed_once_and_gone_again(units: Path, tmp_path: Path) -> None:
    layout = Layout(str(tmp_path / "root"))
    assert boot_unit.difference(layout) == f"{UNIT} is missing"
    assert boot_unit.install(layout) == [f"{UNIT} puts it back at boot"]
    assert boot_unit.difference(layout) == ""
    assert stat.S_IMODE((units / UNIT).stat().st_mode) == 0o644
    assert called(units) == ["--quiet daemon-reload", f"--quiet enable {UNIT}"]
    assert boot_unit.install(layout) == []
    assert len(called(units)) == 2
    assert boot_unit.uninstall(layout) == [f"{UNIT} removed"]
    assert boot_unit.uninstall(layout) == []
    assert called(units)[2:] == [f"--quiet disable {UNIT}", "--quiet daemon-reload"]
    assert sorted(path.name for path in units.rglob("*")) == ["calls", "multi-user.target.wants"]


def test_what_somebody_did_to_it_is_said_and_repaired(units: Path, tmp_path: Path) -> None:
    layout = Layout(str(tmp_path / "root"))
    boot_unit.install(layout)
    with (units / UNIT).open("a") as unit:
        unit.write("# mine\n")
    assert boot_unit.difference(layout) == f"{UNIT} was edited"
    assert boot_unit.install(layout)
    (units / "multi-user.target.wants" / UNIT).unlink()
    assert boot_unit.difference(layout) == f"{UNIT} is not enabled"
    assert boot_unit.install(layout)
    assert boot_unit.difference(layout) == ""


def test_somebody_elses_is_left_alone(units: Path, tmp_path: Path) -> None:
    (units / UNIT).write_text("[Service]\n")
    assert boot_unit.problem() == f"{units / UNIT} is somebody else's: move it away first"
    assert boot_unit.uninstall(Layout(str(tmp_path / "root"))) == []
    boot_unit_of_another = boot_unit.text_for(Layout("/srv/another"))
    (units / UNIT).write_text(boot_unit_of_another)
    assert boot_unit.problem() == ""
    assert boot_unit.uninstall(Layout(str(tmp_path / "root"))) == []
    assert (units / UNIT).read_text() == boot_unit_of_another
    assert called(units) == []


def test_a_failing_systemctl(units: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAILS", "enable")
    layout = Layout(str(tmp_path / "root"))
    with pytest.raises(HostctlError, match=r"systemctl --quiet enable .* failed: Failed to enable unit"):
        boot_unit.install(layout)
    monkeypatch.delenv("FAILS")
    assert boot_unit.install(layout)  # the next run does what is left
    assert boot_unit.difference(layout) == ""


def test_without_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boot_unit, "RUNNING", tmp_path / "nowhere")
    monkeypatch.setattr(boot_unit, "UNITS", tmp_path / "units")
    layout = Layout(str(tmp_path / "root"))
    assert (boot_unit.difference(layout), boot_unit.install(layout), boot_unit.uninstall(layout)) == ("", [], [])
