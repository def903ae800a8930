"""`taxa build`: a head from names, or from embeddings that were published."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bioclip_jax.convert import TAXA_FILE, model_files
from bioclip_jax.errors import UserError
from bioclip_jax.files import check_outputs
from bioclip_jax.predict.progress import track
from bioclip_jax.tables import is_table, read_table, table_rows
from bioclip_jax.text import NAME_COLUMNS, OPENAI_TEMPLATES, RANKS, Taxon, taxon_of, without_author

from .encode import TEXT_TYPES, Recipe, encode_taxa
from .head import DTYPES, WITHOUT_VECTOR, Block, TaxaHead
from .names import TaxaNames
from .precision import PROBE, rounding_effect
from .published import (
    check_pairing,
    column_norms,
    completed_blocks,
    fetch_embeddings,
    map_embeddings,
    notes_on,
    published_blocks,
    read_names,
)

if TYPE_CHECKING:
    from bioclip_jax.predict.model import Model

_RANK_COLUMNS = (*RANKS, "cls", "class_")
_CONVERTED_ROWS = 8192


def build_taxa(
    source: str | os.PathLike[str] | None,
    model: Model,
    output: str | os.PathLike[str] | None = None,
    *,
    dtype: str = "float32",
    templates: Sequence[str] = OPENAI_TEMPLATES,
    complete: bool = False,
) -> dict[str, Any]:
    """Write the head of `model` over the taxa of `source`.

    source: a CSV or Parquet table with any of the columns kingdom, phylum, class (or cls), order, family,
      genus, species and common_name; published embeddings, a .npy [dim, taxa] with its .json of names beside
      it; such a .json alone; or data, as pipeline.sources.open_source. Of a taxon that is named several
      times, one is kept; published doubles stay. None takes what the Hub has for the model.
    output: None is taxa.safetensors in the model's directory. dtype: of the vectors as stored, of DTYPES.
      complete: make the vectors that published embeddings lack, and give all length 1; otherwise they stay as
      published, and taxa without one cannot be predicted, as in pybioclip.
    Returns: {"taxa", "embed_dim", "dtype", "output", "doubles", "unnamed", "notes"}. doubles: rows that named
      a taxon again; unnamed: rows without any rank or that cannot be read; notes: what is unusual, for
      people. With float16 and int8 also what that changes, "top1_agreement" and "max_score_difference"
      (precision.rounding_effect).
    Errors: UserError, before anything is embedded, for a source without taxa or an output that cannot be
      written, and for published embeddings that are not this model's.
    """
    if dtype not in DTYPES:
        raise UserError(f"the type {dtype!r} does not exist for a taxa head; choose from {', '.join(DTYPES)}")
    if output is None and model.directory is None:
        raise UserError(
            f"the model {model.source} has no directory here for its taxa head; name a file with --output"
        )
    output = Path(output) if output is not None else model.directory / TAXA_FILE
    if source is None:
        source = fetch_embeddings(model)
    from bioclip_jax.pipeline.sources import data_files

    names_files = list(data_files(source))
    if Path(source).suffix == ".npy":
        names_files.append(Path(source).with_suffix(".json"))
    read = {"where the names are": names_files, "part of the model": model_files(model.directory, taxa=False)}
    check_outputs({"--output": output}, read)
    dim = model.config.embed_dim
    notes: list[str] = []
    counts = {"doubles": 0, "unnamed": 0}
    blocks: Iterable[Block]
    about: dict[str, str] = {}
    recipe = Recipe(tuple(templates))
    if (path := Path(source)).suffix == ".npy":
        if not path.is_file():
            raise UserError(
                f"{source} does not exist; give published embeddings, with their .json beside them"
            )
        names = read_names(path.with_suffix(".json"))
        columns = map_embeddings(path, names, dim)
        recipe = check_pairing(columns, names, model, templates, path)
        norms = column_norms(columns)
        notes = notes_on(norms, path, complete)
        if complete:
            blocks = completed_blocks(columns, norms, names, model, recipe)
        else:
            blocks = published_blocks(columns, norms, names)
            about[WITHOUT_VECTOR] = str(int((norms == 0).sum()))
    else:
        names, counts = _names_in(os.fspath(source))
        blocks = encode_taxa(model, names, np.arange(len(names)), recipe, "embedding taxa")
    about |= {
        "model": model.source,
        "text_type": TEXT_TYPES[recipe.separator],
        "templates": "openai 80"
        if recipe.templates == tuple(OPENAI_TEMPLATES)
        else " | ".join(recipe.templates),
        "names_from": str(source),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    effect = _write(output, names, blocks, dtype, about, model)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    result = {"taxa": len(names), "embed_dim": dim, "dtype": dtype, "output": str(output)}
    return result | counts | {"notes": notes} | effect


def _write(
    output: Path, names: TaxaNames, blocks: Iterable[Block], dtype: str, about: dict[str, str], model: Model
) -> dict[str, float]:
    """Write the head; returns what the rounding to `dtype` changes, which stands in its metadata too."""
    identity = {"dim": model.config.embed_dim, "fingerprint": model.fingerprint}
    if dtype == "float32":
        TaxaHead.write(output, names, blocks, about=about, **identity)
        return {}
    # What rounding changes is known only where all exact vectors are at hand.
    with tempfile.TemporaryDirectory(
        prefix=f".{output.stem}.", suffix=".partial", dir=output.absolute().parent
    ) as folder:
        exact_path = Path(folder) / output.name
        TaxaHead.write(exact_path, names, blocks, about=about, **identity)
        exact = TaxaHead.open(exact_path)
        effect = rounding_effect(exact, dtype, model.logit_scale)
        about = about | {name: f"{value:.6g}" for name, value in effect.items()} | {"probe": PROBE}
        TaxaHead.write(output, names, _stored(exact), dtype=dtype, about=about, **identity)
    return effect


def _stored(head: TaxaHead) -> Iterator[Block]:
    for start in range(0, len(head), _CONVERTED_ROWS):
        rows = np.arange(start, min(start + _CONVERTED_ROWS, len(head)))
        yield rows, head.block(start, start + _CONVERTED_ROWS)[0]
        head.drop_pages()


def _names_in(source: str) -> tuple[TaxaNames, dict[str, int]]:
    """The distinct taxa of a table, a .json of names or data, and how many rows named none or one again."""
    from bioclip_jax.pipeline.sources import find_metadata

    path = Path(source).expanduser()
    if path.suffix == ".json":
        taxa: Iterable[Taxon] = _taxa_of(read_names(path))
    elif table := path if is_table(path) else find_metadata(path):
        taxa = (Taxon.from_row(row) for row in _table_rows(table))
    else:
        taxa = _sample_taxa(source)
    distinct: dict[tuple[str, ...], str] = {}
    rows = unnamed = 0
    for rows, taxon in enumerate(taxa, 1):
        lineage = taxon.lineage()
        if not any(lineage):
            unnamed += 1
        else:
            distinct[lineage] = distinct.get(lineage) or taxon.common_name
    if not distinct:
        raise UserError(f"{source} names no taxon; fill in at least one of {', '.join(RANKS)}")
    counts = {"doubles": rows - unnamed - len(distinct), "unnamed": unnamed}
    return TaxaNames.from_rows((*lineage, common_name) for lineage, common_name in distinct.items()), counts


def _taxa_of(names: TaxaNames) -> Iterator[Taxon]:
    return (names.taxon(int(row)) for row in np.argsort(names.place))


def _table_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a table, only the columns that name taxa; without genus and species columns the scientific name's."""
    names = (*_RANK_COLUMNS, *NAME_COLUMNS)
    table = read_table(path, names, only=(*names, "common_name"))
    whole = next((name for name in NAME_COLUMNS if name in table.column_names), None)
    if whole is None or {"genus", "species"} & set(table.column_names):
        yield from table_rows(table)
        return
    for row in table_rows(table):
        name = without_author(row[whole])
        # A single word may be a taxon of any rank.
        yield {**row, "species": name} if " " in name else row


def _sample_taxa(source: str) -> Iterator[Taxon]:
    """The taxa of data, from what labels its samples, or else their tagged captions."""
    from bioclip_jax.pipeline.sources import open_source

    samples = open_source(source)
    for index in track(range(len(samples)), "reading names", len(samples)):
        try:
            sample = samples[index]
        except (OSError, ValueError):
            yield Taxon()
            continue
        yield sample.taxon or taxon_of(sample.captions) or Taxon()
