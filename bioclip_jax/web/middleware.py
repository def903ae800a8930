"""Security middleware: allowed hosts and paths, bounded bodies, headers, and the prefix of a proxy."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

# Gradio has more routes, which this page does not use: files of the server, proxies, recordings, API docs.
_GET = re.compile(
    r"/|/config/?|/theme\.css|/favicon\.ico|/robots\.txt|/(?:assets|static|svelte)/[\w./-]+"
    r"|/gradio_api/(?:theme\.css|app_id|startup-events|queue/(?:data|status)|upload_progress|heartbeat/\w+)"
    r"|/api(?:/openapi\.json)?|/photos/(?:\d+\.jpg|example-\d+)"
)
_POST = re.compile(
    r"/gradio_api/(?:queue/join|run/predict|upload|cancel|reset)/?|/api/(?:predict|labels|similar|embed|explain)"
)
_STREAM = re.compile(r"/gradio_api/(?:queue/data|heartbeat/\w+|upload_progress)")
_SMALL = re.compile(r"/gradio_api/(?!upload).*")
_SMALL_BODY = 1_000_000


@dataclass(frozen=True)
class Routes:
    """Paths that a server has. get: of GET and HEAD. post: of POST. streams: responses that stay open.

    bodies: paths of POST with smaller bodies than others, and their bytes. advice: for those who are lost.
    """

    get: re.Pattern[str]
    post: re.Pattern[str]
    streams: re.Pattern[str]
    bodies: tuple[tuple[re.Pattern[str], int], ...] = ()
    advice: str = "see /api"

    def __or__(self, other: Routes) -> Routes:
        """Return the paths of both, with this one's advice."""
        patterns = (
            re.compile(f"{getattr(self, name).pattern}|{getattr(other, name).pattern}")
            for name in ("get", "post", "streams")
        )
        return Routes(*patterns, (*self.bodies, *other.bodies), self.advice)


PHOTO_ROUTES = Routes(_GET, _POST, _STREAM, ((_SMALL, _SMALL_BODY),))

_LOCAL_HOST = re.compile(rb"(?:localhost|127(?:\.\d+){3}|\[::1\])(?::\d+)?")
# A rejected body is read up to this multiple of the largest accepted one, or this many bytes.
_DRAIN_FACTOR, _LEAST_DRAIN = 2, 20_000_000
# Valid prefix in X-Forwarded-Prefix.
_PREFIX = re.compile(r"(?:/[\w.~-]+)+")


class SecurityMiddleware:
    """ASGI middleware around the application.

    Unlisted paths return 404. A body needs a Content-Length and is rejected before it is read if that is too
    long. Every response has a Content-Security-Policy without other hosts.

    request_mb: megabytes of the largest body. local: only this machine can reach the server, so that requests
    for other hosts than that of `root_path` are DNS rebinding attacks and rejected. root_path: path or URL
    under which a proxy shows the page. routes: all paths. camera: the page may
    show the picture of the device's camera.
    """

    def __init__(
        self,
        app: Any,
        request_mb: float,
        local: bool,
        root_path: str = "",
        routes: Routes = PHOTO_ROUTES,
        camera: bool = False,
    ) -> None:
        self._app, self._local, self._routes = app, local, routes
        self._permissions = _PERMISSIONS + (b", camera=(self)" if camera else b", camera=()")
        public = urlsplit(root_path)
        self._prefix, self._host = public.path.rstrip("/"), (public.hostname or "").encode()
        self._max_body = round(request_mb * 1_000_000)
        self._streams: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, as ASGI defines it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        scope = self._with_root_path(scope)
        rejection = self._rejection(scope)
        if rejection is None:
            sending = _with_headers(send, self._permissions)
            if scope["path"] == "/" and scope.get("root_path"):
                sending = _with_base(sending, scope["root_path"])
            await self._run(scope, receive, sending)
        else:
            # Drain the body, within limits, because clients read no response before they have sent it.
            left = max(_DRAIN_FACTOR * self._max_body, _LEAST_DRAIN)
            while left > 0 and (message := await receive()).get("more_body"):
                left -= len(message["body"])
            # Gradio's page shows the text of an error as it is.
            await _respond(send, *rejection, plain=scope["path"].startswith("/gradio_api/"))

    def end_streams(self) -> None:
        """End the responses that stay open with a page."""
        for task in self._streams:
            task.cancel()

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application; end_streams cuts an open response short, but completes it as HTTP."""
        if not self._routes.streams.fullmatch(scope["path"]):
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
            # Still running if this request was canceled, as on a second Ctrl-C.
            task.cancel()
            self._streams.discard(task)
        if not task.cancelled():
            task.result()
        elif not started:
            await _respond(send, 503, "the server is stopping", plain=True)
        elif not ended:
            with contextlib.suppress(OSError):
                await send({"type": "http.response.body", "body": b""})

    def _with_root_path(self, scope: Scope) -> Scope:
        """Return the scope with a proxy's prefix as root_path, whether or not the proxy has stripped it."""
        header = dict(scope["headers"]).get(b"x-forwarded-prefix", b"").decode("latin-1")
        forwarded = header.split(",")[0].strip().rstrip("/")
        prefix = self._prefix or (forwarded if _PREFIX.fullmatch(forwarded) else "")
        if not prefix:
            return scope
        path = scope["path"]
        if path == prefix or path.startswith(f"{prefix}/"):
            path = path.removeprefix(prefix) or "/"
        return {**scope, "path": path, "raw_path": path.encode(), "root_path": prefix}

    def _rejection(self, scope: Scope) -> tuple[int, str] | None:
        """Status and message for a rejected request; None for an accepted one."""
        method, path, headers = scope["method"], scope["path"], dict(scope["headers"])
        host = headers.get(b"host", b"").lower()
        public = bool(self._host) and re.sub(rb":\d+$", b"", host) == self._host
        if self._local and not public and not _LOCAL_HOST.fullmatch(host):
            return 403, (
                "this server accepts requests for localhost only; start it with --host to open it to others, "
                "or behind a proxy with --root-path https://HOST/PATH"
            )
        routes = self._routes
        get, post = routes.get.fullmatch(path) and ".." not in path, routes.post.fullmatch(path)
        if get and method in ("GET", "HEAD"):
            return None
        if not post or method != "POST":
            if get or post:
                return 405, f"{path[:100]} does not accept {method[:20]}; {routes.advice}"
            return 404, f"{path[:100]} does not exist; {routes.advice}"
        length = headers.get(b"content-length", b"")
        if not length.isdigit():
            return 411, "the request has no length; send a Content-Length"
        most = next((size for pattern, size in routes.bodies if pattern.fullmatch(path)), self._max_body)
        if int(length) > most:
            return 413, f"the request has {_size(int(length))}; send at most {_size(most)} at once"
        return None


# Gradio's page has inline styles and scripts and compiles templates, but needs no other host.
_POLICY = (
    b"default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; object-src 'none'; base-uri 'self'; "
    b"form-action 'self'; frame-ancestors 'self'"
)


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:,.0f} MB" if n_bytes >= 1e6 else f"{n_bytes / 1e3:,.0f} kB"


# The page asks a device for nothing, but for the camera of a kiosk.
_PERMISSIONS = b"microphone=(), geolocation=(), display-capture=()"


def _with_headers(send: Send, permissions: bytes) -> Send:
    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            given = list(message.get("headers", ()))
            headers = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]
            headers.append((b"permissions-policy", permissions))
            # A page may have a stricter policy.
            if all(name.lower() != b"content-security-policy" for name, _ in given):
                headers.append((b"content-security-policy", _POLICY))
            message["headers"] = [*given, *headers]
        await send(message)

    return sending


def _with_base(send: Send, root_path: str) -> Send:
    """Set the base URL of Gradio's page, so that its links work without a slash at the end of the address."""
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


async def _respond(send: Send, status: int, text: str, *, plain: bool) -> None:
    body = (text if plain else json.dumps({"error": text})).encode()
    kind = b"text/plain; charset=utf-8" if plain else b"application/json"
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
