"""The command line: `python -m standalone VERB --stack NAME`.

Exit codes: 0 done; 1 something failed (or `preview --expect-no-changes` found changes); 2 wrong usage;
130 stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import getpass
import json
import os
import signal
import sys
from collections.abc import Generator
from pathlib import Path

from standalone import ownership
from standalone.control import Control
from standalone.crypto import NO_PASSPHRASE, Keyring, passphrase_from_environment
from standalone.errors import UserError
from standalone.stackfile import Project, Stack
from standalone.state import StateFile
from standalone.values import Props, Redactor, has_locked, plain

STOPPED = 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="standalone", description="Runs this Pulumi program without the Pulumi CLI.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--stack", "-s", required=True, help="the stack's name: its file is Pulumi.NAME.yaml")
    shared.add_argument("--project-dir", "-C", type=Path, default=Path(), help="the folder of Pulumi.yaml")
    runs = argparse.ArgumentParser(add_help=False)
    runs.add_argument("--json", action="store_true", help="one JSON document on stdout instead of lines")
    runs.add_argument("--show-unchanged", action="store_true", help="list unchanged resources too")
    runs.add_argument("--parallel", "-p", type=int, default=32, metavar="N", help="at most N commands at a time")
    verbs.add_parser("up", parents=[shared, runs], help="make it so")
    preview = verbs.add_parser("preview", parents=[shared, runs], help="show what `up` would do; execute nothing")
    preview.add_argument("--expect-no-changes", action="store_true", help="exit with 1 when there are changes")
    destroy = verbs.add_parser("destroy", parents=[shared, runs], help="delete everything, dependents first")
    destroy.add_argument("--exclude-protected", action="store_true", help="leave protected resources, delete the rest")
    destroy.add_argument("--preview", action="store_true", help="show what would be deleted; execute nothing")
    outputs = verbs.add_parser("outputs", parents=[shared], help="the stack's outputs")
    outputs.add_argument("--json", action="store_true")
    outputs.add_argument("--show-secrets", action="store_true")
    verbs.add_parser("encrypt", parents=[shared], help="a secret (typed, or on stdin) as the stack file holds it")
    verbs.add_parser("owner", parents=[shared], help="which engine has the stack: none, standalone, pulumi or unknown")
    handover = verbs.add_parser("handover", parents=[shared], help="give the stack to the other engine")
    handover.add_argument("--to", choices=("pulumi", "standalone"), required=True)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; returns the exit code."""
    args = _parser().parse_args(arguments)
    try:
        stack = Stack.load(Project.load(args.project_dir.resolve()), args.stack)
        if args.verb == "owner":
            print(ownership.owner(stack))
            return 0
        if args.verb == "outputs":
            return _outputs(stack, args)
        if args.verb == "handover":
            return _handover(stack, args)
        if args.verb == "encrypt":
            return _encrypt(stack)
        from standalone import runs

        return runs.run(stack, args)
    except BrokenPipeError:  # `outputs | head`: whoever listened has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except PermissionError as bad:
        print(
            f"error: {bad.filename}: permission denied; whose is it? (`sudo make up` leaves files of root)",
            file=sys.stderr,
        )
        return 1
    except UserError as bad:
        if getattr(args, "json", False):
            print(json.dumps({"verb": args.verb, "stack": args.stack, "ok": False, "errors": [str(bad)]}))
        print(f"error: {bad}", file=sys.stderr)
        return 1


def open_state(stack: Stack) -> tuple[Keyring, StateFile]:
    """The stack's keyring and its state, not loaded yet; key derivation is under way if it will be needed."""
    keyring = Keyring(passphrase_from_environment())
    state = StateFile(StateFile.path_of(stack.project.folder, stack.name), keyring)
    if stack.salt and (stack.has_secure() or _holds_secrets(state.path)):
        keyring.prefetch(stack.salt)
    return keyring, state


def _holds_secrets(path: Path) -> bool:
    try:
        return b'"ciphertext"' in path.read_bytes()
    except OSError:
        return False  # there is none yet; a file that can't be read is spoken of when it is


def stack_outputs(state: StateFile) -> Props:
    """The outputs that the state has."""
    root = next((r for r in state.resources if r.type == "pulumi:pulumi:Stack"), None)
    return root.outputs if root is not None else {}


def _outputs(stack: Stack, args: argparse.Namespace) -> int:
    from standalone.display import output_lines
    from standalone.values import masked

    owner = ownership.owner(stack)
    if owner == "pulumi":
        raise UserError(f"stack {stack.name} belongs to the Pulumi CLI: pulumi stack output -s {stack.name}")
    if owner == "unknown":
        raise UserError(f"{ownership.blind(stack)}: pulumi stack output -s {stack.name}")
    _, state = open_state(stack)
    state.load()
    outputs = stack_outputs(state)
    if args.show_secrets and has_locked(outputs):
        raise UserError(NO_PASSPHRASE)
    if args.json:
        print(json.dumps(plain(outputs) if args.show_secrets else masked(outputs), indent=2))
    elif outputs:
        print("\n".join(output_lines(outputs, None, Redactor(), args.show_secrets)))
    else:
        print("no outputs: nothing has been deployed yet", file=sys.stderr)
    return 0


def _handover(stack: Stack, args: argparse.Namespace) -> int:
    from standalone.lock import exclusive

    keyring, state = open_state(stack)
    with exclusive(state.path, "handover"):
        if args.to == "pulumi":
            state.load()
            lines = ownership.to_pulumi(stack, state)
        else:
            lines = ownership.to_standalone(stack, keyring)
    print("\n".join(lines))
    return 0


def _encrypt(stack: Stack) -> int:
    """`pulumi config set --secret` for who has no CLI: prints the stack file's text; changes only its salt."""
    keyring = Keyring(passphrase_from_environment())
    crypter = keyring.crypter(stack.salt) if stack.salt else keyring.new_salt()
    try:
        text = getpass.getpass("secret: ") if sys.stdin.isatty() else sys.stdin.read().removesuffix("\n")
    except (KeyboardInterrupt, EOFError):
        raise UserError("no secret was given; nothing was changed") from None
    if not text:
        raise UserError("no secret was given: type it, or pass it on stdin")
    if not stack.salt:
        stack.add_salt(crypter.salt_line)
    print(f"{{secure: {json.dumps(crypter.encrypt(text))}}}")
    return 0


@contextlib.contextmanager
def interruptible(control: Control) -> Generator[None]:
    """Ctrl-C (and SIGTERM) stops gently, twice at once."""

    def stop(_number: int, _frame: object) -> None:
        print(control.interrupt(), file=sys.stderr, flush=True)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
