"""The command line: verbs of docs/contracts.md. Modules are imported per verb, `launch` runs often."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from typing import Any, Callable, Dict, List, Optional

from hostctl import console
from hostctl.errors import BadInput, HostctlError

MOST_INPUT_BYTES = 8 * 1024 * 1024


def main(arguments: List[str]) -> int:
    """Runs one verb; gives the exit code of docs/contracts.md."""
    console.secure_standard_streams()
    os.umask(0o077)
    options = _parser().parse_args(arguments)
    try:
        return _VERBS[options.verb](options)
    except HostctlError as error:
        console.say("hostctl: %s" % error)
        return error.exit_code
    except OSError as error:
        console.say("hostctl: %s" % _plain(error))
        return 1
    except KeyboardInterrupt:
        console.say("hostctl: interrupted; nothing was changed")  # a verb that changes something takes signals itself
        return 1
    finally:
        console.detach_broken_streams()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hostctl", description="Converges one host.", allow_abbrev=False)
    parser.add_argument("--root", default=".local", metavar="DIR", help="the host's folder (default: .local)")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)

    def verb(name: str, text: str, *names: str) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=text, description=text, allow_abbrev=False)
        for argument in names:
            added.add_argument(argument)
        return added

    for added in (
        verb("host", "folders, modes, files, and the runtime itself (definition on stdin)"),
        verb("up", "bring one service up, or its last good form back (definition on stdin)", "name"),
        verb("database", "check a database by a real login and query (definition on stdin)", "name"),
        verb("secrets", "write an owner's secrets (JSON on stdin)", "name"),
        verb("image", "an image from its registry, if it isn't here yet (definition on stdin)", "name"),
        verb("receive-image", "internal: an image that is pushed or built over this connection", "name", "image"),
    ):
        added.add_argument("--observed", metavar="LABEL", help="the label to adopt")
    verb("remove-host", "stop everything and remove what was made; data/ and logs/ stay")
    verb("down", "stop and forget one service", "name")
    verb("remove-secrets", "remove an owner's secrets", "name")
    verb("remove-database", "forget a database; it is never touched", "name")
    gone = verb("remove-image", "forget an image; take away what was brought and nobody needs", "name")
    gone.add_argument("image", nargs="?", help="forget it only while it is this one (REPOSITORY:TAG)")
    verb("observe", "labels of what is; changes nothing (databases to check on stdin)")
    verb("status", "services with their state, pid, ports and health").add_argument("--json", action="store_true")
    verb("logs", "the last lines of a service's log", "name").add_argument("-n", type=int, default=50)
    verb("restart", "stop, start, and wait for health", "name")
    back = verb("rollback", "one service back to its previous generation; nothing is built or pulled", "name")
    back.add_argument("--to", type=int, metavar="N", help="to this generation instead")
    kept = verb("generations", "a service's generations: when, healthy or not, image, digest", "name")
    kept.add_argument("--json", action="store_true")
    verb("reload-edge", "the edge reads its configuration and certificates again, without a loss")
    verb("watches", "folders whose changes should restart a service")
    firewall = verb("firewall", "put the rules on record back (at boot), compare them, or take them away")
    firewall.add_argument("action", choices=("restore", "check", "remove"))
    verb("launch", "internal: what the runtime runs", "name", "digest")
    verb("launch-reloader", "internal: what the runtime runs where a service reloads")
    return parser


def _context(options: argparse.Namespace) -> Any:
    from hostctl.context import Context

    return Context(options.root, options.verb, getattr(options, "name", ""))


def _changing(options: argparse.Namespace, act: Callable[[Any], Dict[str, Any]]) -> int:
    """A verb that changes the host: signals wait, and what dead runs left behind is finished."""
    context = _context(options)
    context.signals.install()
    try:
        result = act(context)
    finally:
        _finish(context)
    console.answer(result)
    return 0


def _finish(context: Any) -> None:
    from hostctl import recovery

    try:
        recovery.finish(context)
    except HostctlError as error:  # somebody else's change: no reason for ours to fail
        console.say("hostctl: %s" % error)


def _host(options: argparse.Namespace) -> int:
    from hostctl import definitions, host

    definition = definitions.parse_host(_input())
    return _changing(options, lambda context: host.converge(context, definition, options.observed))


def _remove_host(options: argparse.Namespace) -> int:
    from hostctl import host

    return _changing(options, host.forget)


def _up(options: argparse.Namespace) -> int:
    from hostctl import definitions, service

    definition = definitions.parse_service(_input(), _name(options))
    return _changing(options, lambda context: service.up(context, definition, options.observed))


def _down(options: argparse.Namespace) -> int:
    from hostctl import service

    name = _name(options)
    return _changing(options, lambda context: service.down(context, name))


def _restart(options: argparse.Namespace) -> int:
    from hostctl import service

    name = _name(options)
    return _changing(options, lambda context: service.restart(context, name))


def _rollback(options: argparse.Namespace) -> int:
    from hostctl import rollback

    name = _name(options)
    return _changing(options, lambda context: rollback.back(context, name, options.to))


def _reload_edge(options: argparse.Namespace) -> int:
    from hostctl import edge_reload

    return _changing(options, edge_reload.reload_edge)


def _generations(options: argparse.Namespace) -> int:
    from hostctl import rollback

    name = _name(options)
    rows = rollback.generations(_context(options), name)
    if options.json:
        console.answer({"name": name, "generations": rows})
    else:
        console.print_out(rollback.table(rows))
    return 0


def _secrets(options: argparse.Namespace) -> int:
    from hostctl import definitions, secretfiles

    name = _name(options)
    secrets = definitions.parse_secrets(_input())
    return _changing(options, lambda context: secretfiles.write(context, name, secrets, options.observed))


def _remove_secrets(options: argparse.Namespace) -> int:
    from hostctl import secretfiles

    name = _name(options)
    return _changing(options, lambda context: secretfiles.forget(context, name))


def _database(options: argparse.Namespace) -> int:
    from hostctl import database, definitions

    definition = definitions.parse_database(_input(), _name(options))
    return _changing(options, lambda context: database.converge(context, definition, options.observed))


def _remove_database(options: argparse.Namespace) -> int:
    from hostctl import database

    name = _name(options)
    return _changing(options, lambda context: database.forget(context, name))


def _image(options: argparse.Namespace) -> int:
    from hostctl import definitions, image_pull

    definition = definitions.parse_image(_input(), _name(options))
    return _changing(options, lambda context: image_pull.bring(context, definition, options.observed))


def _receive_image(options: argparse.Namespace) -> int:
    from hostctl import image_receive

    name, image = _name(options), options.image
    return _changing(options, lambda context: image_receive.receive(context, name, image, options.observed))


def _remove_image(options: argparse.Namespace) -> int:
    from hostctl import images

    name = _name(options)
    return _changing(options, lambda context: images.forget(context, name, options.image))


def _observe(options: argparse.Namespace) -> int:
    from hostctl import definitions, observe

    console.answer(observe.observe(_context(options), definitions.parse_observe(_input())))
    return 0


def _status(options: argparse.Namespace) -> int:
    from hostctl import status

    rows = status.services(_context(options))
    healthy = all(row["healthy"] for row in rows)
    if options.json:
        console.answer({"services": {row.pop("name"): row for row in rows}})
    else:
        console.print_out(status.table(rows))
    return 0 if healthy else 1


def _logs(options: argparse.Namespace) -> int:
    from hostctl import status

    lines = status.log_lines(_context(options), _name(options), max(0, options.n))
    console.print_out("".join(line + "\n" for line in lines))
    return 0


def _watches(options: argparse.Namespace) -> int:
    from hostctl import status

    console.answer(status.watches(_context(options)))
    return 0


def _firewall(options: argparse.Namespace) -> int:
    from hostctl import firewall

    context = _context(options)
    if options.action == "check":
        differs = firewall.check(context.layout, context.host()["definition"])
        console.answer({"differs": differs})
        return 1 if differs else 0
    context.signals.install()
    act = firewall.restore if options.action == "restore" else firewall.remove
    with contextlib.ExitStack() as stack:
        if context.layout.state.is_dir():  # without it nobody else can be at work, and there is nowhere to lock
            stack.enter_context(context.lock.held())
        words = act(context.layout)
    for word in words:
        console.say(word)
    console.answer({"changed": words})
    return 0


def _launch(options: argparse.Namespace) -> int:
    from hostctl.launch import launch

    launch(options.root, options.name, options.digest)
    return 1


def _launch_reloader(options: argparse.Namespace) -> int:
    from hostctl.launch import launch_reloader

    launch_reloader(options.root)
    return 1


_VERBS: Dict[str, Callable[[argparse.Namespace], int]] = {
    "host": _host,
    "remove-host": _remove_host,
    "up": _up,
    "down": _down,
    "restart": _restart,
    "rollback": _rollback,
    "generations": _generations,
    "reload-edge": _reload_edge,
    "secrets": _secrets,
    "remove-secrets": _remove_secrets,
    "database": _database,
    "remove-database": _remove_database,
    "image": _image,
    "receive-image": _receive_image,
    "remove-image": _remove_image,
    "observe": _observe,
    "status": _status,
    "logs": _logs,
    "watches": _watches,
    "firewall": _firewall,
    "launch": _launch,
    "launch-reloader": _launch_reloader,
}


def _name(options: argparse.Namespace) -> str:
    from hostctl.definitions import require_name

    return require_name(options.name)


def _input() -> bytes:
    raw = b"" if sys.stdin is None else sys.stdin.buffer.read(MOST_INPUT_BYTES + 1)
    if len(raw) > MOST_INPUT_BYTES:
        raise BadInput("the input is longer than %d bytes" % MOST_INPUT_BYTES)
    return raw


def _plain(error: OSError) -> str:
    where: Optional[str] = error.filename if isinstance(error.filename, str) else None
    return "%s%s" % (error.strerror or str(error), ": " + where if where else "")
