"""hostctl as one zipapp, and what puts it in place: `python -m hostctl.pack FILE`.

Reproducible: the same sources give the same bytes on every machine. Hence names in order, one date, and
nothing compressed: two zlibs compress differently.
"""

from __future__ import annotations

import base64
import hashlib
import io
import sys
import zipfile
from pathlib import Path
from typing import Dict, NamedTuple

HERE = Path(__file__).resolve().parent
MAIN = "import sys\n\nfrom hostctl.cli import main\n\nsys.exit(main(sys.argv[1:]))\n"
NOT_ON_HOSTS = ("pack.py", "here.py", "there.py", "__main__.py")
_LONG_AGO = (1980, 1, 1, 0, 0, 0)


class Bundle(NamedTuple):
    """What `install.sh` needs beside the host's own definition."""

    script: str
    digest: str
    payload: str


def pack() -> bytes:
    """The zipapp's bytes."""
    sources: Dict[str, bytes] = {"__main__.py": MAIN.encode("utf-8")}
    for path in (*HERE.glob("*.py"), *HERE.glob("*.in")):  # .in: texts that a host fills in
        if path.name not in NOT_ON_HOSTS:
            sources["hostctl/" + path.name] = path.read_bytes()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(sources):
            entry = zipfile.ZipInfo(name, _LONG_AGO)
            entry.external_attr = 0o100644 << 16
            entry.create_system = 3  # it says "made on Unix" everywhere
            archive.writestr(entry, sources[name])
    return buffer.getvalue()


def digest() -> str:
    """SHA-256 of the zipapp, hexadecimal: it names these sources."""
    return hashlib.sha256(pack()).hexdigest()


def bundle() -> Bundle:
    """The zipapp in base64 on one line, its digest, and the script's text."""
    data = pack()
    script = (HERE / "install.sh").read_text(encoding="utf-8")
    return Bundle(script, hashlib.sha256(data).hexdigest(), base64.b64encode(data).decode("ascii"))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m hostctl.pack FILE")
    Path(sys.argv[1]).write_bytes(pack())
