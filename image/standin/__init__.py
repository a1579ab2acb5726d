"""The stand-in service (D13): one small ASGI service that takes the name of the service it stands in for.

It keeps the contract of `docs/contracts.md` (port, environment, health, readiness, metrics, dependencies,
clean stop) until the real service exists, and says in each of its answers that it is a stand-in.
"""

from pathlib import Path

#: The version in `image/VERSION`, which the image copies next to the package.
__version__ = (Path(__file__).resolve().parent.parent / "VERSION").read_text(encoding="ascii").strip()
