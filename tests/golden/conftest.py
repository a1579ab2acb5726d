"""What the tests of the rendered edge share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.golden.edge_run import haproxy, make_certificate


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A team's folder with a certificate, and HAProxy to read it."""
    haproxy()
    folder = tmp_path_factory.mktemp("tls")
    make_certificate(folder)
    return folder
