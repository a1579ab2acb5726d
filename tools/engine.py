"""Runs one verb on one stack with the Pulumi CLI or with standalone, and says with which.

`make up|preview|destroy|outputs|encrypt|handover STACK=…` call it. What it reads from the environment: STACK, ENGINE
(standalone or pulumi, else whatever is there), ARGS (more arguments for the engine), TO (for handover).
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parent))
import moved
import stackfiles
from stackfiles import LOCAL_PASSPHRASE, ROOT

VERBS = ("up", "preview", "destroy", "outputs", "encrypt", "handover")
ENGINES = ("standalone", "pulumi")
# sshd's default MaxStartups drops connections from the eleventh on that has not logged in; the engine opens 4 x cores.
LOGINS_AT_ONCE = 8
OTHER = {"standalone": "pulumi", "pulumi": "standalone"}


class Refused(Exception):
    """Nothing was touched; the message says why and each further line is a cure."""

    def __init__(self, why: str, *cures: str) -> None:
        super().__init__("\n".join([f"error: {why}", *(f"  cure: {cure}" for cure in cures)]))


def needs_passphrase(stack: str) -> Refused:
    return Refused(
        f"the stack {stack} needs its passphrase",
        "export PULUMI_CONFIG_PASSPHRASE_FILE=/a/file/of/yours (or PULUMI_CONFIG_PASSPHRASE)",
    )


def environment(stack: str) -> dict[str, str]:
    """The environment of both engines: the well-known passphrase belongs to `local` and to nothing else."""
    env = dict(os.environ)
    for name in ("PYTHONDONTWRITEBYTECODE", "PYTHONHOME", "VIRTUAL_ENV"):
        env.pop(name, None)
    given = "PULUMI_CONFIG_PASSPHRASE" in env or env.get("PULUMI_CONFIG_PASSPHRASE_FILE")
    if stack == "local" and not given:
        env["PULUMI_CONFIG_PASSPHRASE"] = LOCAL_PASSPHRASE
    elif stack != "local" and env.get("PULUMI_CONFIG_PASSPHRASE") == LOCAL_PASSPHRASE:
        del env["PULUMI_CONFIG_PASSPHRASE"]  # left by `. ./env.sh`: everybody knows it
    return env


def has_passphrase(stack: str, env: dict[str, str]) -> bool:
    return (
        "PULUMI_CONFIG_PASSPHRASE" in env
        or bool(env.get("PULUMI_CONFIG_PASSPHRASE_FILE"))
        or not stackfiles.uses_passphrase(stack)  # a cloud's key service holds the key
    )


def choose(wanted: str, env: dict[str, str]) -> tuple[str, str | None]:
    """The engine, and the CLI's path when that is the engine."""
    if wanted and wanted not in ENGINES:
        raise Refused(f"ENGINE={wanted} is neither standalone nor pulumi")
    cli = stackfiles.find_cli(env)
    if wanted == "pulumi" and cli is None:
        raise Refused("ENGINE=pulumi, but there is no pulumi on PATH", "`make pulumi` installs it")
    if cli is None or wanted == "standalone":
        return "standalone", None
    return "pulumi", cli


def ask_owner(stack: str, env: dict[str, str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "standalone", "owner", "--stack", stack]
    return subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)


def owner_told(answer: subprocess.Popen[str]) -> str:
    owner = answer.communicate()[0].strip()
    if answer.returncode != 0:
        sys.exit(answer.returncode)  # it has said why
    return owner


def refuse_others(stack: str, engine: str, owner: str) -> None:
    if owner == OTHER[engine]:
        raise Refused(
            f"the stack {stack} is owned by {owner}; running it with {engine} would make everything twice",
            f"`make handover STACK={stack} TO={engine}` gives its state to {engine}",
            f"or go on with {owner}: the same command with ENGINE={owner}",
        )


def hold(stack: str, verb: str) -> None:
    """Take the lock that standalone takes, and keep it for the CLI that this process becomes."""
    from standalone.lock import take
    from standalone.state import StateFile

    os.set_inheritable(take(StateFile.path_of(ROOT, stack), f"pulumi {verb}"), True)


def run_standalone(verb: str, stack: str, more: list[str], env: dict[str, str]) -> NoReturn:
    command = [sys.executable, "-m", "standalone", verb, "--stack", stack, *more]
    os.chdir(ROOT)
    sys.stdout.flush()
    os.execve(sys.executable, command, env)  # noqa: S606 - our own interpreter and module


class Cli:
    """The Pulumi CLI on this project."""

    def __init__(self, path: str, stack: str, env: dict[str, str]) -> None:
        self.path = path
        self.stack = stack
        # Plugins of the CLI lie beside it and are looked for on PATH; the uv toolchain wants a uv there.
        self.env = {**env, "PULUMI_SKIP_UPDATE_CHECK": "true"}
        self.env["PATH"] = stackfiles.path_with(env, str(Path(path).parent), stackfiles.uv_folder(env))

    def version(self) -> subprocess.Popen[str]:
        return subprocess.Popen([self.path, "version"], env=self.env, stdout=subprocess.PIPE, text=True)

    def quietly(self, *arguments: str, stdin: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.path, *arguments, "--non-interactive"],
            cwd=ROOT,
            env={**self.env, **environ},
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )

    def exists(self) -> bool:
        """Is the stack in the backend? A local folder is looked at, any other backend is asked."""
        from standalone.ownership import backend_folder, checkpoint_path
        from standalone.stackfile import Project

        project = Project.load(ROOT)
        folder = backend_folder(project, self.env)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            return checkpoint_path(project, self.stack, self.env) is not None
        asked = self.quietly("stack", "select", self.stack)
        if asked.returncode != 0 and "no stack named" not in asked.stderr:
            raise Refused(f"the backend can't be asked: {asked.stderr.strip()}")
        return asked.returncode == 0

    def create(self) -> None:
        made = self.quietly("stack", "select", "--create", self.stack)
        if made.returncode != 0:
            raise Refused(f"`pulumi stack select --create {self.stack}`: {made.stderr.strip()}")

    def become(self, *arguments: str) -> NoReturn:
        os.chdir(ROOT)
        sys.stdout.flush()
        os.execve(self.path, [self.path, *arguments], self.env)  # noqa: S606 - the CLI that was found

    def run(self, verb: str, more: list[str]) -> int:
        exists = self.exists()
        if verb == "preview" and not exists:
            return self.preview_apart(more)
        if verb == "destroy" and not exists:
            print(f"nothing to destroy: pulumi has no stack {self.stack}")
            return 0
        if verb == "outputs":
            if not exists:
                raise Refused(f"pulumi has no stack {self.stack} yet", f"`make up STACK={self.stack}`")
            return self.become("stack", "output", "--json", "--stack", self.stack, *more)
        if not has_passphrase(self.stack, self.env):
            raise needs_passphrase(self.stack)
        if not exists:
            self.create()
        options = ["--yes", "--skip-preview", "--continue-on-error"] if verb in ("up", "destroy") else []
        if verb != "preview" and self.stack != "local":
            options += ["--parallel", str(LOGINS_AT_ONCE)]
        return self.become(verb, "--stack", self.stack, *options, *more)

    def preview_apart(self, more: list[str]) -> int:
        """Preview a stack that was never made, against an empty backend in a temporary folder.

        A preview must not write, and `pulumi stack init` writes the salt of a passphrase into the stack file. So a
        copy of that file gets it, with a throwaway passphrase: none of the user's is needed. The stack file's own
        secure values can't be read with it; placeholders stand in for them.
        """
        print(f"the stack {self.stack} is new to pulumi: previewing against an empty state; nothing is kept")
        with stackfiles.throwaway(self.stack) as copy:
            apart = {
                "PULUMI_BACKEND_URL": copy.backend_url,
                "PULUMI_CREDENTIALS_PATH": str(copy.folder),  # the user's chosen backend stays as it is
                "PULUMI_CONFIG_PASSPHRASE": copy.passphrase,
            }
            self.env.pop("PULUMI_CONFIG_PASSPHRASE_FILE", None)
            steps = [["stack", "init", self.stack, "--no-select"]]
            if copy.secure_paths:
                values = [
                    part for path in copy.secure_paths for part in ("--secret", f"{path}={stackfiles.PLACEHOLDER}")
                ]
                steps.append(["config", "set-all", "--path", "--stack", self.stack, *values])
            for step in steps:
                done = self.quietly("-C", str(copy.folder), *step, **apart)
                if done.returncode != 0:
                    raise Refused(f"`pulumi {' '.join(step[:2])}` in a temporary folder: {done.stderr.strip()}")
            command = [self.path, "preview", "--stack", self.stack, "--config-file", str(copy.stack_file), *more]
            sys.stdout.flush()
            return stackfiles.wait_for(subprocess.Popen(command, cwd=ROOT, env={**self.env, **apart}))


def handover(stack: str, to: str, more: list[str], env: dict[str, str]) -> NoReturn:
    """Standalone does it, in both directions; towards the CLI it runs the CLI's own import."""
    if to not in ENGINES:
        raise Refused("handover needs TO=pulumi or TO=standalone")
    if to == "pulumi":
        cli = stackfiles.find_cli(env)
        if cli is None:
            raise Refused("handing a stack to pulumi needs the Pulumi CLI on PATH", "`make pulumi` installs it")
        if not has_passphrase(stack, env):
            raise needs_passphrase(stack)
        env = Cli(cli, stack, env).env
    run_standalone("handover", stack, ["--to", to, *more], env)


def main(arguments: list[str]) -> int:
    sys.path.insert(0, str(ROOT))
    from standalone.errors import UserError

    try:
        return run(arguments)
    except UserError as bad:
        raise Refused(str(bad)) from None


def tell_if_moved(stack: str, verb: str, env: dict[str, str]) -> None:
    """What neither engine can say: a resource is updated in its new place, and its old one isn't theirs any more."""
    told = moved.notice(stack, env) if verb in ("up", "preview") else ""
    if told:
        print(told)


def run(arguments: list[str]) -> int:
    verb = arguments[0] if arguments else ""
    if verb not in VERBS:
        raise Refused(f"usage: engine.py {'|'.join(VERBS)}")
    stack = os.environ.get("STACK", "")
    if stack not in stackfiles.names():
        raise Refused(f"there is no stack {json.dumps(stack)}; there are: {', '.join(stackfiles.names())}")
    more = shlex.split(os.environ.get("ARGS", ""))
    env = environment(stack)
    if verb == "handover":
        handover(stack, os.environ.get("TO", ""), more, env)
    if verb == "encrypt":  # the same for both engines: it only makes a text for the stack file
        run_standalone(verb, stack, more, env)
    if verb in ("up", "preview"):
        from standalone.stackfile import check_secrets

        check_secrets(ROOT, stack)
    engine, path = choose(os.environ.get("ENGINE", ""), env)
    if path is not None and verb in ("up", "destroy"):
        hold(stack, verb)  # before the owner is asked: nobody else may begin in between
    owner = ask_owner(stack, env)  # answers while the CLI tells its version
    says = sys.stderr if verb == "outputs" else sys.stdout  # outputs are for another program to read
    if path is None:
        hint = "" if stackfiles.find_cli(env) else " (no pulumi on PATH; `make pulumi` installs it)"
        print(f"engine: standalone{hint}", file=says)
        refuse_others(stack, engine, owner_told(owner))
        tell_if_moved(stack, verb, env)
        run_standalone(verb, stack, ["--json", *more] if verb == "outputs" else more, env)
    cli = Cli(path, stack, env)
    version = cli.version()
    print(f"engine: pulumi {version.communicate()[0].strip()} ({path})", file=says)
    refuse_others(stack, engine, owner_told(owner))
    tell_if_moved(stack, verb, env)
    return cli.run(verb, more)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Refused as refused:
        sys.exit(str(refused))
    except KeyboardInterrupt:
        sys.exit(130)
