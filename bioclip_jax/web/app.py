"""The server's application: the page, the API, and the guard before both."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

import gradio as gr
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from bioclip_jax.errors import UserError

from .answers import Answers
from .api import add_routes
from .examples import Example
from .folder import Folder
from .guard import Guard
from .limits import Busy
from .look import css, head, theme
from .page import build_page
from .uploads import only_uploads

# Visitors whose photos are kept at a time; the one who was here longest ago is forgotten first.
_VISITORS = 256


def build_app(
    answers: Answers,
    *,
    folder: Folder | None = None,
    labels: Sequence[str] = (),
    examples: Sequence[Example] = (),
    local: bool = True,
    root_path: str = "",
) -> Guard:
    """The ASGI application. `labels`: what stands in the page's box of labels; `local`: only this machine reaches
    it; `root_path`: as Guard's.
    """
    app = FastAPI(title="bioclip-jax", docs_url=None, redoc_url=None, openapi_url="/api/openapi.json")
    add_routes(app, answers)
    if folder is not None:

        @app.get("/photos/{place}.jpg", include_in_schema=False)
        def photo(place: int) -> Response:
            return Response(folder.thumbnail(place), media_type="image/jpeg")

    _tell_errors(app)
    telemetry = os.environ.get("HF_HUB_DISABLE_TELEMETRY")
    page = build_page(answers, folder=folder, labels=labels, examples=examples)
    # Gradio sets this one for the whole process when its analytics are off.
    if telemetry is None:
        os.environ.pop("HF_HUB_DISABLE_TELEMETRY", None)
    page.state_session_capacity = _VISITORS
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
        # A path alone comes with each request.
        root_path=root_path.rstrip("/") if "://" in root_path else None,
        theme=theme(),
        css=css(examples),
        head=head(answers.limits),
    )
    only_uploads(page)
    return Guard(app, answers.limits, local, root_path)


def _tell_errors(app: FastAPI) -> None:
    """Every failure is {"error": one sentence}; what went wrong inside goes to the server's log."""

    def answer(status: int, sentence: str, **headers: str) -> JSONResponse:
        return JSONResponse({"error": sentence}, status, headers=headers)

    @app.exception_handler(UserError)
    def mistaken(request: Request, error: UserError) -> JSONResponse:
        return answer(400, str(error))

    @app.exception_handler(Busy)
    def busy(request: Request, error: Busy) -> JSONResponse:
        return answer(503, str(error), **{"Retry-After": "3"})

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = str(first["loc"][-1])[:40]
        if first["type"] == "missing":
            return answer(400, f"the request has no {where}; send it in a form, as in curl -F {where}=…")
        return answer(400, f"{where}: {first['msg'][:1].lower()}{first['msg'][1:]}")

    @app.exception_handler(HTTPException)
    def refused(request: Request, error: HTTPException) -> JSONResponse:
        return answer(error.status_code, str(error.detail))

    @app.exception_handler(Exception)
    def failed(request: Request, error: Exception) -> JSONResponse:
        traceback.print_exception(error, file=sys.stderr)
        return answer(500, "something went wrong on the server; its log says what")
