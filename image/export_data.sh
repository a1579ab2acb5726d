#!/bin/sh
# Writes the shared service's records to stdout as one JSON document (E4), in the container and from the project folder:
#   docker exec future-shared-service /app/export_data.sh > future_shared_data.json
#   SERVICE_DATA=.local/data/future-shared-service image/export_data.sh > future_shared_data.json
set -eu
cd_to=$(dirname -- "$0")
case ${SERVICE_DATA:-} in '' | /*) ;; *) SERVICE_DATA=$PWD/$SERVICE_DATA && export SERVICE_DATA ;; esac
cd -- "$cd_to"
python=../.venv/bin/python
[ -x "$python" ] || python=python3
exec "$python" -m standin.transfer export
