#!/bin/sh
# 健康检查 / Says how each local service and its databases are; exit code 1 when one is not healthy.
set -eu
cd "$(dirname "$0")/.."
tools/bootstrap.sh runtime
exec .venv/bin/python tools/status.py
