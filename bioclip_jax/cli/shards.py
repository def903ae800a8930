"""The verbs for training shards: shards build, align, verify, stats."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .options import (
    Result,
    add_family,
    add_verb,
    non_negative,
    positive,
    print_result,
    register_datasets,
)


def build(arguments: argparse.Namespace) -> Result:
    """Build shards from images."""
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
    """Resolve the names in a table."""
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
    """Check shards."""
    from bioclip_jax.curate.verify import print_report, verify_shards

    result = verify_shards(
        arguments.shards, repair=arguments.repair, report=arguments.report, processes=arguments.processes
    )
    if not arguments.json:
        print_report(result)
    return result


def stats(arguments: argparse.Namespace) -> Result:
    """Count shards."""
    from bioclip_jax.curate.stats import print_stats, shard_stats

    register_datasets()
    result = shard_stats(
        arguments.shards, report=arguments.report, processes=arguments.processes, seed=arguments.seed
    )
    if not arguments.json:
        print_stats(result)
    return result


def add_verbs(verbs: Any) -> None:
    """Declare the verbs."""
    shards = add_family(verbs, "shards", "build, check and count training shards")
    _add_build(shards)

    verb = add_verb(shards, "align", align, "resolve a table's names against a taxonomic backbone")
    verb.add_argument(
        "table",
        type=Path,
        metavar="TABLE",
        help="CSV, TSV or Parquet with any of kingdom ... species, common_name, scientific_name, authorship",
    )
    verb.add_argument(
        "output", type=Path, metavar="OUT", help=".csv, .tsv or .parquet; reports are written next to it"
    )
    _add_backbone(verb, required=True)
    verb.add_argument("--count-column", metavar="NAME", help="column with the number of images of a row")

    verb = add_verb(
        shards,
        "verify",
        verify,
        "read all of a shard and report errors with their location",
        "The exit status is 1 if there are errors; unusual but readable content is a note.",
    )
    verb.set_defaults(status=lambda result: int(result["errors"] > 0))
    verb.add_argument(
        "shards", metavar="SHARDS", help="a folder of tars or ArrayRecord files, one of them, or a glob"
    )
    verb.add_argument(
        "--repair", type=Path, metavar="OUT", help="write the intact samples to this new folder"
    )
    verb.add_argument(
        "--report", type=Path, metavar="FILE", help="write all findings to a .csv or .json file"
    )
    _add_processes(verb)

    verb = add_verb(shards, "stats", stats, "count shards by rank, source, size and caption")
    verb.add_argument("shards", metavar="SHARDS", help="a folder of tars or ArrayRecord, or any other data")
    verb.add_argument(
        "--report", type=Path, metavar="FILE", help="write an HTML page with figures; end its name in .html"
    )
    verb.add_argument(
        "--seed", type=non_negative, default=0, help="seed of the images on the page (default: 0)"
    )
    _add_processes(verb)


def _add_build(shards: Any) -> None:
    verb = add_verb(
        shards,
        "build",
        build,
        "build TreeOfLife shards from images",
        "Run the same command again to resume an interrupted build.",
    )
    verb.add_argument(
        "source",
        metavar="SOURCE",
        help="a folder with metadata.csv or .parquet, Parquet files with images, tars, ArrayRecord or a "
        "TFDS name",
    )
    verb.add_argument(
        "output", type=Path, metavar="OUT", help="a folder that is new, empty or holds this build already"
    )
    verb.add_argument(
        "--metadata", metavar="TABLE", help="labels in a CSV or Parquet, joined on key, uuid, filepath or id"
    )
    verb.add_argument("--tfds-dir", metavar="DIR", help="directory of prepared TFDS data")

    output = verb.add_argument_group("output")
    output.add_argument("--format", choices=["tar", "array_record"], default="tar")
    output.add_argument(
        "--size", type=positive, default=224, metavar="N", help="side in pixels (default: 224)"
    )
    output.add_argument(
        "--resize",
        choices=["squash", "shortest"],
        default="squash",
        help="to a square, as published (default), or to N pixels on the shorter side",
    )
    output.add_argument(
        "--resample",
        choices=["antialias", "toolbox"],
        default="antialias",
        help="antialias (default), or as the TreeOfLife toolbox made the published shards: OpenCV's cubic to "
        "shrink, Lanczos-4 to enlarge",
    )
    output.add_argument(
        "--exif",
        choices=["apply", "ignore"],
        default="apply",
        help="rotate images by their EXIF orientation (default), or not",
    )
    output.add_argument(
        "--quality", type=positive, default=95, metavar="N", help="JPEG quality (default: 95)"
    )
    output.add_argument(
        "--samples-per-shard", type=positive, default=10_000, metavar="N", help="default: 10000"
    )
    output.add_argument(
        "--seed", type=non_negative, default=0, metavar="N", help="seed of the shuffle (default: 0)"
    )

    cleaning = verb.add_argument_group("cleaning, off by default")
    cleaning.add_argument(
        "--min-side",
        type=non_negative,
        default=0,
        metavar="N",
        help="drop images with fewer pixels on the shorter side",
    )
    cleaning.add_argument(
        "--min-range",
        type=non_negative,
        default=0,
        metavar="N",
        help="drop nearly uniform images; 16 is safe",
    )
    cleaning.add_argument(
        "--dedup",
        choices=["exact", "near"],
        help="remove byte-identical copies, or also PDQ near-duplicates",
    )
    cleaning.add_argument(
        "--dedup-distance", type=non_negative, metavar="BITS", help="PDQ distance of near-duplicates, of 256"
    )
    cleaning.add_argument(
        "--observation",
        dest="observation_column",
        metavar="COLUMN",
        help="column of the observation, within which near-duplicates may differ more",
    )
    cleaning.add_argument(
        "--leakage",
        action="append",
        default=[],
        metavar="DATA",
        help="evaluation images to exclude from the shards",
    )
    cleaning.add_argument(
        "--leakage-distance", type=non_negative, metavar="BITS", help="PDQ distance of leaked images, of 256"
    )
    cleaning.add_argument(
        "--filter", dest="filters", action="append", default=[], metavar="TOML", help="a custom detector"
    )

    names = verb.add_argument_group("names")
    _add_backbone(names, required=False)
    names.add_argument(
        "--unresolved",
        choices=["keep", "drop"],
        default="keep",
        help="samples whose name is not in the backbone (default: keep)",
    )

    execution = verb.add_argument_group("execution")
    execution.add_argument("--engine", choices=["local", "ray"], default="local")
    execution.add_argument(
        "--dry-run", action="store_true", help="report the decision for every image, but write nothing"
    )
    _add_processes(execution)


def _add_backbone(verb: Any, required: bool) -> None:
    verb.add_argument(
        "--backbone",
        required=required,
        metavar="PATH",
        help="Darwin Core Taxon table, or the folder or zip of its archive (GBIF, Catalogue of Life, WFO)",
    )
    verb.add_argument("--vernacular", metavar="PATH", help="VernacularName table (default: the archive's)")
    verb.add_argument("--language", default="en", help="language of the common names, ISO 639 (default: en)")
    verb.add_argument(
        "--apply-fuzzy",
        action="store_true",
        help="apply unambiguous fuzzy matches instead of only proposing them",
    )


def _add_processes(verb: Any) -> None:
    verb.add_argument(
        "--processes",
        type=non_negative,
        metavar="N",
        help="worker processes (default: one per core; 0: none)",
    )
