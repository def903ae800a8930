"""What stands before everything else: only paths that the page needs, and only bodies of a known, bounded size."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from .limits import Limits

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

# Gradio has more: files of the server, proxies, recordings, a page of its own API. None of it is used here.
_GET = re.compile(
    r"/|/config/?|/theme\.css|/favicon\.ico|/robots\.txt|/(?:assets|static|svelte)/[\w./-]+"
    r"|/gradio_api/(?:theme\.css|app_id|startup-events|queue/(?:data|status)|upload_progress|heartbeat/\w+)"
    r"|/api(?:/openapi\.json)?|/photos/\d+\.jpg"
)
_POST = re.compile(
    r"/gradio_api/(?:queue/join|run/predict|upload|cancel|reset)/?|/api/(?:predict|labels|similar|embed)"
)

# Answers that stay open for as long as a page does.
_STREAM = re.compile(r"/gradio_api/(?:queue/data|heartbeat/\w+|upload_progress)")
_LOCAL_HOST = re.compile(rb"(?:localhost|127(?:\.\d+){3}|\[::1\])(?::\d+)?")
# Of a body that is refused, so many times the largest one is read.
_READ_OUT = 2
_SMALL_BODY = 1_000_000
# A path that a proxy may say it has stripped.
_PREFIX = re.compile(r"(?:/[\w.~-]+)+")


class Guard:
    """An ASGI application around another one.

    Paths that are not listed do not exist. A body says how long it is, as every browser and curl does, and is
    refused before it is read if that is too long. Every answer tells browsers to load nothing from elsewhere.
    """

    def __init__(self, app: Any, limits: Limits, local: bool, root_path: str = "") -> None:
        """`local`: only this machine reaches the server, so a request for another host than that of `root_path` comes
        from a page elsewhere that has given its own name the address of this machine. `root_path`: the path,
        or the URL, under which a proxy shows the page.
        """
        self._app, self._local = app, local
        shown = urlsplit(root_path)
        self._prefix, self._host = shown.path.rstrip("/"), (shown.hostname or "").encode()
        self._most = limits.request_mb * 1_000_000
        self._advice = f"send at most {limits.request_mb} MB at once"
        self._streams: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        scope = self._below_root(scope)
        refusal = self._refusal(scope)
        if refusal is None:
            sending = _with_headers(send)
            if scope["path"] == "/" and scope.get("root_path"):
                sending = _with_base(sending, scope["root_path"])
            await self._run(scope, receive, sending)
        else:
            # Read out, within reason, so that a client that is still sending hears the answer.
            left = _READ_OUT * self._most
            while left > 0 and (message := await receive()).get("more_body"):
                left -= len(message["body"])
            # Gradio's page shows a refusal as it is.
            await _answer(send, *refusal, plain=scope["path"].startswith("/gradio_api/"))

    def end_streams(self) -> None:
        """Ends the answers that stay open for as long as a page does."""
        for task in self._streams:
            task.cancel()

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application's answer; one that stays open is cut short, but whole as HTTP, by end_streams."""
        if not _STREAM.fullmatch(scope["path"]):
            await self._app(scope, receive, send)
            return
        started = ended = False

        async def sending(message: MutableMapping[str, Any]) -> None:
            nonlocal started, ended
            started = True
            ended = message["type"] == "http.response.body" and not message.get("more_body")
            await send(message)

        task = asyncio.ensure_future(self._app(scope, receive, sending))
        self._streams.add(task)
        try:
            await asyncio.wait([task])
        finally:
            # Cancelled from outside, as on a second Ctrl-C.
            task.cancel()
            self._streams.discard(task)
        if not task.cancelled():
            task.result()
        elif not started:
            await _answer(send, 503, "the server is stopping", plain=True)
        elif not ended:
            with contextlib.suppress(OSError):
                await send({"type": "http.response.body", "body": b""})

    def _below_root(self, scope: Scope) -> Scope:
        """The scope with the path of a proxy as root_path; the proxy may have stripped it or not."""
        header = dict(scope["headers"]).get(b"x-forwarded-prefix", b"").decode("latin-1")
        told = header.split(",")[0].strip().rstrip("/")
        prefix = self._prefix or (told if _PREFIX.fullmatch(told) else "")
        if not prefix:
            return scope
        path = scope["path"]
        if path == prefix or path.startswith(f"{prefix}/"):
            path = path.removeprefix(prefix) or "/"
        return {**scope, "path": path, "raw_path": path.encode(), "root_path": prefix}

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """The status and the sentence for a request that is not taken; None for one that is."""
        method, path, headers = scope["method"], scope["path"], dict(scope["headers"])
        host = headers.get(b"host", b"").lower()
        shown = bool(self._host) and re.sub(rb":\d+$", b"", host) == self._host
        if self._local and not shown and not _LOCAL_HOST.fullmatch(host):
            return 403, (
                "this server answers to localhost only; start it with --host to open it to others, "
                "or behind a proxy with --root-path https://HOST/PATH"
            )
        if method in ("GET", "HEAD"):
            return (
                None
                if _GET.fullmatch(path) and ".." not in path
                else (404, f"there is nothing at {path[:100]}")
            )
        if method != "POST" or not _POST.fullmatch(path):
            if _GET.fullmatch(path) or _POST.fullmatch(path):
                return 405, f"{path[:100]} does not take {method}; see /api"
            return 404, f"there is nothing at {path[:100]}; see /api"
        length = headers.get(b"content-length", b"")
        if not length.isdigit():
            return 411, "the request does not say how long it is; send it with a Content-Length"
        small = path.startswith("/gradio_api/") and "upload" not in path
        most = _SMALL_BODY if small else self._most
        if int(length) > most:
            return 413, f"the request has {int(length) / 1e6:,.0f} MB; {self._advice}"
        return None


# Styles and scripts stand in Gradio's page itself, and it compiles templates; but nothing comes from another
# host.
_POLICY = (
    b"default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; object-src 'none'; base-uri 'self'; "
    b"form-action 'self'; frame-ancestors 'self'"
)


def _with_headers(send: Send) -> Send:
    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            headers = [(b"content-security-policy", _POLICY), (b"x-content-type-options", b"nosniff")]
            message["headers"] = [*message.get("headers", ()), *headers, (b"referrer-policy", b"no-referrer")]
        await send(message)

    return sending


def _with_base(send: Send, root_path: str) -> Send:
    """Sends Gradio's page with addresses that do not depend on a slash at the end of its own."""
    start: MutableMapping[str, Any] = {}
    body = b""

    async def sending(message: MutableMapping[str, Any]) -> None:
        nonlocal start, body
        if message["type"] == "http.response.start":
            start = message
            return
        body += message.get("body", b"")
        if message.get("more_body"):
            return
        body = body.replace(b'<base href="./" />', f'<base href="{root_path}/" />'.encode(), 1)
        headers = [(name, value) for name, value in start["headers"] if name.lower() != b"content-length"]
        await send({**start, "headers": [*headers, (b"content-length", str(len(body)).encode())]})
        await send({"type": "http.response.body", "body": body})

    return sending


async def _answer(send: Send, status: int, sentence: str, *, plain: bool) -> None:
    body = (sentence if plain else json.dumps({"error": sentence})).encode()
    kind = b"text/plain; charset=utf-8" if plain else b"application/json"
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
