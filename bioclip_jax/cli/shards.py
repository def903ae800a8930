"""The verbs that build, check, align and count shards."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .options import Result, add_verb, non_negative, positive, print_result, register_datasets


def build(arguments: argparse.Namespace) -> Result:
    from bioclip_jax.curate.build import BuildSettings, build_shards

    register_datasets()
    settings = {name: getattr(arguments, name) for name in BuildSettings.__dataclass_fields__}
    result = build_shards(
        arguments.source,
        arguments.output,
        BuildSettings(**settings),
        engine=arguments.engine,
        processes=arguments.processes,
        dry_run=arguments.dry_run,
        tfds_dir=arguments.tfds_dir,
    )
    if not arguments.json:
        print_result(result)
    return result


def align(arguments: argparse.Namespace) -> Result:
    from bioclip_jax.curate.align import align_table

    result = align_table(
        arguments.table,
        arguments.output,
        backbone=arguments.backbone,
        vernacular=arguments.vernacular,
        language=arguments.language,
        apply_fuzzy=arguments.apply_fuzzy,
        count_column=arguments.count_column,
    )
    if not arguments.json:
        print_result(result)
    return result


def verify(arguments: argparse.Namespace) -> Result:
    from bioclip_jax.curate.verify import print_report, verify_shards

    result = verify_shards(
        arguments.shards, repair=arguments.repair, report=arguments.report, processes=arguments.processes
    )
    if not arguments.json:
        print_report(result)
    return result


def stats(arguments: argparse.Namespace) -> Result:
    from bioclip_jax.curate.stats import print_stats, shard_stats

    register_datasets()
    result = shard_stats(
        arguments.shards, report=arguments.report, processes=arguments.processes, seed=arguments.seed
    )
    if not arguments.json:
        print_stats(result)
    return result


def add_verbs(verbs: Any) -> None:
    """Declare them."""
    shards = verbs.add_parser(
        "shards", help="build, check and count shards of the tree of life"
    ).add_subparsers(title="what to do", metavar="WHAT", required=True)
    _add_build(shards)

    verb = add_verb(shards, "align", align, "resolve a table's names against a taxonomic backbone")
    verb.add_argument(
        "table",
        type=Path,
        metavar="TABLE",
        help="CSV, TSV or Parquet with any of kingdom ... species, common_name, scientific_name, authorship",
    )
    verb.add_argument(
        "output", type=Path, metavar="OUT", help=".csv, .tsv or .parquet; the reports are written beside it"
    )
    _add_backbone(verb, required=True)
    verb.add_argument(
        "--count-column", metavar="NAME", help="column with the number of images a row stands for"
    )

    verb = add_verb(
        shards,
        "verify",
        verify,
        "read everything in shards and say what is wrong where",
        "Exit status 1 if there are errors; what is unusual but can be read is a note.",
    )
    verb.set_defaults(status=lambda result: int(result["errors"] > 0))
    verb.add_argument(
        "shards", metavar="SHARDS", help="a folder of tars or ArrayRecord files, one of them, or a glob"
    )
    verb.add_argument(
        "--repair", type=Path, metavar="OUT", help="write clean copies of what is sound to this new folder"
    )
    verb.add_argument(
        "--report", type=Path, metavar="FILE", help="write everything found to a .csv or .json file"
    )
    _add_processes(verb)

    verb = add_verb(shards, "stats", stats, "count shards by rank, source, size and caption")
    verb.add_argument("shards", metavar="SHARDS", help="a folder of tars or ArrayRecord, or any other data")
    verb.add_argument(
        "--report", type=Path, metavar="FILE", help="write a web page with pictures here; end it in .html"
    )
    verb.add_argument("--seed", type=non_negative, default=0, help="which images the page shows (default 0)")
    _add_processes(verb)


def _add_build(shards: Any) -> None:
    verb = add_verb(
        shards,
        "build",
        build,
        "build TreeOfLife shards of your images",
        "A build that was stopped goes on when the same command is started again.",
    )
    verb.add_argument(
        "source",
        metavar="SOURCE",
        help="a folder with metadata.csv or .parquet, Parquet files with images, tars, ArrayRecord or a "
        "TFDS name",
    )
    verb.add_argument(
        "output", type=Path, metavar="OUT", help="a folder that is new, empty or holds this build"
    )
    verb.add_argument(
        "--metadata", metavar="TABLE", help="labels in a CSV or Parquet, joined on key, uuid, filepath or id"
    )
    verb.add_argument("--tfds-dir", metavar="DIR", help="where TFDS keeps prepared data")

    output = verb.add_argument_group("what is written")
    output.add_argument("--format", choices=["tar", "array_record"], default="tar")
    output.add_argument(
        "--size", type=positive, default=224, metavar="N", help="pixels of a side (default 224)"
    )
    output.add_argument(
        "--resize",
        choices=["squash", "shortest"],
        default="squash",
        help="to a square as published (default), or N pixels on the shorter side",
    )
    output.add_argument(
        "--resample",
        choices=["antialias", "toolbox"],
        default="antialias",
        help="antialias (default), or as the TreeOfLife toolbox made the published shards: OpenCV's cubic "
        "where an "
        "image shrinks, Lanczos-4 where it grows",
    )
    output.add_argument(
        "--exif",
        choices=["apply", "ignore"],
        default="apply",
        help="turn images upright by EXIF (default), or not",
    )
    output.add_argument("--quality", type=positive, default=95, metavar="N", help="of the JPEGs (default 95)")
    output.add_argument(
        "--samples-per-shard", type=positive, default=10_000, metavar="N", help="default 10000"
    )
    output.add_argument(
        "--seed", type=non_negative, default=0, metavar="N", help="of the shuffle (default 0)"
    )

    cleaning = verb.add_argument_group("cleaning, off unless asked for")
    cleaning.add_argument(
        "--min-side",
        type=non_negative,
        default=0,
        metavar="N",
        help="drop images with a shorter side of fewer pixels",
    )
    cleaning.add_argument(
        "--min-range", type=non_negative, default=0, metavar="N", help="drop images of one tone; 16 is safe"
    )
    cleaning.add_argument(
        "--dedup",
        choices=["exact", "near"],
        help="remove copies of the same bytes, or near-duplicates by PDQ too",
    )
    cleaning.add_argument(
        "--dedup-distance", type=non_negative, metavar="BITS", help="of 256, for near-duplicates"
    )
    cleaning.add_argument(
        "--observation",
        dest="observation_column",
        metavar="COLUMN",
        help="compare images of one observation more loosely",
    )
    cleaning.add_argument(
        "--leakage",
        action="append",
        default=[],
        metavar="DATA",
        help="evaluation images that must not be in the shards",
    )
    cleaning.add_argument("--leakage-distance", type=non_negative, metavar="BITS", help="of 256, for leakage")
    cleaning.add_argument(
        "--filter", dest="filters", action="append", default=[], metavar="TOML", help="a detector of your own"
    )

    names = verb.add_argument_group("names")
    _add_backbone(names, required=False)
    names.add_argument(
        "--unresolved",
        choices=["keep", "drop"],
        default="keep",
        help="samples whose name is not found (default keep)",
    )

    running = verb.add_argument_group("how it runs")
    running.add_argument("--engine", choices=["local", "ray"], default="local")
    running.add_argument(
        "--dry-run", action="store_true", help="decide about every image and report, but write nothing"
    )
    _add_processes(running)


def _add_backbone(verb: Any, required: bool) -> None:
    verb.add_argument(
        "--backbone",
        required=required,
        metavar="PATH",
        help="Darwin Core Taxon table, or the folder or zip of its archive (GBIF, Catalogue of Life, WFO)",
    )
    verb.add_argument("--vernacular", metavar="PATH", help="VernacularName table; default: the archive's own")
    verb.add_argument("--language", default="en", help="language of the common names, ISO 639 (default en)")
    verb.add_argument(
        "--apply-fuzzy",
        action="store_true",
        help="take near-misses that have no rival, instead of only proposing them",
    )


def _add_processes(verb: Any) -> None:
    verb.add_argument(
        "--processes", type=non_negative, metavar="N", help="default: one a core; 0 for none beside this one"
    )
