"""One run on one stack: what its parts share, and what they do to the state together."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from standalone import provider
from standalone.control import Control
from standalone.crypto import Keyring
from standalone.errors import CommandFailed, Killed
from standalone.jobs import Output
from standalone.report import Report
from standalone.stackfile import Stack
from standalone.state import Pending, Resource, StateFile, now
from standalone.steps import Step
from standalone.values import Redactor


@dataclass
class Session:
    """The parts of a run."""

    stack: Stack
    keyring: Keyring
    state: StateFile
    report: Report
    control: Control
    redact: Redactor
    dry_run: bool
    interrupted: set[str] = field(default_factory=set[str])

    def allow_secrets(self) -> None:
        """Make sure that a secret can be stored; makes the stack's salt when there is none yet.

        Raises UserError without a passphrase.
        """
        with self.state.lock:
            if self.state.can_store_secrets or self.dry_run:
                return
            if self.stack.salt:
                crypter = self.keyring.crypter(self.stack.salt)
            else:
                crypter = self.keyring.new_salt()
                self.stack.add_salt(crypter.salt_line)
            self.state.encrypt_with(crypter)

    @contextmanager
    def operation(self, resource: Resource, kind: str) -> Generator[None]:
        """Write down that an operation begins; forget it when it is over, whichever way, unless we killed it."""
        pending = Pending(resource, kind)
        with self.state.lock:
            self.state.pending = [p for p in self.state.pending if p.resource.urn != resource.urn] + [pending]
            self.state.changed()
        self.state.save()
        try:
            yield
        except Killed:
            raise  # it stays pending: nobody knows how far it came
        except BaseException:
            self.settle(resource.urn)
            raise
        self.settle(resource.urn)

    def settle(self, urn: str) -> None:
        """No operation is pending on this resource any more (the caller saves)."""
        with self.state.lock:
            self.state.pending = [p for p in self.state.pending if p.resource.urn != urn]
            self.state.changed()

    def put(self, new: Resource, old: Resource | None = None) -> None:
        """Put a resource in its place in the state (the caller saves)."""
        with self.state.lock:
            new.modified = now() if new != old else new.modified
            new.created = new.created or new.modified
            resources = self.state.resources
            at = next((i for i, r in enumerate(resources) if r is old), None) if old is not None else None
            if at is None:
                resources.append(new)
            else:
                resources[at] = new
            self.state.changed()

    def drop(self, resource: Resource) -> None:
        """Take a resource out of the state (the caller saves)."""
        with self.state.lock:
            self.state.resources = [r for r in self.state.resources if r is not resource]
            self.state.changed()

    def run(self, step: Step, work_key: str, subject: Resource, before: Resource | None) -> Output:
        """Run a resource's `create`, `update` or `delete` command. Raises CommandFailed with a text fit to be shown."""
        previous = before.outputs if before is not None else {}
        work = provider.job(work_key, subject.inputs, previous)
        if work is None:
            return Output(str(previous.get("stdout", "")), str(previous.get("stderr", "")))

        def on_line(stream: str, line: str) -> None:
            if line.strip() and (work.log_stdout if stream == "stdout" else work.log_stderr):
                self.report.line(step, line)

        try:
            return provider.run(work, self.control, on_line)
        except CommandFailed as bad:
            raise type(bad)(self.redact(str(bad))) from None
