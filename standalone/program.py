"""Runs the project's `__main__.py` against the engine, to the end of everything that it set going."""

from __future__ import annotations

import asyncio
import logging
import os
import runpy
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pulumi
from pulumi.resource import ResourceTransformationArgs
from pulumi.runtime import rpc, set_all_config, set_mocks
from pulumi.runtime.settings import SETTINGS, get_root_resource, set_root_resource
from pulumi.runtime.stack import Stack, massage, register_stack_transformation, wait_for_rpcs

from standalone import wire
from standalone.engine import Engine, unsupported
from standalone.report import Report
from standalone.stackfile import StackConfig
from standalone.values import Props

THREADS = 32
SETTLE_SECONDS = 0.2
HERE = Path(__file__).parent


class _Messages(logging.Handler):
    """Carries `pulumi.log.*` to the report."""

    def __init__(self, report: Report) -> None:
        super().__init__(logging.INFO)
        self.report = report

    def emit(self, record: logging.LogRecord) -> None:
        """Show one message."""
        level = {logging.INFO: "info", logging.WARNING: "warning"}.get(record.levelno, "error")
        self.report.notice(level, record.getMessage())


class Program:
    """One run of the program."""

    def __init__(self, engine: Engine, config: StackConfig) -> None:
        self.engine, self.config = engine, config
        self.report = engine.session.report
        self.folder = engine.session.stack.project.folder
        self.errors: list[BaseException] = []
        self.outputs: Props = {}
        self.refused: list[str] = []

    def run(self) -> None:
        """Run it. Afterwards `errors` and `outputs` are set; resources that failed are in the engine and the report."""
        # The loop comes first: set_mocks creates the stack resource, which needs it.
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        executor = ThreadPoolExecutor(THREADS, "register")  # the default has 5 on a machine with one core
        loop.set_default_executor(executor)
        # A Pulumi program that fails leaves futures that nobody looks at; the SDK's own runner silences them too.
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        try:
            loop.run_until_complete(self._run())
        finally:
            executor.shutdown(wait=True)
            loop.close()

    async def _run(self) -> None:
        session = self.engine.session
        self.config.export()
        set_all_config(self.config.values, self.config.secret_keys)
        logger = logging.Logger("program", logging.INFO)
        logger.addHandler(_Messages(self.report))
        set_root_resource(cast(Any, None))
        set_mocks(
            cast(Any, None),
            project=session.stack.project.name,
            stack=session.stack.name,
            preview=session.dry_run,
            logger=logger,
            monitor=self.engine,
            organization="organization",
        )
        cast(Any, SETTINGS).root_directory = str(self.folder)
        register_stack_transformation(self._look)
        if not self._main() or (self.refused and not session.dry_run):
            return  # nothing of what it registered has begun: that takes the loop, which stands still until here
        await self._drain()
        await self._collect_outputs()

    def _look(self, args: ResourceTransformationArgs) -> None:
        """See every resource as it is constructed, before anything is executed."""
        custom = isinstance(args.resource, pulumi.CustomResource)
        why = unsupported(args.type_, custom)
        if why:
            self.refused.append(f"{args.name}: {why}")

    def _main(self) -> bool:
        """The program's own code, run in its folder. False when it failed."""
        os.chdir(self.folder)
        sys.path[0] = str(self.folder)
        sys.argv = [str(self.folder / "__main__.py")]
        try:
            runpy.run_path(str(self.folder / "__main__.py"), run_name="__main__")
        except SystemExit as end:
            if end.code not in (None, 0):
                self.errors.append(pulumi.RunError(str(end.code)))
        except BaseException as bad:  # noqa: BLE001 (whatever the program throws ends it)
            self.errors.append(bad)
        if self.errors:
            return False
        if self.refused and not self.engine.session.dry_run:
            for line in self.refused:
                self.report.error(line)
        return True

    async def _drain(self) -> None:
        """Wait for everything that the program set going, also after a failure (the SDK would stop at the first)."""
        manager: Any = cast(Any, SETTINGS).rpc_manager
        while True:
            try:
                await wait_for_rpcs()
                return
            except Exception as bad:  # noqa: BLE001
                self._remember(bad)
                manager.unhandled_exception = None
                manager.exception_traceback = None
            # The SDK forgets outputs that it was waiting for; what they set going shows up within a moment.
            while self.engine.busy:  # noqa: ASYNC110 (it counts work on other threads)
                await asyncio.sleep(0.02)
            await asyncio.sleep(SETTLE_SECONDS)

    def _remember(self, bad: BaseException) -> None:
        if not any(bad is known or str(bad) == str(known) for known in self.errors):
            self.errors.append(bad)

    async def _collect_outputs(self) -> None:
        """The stack's outputs, from the root resource; one that failed doesn't take the others along."""
        root = get_root_resource()
        for key, value in (root.outputs if isinstance(root, Stack) else {}).items():
            try:
                struct: Any = await rpc.serialize_properties({key: cast(Any, massage(value, []))}, {})
                self.outputs.update(wire.from_struct(struct))
            except Exception as bad:  # noqa: BLE001
                self._remember(bad)


def explain(bad: BaseException, folder: Path) -> str:
    """An exception of the program: a RunError's message as it is, anything else with the program's own frames."""
    from standalone.errors import UserError

    if isinstance(bad, (pulumi.RunError, UserError)):
        return str(bad)
    root = bad
    while (deeper := root.__cause__ or root.__context__) is not None:
        root = deeper  # the SDK wraps what a resource's inputs threw; the first exception is the one to put right
    frames = [
        frame
        for frame in traceback.extract_tb(root.__traceback__)
        if Path(frame.filename).is_relative_to(folder)
        and "site-packages" not in frame.filename
        and not Path(frame.filename).is_relative_to(HERE)
    ]
    where = "".join(traceback.format_list(frames[-5:]))
    what = "".join(traceback.format_exception_only(root)).rstrip()
    about = str(bad).splitlines()[0].strip() if root is not bad and str(bad).startswith("While ") else ""
    return f"the program failed{': ' if about else ''}{about}:\n{where}{what}"
