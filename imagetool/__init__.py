"""Brings images from this machine to a server without a registry: `python -m imagetool push|build NAME IMAGE`.

It runs on the control machine, speaks to `hostctl receive-image` over one ssh connection (docs/contracts.md), and sends
only what the server lacks.
"""
