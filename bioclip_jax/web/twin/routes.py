"""Routes of a twin's page and of its simulations, whose progress is a stream of JSON lines."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import threading
import traceback
from collections import Counter
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from bioclip_jax.twin.view import HOURS

from ..middleware import Routes
from .refusals import Refusal
from .service import TwinService
from .what_if import WhatIf

MOST_BYTES = 10_000
_BODY_SECONDS = 10.0
_FROM_HERE = ("same-origin", "none", "")


def routes_of(prefix: str = "") -> Routes:
    """Return the paths of twin_routes for the middleware."""
    run = re.compile(f"{re.escape(prefix)}/(?:what-if|scene/[0-{len(HOURS) - 1}])")
    page = f"{re.escape(prefix)}/?" if prefix else "/"
    return Routes(re.compile(page), run, run, ((run, MOST_BYTES),), advice=f"the page is at {prefix or '/'}")


def twin_routes(service: TwinService, prefix: str = "") -> list[Route]:
    """Return GET PREFIX/, the page, and POST PREFIX/what-if and PREFIX/scene/N, simulations.

    what-if answers with what the page adds for a scenario, scene/N with its animals at an hour, a number of
    HOURS. Both answer with lines of JSON: {"place": n} while they wait, {"done": share}, and at the end
    {"result": …} or {"error": sentence, "fr": sentence}. A request that is refused before has such an error
    as its body, with a status of its own.
    """
    handlers = _Handlers(service)
    pages = [Route(path, handlers.page) for path in ((prefix, f"{prefix}/") if prefix else ("/",))]
    posts = (f"{prefix}/what-if", f"{prefix}/scene/{{hour:int}}")
    return [*pages, *(Route(path, handlers.simulate, methods=["POST"]) for path in posts)]


class _Handlers:
    def __init__(self, service: TwinService) -> None:
        self._service = service
        self._html = service.page.html.encode()
        policy = f"{service.page.policy}; frame-ancestors 'none'"
        self._headers = {"content-security-policy": policy, "cache-control": "no-cache"}
        # All that may be present, and those that are refused because they are too many.
        self._pool = ThreadPoolExecutor(service.limits.waiting + 2, thread_name_prefix="twin")
        self._visits: Counter[str] = Counter()

    async def page(self, request: Request) -> Response:
        return Response(self._html, media_type="text/html", headers=self._headers)

    async def simulate(self, request: Request) -> Response:
        visitor = request.client.host if request.client else ""
        try:
            what_if = self._service.menu.read(await _body(request))
            if self._visits[visitor] >= self._service.limits.per_visitor:
                raise Refusal("visitor", most=self._service.limits.per_visitor)
        except Refusal as refusal:
            headers = {"retry-after": "3"} if refusal.status in (429, 503) else {}
            return JSONResponse(refusal.as_json(), refusal.status, headers=headers)
        except ClientDisconnect:
            return Response(status_code=400)
        lines = self._lines(what_if, request.path_params.get("hour"), visitor)
        return StreamingResponse(lines, media_type="application/x-ndjson")

    async def _lines(self, what_if: WhatIf, hour: int | None, visitor: str) -> AsyncIterator[bytes]:
        loop, updates, left = asyncio.get_running_loop(), asyncio.Queue(), threading.Event()

        def tell(message: dict[str, Any] | None) -> None:
            # The loop has ended if the server stops.
            if not loop.is_closed():
                loop.call_soon_threadsafe(updates.put_nowait, message)

        def work() -> None:
            try:
                if hour is None:
                    result = self._service.simulate(what_if, tell, left)
                else:
                    result = self._service.scene(what_if, hour, tell, left)
                tell({"result": result})
            except Refusal as refusal:
                tell(refusal.as_json())
            # Visitors read one sentence for any fault; its cause is for the log.
            except Exception as error:
                traceback.print_exception(error, file=sys.stderr)
                tell(Refusal("broken").as_json())
            finally:
                tell(None)

        self._visits[visitor] += 1
        try:
            self._pool.submit(work)
            before = None
            while (message := await updates.get()) is not None:
                if message != before:
                    yield json.dumps(message).encode() + b"\n"
                before = message
        finally:
            left.set()
            self._visits[visitor] -= 1
            if not self._visits[visitor]:
                del self._visits[visitor]


async def _body(request: Request) -> bytes:
    """Return the body of a request of the page itself. Raises Refusal."""
    # A page of another site can send neither without asking first, which this server does not answer.
    if request.headers.get("sec-fetch-site", "").lower() not in _FROM_HERE:
        raise Refusal("elsewhere")
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        raise Refusal("type")
    try:
        return await asyncio.wait_for(request.body(), _BODY_SECONDS)
    except TimeoutError:
        raise Refusal("slow") from None
