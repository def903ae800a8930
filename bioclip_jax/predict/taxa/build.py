"""Build taxon embeddings from names, or from published embeddings (`taxa build`)."""

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
from bioclip_jax.text import NAME_COLUMNS, OPENAI_TEMPLATES, RANKS, Taxon, taxon_from_captions, without_author

from .embeddings import DTYPES, WITHOUT_VECTOR, Block, TaxonEmbeddings
from .encode import TEXT_TYPES, Recipe, encode_taxa
from .names import COMMON_NAME, TaxaNames
from .published import (
    check_pairing,
    column_norms,
    completed_blocks,
    fetch_embeddings,
    map_embeddings,
    published_blocks,
    published_notes,
    read_names,
)
from .quantization import PROBE, rounding_effect

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
    """Embed the taxa of `source` by `model`, and write the TaxonEmbeddings.

    source: a CSV or Parquet table with any of the columns kingdom, phylum, class (or cls), order, family,
      genus, species and common_name; published embeddings, a .npy [dim, taxa] with its names in a .json of
      the same stem; such a .json alone; or data, as pipeline.sources.open_source. Duplicates are dropped,
      except from published embeddings. None takes the Hub's embeddings for the model.
    output: None is taxa.safetensors in the model's directory. dtype: stored type of the vectors, of DTYPES.
      complete: encode taxa missing in published embeddings, and normalize all; otherwise these stay
      unchanged, and taxa without a vector cannot be predicted, as in pybioclip.
    Returns: {"taxa", "embed_dim", "dtype", "output", "doubles", "unnamed", "notes"}. doubles: duplicate rows;
      unnamed: rows without any rank, or unreadable; notes: remarks for the user. With float16 and int8 also
      "top1_agreement" and "max_score_difference" (quantization.rounding_effect).
    Errors: UserError, before anything is embedded, for a source without taxa, an output that cannot be
      written, and published embeddings of another model.
    """
    if dtype not in DTYPES:
        raise UserError(f"taxa cannot be stored as {dtype!r}; choose from {', '.join(DTYPES)}")
    if output is None and model.directory is None:
        raise UserError(f"the model {model.source} has no local directory; give a file with --output")
    output = Path(output) if output is not None else model.directory / TAXA_FILE
    if source is None:
        source = fetch_embeddings(model)
    from bioclip_jax.pipeline.sources import data_files

    names_files = list(data_files(source))
    if Path(source).suffix == ".npy":
        names_files.append(Path(source).with_suffix(".json"))
    read = {"the source of names": names_files, "part of the model": model_files(model.directory, taxa=False)}
    check_outputs({"--output": output}, read)
    dim = model.config.embed_dim
    notes: list[str] = []
    counts = {"doubles": 0, "unnamed": 0}
    blocks: Iterable[Block]
    about: dict[str, str] = {}
    recipe = Recipe(tuple(templates))
    if (path := Path(source)).suffix == ".npy":
        if not path.is_file():
            raise UserError(f"{source} does not exist; give published embeddings and their .json")
        names = read_names(path.with_suffix(".json"))
        columns = map_embeddings(path, names, dim)
        recipe = check_pairing(columns, names, model, templates, path)
        norms = column_norms(columns)
        notes = published_notes(norms, path, complete)
        if complete:
            blocks = completed_blocks(columns, norms, names, model, recipe)
        else:
            blocks = published_blocks(columns, norms, names)
            about[WITHOUT_VECTOR] = str(int((norms == 0).sum()))
    else:
        names, counts = _read_distinct(os.fspath(source))
        blocks = encode_taxa(model, names, np.arange(len(names)), recipe, "embedding taxa")
    if complete or path.suffix != ".npy":
        about["precision"] = model.precision
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
    """Write the file; return the effect of rounding to `dtype`, which its metadata holds too."""
    identity = {"dim": model.config.embed_dim, "fingerprint": model.fingerprint}
    if dtype == "float32":
        TaxonEmbeddings.write(output, names, blocks, about=about, **identity)
        return {}
    # Measuring the effect of rounding needs all exact vectors.
    with tempfile.TemporaryDirectory(
        prefix=f".{output.stem}.", suffix=".partial", dir=output.absolute().parent
    ) as folder:
        exact_path = Path(folder) / output.name
        TaxonEmbeddings.write(exact_path, names, blocks, about=about, **identity)
        exact = TaxonEmbeddings.open(exact_path)
        effect = rounding_effect(exact, dtype, model.logit_scale)
        about = about | {name: f"{value:.6g}" for name, value in effect.items()} | {"probe": PROBE}
        TaxonEmbeddings.write(output, names, _float32_blocks(exact), dtype=dtype, about=about, **identity)
    return effect


def _float32_blocks(taxa: TaxonEmbeddings) -> Iterator[Block]:
    for start in range(0, len(taxa), _CONVERTED_ROWS):
        rows = np.arange(start, min(start + _CONVERTED_ROWS, len(taxa)))
        yield rows, taxa.block(start, start + _CONVERTED_ROWS)[0]
        taxa.drop_pages()


def _read_distinct(source: str) -> tuple[TaxaNames, dict[str, int]]:
    """Return the distinct taxa of a table, a .json of names or data, and counts of skipped rows."""
    from bioclip_jax.pipeline.sources import find_metadata

    path = Path(source).expanduser()
    if path.suffix == ".json":
        taxa: Iterable[Taxon] = _taxa_of(read_names(path))
    elif table := path if is_table(path) else find_metadata(path):
        taxa = (Taxon.from_row(row) for row in _table_rows(table))
    else:
        taxa = _sample_taxa(source)
    distinct: dict[tuple[str, ...], str] = {}
    counts = {"doubles": 0, "unnamed": 0}
    for taxon in taxa:
        lineage = taxon.lineage()
        if not any(lineage):
            counts["unnamed"] += 1
            continue
        counts["doubles"] += lineage in distinct
        distinct[lineage] = distinct.get(lineage) or taxon.common_name
    if not distinct:
        raise UserError(f"{source} has no taxon; fill in at least one of {', '.join(RANKS)}")
    return TaxaNames.from_rows((*lineage, common_name) for lineage, common_name in distinct.items()), counts


def _taxa_of(names: TaxaNames) -> Iterator[Taxon]:
    return (names.taxon(int(row)) for row in np.argsort(names.source_index))


def _table_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the name columns of a table's rows; without genus and species, use the scientific name."""
    names = (*_RANK_COLUMNS, *NAME_COLUMNS)
    table = read_table(path, names, only=(*names, COMMON_NAME))
    scientific_name = next((name for name in NAME_COLUMNS if name in table.column_names), None)
    if scientific_name is None or {"genus", "species"} & set(table.column_names):
        yield from table_rows(table)
        return
    for row in table_rows(table):
        name = without_author(row[scientific_name])
        # A single word may be a taxon of any rank.
        yield {**row, "species": name} if " " in name else row


def _sample_taxa(source: str) -> Iterator[Taxon]:
    """Yield the taxa of data, from the samples' labels or their tagged captions."""
    from bioclip_jax.pipeline.sources import open_source

    samples = open_source(source)
    for index in track(range(len(samples)), "reading names", len(samples)):
        try:
            sample = samples[index]
        except (OSError, ValueError):
            yield Taxon()
            continue
        yield sample.taxon or taxon_from_captions(sample.captions) or Taxon()
