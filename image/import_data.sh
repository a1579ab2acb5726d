#!/bin/sh
# Adds the records of a document that export_data.sh wrote, from stdin (E4); all of them or, when it is damaged, none:
#   docker exec -i dao-shared-service /app/import_data.sh < future_shared_data.json
#   SERVICE_DATA=.local/data/dao-shared-service image/import_data.sh < future_shared_data.json
set -eu
cd_to=$(dirname -- "$0")
case ${SERVICE_DATA:-} in '' | /*) ;; *) SERVICE_DATA=$PWD/$SERVICE_DATA && export SERVICE_DATA ;; esac
cd -- "$cd_to"
python=../.venv/bin/python
[ -x "$python" ] || python=python3
exec "$python" -m standin.transfer import
