"""Each local service: health as hostctl sees it, and its databases as its own /ready tells them.

Exit code 1 when one is not healthy, or when none runs. A service that is healthy but not ready says why.
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

sys.path.insert(0, str(Path(__file__).resolve().parent))
from stackfiles import ROOT

HOSTCTL = ROOT / ".local" / "bin" / "hostctl"
SECONDS = 5


def ready(port: int) -> dict[str, Any] | None:
    """What /ready says; None when it says nothing that we know (a service of one's own may not have it)."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=SECONDS) as answer:
            said: Any = json.load(answer)
    except urllib.error.HTTPError as refused:
        try:
            said = json.load(refused)
        except ValueError:
            return None
    except (OSError, ValueError):
        return None
    return cast("dict[str, Any]", said) if isinstance(said, dict) else None


def describe(said: dict[str, Any] | None) -> str:
    if said is None:
        return ""
    try:
        databases = [f"{name} {state['state']} ({state['detail']})" for name, state in said["databases"].items()]
        reasons = [] if said["ready"] else [f"not ready: {'; '.join(said['reasons'])}"]
    except (KeyError, TypeError, AttributeError):
        return ""
    return ", ".join([*databases, *reasons])


def main() -> int:
    if not HOSTCTL.exists():
        print("the local environment is not up: `make up`", file=sys.stderr)
        return 1
    told = subprocess.run([HOSTCTL, "status", "--json"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    try:
        services: dict[str, dict[str, Any]] = json.loads(told.stdout)["services"]
    except (ValueError, KeyError):
        return told.returncode or 1  # hostctl has said why
    if not services:
        print("no service runs here: `make up`", file=sys.stderr)
        return 1
    with ThreadPoolExecutor(len(services)) as pool:
        answers = pool.map(ready, [service["ports"][0] for service in services.values()])
        width = max(map(len, services))
        for (name, service), said in zip(services.items(), answers, strict=True):
            ports = ",".join(map(str, service["ports"]))
            health = "healthy" if service["healthy"] else f"NOT HEALTHY ({service['state']}: {service['detail']})"
            print(f"{name:{width}}  {ports}  {health}  {describe(said)}".rstrip())
    return 0 if all(service["healthy"] for service in services.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
