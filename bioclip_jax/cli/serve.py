"""The verb serve."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bioclip_jax.convert import DEFAULT_MODEL

from .candidates import add_taxa_choice, add_temperature
from .options import (
    Result,
    add_address,
    add_model,
    add_reading,
    add_transform,
    add_verb,
    loading,
    positive,
    register_datasets,
)


def serve(arguments: argparse.Namespace) -> Result:
    """Serve the web page."""
    from bioclip_jax.web import serve_page

    register_datasets()
    return serve_page(
        arguments.model,
        taxa=arguments.taxa,
        index=arguments.index,
        images=arguments.images,
        labels=arguments.labels,
        temperature=arguments.temperature,
        subset=arguments.subset,
        within=arguments.within,
        prior=arguments.prior,
        backbone=arguments.backbone,
        skip_unknown=arguments.skip_unknown,
        heads=arguments.head,
        host=arguments.host,
        port=arguments.port,
        root_path=arguments.root_path,
        max_upload_mb=arguments.max_upload_mb,
        queue=arguments.queue,
        twin=arguments.twin,
        kiosk=arguments.kiosk,
        **loading(arguments),
    )


def add_verbs(verbs: Any) -> None:
    """Declare the verb."""
    verb = add_verb(verbs, "serve", serve, "serve a web page: species, labels, similar images, a map")
    add_model(verb, default=f"the index's, else {DEFAULT_MODEL}")
    add_transform(verb, default="the index's, else by the model's origin")
    add_reading(verb)
    verb.add_argument("--index", type=Path, metavar="DIR", help="index of similar images, from index build")
    verb.add_argument("--images", type=Path, metavar="FOLDER", help="images to show on the map")
    verb.add_argument("--labels", metavar="LABELS", help="initial labels: a,b,c or a file with one per line")
    verb.add_argument(
        "--twin", type=Path, metavar="RUN", help="run of twin run, whose page is shown under /twin"
    )
    verb.add_argument(
        "--head",
        type=Path,
        nargs="+",
        default=(),
        metavar="FOLDER",
        help="heads of taxa learn, to choose from in the page",
    )
    add_taxa_choice(verb)
    add_temperature(verb)
    add_address(verb, port=7860, path="/bioclip")
    verb.add_argument(
        "--max-upload-mb", type=positive, default=20, metavar="MB", help="largest upload (default: 20)"
    )
    verb.add_argument(
        "--kiosk",
        type=positive,
        nargs="?",
        const=90,
        default=0,
        metavar="SECONDS",
        help="page for a museum: large, with a camera; it starts again after SECONDS without a visitor (90)",
    )
    verb.add_argument(
        "--queue",
        type=positive,
        default=16,
        metavar="N",
        help="requests that may wait for the model (default: 16)",
    )
