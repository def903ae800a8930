"""The verb embed."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bioclip_jax.errors import UserError
from bioclip_jax.files import check_outputs

from .options import (
    Result,
    add_capture,
    add_every,
    add_inputs,
    add_model,
    add_reading,
    add_transform,
    add_verb,
    file_or_stdout,
    loading,
    report_done,
)


def embed(arguments: argparse.Namespace) -> Result:
    """Write vectors of images or texts."""
    from bioclip_jax.predict import embed_files, read_texts

    if arguments.json and arguments.output is None:
        raise UserError("--json and the vectors cannot both go to standard output; name a file with --output")
    check_outputs({"--output": arguments.output}, {"--texts": arguments.texts})
    texts = [*(arguments.text or []), *(read_texts(arguments.texts) if arguments.texts else [])]
    result = embed_files(
        arguments.inputs,
        arguments.model,
        arguments.output,
        texts=texts,
        format=arguments.format,
        normalize=arguments.normalize,
        cache=arguments.cache,
        every=arguments.every,
        add=arguments.add,
        **loading(arguments),
    )
    report_done(arguments, result, "texts" if texts else "images", "embedded")
    return result


def add_verbs(verbs: Any) -> None:
    """Declare the verb."""
    verb = add_verb(verbs, "embed", embed, "write a vector for each image or text")
    add_inputs(verb, nargs="*")
    add_every(verb)
    add_model(verb)
    add_transform(verb)
    add_reading(verb)
    verb.add_argument(
        "--text", action="append", metavar="TEXT", help="embed a text instead of images; may be repeated"
    )
    verb.add_argument("--texts", type=Path, metavar="FILE", help="embed the lines of a text file")
    verb.add_argument(
        "--format", choices=["npy", "parquet", "json", "pybioclip"], help="default: by the output's suffix"
    )
    verb.add_argument(
        "--output",
        type=file_or_stdout,
        metavar="FILE",
        help="default: pybioclip's JSON on standard output; in a .npy, row i is input i (named in "
        "FILE.npy.json), NaN if unreadable",
    )
    add_capture(verb)
    verb.add_argument(
        "--normalize",
        action=argparse.BooleanOptionalAction,
        help="unit vectors, or the image tower's projections (default: unit vectors in .npy and .parquet, "
        "projections in JSON, as pybioclip)",
    )
    verb.add_argument(
        "--cache", action="store_true", help="keep vectors on disk and reuse them for the same image content"
    )
