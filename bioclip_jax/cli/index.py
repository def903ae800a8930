"""Verbs for an index of images: index build, search, delete."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .options import (
    Result,
    add_inputs,
    add_model,
    add_output,
    add_reading,
    add_transform,
    add_verb,
    positive,
    print_known,
    print_result,
    running,
    tell_done,
)


def index_build(arguments: argparse.Namespace) -> Result:
    from bioclip_jax.predict.search import build_index

    result = build_index(arguments.inputs, arguments.model, arguments.output, **running(arguments))
    if not arguments.json:
        search = "exact" if result["nprobes"] is None else "approximate"
        print_known(result | {"search": search})
    return result


def index_search(arguments: argparse.Namespace) -> Result:
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
        **running(arguments),
    )
    tell_done(arguments, result, "queries", "searched")
    return result


def index_delete(arguments: argparse.Namespace) -> Result:
    from bioclip_jax.predict.search import delete_images

    result = delete_images(arguments.index, paths=arguments.path or [], where=arguments.where)
    if not arguments.json:
        print_result(result)
    return result


def add_verbs(verbs: Any) -> None:
    """Declare them."""
    kinds = verbs.add_parser("index", help="find similar images").add_subparsers(
        title="what to do", metavar="WHAT", required=True
    )
    verb = add_verb(
        kinds, "build", index_build, "make an index of images, or add to it what it does not hold"
    )
    add_inputs(verb)
    add_model(verb, default=None)
    add_transform(verb, default="the index's, else what the model is")
    add_reading(verb)
    verb.add_argument("--output", required=True, type=Path, metavar="DIR", help="the index")
    verb = add_verb(
        kinds, "search", index_search, "find the images that are most like others, or like a text"
    )
    verb.add_argument("index", type=Path, metavar="INDEX", help="what index build wrote")
    verb.add_argument("queries", nargs="*", metavar="INPUTS", help="images, folders, globs, tables or tars")
    add_model(verb, default=None)
    add_transform(verb, default="the index's, else what the model is")
    add_reading(verb)
    verb.add_argument("--text", action="append", metavar="TEXT", help="search by words; may be given again")
    verb.add_argument("--k", type=positive, default=10, help="how many images for each (default 10)")
    verb.add_argument("--within", metavar="TAXON", help="only images of a taxon of any rank")
    verb.add_argument(
        "--where", metavar="FILTER", help="only images with such columns: \"locality = 'Ohio'\""
    )
    verb.add_argument("--exact", action="store_true", help="compare with every image")
    add_output(verb)
    verb = add_verb(kinds, "delete", index_delete, "take images out of an index")
    verb.add_argument("index", type=Path, metavar="INDEX", help="what index build wrote")
    verb.add_argument("--path", action="append", metavar="PATH", help="an image, or a folder or tar of them")
    verb.add_argument("--where", metavar="FILTER", help="all images with such columns")
