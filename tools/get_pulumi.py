"""Installs the Pulumi CLI of the SDK's own version into .uv/pulumi, where `make` and env.sh find it."""

from __future__ import annotations

import shutil
import subprocess
import sys

from pulumi.automation import PulumiCommand

from stackfiles import ROOT

TARGET = ROOT / ".uv" / "pulumi"


def main() -> int:
    print(f"installing the Pulumi CLI into {TARGET.relative_to(ROOT)} (from get.pulumi.com)", flush=True)
    try:
        installed = PulumiCommand.install(root=str(TARGET))
    except Exception as error:  # noqa: BLE001 - whatever went wrong below the SDK: network, shell script, version
        shutil.rmtree(TARGET, ignore_errors=True)  # half a CLI would be taken for one
        said = error.output if isinstance(error, subprocess.CalledProcessError) else str(error)
        text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
        print(
            f"error: the Pulumi CLI can't be downloaded from here: {text.strip() or error}\n"
            "  cure: check the network (get.pulumi.com must be reachable), then `make pulumi` again\n"
            "  cure: or install it as https://www.pulumi.com/docs/install says, and have it on PATH\n"
            "  `make up` and all the others work without it: standalone runs the program",
            file=sys.stderr,
        )
        return 1
    print(f"pulumi v{installed.version} is installed; `make` uses it from now on. By hand: . ./env.sh")
    return 0


if __name__ == "__main__":
    sys.exit(main())
