"""`make check`: every check runs, each says how long it took, and one failure fails the whole."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from stackfiles import ROOT, uv_folder

BIN = ROOT / ".venv" / "bin"


def checks(env: dict[str, str], scripts: list[str]) -> list[tuple[str, list[str]]]:
    return [
        ("lock file", [str(Path(uv_folder(env)) / "uv"), "lock", "--check", "--quiet"]),
        ("format", [str(BIN / "ruff"), "format", "--check", "--quiet", "."]),
        ("lint", [str(BIN / "ruff"), "check", "--quiet", "."]),
        ("walls", [str(BIN / "lint-imports"), "--no-logo"]),
        ("shell", [str(BIN / "shellcheck"), *scripts]),
        ("schema", [sys.executable, "-m", "plan.schema", "--check"]),
        ("types", [str(BIN / "pyright"), "--warnings"]),
    ]


def main(scripts: list[str]) -> int:
    import os

    env = {**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1", "UV_PYTHON_DOWNLOADS": "never"}
    failed: list[str] = []
    for name, command in checks(env, scripts):
        started = time.monotonic()
        done = subprocess.run(
            command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        ok = done.returncode == 0
        print(f"{'ok' if ok else 'FAILED':6} {name:10} {time.monotonic() - started:5.1f} s", flush=True)
        if not ok:
            failed.append(name)
            print(f"{' '.join(command[:3])} …\n{done.stdout.rstrip()}", flush=True)
    if failed:
        print(f"check: {', '.join(failed)} failed; `make fmt` mends format and some lint", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
