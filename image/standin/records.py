"""`/records` of a shared service (E4): JSON values under keys, kept in its store."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar, TypeVarTuple

import anyio
import anyio.to_thread
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from standin import values
from standin.errors import StoreBusy
from standin.store import RecordStore

#: Most records on one page, and how many when nothing is asked for.
MAX_PAGE = 1000
USUAL_PAGE = 100

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Records:
    """The routes of `/records` over the store in `folder`. Raises `StoreError` when that can't be opened."""

    def __init__(self, folder: Path) -> None:
        self._store = RecordStore(folder)
        self._one_at_a_time: anyio.CapacityLimiter | None = None

    def close(self) -> None:
        """Closes the store."""
        self._store.close()

    def routes(self) -> list[Route]:
        """`GET /records` and `GET`, `PUT`, `DELETE /records/{key}`."""
        return [
            Route("/records", self._page, methods=["GET"]),
            Route(
                "/records/{key}",
                self._record,
                methods=["GET", "PUT", "DELETE"],
                max_body_size=values.MAX_VALUE,
            ),
        ]

    async def _in_store(self, action: Callable[[*Ts], T], *arguments: *Ts) -> T:
        if self._one_at_a_time is None:  # anyio's tools belong to the running loop
            self._one_at_a_time = anyio.CapacityLimiter(1)
        try:
            return await anyio.to_thread.run_sync(partial(action, *arguments), limiter=self._one_at_a_time)
        except StoreBusy as error:
            raise HTTPException(503, str(error), {"Retry-After": "1"}) from error

    async def _page(self, request: Request) -> Response:
        after = request.query_params.get("after", "")
        asked = request.query_params.get("limit", str(USUAL_PAGE))
        if not (asked.isascii() and asked.isdecimal() and len(asked) <= 4 and 1 <= int(asked) <= MAX_PAGE):
            raise HTTPException(400, f"limit is a number from 1 to {MAX_PAGE}")
        page = await self._in_store(self._store.page, after, int(asked))
        count = await self._in_store(self._store.count)
        records = ",".join(f'{{"key":{json.dumps(key)},"value":{value}}}' for key, value in page.records)
        text = f'{{"count":{count},"next":{json.dumps(page.next)},"stand_in":true,"records":[{records}]}}'
        return Response(text, media_type="application/json")

    async def _record(self, request: Request) -> Response:
        try:
            key = values.check_key(request.path_params["key"])
            if request.method == "PUT":
                return await self._put(key, values.canonical(values.parse(await request.body())))
        except values.BadValue as error:
            raise HTTPException(400, str(error)) from error
        if request.method == "DELETE":
            return await self._delete(key)
        value = await self._in_store(self._store.get, key)
        if value is None:
            raise HTTPException(404, f"there is no record {key!r}")
        return Response(value, media_type="application/json")

    async def _put(self, key: str, value: str) -> Response:
        new = await self._in_store(self._store.put, key, value)
        return JSONResponse({"key": key, "created": new, "stand_in": True}, 201 if new else 200)

    async def _delete(self, key: str) -> Response:
        if not await self._in_store(self._store.delete, key):
            raise HTTPException(404, f"there is no record {key!r}")
        return Response(status_code=204)
