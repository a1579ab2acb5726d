"""Which services a change of files concerns, and their restart."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from watchfiles import PythonFilter, watch

Watches = dict[str, list[Path]]

SOURCES = (".js", ".ts", ".go", ".rs", ".java", ".toml", ".yaml", ".yml", ".html", ".sql", ".sh")
"""What counts as code beside Python: a service that writes data into its own folder must not restart itself."""

_LOOK_AGAIN_MS = 2000
_RESTART_SECONDS = 120


def concerned(changed: Iterable[Path], watches: Mapping[str, Iterable[Path]]) -> list[str]:
    """The services with a watched folder that holds one of the changed files, by name."""
    paths = list(changed)
    return sorted(
        name
        for name, folders in watches.items()
        if any(path.is_relative_to(folder) for folder in folders for path in paths)
    )


class Reloader:
    """Watches the folders of all services on this laptop, in one process.

    A folder that vanishes is left out until it is there again.
    """

    def __init__(self, hostctl: Path) -> None:
        self._hostctl = hostctl
        # Written anew whenever what is on this host changes.
        self._rendered = hostctl.parent.parent / "supervisord.conf"

    def run(self, stop: threading.Event) -> None:
        """Watch and restart until `stop` is set."""
        while not stop.is_set():
            seen = self._stamp()
            watches = self.watches()
            folders = sorted({folder for each in watches.values() for folder in each if folder.is_dir()})
            if not folders:
                stop.wait(_LOOK_AGAIN_MS / 1000)
                continue
            self._say(f"watching {', '.join(str(folder) for folder in folders)} for {len(watches)} services")
            self._watch(folders, watches, seen, stop)

    def watches(self) -> Watches:
        """Service -> folders, as hostctl knows them; none while it can't say."""
        answer = subprocess.run([self._hostctl, "watches"], capture_output=True, text=True, timeout=30, check=False)
        if answer.returncode != 0:
            self._say(answer.stderr.strip() or "hostctl can't say what to watch")
            return {}
        found: dict[str, list[str]] = json.loads(answer.stdout)
        # Resolved, as the paths of changes are.
        return {name: [Path(folder).resolve() for folder in folders] for name, folders in found.items()}

    def restart(self, name: str) -> bool:
        """Restart one service; whether it is healthy again. Its log says why when it isn't."""
        try:
            done = subprocess.run(
                [self._hostctl, "restart", name],
                capture_output=True,
                text=True,
                timeout=_RESTART_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            self._say(f"{name}: no answer within {_RESTART_SECONDS} s")
            return False
        outcome = "restarted" if done.returncode == 0 else f"not healthy: {done.stderr.strip()}"
        self._say(f"{name}: {outcome}")
        return done.returncode == 0

    def _watch(
        self, folders: list[Path], watches: Watches, seen: tuple[int, int] | None, stop: threading.Event
    ) -> None:
        """Until `stop`, or until other folders are to be watched."""
        changes = watch(
            *folders,
            watch_filter=PythonFilter(extra_extensions=SOURCES),
            stop_event=stop,
            rust_timeout=_LOOK_AGAIN_MS,
            yield_on_timeout=True,
            raise_interrupt=False,
        )
        for change in changes:
            names = concerned((Path(path) for _, path in change), watches)
            if names:
                self._say(f"code changed: {', '.join(names)}")
                with ThreadPoolExecutor(max_workers=4) as pool:
                    list(pool.map(self.restart, names))
            if self._stamp() != seen or not all(folder.is_dir() for folder in folders):
                return

    def _stamp(self) -> tuple[int, int] | None:
        try:
            found = self._rendered.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino

    def _say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)
