"""Middleware and options of the server: paths, hosts, proxies, invalid options."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bioclip_jax.errors import UserError

pytest.importorskip("gradio", reason="the page needs the extra [web]")

from bioclip_jax.web.middleware import _GET, _LOCAL_HOST, _POST, SecurityMiddleware
from bioclip_jax.web.serve import is_loopback, serve_page


@given(st.text(max_size=40))
def test_middleware_rejects_files_and_proxies(path: str):
    for prefix in ("/gradio_api/file=", "/gradio_api/proxy=", "/etc/"):
        assert not _GET.fullmatch(prefix + path) and not _POST.fullmatch(prefix + path)


def test_local_hosts():
    assert all(_LOCAL_HOST.fullmatch(host) for host in (b"localhost", b"127.0.0.1:7860", b"[::1]:80"))
    assert not any(
        _LOCAL_HOST.fullmatch(host) for host in (b"localhost.evil.example", b"evil", b"", b"127.0.0.1.evil")
    )
    assert is_loopback("127.0.0.1") and is_loopback("::1") and is_loopback("localhost")
    assert not is_loopback("0.0.0.0") and not is_loopback("example.org")


@pytest.mark.parametrize(
    ("root_path", "headers", "path", "status", "root"),
    [
        ("", {}, "/config", 200, ""),
        ("", {"x-forwarded-prefix": "/bio"}, "/config", 200, "/bio"),
        ("", {"x-forwarded-prefix": "/a/b/, /c"}, "/config", 200, "/a/b"),
        ("", {"x-forwarded-prefix": '/"><script>'}, "/config", 200, ""),
        ("", {"x-forwarded-prefix": "//evil.example"}, "/config", 200, ""),
        ("", {}, "/bio/config", 404, None),
        ("/bio", {}, "/config", 200, "/bio"),
        ("/bio/", {}, "/bio/config", 200, "/bio"),
        ("/bio", {"x-forwarded-prefix": "/other"}, "/config", 200, "/bio"),
        ("/bio", {"host": "photos.example"}, "/config", 403, None),
        ("https://photos.example/bio", {"host": "photos.example"}, "/config", 200, "/bio"),
        ("https://photos.example", {"host": "Photos.example:443"}, "/config", 200, ""),
        ("https://photos.example/bio", {"host": "evil.example"}, "/config", 403, None),
        ("https://photos.example/bio", {"host": "photos.example.evil.example"}, "/config", 403, None),
    ],
)
def test_paths_below_a_proxy(root_path: str, headers: dict, path: str, status: int, root: str | None):
    got, seen = request("GET", path, headers, root_path)
    assert got == status
    assert seen == ([] if root is None else [("/config", root)])


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api", 200),
        ("HEAD", "/api", 200),
        ("POST", "/api", 405),
        ("GET", "/api/predict", 405),
        ("PUT", "/api/predict", 405),
        ("GET", "/api/nothing", 404),
        ("POST", "/api/nothing", 404),
        ("GET", "/assets/../app.py", 404),
    ],
)
def test_known_routes_reject_other_methods(method: str, path: str, status: int):
    assert request(method, path)[0] == status


def request(method: str, path: str, headers: dict | None = None, root_path: str = "") -> tuple[int, list]:
    """Return the middleware's status for a request, and the paths and root paths that reach the app."""
    seen, sent = [], []

    async def app(scope, receive, send) -> None:
        seen.append((scope["path"], scope.get("root_path", "")))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> dict:
        return {"type": "http.request", "body": b""}

    async def send(message: dict) -> None:
        sent.append(message)

    headers = {"host": "localhost:7860"} | (headers or {})
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "headers": encoded}
    asyncio.run(SecurityMiddleware(app, 200, True, root_path)(scope, receive, send))
    return sent[0]["status"], seen


def test_invalid_options_are_rejected_before_the_model_is_loaded(tmp_path):
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UserError, match="cannot be used.*choose another --port"):
            serve_page("no model", port=taken.getsockname()[1])
    with pytest.raises(UserError, match="the port is 70000"):
        serve_page("no model", port=70000)
    with pytest.raises(UserError, match="--max-upload-mb is 0"):
        serve_page("no model", max_upload_mb=0)
    for root_path in ("bio", "ftp://a/b", "/a b", "https://", "/a//b"):
        with pytest.raises(UserError, match="--root-path is"):
            serve_page("no model", root_path=root_path)
    with pytest.raises(UserError, match="--skip-unknown needs --subset"):
        serve_page("no model", skip_unknown=True)
    with pytest.raises(UserError, match="--subset .* does not exist"):
        serve_page("no model", subset=tmp_path / "none.csv")
    with pytest.raises(UserError, match="--index .* does not exist"):
        serve_page("no model", index=tmp_path / "none")
    with pytest.raises(UserError, match="--twin .* does not exist"):
        serve_page("no model", twin=tmp_path / "none")
