"""Two simulated servers for people: `lab.py up` starts them and says how to use them, `lab.py down` removes them.

They are the ones that the tests use (tests/lab), under a name of their own: a run of the tests doesn't touch these.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent))
from stackfiles import ROOT

if TYPE_CHECKING:
    from tests.lab.host import LabHost

NAME = "make"
PREFIX = "blockchain-dao:"
KINDS = ("tencent", "alibaba")


def main(words: list[str]) -> int:
    """Exit code 1 where there can be no lab, with the reason."""
    if words not in (["up"], ["down"]):
        print("usage: lab.py up|down", file=sys.stderr)
        return 2
    sys.path.insert(0, str(ROOT))
    from tests.lab import machine

    if reason := machine.why_not():
        print(f"error: no lab here: {reason}", file=sys.stderr)
        return 1
    try:
        return up() if words == ["up"] else down()
    except machine.LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def up() -> int:
    """Start the servers that don't run; those that run stay as they are."""
    from tests.lab import images
    from tests.lab.lab import Lab

    print("the lab: building what is missing (minutes the first time), starting what doesn't run", file=sys.stderr)
    lab = Lab(NAME)
    lab.start(*KINDS, reset=False)
    image = images.stand_in()
    for kind in KINDS:
        lab.hosts[kind].load_image(image)
        print(about(lab.hosts[kind]))
    print("make lab-down removes both")
    lab.close()
    return 0


def about(host: LabHost) -> str:
    """What a person needs to go there, by hand and with the stack."""
    key = host.keys.path.relative_to(ROOT)
    logins = ", ".join(f"{name} {user} / {password}" for name, (user, password) in sorted(host.admins.items()))
    # Production refuses a chain's placeholder: any other endpoint will do, as nothing asks it.
    chain = "chain_settings: {huawei: {endpoint: 'https://bcs.example:8080', chain_id: bcs-production}}"
    more = f"\n                {PREFIX}{chain}" if host.kind == "alibaba" else ""
    return f"""\
{host.kind}: {host.address}
  by hand   ssh -i {key} {host.user}@{host.address}     (or -p {host.local_port} {host.user}@127.0.0.1)
  stack     in Pulumi.{host.kind}.yaml, under {PREFIX}host
                address: {host.address}
                host_key: {host.host_key}
            and beside it
                {PREFIX}allow_stand_in: true
                {PREFIX}images: {{stand_in: push}}{more}
  secrets   the passwords below, of the databases that Pulumi.{host.kind}.yaml names:
            `make encrypt STACK={host.kind}` asks for each, and prints what to put under {PREFIX}secrets
  then      make up STACK={host.kind} SSH_KEY_FILE={key}
  logins    {logins}
"""


def down() -> int:
    """Remove the servers; what all labs of this machine share goes when no other is there."""
    import shutil

    from tests.lab import images, lab, machine

    lab.remove_lab(lab.name_of(NAME))
    shutil.rmtree(lab.kept_folder(NAME), ignore_errors=True)
    if others := lab.labs():
        print(f"the images stay: other labs use them ({', '.join(others)})")
        return 0
    images.remove_all()
    if machine.stop_docker():
        print("the Docker daemon that the lab had started has ended too")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
