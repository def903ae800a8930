"""Verbs that use a model: predict, embed, models, serve."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from bioclip_jax.convert import DEFAULT_MODEL
from bioclip_jax.errors import UserError
from bioclip_jax.files import check_outputs
from bioclip_jax.text import RANKS

from .options import (
    Result,
    add_inputs,
    add_model,
    add_output,
    add_reading,
    add_taxa_choice,
    add_temperature,
    add_transform,
    add_verb,
    file_or_stdout,
    positive,
    probability,
    register_datasets,
    running,
    tell_done,
)


def predict(arguments: argparse.Namespace) -> Result:
    from bioclip_jax.predict import predict_files

    result = predict_files(
        arguments.inputs,
        arguments.model,
        rank=arguments.rank,
        labels=arguments.cls,
        labels_as_given=arguments.labels_as_given,
        bins=arguments.bins,
        subset=arguments.subset,
        within=arguments.within,
        skip_unknown=arguments.skip_unknown,
        taxa=arguments.taxa,
        k=arguments.k,
        min_confidence=arguments.min_confidence,
        unknown=arguments.unknown,
        temperature=arguments.temperature,
        format=arguments.format,
        output=arguments.output,
        log=arguments.log,
        report=arguments.report,
        resume=arguments.resume,
        as_result=arguments.json,
        **running(arguments),
    )
    tell_done(arguments, result, "images", "predicted")
    return result


def embed(arguments: argparse.Namespace) -> Result:
    from bioclip_jax.predict import embed_files, read_texts

    if arguments.json and arguments.output is None:
        raise UserError(
            "--json tells the result on standard output, where the vectors would go; name a file with "
            "--output"
        )
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
        **running(arguments),
    )
    tell_done(arguments, result, "texts" if texts else "images", "embedded")
    return result


def models(arguments: argparse.Namespace) -> Result:
    from bioclip_jax.convert import PUBLISHED, tags
    from bioclip_jax.models import get_config, model_names

    if arguments.model:
        get_config(arguments.model)
        names = list(tags(arguments.model))
    else:
        names = [*PUBLISHED, *model_names()]
    if not arguments.json:
        print("\n".join(names) or f"no weights of {arguments.model} are published", file=sys.stdout)
    return {"tags" if arguments.model else "models": names}


def serve(arguments: argparse.Namespace) -> Result:
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
        skip_unknown=arguments.skip_unknown,
        host=arguments.host,
        port=arguments.port,
        root_path=arguments.root_path,
        max_upload_mb=arguments.max_upload_mb,
        queue=arguments.queue,
        **running(arguments),
    )


def add_verbs(verbs: Any) -> None:
    """Declare them."""
    verb = add_verb(verbs, "predict", predict, "name what is on images")
    add_inputs(verb)
    add_model(verb)
    add_transform(verb)
    add_reading(verb)
    names = verb.add_argument_group(
        "possible answers", "the taxa of the tree of life, if nothing else is said"
    )
    names.add_argument("--rank", choices=RANKS, help="of the answers (default species)")
    add_taxa_choice(names)
    names.add_argument("--cls", metavar="LABELS", help="your own labels: a,b,c or a file with one a line")
    names.add_argument(
        "--labels-as-given",
        action="store_true",
        help="keep blank and repeated labels, each with a probability of its own, as pybioclip does",
    )
    names.add_argument(
        "--bins", type=Path, metavar="CSV", help="labels and, in the second column, what to sum them up to"
    )
    sure = verb.add_argument_group("how sure an answer has to be")
    sure.add_argument("--k", type=positive, help="how many answers an image (default: 5 taxa, all labels)")
    sure.add_argument(
        "--min-confidence",
        type=probability,
        metavar="P",
        help="one answer, at the narrowest rank whose score reaches P",
    )
    sure.add_argument(
        "--unknown", type=probability, metavar="P", help='answer "unknown" where the best score is below P'
    )
    add_temperature(sure)
    add_output(verb)
    verb.add_argument(
        "--report", type=Path, metavar="HTML", help="write a page with thumbnails, answers and the tree, too"
    )
    verb.add_argument(
        "--log", type=Path, metavar="FILE", help="how the answers came about: text, or JSON by its suffix"
    )
    verb.add_argument(
        "--resume", action="store_true", help="resume --output where the same command was stopped"
    )

    verb = add_verb(verbs, "embed", embed, "write a vector for each image, or text")
    add_inputs(verb, nargs="*")
    add_model(verb)
    add_transform(verb)
    add_reading(verb)
    verb.add_argument(
        "--text", action="append", metavar="TEXT", help="a text instead of images; may be given again"
    )
    verb.add_argument("--texts", type=Path, metavar="FILE", help="texts instead of images, one a line")
    verb.add_argument(
        "--format", choices=["npy", "parquet", "json", "pybioclip"], help="default: by the output's suffix"
    )
    verb.add_argument(
        "--output",
        type=file_or_stdout,
        metavar="FILE",
        help="default: pybioclip's JSON on standard output; in a .npy row i is input i (named in "
        "FILE.npy.json), NaN "
        "where it cannot be read",
    )
    verb.add_argument(
        "--normalize",
        action=argparse.BooleanOptionalAction,
        help="unit vectors, or as the image tower projects them (default: .npy and .parquet unit vectors, "
        "JSON not, as"
        " pybioclip's)",
    )
    verb.add_argument(
        "--cache", action="store_true", help="keep vectors by what images hold, and do not make them again"
    )

    verb = add_verb(verbs, "models", models, "list the models that have names")
    verb.add_argument("--model", metavar="NAME", help="list the published weights of an architecture")

    verb = add_verb(verbs, "serve", serve, "open a page for a browser: names, labels, similar images, a map")
    add_model(verb, default=f"the index's own, else {DEFAULT_MODEL}")
    add_transform(verb, default="the index's, else what the model is")
    add_reading(verb)
    verb.add_argument("--index", type=Path, metavar="DIR", help="what index build wrote, for similar images")
    verb.add_argument("--images", type=Path, metavar="FOLDER", help="images to show on the map")
    verb.add_argument(
        "--labels", metavar="LABELS", help="labels to begin with: a,b,c or a file with one a line"
    )
    add_taxa_choice(verb)
    add_temperature(verb)
    verb.add_argument("--host", default="127.0.0.1", help="default 127.0.0.1: this machine only")
    verb.add_argument("--port", type=int, default=7860, help="default 7860")
    verb.add_argument(
        "--root-path",
        default="",
        metavar="PATH|URL",
        help="where a proxy shows the page: /bioclip, or https://example.org/bioclip to allow that host, too",
    )
    verb.add_argument("--max-upload-mb", type=positive, default=20, help="of one file (default 20)")
    verb.add_argument(
        "--queue",
        type=positive,
        default=16,
        metavar="N",
        help="requests that may wait for the model (default 16)",
    )
