#!/bin/sh
# 启动本地区块链服务 / Starts the local blockchain services: `make up STACK=local`.
set -eu
cd "$(dirname "$0")/.."
exec make --no-print-directory up STACK=local
