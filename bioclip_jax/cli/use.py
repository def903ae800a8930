"""The verbs that use a model: names, vectors, taxa, similar images, the page."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from bioclip_jax.cli.options import (
    MODEL,
    Result,
    add_inputs,
    add_model,
    add_reading,
    add_transform,
    add_verb,
    file_or_stdout,
    positive,
    print_result,
    probability,
    register_datasets,
    running,
)
from bioclip_jax.convert.pretrained import DEFAULT_MODEL
from bioclip_jax.errors import UserError
from bioclip_jax.files import check_outputs, check_suffix
from bioclip_jax.predict.results import FORMATS
from bioclip_jax.text.taxon import RANKS


def predict(arguments: argparse.Namespace) -> Result:
    from bioclip_jax.predict.predict import predict

    result = predict(
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
    _tell_done(arguments, result, "images", "predicted")
    return result


def embed(arguments: argparse.Namespace) -> Result:
    from bioclip_jax.predict.embed import embed
    from bioclip_jax.predict.embedding.texts import read_texts

    if arguments.json and arguments.output is None:
        raise UserError(
            "--json tells the result on standard output, where the vectors would go; name a file with --output"
        )
    check_outputs({"--output": arguments.output}, {"--texts": arguments.texts})
    texts = [*(arguments.text or []), *(read_texts(arguments.texts) if arguments.texts else [])]
    result = embed(
        arguments.inputs,
        arguments.model,
        arguments.output,
        texts=texts,
        format=arguments.format,
        normalize=arguments.normalize,
        cache=arguments.cache,
        **running(arguments),
    )
    _tell_done(arguments, result, "texts" if texts else "images", "embedded")
    return result


def models(arguments: argparse.Namespace) -> Result:
    from bioclip_jax.convert.pretrained import tags
    from bioclip_jax.convert.published import PUBLISHED
    from bioclip_jax.models import get_config, model_names

    if arguments.model:
        get_config(arguments.model)
        names = list(tags(arguments.model))
    else:
        names = [*PUBLISHED, *model_names()]
    if not arguments.json:
        print("\n".join(names) or f"no weights of {arguments.model} are published", file=sys.stdout)
    return {"tags" if arguments.model else "models": names}


def taxa_build(arguments: argparse.Namespace) -> Result:
    from bioclip_jax.pipeline.sources.open import data_files
    from bioclip_jax.predict.model import load_model
    from bioclip_jax.predict.taxa.build import build_taxa

    register_datasets()
    # Before the model is loaded, which may take minutes.
    check_outputs({"--output": arguments.output}, {"where the names are": data_files(arguments.names)})
    check_suffix(arguments.output, (".safetensors",))
    model = load_model(arguments.model, **running(arguments))
    result = build_taxa(arguments.names, model, arguments.output, dtype=arguments.dtype, complete=arguments.complete)
    if not arguments.json:
        _print_known(result)
    return result


def taxa_list(arguments: argparse.Namespace) -> Result:
    from bioclip_jax.predict.taxa.listing import list_taxa

    result = list_taxa(
        arguments.model,
        taxa=arguments.taxa,
        within=arguments.within,
        format=arguments.format,
        output=arguments.output,
        as_result=arguments.json,
    )
    _tell_done(arguments, result, "taxa", "listed")
    return result


def taxa_calibrate(arguments: argparse.Namespace) -> Result:
    from bioclip_jax.pipeline.sources.open import data_files
    from bioclip_jax.predict.classifiers.tree_of_life import TreeOfLifeClassifier
    from bioclip_jax.predict.model import load_model
    from bioclip_jax.predict.taxa.calibrate import calibrate, doubts

    register_datasets()
    read = {"labelled data": data_files(arguments.data), "the head of taxa": arguments.taxa}
    check_outputs({"--output": arguments.output, "--plot": arguments.plot}, read)
    check_suffix(arguments.output, (".json",))
    check_suffix(arguments.plot, (".png", ".pdf", ".svg"), "the plot")
    classifier = TreeOfLifeClassifier(load_model(arguments.model, **running(arguments)), arguments.taxa)
    result = calibrate(arguments.data, classifier, arguments.output, plot=arguments.plot)
    if not arguments.json:
        figures = {name: value for name, value in result.items() if name not in ("before", "after")}
        for time in ("before", "after"):
            figures |= {f"{time}, {name}": value for name, value in result[time].items() if name != "reliability"}
        print_result(figures)
    for doubt in doubts(result):
        print(f"warning: {doubt}", file=sys.stderr)
    return result


def index_build(arguments: argparse.Namespace) -> Result:
    from bioclip_jax.predict.search.build import build_index

    result = build_index(arguments.inputs, arguments.model, arguments.output, **running(arguments))
    if not arguments.json:
        search = "exact" if result["nprobes"] is None else "approximate"
        _print_known(result | {"search": search})
    return result


def index_search(arguments: argparse.Namespace) -> Result:
    from bioclip_jax.predict.search.query import search_index

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
    _tell_done(arguments, result, "queries", "searched")
    return result


def index_delete(arguments: argparse.Namespace) -> Result:
    from bioclip_jax.predict.search.build import delete_images

    result = delete_images(arguments.index, paths=arguments.path or [], where=arguments.where)
    if not arguments.json:
        print_result(result)
    return result


def serve(arguments: argparse.Namespace) -> Result:
    from bioclip_jax.web.serve import serve

    register_datasets()
    return serve(
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


def _tell_done(arguments: argparse.Namespace, result: Result, kind: str, done: str) -> None:
    """Say on standard error how many there were and where they are, unless the results themselves are on a terminal."""
    if arguments.json or (result["output"] is None and sys.stdout.isatty()):
        return
    unreadable = len(result.get("unreadable", ()))
    message = f"{done} {result[kind] - unreadable:,} {kind}"
    if unreadable:
        message += f", skipped {unreadable:,} unreadable"
    if result["output"] is not None:
        message += f": {result['output']}"
    elif arguments.output is not None:
        message += ", none of which has an answer; nothing was written"
    if "rows" in result:
        message += f", its rows are named in {result['rows']}"
    print(message, file=sys.stderr)


def _print_known(result: dict[str, Any]) -> None:
    """print_result of what has a value; of lists, how many entries they have."""
    counted = {name: len(value) if isinstance(value, list) else value for name, value in result.items()}
    print_result({name: value for name, value in counted.items() if value is not None})


def _add_output(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--format", choices=FORMATS, help="default: by the output's suffix, else csv")
    verb.add_argument("--output", type=file_or_stdout, metavar="FILE", help="default: standard output")


def add_verbs(verbs: Any) -> None:
    """Declare them."""
    verb = add_verb(verbs, "predict", predict, "name what is on images")
    add_inputs(verb)
    add_model(verb)
    add_transform(verb)
    add_reading(verb)
    names = verb.add_argument_group("possible answers", "the taxa of the tree of life, if nothing else is said")
    names.add_argument("--rank", choices=RANKS, help="of the answers (default species)")
    names.add_argument(
        "--subset", type=Path, metavar="CSV", help="only these taxa; the first column is named by their rank"
    )
    names.add_argument("--within", metavar="TAXON", help="only what belongs to a taxon of any rank, such as Mammalia")
    names.add_argument("--skip-unknown", action="store_true", help="pass over names of --subset that the taxa lack")
    names.add_argument("--taxa", type=Path, metavar="FILE", help="what taxa build wrote (default: the model's own)")
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
    sure.add_argument("--temperature", metavar="T|FILE", help="what taxa calibrate found, or a number")
    _add_output(verb)
    verb.add_argument(
        "--report", type=Path, metavar="HTML", help="write a page with thumbnails, answers and the tree, too"
    )
    verb.add_argument(
        "--log", type=Path, metavar="FILE", help="how the answers came about: text, or JSON by its suffix"
    )
    verb.add_argument("--resume", action="store_true", help="resume --output where the same command was stopped")

    verb = add_verb(verbs, "embed", embed, "write a vector for each image, or text")
    add_inputs(verb, nargs="*")
    add_model(verb)
    add_transform(verb)
    add_reading(verb)
    verb.add_argument("--text", action="append", metavar="TEXT", help="a text instead of images; may be given again")
    verb.add_argument("--texts", type=Path, metavar="FILE", help="texts instead of images, one a line")
    verb.add_argument(
        "--format", choices=["npy", "parquet", "json", "pybioclip"], help="default: by the output's suffix"
    )
    verb.add_argument(
        "--output",
        type=file_or_stdout,
        metavar="FILE",
        help="default: pybioclip's JSON on standard output; in a .npy row i is input i (named in FILE.npy.json), NaN where"
        " it cannot be read",
    )
    verb.add_argument(
        "--normalize",
        action=argparse.BooleanOptionalAction,
        help="unit vectors, or as the image tower projects them (default: .npy and .parquet unit vectors, JSON not, as"
        " pybioclip's)",
    )
    verb.add_argument(
        "--cache", action="store_true", help="keep vectors by what images hold, and do not make them again"
    )

    verb = add_verb(verbs, "models", models, "list the models that have names")
    verb.add_argument("--model", metavar="NAME", help="list the published weights of an architecture")

    kinds = verbs.add_parser("taxa", help="the names that predict chooses from").add_subparsers(
        title="what to do", metavar="WHAT", required=True
    )
    verb = add_verb(kinds, "build", taxa_build, "make a model's taxa head from names or published embeddings")
    verb.add_argument(
        "names",
        nargs="?",
        metavar="NAMES",
        help="CSV or Parquet with ranks, txt_emb_species.npy beside its .json, or labelled data (default: what the Hub"
        " has for the model)",
    )
    add_model(verb)
    verb.add_argument("--output", type=Path, metavar="FILE", help="default: taxa.safetensors in the model's directory")
    verb.add_argument(
        "--dtype", choices=["float32", "float16", "int8"], default="float32", help="of the stored vectors"
    )
    verb.add_argument(
        "--complete",
        action="store_true",
        help="make the vectors that published embeddings lack, and give all length 1 (default: as published)",
    )
    verb = add_verb(kinds, "list", taxa_list, "print the taxa that predict chooses from")
    verb.add_argument("--model", metavar="MODEL", help=MODEL)
    verb.add_argument("--taxa", type=Path, metavar="FILE", help="what taxa build wrote (default: the model's own)")
    verb.add_argument("--within", metavar="TAXON", help="only what belongs to it")
    _add_output(verb)
    verb = add_verb(
        kinds, "calibrate", taxa_calibrate, "fit a softmax temperature on labeled images"
    )
    verb.add_argument("data", metavar="DATA", help="labelled images: a folder with metadata.csv, tars or NAME:SPLIT")
    add_model(verb)
    add_transform(verb)
    add_reading(verb)
    verb.add_argument("--taxa", type=Path, metavar="FILE", help="what taxa build wrote (default: the model's own)")
    verb.add_argument("--output", required=True, type=Path, metavar="JSON", help="give it to predict as --temperature")
    verb.add_argument("--plot", type=Path, metavar="PNG", help="draw how often answers are right")

    kinds = verbs.add_parser("index", help="find similar images").add_subparsers(
        title="what to do", metavar="WHAT", required=True
    )
    verb = add_verb(kinds, "build", index_build, "make an index of images, or add to it what it does not hold")
    add_inputs(verb)
    add_model(verb, default=None)
    add_transform(verb, default="the index's, else what the model is")
    add_reading(verb)
    verb.add_argument("--output", required=True, type=Path, metavar="DIR", help="the index")
    verb = add_verb(kinds, "search", index_search, "find the images that are most like others, or like a text")
    verb.add_argument("index", type=Path, metavar="INDEX", help="what index build wrote")
    verb.add_argument("queries", nargs="*", metavar="INPUTS", help="images, folders, globs, tables or tars")
    add_model(verb, default=None)
    add_transform(verb, default="the index's, else what the model is")
    add_reading(verb)
    verb.add_argument("--text", action="append", metavar="TEXT", help="search by words; may be given again")
    verb.add_argument("--k", type=positive, default=10, help="how many images for each (default 10)")
    verb.add_argument("--within", metavar="TAXON", help="only images of a taxon of any rank")
    verb.add_argument("--where", metavar="FILTER", help="only images with such columns: \"locality = 'Ohio'\"")
    verb.add_argument("--exact", action="store_true", help="compare with every image")
    _add_output(verb)
    verb = add_verb(kinds, "delete", index_delete, "take images out of an index")
    verb.add_argument("index", type=Path, metavar="INDEX", help="what index build wrote")
    verb.add_argument("--path", action="append", metavar="PATH", help="an image, or a folder or tar of them")
    verb.add_argument("--where", metavar="FILTER", help="all images with such columns")

    verb = add_verb(verbs, "serve", serve, "open a page for a browser: names, labels, similar images, a map")
    add_model(verb, default=f"the index's own, else {DEFAULT_MODEL}")
    add_transform(verb, default="the index's, else what the model is")
    add_reading(verb)
    verb.add_argument("--taxa", type=Path, metavar="FILE", help="what taxa build wrote (default: the model's own)")
    verb.add_argument("--index", type=Path, metavar="DIR", help="what index build wrote, for similar images")
    verb.add_argument("--images", type=Path, metavar="FOLDER", help="images to show on the map")
    verb.add_argument("--labels", metavar="LABELS", help="labels to begin with: a,b,c or a file with one a line")
    verb.add_argument("--temperature", metavar="T|FILE", help="as predict's: what taxa calibrate wrote, or a number")
    verb.add_argument("--subset", type=Path, metavar="CSV", help="as predict's: only these taxa")
    verb.add_argument("--skip-unknown", action="store_true", help="as predict's: pass over names that the taxa lack")
    verb.add_argument("--within", metavar="TAXON", help="as predict's: only what belongs to a taxon of any rank")
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
        "--queue", type=positive, default=16, metavar="N", help="requests that may wait for the model (default 16)"
    )
