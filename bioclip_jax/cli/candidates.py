"""Options that choose the candidates of a prediction, shared by several verbs."""

from __future__ import annotations

import argparse
from pathlib import Path

from bioclip_jax.text import RANKS


def add_candidates(verb: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add a group with the rank, the choice of taxa, labels, bins and learned heads; return it."""
    group = verb.add_argument_group("candidates", "default: all taxa of the model")
    group.add_argument("--rank", choices=RANKS, help="rank of the predictions (default: species)")
    add_taxa_choice(group)
    group.add_argument(
        "--cls", dest="labels", metavar="LABELS", help="your own labels: a,b,c or a file with one per line"
    )
    group.add_argument(
        "--bins", type=Path, metavar="CSV", help="labels and, in the second column, the bins to sum them into"
    )
    group.add_argument(
        "--head", type=Path, metavar="FOLDER", help="classes learned from your own photographs by taxa learn"
    )
    return group


def add_taxa(verb: argparse._ActionsContainer) -> None:
    """Add the file of taxa embeddings."""
    verb.add_argument(
        "--taxa", type=Path, metavar="FILE", help="taxa embeddings from taxa build (default: the model's own)"
    )


def add_taxa_choice(verb: argparse._ActionsContainer) -> None:
    """Add the choice of candidate taxa."""
    verb.add_argument(
        "--subset",
        type=Path,
        metavar="TABLE",
        help="only the taxa of this checklist: a species list of GBIF, a table, or one name a line",
    )
    verb.add_argument(
        "--within", metavar="TAXON", help="only taxa within this one, of any rank, such as Mammalia"
    )
    verb.add_argument(
        "--prior",
        type=Path,
        metavar="TABLE",
        help="multiply the probabilities by the weights of this table: taxon,weight",
    )
    verb.add_argument(
        "--backbone",
        type=Path,
        metavar="TABLE",
        help="taxonomy of GBIF or the Catalogue of Life, for synonyms in --subset and --prior (and dwc)",
    )
    verb.add_argument(
        "--skip-unknown",
        action="store_true",
        help="ignore names in --subset and --prior that are not among the taxa",
    )
    add_taxa(verb)


def add_temperature(verb: argparse._ActionsContainer) -> None:
    """Add the softmax temperature over taxa."""
    verb.add_argument(
        "--temperature", metavar="T|FILE", help="softmax temperature: a number, or a file from taxa calibrate"
    )
