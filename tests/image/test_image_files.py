"""The files that make the image: pinned as the project is, and in step with the package."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import standin
from tests.image.service import IMAGE

ROOT = IMAGE.parent


def test_the_image_has_the_locked_libraries() -> None:
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    locked = {package["name"]: package for package in lock["package"]}
    pin = re.compile(r"^([a-z0-9-]+)==(\S+) \\\n((?:    --hash=\S+(?: \\)?\n)+)", re.MULTILINE)
    pins = pin.findall(read("requirements.txt"))
    names = {name for name, _, _ in pins}
    assert names >= {"starlette", "uvicorn", "prometheus-client", "pymysql", "redis", "pg8000"}
    for name, version, hashes in pins:
        package = locked[name]
        files = [*package["wheels"], package.get("sdist", {"hash": ""})]
        assert package["version"] == version, f"{name}: make requirements.txt again, its first lines say how"
        assert set(re.findall(r"--hash=(\S+?)(?: \\)?\n", hashes)) <= {file["hash"] for file in files}, name
        # Only then does one file fit amd64 and arm64.
        assert all(wheel["url"].endswith("-none-any.whl") for wheel in package["wheels"]), name
    for name in names:
        for needed in locked[name].get("dependencies", []):
            assert needed["name"] in names or "marker" in needed, f"{name} needs {needed['name']}"


def read(name: str) -> str:
    return (IMAGE / name).read_text(encoding="utf-8")


def test_the_version_is_one_line() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", read("VERSION"))
    assert standin.__version__ == read("VERSION").strip()


def test_the_dockerfile_keeps_its_promises() -> None:
    text = read("Dockerfile")
    final = text.split("FROM ${BASE}")[-1]
    assert "ARG BASE=debian:bookworm-slim\n" in text
    assert "--require-hashes" in text
    assert "python3-pip" not in final
    assert re.search(r"^USER 10001:10001$", final, re.MULTILINE)
    assert "STOPSIGNAL SIGTERM" in final
    assert "standin.probe" in final
    assert "ENTRYPOINT" not in final, "D17: a one-off container runs /app/export_data.sh"
    for name in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        for part in name.split():
            assert part == "company-ca.cr[t]" or (IMAGE / part).exists()


def test_the_scripts_are_programs_and_clean() -> None:
    scripts = sorted(IMAGE.glob("*.sh"))
    assert [script.name for script in scripts] == ["export_data.sh", "import_data.sh"]
    assert all(script.stat().st_mode & 0o111 == 0o111 for script in scripts)
    shellcheck = Path(sys.executable).with_name("shellcheck")
    if not shellcheck.exists():
        pytest.skip("no shellcheck next to this Python")
    done = subprocess.run([shellcheck, *scripts], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == ""


def test_no_module_is_large() -> None:
    for module in (IMAGE / "standin").glob("*.py"):
        assert len(module.read_text(encoding="utf-8").splitlines()) < 400, module.name
