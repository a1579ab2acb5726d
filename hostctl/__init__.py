"""What runs on a host: brings services up, gates on their health, rolls back. Standard library only, 3.8+."""

RUNTIMES = ("process", "compose")
"""The runtimes that this hostctl knows; `runtime.py` holds them."""
