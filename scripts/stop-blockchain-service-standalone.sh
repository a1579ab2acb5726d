#!/bin/sh
# 停止本地区块链服务 / Stops the local blockchain services: `make destroy STACK=local`. Their data stays.
set -eu
cd "$(dirname "$0")/.."
exec make --no-print-directory destroy STACK=local
