"""`python -m hostctl …`, and what the zipapp runs."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    from hostctl.cli import main

    sys.exit(main(sys.argv[1:]))
