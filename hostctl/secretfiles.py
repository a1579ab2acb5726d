"""The verbs `secrets` and `remove-secrets`: files of mode 0600, and who has to be restarted for them (D6)."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, TypedDict, cast

from hostctl import audit, database, service
from hostctl.console import say
from hostctl.context import Context
from hostctl.errors import HostctlError
from hostctl.labels import label_of
from hostctl.launch import for_services, variable
from hostctl.layout import identity_of, make_folder, read_json, read_text, remove, write_atomic, write_json
from hostctl.redact import compose_env_file, env_file, former_secrets
from hostctl.runtime import OLDER_SECRETS


class SecretRecord(TypedDict):
    """`state/secrets/NAME.json`: nothing of what the files hold, only how they look from outside."""

    files: Dict[str, List[int]]
    generation: int
    label: str


def write(context: Context, name: str, secrets: Dict[str, str], observed: Optional[str] = None) -> Dict[str, Any]:
    """Writes one owner's secrets; services that run with other ones are restarted, and only they.

    When they don't become healthy with the new secrets, the old ones are put back.
    """
    began = time.monotonic()
    context.host()
    texts = _texts(context, name, secrets)  # refuses before anything is touched
    before = former_secrets(context.layout, name)
    rotated = database.rotate(context, name, secrets)
    change = _Change(context, name)
    changed = change.apply(texts)
    if change.trouble:
        trouble = "; ".join(change.trouble.values())
        back = (_rotated_back(context, name, before) if rotated else "") + change.undo()
        audit.record(context.layout, "secrets", name, "failed")
        raise HostctlError("%s\nThe secrets of %s were put back%s" % (trouble, name, back))
    _remember(context, name, texts, observed)
    restarted = sorted(change.started)
    outcome = "written" if changed else "unchanged"
    audit.record(
        context.layout,
        "secrets",
        name,
        outcome,
        restarted=restarted,
        seconds=round(time.monotonic() - began, 2),
    )
    say("secrets of %s: %s" % (name, outcome))
    return {"name": name, "outcome": outcome, "restarted": restarted}


def forget(context: Context, name: str) -> Dict[str, Any]:
    """Removes the files, under the lock. Those that a service still names stay: compose would refuse all services.

    Where a stack drops a secret, its services are brought up without it before this is called.
    """
    if not context.on_host():
        return _removed(context, name)  # nothing on record that could name them, but the files may still be there
    with context.lock.held():
        users = _named_by(context, name)
        if users:
            cure = "bring them up without it first, or take them away (`hostctl down NAME`)"
            raise HostctlError("the secrets of %s stay, for %s still name them: %s" % (name, ", ".join(users), cure))
        return _removed(context, name)


def _removed(context: Context, name: str) -> Dict[str, Any]:
    removed = remove(context.layout.secret_file(name))
    remove(context.layout.container_secrets(name))
    remove(context.layout.secret_record(name))
    if removed:
        audit.record(context.layout, "remove-secrets", name, "removed")
    return {"name": name, "outcome": "removed" if removed else "absent"}


def labels(context: Context) -> Dict[str, str]:
    """The observed label of every owner's secrets: the adopted one while the files are as they were left."""
    found: Dict[str, str] = {}
    for path in sorted(context.layout.secret_records.glob("[a-z0-9]*.json")):
        record = cast(SecretRecord, read_json(path))
        found[path.stem] = label_of(_differs(context, record), record["generation"], record["label"])
    return found


def _named_by(context: Context, name: str) -> List[str]:
    """Services whose form of now, or the one to go back to, has these secrets."""
    forms = list(context.store.wanted().values())
    forms += [good for good in map(context.store.good, context.store.names()) if good is not None]
    return sorted({form["name"] for form in forms if name in form["secrets"]})


def _remember(context: Context, name: str, texts: Mapping[Path, Optional[str]], observed: Optional[str]) -> None:
    before = cast("Optional[SecretRecord]", read_json(context.layout.secret_record(name)))
    record: SecretRecord = {
        "files": {path.name: identity_of(path) or [] for path in texts},
        "generation": (before["generation"] if before else 0) + 1,
        "label": observed if observed is not None else (before["label"] if before else ""),
    }
    make_folder(context.layout.secret_records, 0o700)
    write_json(context.layout.secret_record(name), record)


def _differs(context: Context, record: SecretRecord) -> str:
    for name, left in record["files"].items():
        path = context.layout.secrets / name
        now = identity_of(path)
        if now is None:
            return "secrets/%s is missing" % name
        if path.stat().st_mode & 0o077:
            return "secrets/%s is open to others" % name
        if now != left:
            return "secrets/%s was edited" % name
    return ""


def _rotated_back(context: Context, name: str, before: Dict[str, str]) -> str:
    """What is put back has to open the database again; where it can't, the services go back all the same."""
    try:
        database.rotate(context, name, before)
    except HostctlError as error:
        return " (%s)" % error
    return ""


def _texts(context: Context, name: str, secrets: Dict[str, str]) -> Dict[Path, Optional[str]]:
    """The files of an owner; compose's comes first, so that whoever sees the other one's change finds both new."""
    texts: Dict[Path, Optional[str]] = {}
    if context.host()["definition"]["runtime"] == "compose" and for_services(name):
        named = {variable(name, key): value for key, value in secrets.items()}
        texts[context.layout.container_secrets(name)] = compose_env_file(name, named)
    texts[context.layout.secret_file(name)] = env_file(secrets)
    return texts


class _Change:
    def __init__(self, context: Context, name: str) -> None:
        self._context = context
        paths = (context.layout.container_secrets(name), context.layout.secret_file(name))
        self._before: Dict[Path, Optional[str]] = {path: read_text(path) for path in paths}
        wanted = context.store.wanted()
        self._users = [user for user, definition in wanted.items() if name in definition["secrets"]]
        self.started: Dict[str, service.Started] = {}
        self.trouble: Dict[str, str] = {}

    def apply(self, texts: Mapping[Path, Optional[str]], also: Sequence[str] = (), back: bool = False) -> bool:
        """Writes the texts (None removes the file) and restarts those who run with other ones.

        On the way `back` nobody may stop us any more.
        """
        changed = any(read_text(path) != text for path, text in texts.items())

        def act() -> None:
            for path, text in texts.items():
                if text is None:
                    remove(path)
                elif changed:
                    write_atomic(path, text, 0o600)
                else:
                    path.chmod(0o600)
            self.started = service.restart_now(self._context, sorted({*self._outdated(), *also}), back)

        service.with_idle(self._context, self._users, act)
        interrupted = (lambda: False) if back else self._context.signals.stopped
        self.trouble = service.await_restarted(self._context, self.started, interrupted)
        return changed

    def undo(self) -> str:
        """The way back: the old file, and the same services again. Says how it went."""
        self.apply(self._before, also=list(self.started), back=True)
        if self.trouble:
            return ", but not all is well: " + "; ".join(self.trouble.values())
        return ", and serve again."

    def _outdated(self) -> List[str]:
        runtime = self._context.runtime
        processes = runtime.processes() or {}
        found: List[str] = []
        for name in self._users:
            process = processes.get(name)
            definition = self._context.store.good(name)
            if process is None or definition is None or process.state not in ("running", "starting"):
                continue  # it will read them when it is started
            if runtime.differs(name, definition["digest"], process) == OLDER_SECRETS:
                found.append(name)
        return found
