"""ASGI application of the server: the page and the API behind the security middleware."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING

import gradio as gr
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from bioclip_jax.errors import UserError

from .api import add_routes
from .events import build_page
from .gallery import Example, Gallery
from .middleware import PHOTO_ROUTES, SecurityMiddleware
from .page import Contents
from .queue import Busy
from .service import PhotoService
from .theme import css, head, theme
from .uploads import allow_only_uploads

if TYPE_CHECKING:
    from .twin import TwinService

# Visitors whose photos are stored at a time; the least recently seen is forgotten first.
_MAX_VISITORS = 256
_TWIN = "/twin"


def build_app(
    service: PhotoService,
    *,
    gallery: Gallery | None = None,
    labels: Sequence[str] = (),
    examples: Sequence[Example] = (),
    local: bool = True,
    root_path: str = "",
    twin: TwinService | None = None,
    kiosk: int = 0,
) -> SecurityMiddleware:
    """Build the application. labels: initial labels of the page. local, root_path: as SecurityMiddleware.

    twin: shown under /twin. kiosk: seconds until a page that nobody uses starts again; 0: not for a museum.
    """
    app = FastAPI(title="bioclip-jax", docs_url=None, redoc_url=None, openapi_url="/api/openapi.json")
    add_routes(app, service)
    if gallery is not None:

        @app.get("/photos/{index}.jpg", include_in_schema=False)
        def photo(index: int) -> Response:
            return Response(gallery.thumbnail(index), media_type="image/jpeg")

    @app.get("/photos/example-{index}", include_in_schema=False)
    def example(index: int) -> Response:
        if not 0 <= index < len(examples):
            raise UserError(f"there is no example {index}")
        return Response(examples[index].content, media_type="image/*")

    routes = PHOTO_ROUTES
    if twin is not None:
        # Without a twin, nothing that simulates is imported.
        from .twin import routes_of, twin_routes

        app.router.routes.extend(twin_routes(twin, _TWIN))
        routes |= routes_of(_TWIN)
    _add_error_handlers(app)
    telemetry = os.environ.get("HF_HUB_DISABLE_TELEMETRY")
    page = build_page(
        Contents(service, gallery, labels, examples, has_twin=twin is not None, kiosk=bool(kiosk))
    )
    # Gradio without analytics sets this variable for the whole process.
    if telemetry is None:
        os.environ.pop("HF_HUB_DISABLE_TELEMETRY", None)
    page.state_session_capacity = _MAX_VISITORS
    gr.mount_gradio_app(
        app,
        page,
        path="/",
        footer_links=[],
        run_history=False,
        show_error=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        # The middleware sets a root path without a host for each request.
        root_path=root_path.rstrip("/") if "://" in root_path else None,
        theme=theme(),
        css=css(examples),
        head=head(service.limits.request_mb, examples, kiosk),
    )
    allow_only_uploads(page)
    return SecurityMiddleware(app, service.limits.request_mb, local, root_path, routes, camera=bool(kiosk))


def _add_error_handlers(app: FastAPI) -> None:
    """Respond to every failure with {"error": sentence}; tracebacks go to the server's log only."""

    def response(status: int, sentence: str, **headers: str) -> JSONResponse:
        return JSONResponse({"error": sentence}, status, headers=headers)

    @app.exception_handler(UserError)
    def user_error(request: Request, error: UserError) -> JSONResponse:
        return response(400, str(error))

    @app.exception_handler(Busy)
    def busy(request: Request, error: Busy) -> JSONResponse:
        return response(503, str(error), **{"Retry-After": "3"})

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        field = str(first["loc"][-1])[:40]
        if first["type"] == "missing":
            return response(400, f"the request has no {field}; send it in a form, as in curl -F {field}=…")
        return response(400, f"{field}: {first['msg'][:1].lower()}{first['msg'][1:]}")

    @app.exception_handler(HTTPException)
    def http_error(request: Request, error: HTTPException) -> JSONResponse:
        return response(error.status_code, str(error.detail))

    @app.exception_handler(Exception)
    def internal_error(request: Request, error: Exception) -> JSONResponse:
        traceback.print_exception(error, file=sys.stderr)
        return response(500, "something went wrong on the server; see its log")
