"""What all tests share: how hard hypothesis tries, and an environment without the caller's own settings."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Examples are the same on every run of CI, so that a red one is somebody's change; SOAK looks further.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("default"), derandomize=True)
settings.register_profile("soak", settings.get_profile("default"), max_examples=2000)
settings.load_profile("soak" if os.environ.get("SOAK") else "ci" if os.environ.get("CI") else "default")

OURS = ("STACK", "ENGINE", "ARGS", "TO", "SSH_KEY_FILE", "PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE")


@pytest.fixture(autouse=True, scope="session")
def _without_the_callers_settings() -> None:
    """A test that needs one of these sets it; whoever runs `make test STACK=…` doesn't."""
    for name in (*OURS, "PULUMI_BACKEND_URL", "PULUMI_STACK", "MAKEFLAGS", "MAKELEVEL", "MFLAGS"):
        os.environ.pop(name, None)
    # Without bytecode every program that a test starts takes a second more.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.fixture(autouse=True)
def _the_umask_stays() -> Iterator[None]:
    """What a test would change for all that come after it in this process: files that other users could not read."""
    before = _umask()
    yield
    assert _umask() == before, "this test, or what it runs, has changed the umask of the whole process"


def _umask() -> str:
    """Where the system tells it; to ask Python is to change it for a moment."""
    status = Path("/proc/self/status")
    if not status.exists():
        return ""
    return next((line for line in status.read_text().splitlines() if line.startswith("Umask:")), "")
