"""`make doctor STACK=…`: what is missing to run this stack from here, each with its cure.

It looks and changes nothing, and it dials nobody: whether a server answers, `make preview` tells. It starts with any
Python that is new enough, so that it can say what stops the install too.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

sys.path.insert(0, str(Path(__file__).resolve().parent))
import hostkeys
import listeners
import stackfiles
from stackfiles import LOCAL_PASSPHRASE, ROOT

if TYPE_CHECKING:
    from plan.models import EnvironmentPlan

GIGABYTE = 10**9
FREE_GIGABYTES = 1
Verdict = Literal["ok", "note", "MISSING"]


@dataclass(frozen=True)
class Finding:
    verdict: Verdict
    what: str
    cures: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n".join([f"{self.verdict:8}{self.what}", *(f"        cure: {cure}" for cure in self.cures)])


def ok(what: str) -> Finding:
    return Finding("ok", what)


def note(what: str, *cures: str) -> Finding:
    return Finding("note", what, cures)


def missing(what: str, *cures: str) -> Finding:
    return Finding("MISSING", what, cures)


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """A program's words; its absence or silence is a failure like any other."""
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 127, "", str(error))


def programs() -> Iterator[Finding]:
    yield ok(f"python {platform.python_version()} ({sys.executable})")
    uv = run(str(ROOT / "tools" / "bootstrap.sh"), "uv")
    yield ok(f"uv ({uv.stdout.strip()})") if uv.returncode == 0 else missing("uv", uv.stderr.strip())
    fresh = sys.prefix != sys.base_prefix and Path(sys.prefix).resolve() == (ROOT / ".venv").resolve()
    yield ok(".venv") if fresh else missing(".venv, with what uv.lock says", "`make install` (needs PyPI)")
    cli = stackfiles.find_cli(dict(os.environ))
    if cli:
        version = run(cli, "version").stdout.strip()
        yield ok(f"pulumi {version} ({cli})")
    else:
        yield note("no pulumi on PATH: standalone runs the program", "optional: `make pulumi`")


def owner(stack: str) -> Iterator[Finding]:
    told = run(sys.executable, "-m", "standalone", "owner", "--stack", stack)
    name = told.stdout.strip()
    if told.returncode != 0:
        yield missing(f"who owns the stack can't be told: {told.stderr.strip() or told.stdout.strip()}")
        return
    engine = "pulumi" if stackfiles.find_cli(dict(os.environ)) else "standalone"
    if os.environ.get("ENGINE") in ("pulumi", "standalone"):
        engine = os.environ["ENGINE"]
    if name == "unknown" and engine == "standalone":
        yield missing("who owns the stack: its backend isn't on this machine", "`make pulumi`: the CLI can ask it")
    elif name == "unknown":
        yield note("its backend isn't on this machine: the CLI asks it when it runs")
    elif name not in ("none", engine):
        yield missing(
            f"the stack is owned by {name}, and `make` would use {engine}",
            f"`make handover STACK={stack} TO={engine}`, or ENGINE={name} with each command",
        )
    else:
        yield ok("nobody owns the stack yet" if name == "none" else f"the stack is owned by {name}")


def passphrase(stack: str) -> str | None:
    if "PULUMI_CONFIG_PASSPHRASE" in os.environ:
        given = os.environ["PULUMI_CONFIG_PASSPHRASE"]
        return None if stack != "local" and given == LOCAL_PASSPHRASE else given
    if file := os.environ.get("PULUMI_CONFIG_PASSPHRASE_FILE"):
        return Path(file).read_text().strip()
    return LOCAL_PASSPHRASE if stack == "local" else None


def secret_things(stack: str) -> Iterator[Finding]:
    """The passphrase: is there one, does it open what the stack file keeps, can others read it?"""
    if not stackfiles.uses_passphrase(stack):
        return
    file = os.environ.get("PULUMI_CONFIG_PASSPHRASE_FILE")
    if file and "PULUMI_CONFIG_PASSPHRASE" not in os.environ:
        yield from readable_by_me_only("PULUMI_CONFIG_PASSPHRASE_FILE", Path(file))
        if not os.access(file, os.R_OK):
            return
    given = passphrase(stack)
    if given is None:
        yield missing(
            "the stack's passphrase (`make preview` works without)",
            "export PULUMI_CONFIG_PASSPHRASE_FILE=/a/file/of/yours (mode 0600)",
        )
        return
    from standalone.crypto import Keyring
    from standalone.errors import UserError
    from standalone.stackfile import Project, Stack, check_secrets

    try:
        check_secrets(ROOT, stack)
    except UserError:
        return  # stack_file() has said it
    try:
        read = Stack.load(Project.load(ROOT), stack)
        if read.has_secure():
            read.resolve(Keyring(given), placeholders=False)
            yield ok("the passphrase opens the stack file's secure values")
        else:
            yield ok("a passphrase (the stack file has no secure values yet)")
    except UserError as error:
        yield missing(f"the stack file's secure values: {error}", "set the passphrase that they were written with")


def read_plan(stack: str) -> EnvironmentPlan:
    """The stack file as a checked plan; a secret in it need not be opened for that."""
    from plan.load import load_plan
    from standalone.crypto import Keyring
    from standalone.stackfile import Project, Stack

    project = Project.load(ROOT)
    values = Stack.load(project, stack).resolve(Keyring(None), placeholders=True).values
    mine = f"{project.name}:"
    return load_plan(stack, {key.removeprefix(mine): value for key, value in values.items() if key.startswith(mine)})


def stack_file(stack: str) -> tuple[list[Finding], EnvironmentPlan | None]:
    try:
        plan = read_plan(stack)
    except ImportError as error:
        return [missing(f"the stack file can't be read without {error.name}", "`make install`")], None
    except Exception as error:  # noqa: BLE001 - InvalidStackError, UserError: their words are for the user
        return [missing(f"Pulumi.{stack}.yaml is no sound plan: {error}", "mend what it names")], None
    return [ok(f"Pulumi.{stack}.yaml is a sound plan: {len(plan.running)} services, runtime {plan.runtime}")], plan


def ours(root: Path) -> set[int]:
    """The ports that this environment's own services hold already, if it runs."""
    hostctl = root / "bin" / "hostctl"
    if not hostctl.exists():
        return set()
    try:
        services: dict[str, Any] = json.loads(run(str(hostctl), "status", "--json").stdout)["services"]
        return {int(port) for service in services.values() if service["pid"] for port in service["ports"]}
    except (ValueError, KeyError, TypeError, AttributeError):
        return set()  # a hostctl that can't tell: its ports are looked at like any other


def ports(plan: EnvironmentPlan, root: Path) -> Iterator[Finding]:
    held = ours(root)
    wanted = {port: service.name for service in plan.running for port in (service.port, service.debug_port) if port}
    strangers = [port for port in sorted(wanted) if port not in held and listeners.taken(port)]
    for port in strangers:
        yield missing(
            f"port {port} of {wanted[port]}: {listeners.who(port)} has it",
            "stop that program, or give the service another port in the stack file",
        )
    if not strangers:
        yield ok(f"ports {', '.join(map(str, sorted(wanted)))}: {'ours' if held else 'free'}")


def docker(why: str, otherwise: str) -> Finding:
    if not shutil.which("docker"):
        return missing(f"docker ({why})", f"install Docker here, or {otherwise}")
    told = run("docker", "version", "--format", "{{.Server.Version}}")
    if told.returncode != 0:
        return missing(f"docker's daemon: {told.stderr.strip()}", "start it; your user must be allowed to use it")
    return ok(f"docker {told.stdout.strip()}")


def readable_by_me_only(name: str, file: Path) -> Iterator[Finding]:
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
        file.open().close()
    except OSError as error:
        yield missing(f"{name}: {file}: {error.strerror}", "name a file that you can read")
        return
    if mode & 0o077:
        yield missing(f"{name}: {file} has mode {mode:04o}: others can read it", f"chmod 600 {file}")
    else:
        yield ok(f"{name}: {file}")


def ssh(stack: str, plan: EnvironmentPlan) -> Iterator[Finding]:
    """What every run on a server needs here: a client, the user's key, and to know whom to trust."""
    client = shutil.which("ssh")
    yield ok(f"ssh ({client})") if client else missing("ssh", "Debian/Ubuntu: apt-get install openssh-client")
    yield from users_key()
    host = plan.host
    pinned = hostkeys.HostKey.parse(host.host_key or "")
    if pinned is not None:
        yield ok(f"the host key of {host.address} is pinned: {pinned}")
    else:
        yield missing(
            f"host.host_key: without it any machine could pose as {host.address}, and nothing is sent",
            f"`make trust STACK={stack}` shows the server's keys and pins the one that you confirm",
        )


def pushed(plan: EnvironmentPlan) -> Iterator[Finding]:
    """Images that go from this machine's Docker to the server."""
    from plan.images import images_of

    names = [image.reference for image in images_of(plan) if image.source == "push"]
    if names:
        yield docker(f"it pushes {', '.join(names)}", "let the server get them itself (images.stand_in, image_from)")


def users_key() -> Iterator[Finding]:
    """The key that logs in: in a file, or in an agent."""
    key = os.environ.get("SSH_KEY_FILE", "")
    if key:
        yield from readable_by_me_only("SSH_KEY_FILE", Path(key).expanduser())
        if not shutil.which("ssh-agent"):
            yield missing("ssh-agent", "Debian/Ubuntu: apt-get install openssh-client")
    elif not os.environ.get("SSH_AUTH_SOCK"):
        yield missing(
            "an SSH key", "SSH_KEY_FILE=/your/key with each `make`, or an ssh-agent of your own (SSH_AUTH_SOCK)"
        )
    else:
        held = run("ssh-add", "-l")
        if held.returncode == 0:
            yield ok(f"ssh-agent holds {len(held.stdout.splitlines())} key(s)")
        else:
            yield missing(f"a key in the ssh-agent: {(held.stdout or held.stderr).strip()}", "ssh-add /your/key")


def folders(root: Path | None) -> Iterator[Finding]:
    """What is written here can be written, and what holds secrets is closed to others."""
    for folder in [path for path in (root, ROOT / ".state") if path]:
        there = next(path for path in (folder, *folder.parents) if path.exists())
        if not os.access(there, os.W_OK | os.X_OK):
            yield missing(f"{folder}: {there} can't be written", f"chown or chmod {there}")
    for name in ("secrets", "state"):
        path = root / name if root else None
        if path and path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077:
            yield missing(f"{path} can be read by others", f"chmod 700 {path}")
    free = shutil.disk_usage(ROOT).free / GIGABYTE
    if free < FREE_GIGABYTES:
        yield missing(f"disk space: {free:.1f} GB free in {ROOT}", f"make {FREE_GIGABYTES} GB free")
    else:
        yield ok(f"disk space: {free:.0f} GB free")


def examine(stack: str) -> Iterator[Finding]:
    yield from programs()
    found, plan = stack_file(stack)
    yield from found
    if sys.prefix == sys.base_prefix:
        yield from folders(None)
        return  # the rest needs what .venv holds
    yield from owner(stack)
    yield from secret_things(stack)
    if plan is None:
        yield from folders(None)
        return
    root = ROOT / plan.host.layout.root
    if plan.runtime == "docker":
        yield docker("the stack's runtime", "`runtime: process` in the stack file")
    if plan.host.local:
        yield from ports(plan, root)
    else:
        yield from ssh(stack, plan)
        yield from pushed(plan)
    yield from folders(root if plan.host.local else None)


def main() -> int:
    stack = os.environ.get("STACK", "local")
    if stack not in stackfiles.names():
        print(
            f"error: there is no stack {json.dumps(stack)}; there are: {', '.join(stackfiles.names())}", file=sys.stderr
        )
        return 1
    sys.path.insert(0, str(ROOT))
    gaps = 0
    for finding in examine(stack):
        print(finding, flush=True)
        gaps += finding.verdict == "MISSING"
    print(f"\n{stack}: {'ready' if not gaps else f'{gaps} missing'}")
    return 1 if gaps else 0


if __name__ == "__main__":
    sys.exit(main())
