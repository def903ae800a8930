"""The verbs of the twin's page: twin export, serve."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from .options import Result, add_address, add_verb, positive


def export(arguments: argparse.Namespace) -> Result:
    """Write a run as one HTML page."""
    from bioclip_jax.twin.view import ExportOptions, export_page

    options = ExportOptions(
        twin=arguments.twin,
        precise=arguments.precise,
        deployments=arguments.deployments,
        overwrite=arguments.overwrite,
    )
    result = export_page(arguments.run_folder, arguments.output, options)
    if result["note"]:
        print(f"warning: {result['note']}", file=sys.stderr)
    if not result["three_js"]:
        print(
            "warning: the page has no 3-D views, because three.js is not installed; pip install "
            "jupyter-threejs-sage",
            file=sys.stderr,
        )
    if not arguments.json:
        places = "with the names and positions of its patches" if result["precise"] else "without its place"
        print(
            f"{result['species']:,} species, {result['scenarios']:,} scenarios, {result['scenes']:,} scenes, "
            f"{places}: {result['bytes'] / 1e6:.1f} MB\nwrote {result['output']}",
            file=sys.stderr,
        )
    return result


def serve(arguments: argparse.Namespace) -> Result:
    """Serve the page of a run."""
    from bioclip_jax.web import serve_twin

    return serve_twin(
        arguments.run_folder,
        twin=arguments.twin,
        precise=arguments.precise,
        deployments=arguments.deployments,
        host=arguments.host,
        port=arguments.port,
        root_path=arguments.root_path,
        queue=arguments.queue,
        seconds=arguments.seconds,
    )


def add_view_verbs(family: Any) -> None:
    """Declare the verbs in the family of `twin`."""
    verb = add_verb(
        family, "export", export, "write a run as one HTML page that loads nothing and tells no place"
    )
    verb.add_argument("run_folder", metavar="RUN", type=Path, help="folder that twin run wrote")
    verb.add_argument("output", metavar="OUT.html", type=Path, help="the page")
    _add_page_options(verb)
    verb.add_argument("--overwrite", action="store_true", help="replace OUT.html")

    verb = add_verb(
        family, "serve", serve, "serve the page of a run, whose visitors simulate what they change"
    )
    verb.add_argument("run_folder", metavar="RUN", type=Path, help="folder that twin run wrote")
    _add_page_options(verb)
    add_address(verb, port=7861, path="/twin")
    verb.add_argument(
        "--queue", type=positive, default=16, metavar="N", help="simulations that may wait (default: 16)"
    )
    verb.add_argument(
        "--seconds", type=float, default=60.0, metavar="S", help="longest simulation (default: 60)"
    )


def _add_page_options(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--twin", type=Path, metavar="TWIN", help="folder of the run's twin (default: the one beside the run)"
    )
    verb.add_argument(
        "--precise", action="store_true", help="show names and positions of the patches to everybody"
    )
    verb.add_argument(
        "--deployments",
        type=Path,
        metavar="CSV",
        help="table of cameras, as of Camtrap DP: fail if the page holds one's id, name or position",
    )
