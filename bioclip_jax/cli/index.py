"""The verbs for an index of similar images: index build, search, delete."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .options import (
    Result,
    add_every,
    add_family,
    add_inputs,
    add_model,
    add_output,
    add_reading,
    add_transform,
    add_verb,
    loading,
    positive,
    print_known,
    print_result,
    report_done,
)


def build(arguments: argparse.Namespace) -> Result:
    """Build or extend an index."""
    from bioclip_jax.predict.search import build_index

    inputs, options = arguments.inputs, {"every": arguments.every, **loading(arguments)}
    result = build_index(inputs, arguments.model, arguments.output, **options)
    if not arguments.json:
        search = "exact" if result["nprobes"] is None else "approximate"
        print_known(result | {"search": search})
    return result


def search(arguments: argparse.Namespace) -> Result:
    """Search an index."""
    from bioclip_jax.predict.search import search_index

    result = search_index(
        arguments.index,
        arguments.queries,
        arguments.model,
        texts=arguments.text or [],
        k=arguments.k,
        within=arguments.within,
        where=arguments.where,
        exact=arguments.exact,
        format=arguments.format,
        output=arguments.output,
        as_result=arguments.json,
        **loading(arguments),
    )
    report_done(arguments, result, "queries", "searched")
    return result


def delete(arguments: argparse.Namespace) -> Result:
    """Delete images from an index."""
    from bioclip_jax.predict.search import delete_images

    result = delete_images(arguments.index, paths=arguments.path or [], where=arguments.where)
    if not arguments.json:
        print_result(result)
    return result


def add_verbs(verbs: Any) -> None:
    """Declare the verbs."""
    family = add_family(verbs, "index", "find similar images")
    verb = add_verb(family, "build", build, "build an index of images, or add new images to it")
    add_inputs(verb)
    add_every(verb)
    _add_model(verb, precision=None)
    verb.add_argument("--output", required=True, type=Path, metavar="DIR", help="the index")

    verb = add_verb(family, "search", search, "find the images most similar to images or texts")
    _add_index(verb)
    add_inputs(verb, "queries", nargs="*")
    _add_model(verb)
    verb.add_argument("--text", action="append", metavar="TEXT", help="search by a text; may be repeated")
    verb.add_argument("--k", type=positive, default=10, help="images per query (default: 10)")
    verb.add_argument("--within", metavar="TAXON", help="only images of a taxon of any rank")
    verb.add_argument(
        "--where", metavar="FILTER", help="only images whose columns match: \"locality = 'Ohio'\""
    )
    verb.add_argument("--exact", action="store_true", help="compare with every image")
    add_output(verb)

    verb = add_verb(family, "delete", delete, "delete images from an index")
    _add_index(verb)
    verb.add_argument(
        "--path", action="append", metavar="PATH", help="an image, or a folder or tar of images"
    )
    verb.add_argument("--where", metavar="FILTER", help="all images whose columns match")


def _add_index(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("index", type=Path, metavar="INDEX", help="the index, from index build")


def _add_model(verb: argparse.ArgumentParser, precision: str | None = "fp32") -> None:
    add_model(verb, default=None, precision=precision)
    add_transform(verb, default="the index's, else by the model's origin")
    add_reading(verb)
