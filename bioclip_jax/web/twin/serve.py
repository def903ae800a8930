"""Start the server of a twin's page."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

from bioclip_jax.errors import UserError

from ..listen import bind, check_address, is_loopback, run_until_interrupt


def serve_twin(
    run: str | os.PathLike[str],
    *,
    twin: str | os.PathLike[str] | None = None,
    precise: bool = False,
    deployments: str | os.PathLike[str] | None = None,
    host: str = "127.0.0.1",
    port: int = 7861,
    root_path: str = "",
    queue: int = 16,
    seconds: float = 60.0,
    scene_seconds: float = 120.0,
) -> None:
    """Serve the page of a run, with simulations of what visitors change, until Ctrl-C.

    twin, precise, deployments: as ExportOptions. host, port, root_path: as serve_page. queue: simulations
    that may wait. seconds: that one may take. scene_seconds: length of the page's scenes.

    Raises UserError for an unavailable address, before anything is read, and for inputs that are not valid.
    """
    check_address(port, root_path)
    if queue < 1:
        raise UserError(f"--queue is {queue}; it must be at least 1")
    if not 1 <= seconds <= 3600:
        raise UserError(f"--seconds is {seconds:g}; give 1 to 3600")
    with bind(host, port) as bound:
        try:
            import uvicorn  # noqa: F401
            from starlette.applications import Starlette
        except ModuleNotFoundError as error:
            raise UserError(
                "the page needs a web server; install it with: pip install 'bioclip-jax[web]'"
            ) from error
        from bioclip_jax.twin.view import ExportOptions

        from ..middleware import SecurityMiddleware
        from .routes import MOST_BYTES, routes_of, twin_routes
        from .service import TwinLimits, open_twin

        options = ExportOptions(
            twin=None if twin is None else Path(twin),
            precise=precise,
            deployments=None if deployments is None else Path(deployments),
            scene_seconds=scene_seconds,
        )
        service = open_twin(run, options, replace(TwinLimits(), waiting=queue, seconds=seconds))
        if service.note:
            print(f"warning: {service.note}", file=sys.stderr)
        app = Starlette(routes=twin_routes(service))
        guarded = SecurityMiddleware(app, MOST_BYTES / 1e6, is_loopback(host), root_path, routes_of())
        run_until_interrupt(guarded, bound, host)
