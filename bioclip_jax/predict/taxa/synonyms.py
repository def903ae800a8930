"""Synonyms and taxonIDs of names, from a backbone taxonomy."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioclip_jax.errors import UserError
from bioclip_jax.predict.rank import Rank
from bioclip_jax.text import RANKS, Taxon

from .checklist import Listed
from .names import COMMON_NAME

if TYPE_CHECKING:
    import polars as pl

    from bioclip_jax.curate.align import Backbone

# Standings of curate.align's backbone up to which a name means its accepted name: 0 accepted, 1 doubtful, 2
# synonym; names of 3 (ambiguous) and 4 (misapplied) also mean other taxa.
_SYNONYM = 2
# Occurrences whose taxa are looked up together.
_BLOCK = 4096


class Synonyms:
    """Names of the same taxon in a backbone, such as GBIF's or the Catalogue of Life's.

    The backbone is read, and cached, by curate.align; statuses are those of `shards align`.
    """

    def __init__(self, location: str | os.PathLike[str]) -> None:
        """`location`: a Darwin Core Taxon table, or the folder or zip of an archive.

        Raises UserError if it does not exist, and without the extra [curate].
        """
        self.location = Path(location)
        if not self.location.exists():
            raise UserError(
                f"--backbone {location} does not exist; give the backbone's Taxon.tsv, its folder or its zip"
            )

    @cached_property
    def _backbone(self) -> Backbone:
        from bioclip_jax.curate.align import Backbone

        return Backbone(self.location)

    @property
    def identity(self) -> str:
        """A hash of the file's name, size and time, for the settings of a run."""
        status = self.location.stat()
        identity = f"{self.location.absolute()} {status.st_size} {status.st_mtime_ns}"
        return hashlib.sha256(identity.encode()).hexdigest()

    def other_names(self, listed: Sequence[Listed]) -> list[list[tuple[str, ...]]]:
        """Return, for each row of a checklist, the other names of its taxon: the accepted one, and synonyms.

        Names that the backbone lacks, and homonyms that authors and ranks do not decide, have none.
        """
        import polars as pl

        accepted = self._aligned(_name_table(listed))
        names = self._backbone.names
        rows = names.filter(pl.col("taxon_id").is_in([id for id in set(accepted) if id])).select(
            "row", "taxon_id"
        )
        rows = rows.collect(engine="streaming")
        keys = names.filter(
            (pl.col("standing") <= _SYNONYM) & pl.col("accepted").is_in(rows["row"].implode())
        )
        keys = keys.select("key", "accepted", "standing").collect(engine="streaming")
        # A synonym that is also the accepted name of another taxon is that taxon.
        own = names.filter((pl.col("standing") < _SYNONYM) & pl.col("key").is_in(keys["key"].implode()))
        own = own.select("key", pl.col("accepted").alias("own")).collect(engine="streaming")
        others = (
            keys.join(own, on="key").filter(pl.col("own") != pl.col("accepted")).select("key", "accepted")
        )
        keys = keys.join(others, on=["key", "accepted"], how="anti").sort("standing", "key")
        by_row: dict[int, list[str]] = {}
        for key, row in keys.select("key", "accepted").iter_rows():
            by_row.setdefault(row, []).append(key)
        row_of = dict(rows.select("taxon_id", "row").iter_rows())
        return [[(key,) for key in by_row.get(row_of.get(id, -1), ())] if id else [] for id in accepted]

    def taxon_ids(self, taxa: Sequence[Taxon]) -> list[str]:
        """Return the backbone's taxonID of each taxon's accepted name; "" for an unknown or ambiguous one.

        taxa: with their ranks, which decide between homonyms; see TaxaNames.taxon, and Taxon.from_row for
        rows of predictions. A taxon above species is its lowest known rank.
        """
        return self._aligned(taxa) if len(taxa) else []

    def fill_taxon_ids(self, occurrences: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Yield Darwin Core rows, those without a taxonID with that of their ranks."""
        known: dict[Taxon, str] = {}
        rows = iter(occurrences)
        while block := list(islice(rows, _BLOCK)):
            taxa = [
                Taxon.from_row(
                    {**{rank: row[rank] for rank in RANKS[:-1]}, "species": row["specificEpithet"]}
                )
                for row in block
            ]
            new = list(dict.fromkeys(taxon for taxon in taxa if taxon not in known))
            known |= zip(new, self.taxon_ids(new))
            for row, taxon in zip(block, taxa):
                yield row if row["taxonID"] else row | {"taxonID": known[taxon]}

    def _aligned(self, taxa: pl.DataFrame | Sequence[Taxon]) -> list[str]:
        from bioclip_jax.curate.align import align_names

        return align_names(taxa, self._backbone)["matched_id"].to_list()


def _name_table(listed: Sequence[Listed]) -> pl.DataFrame:
    """Return names with authors, and the known ranks above them, as align_names takes them."""
    import polars as pl

    columns: dict[str, list[str]] = {name: [] for name in (*RANKS[:6], "scientific_name")}
    for row in listed:
        above = list(row.above)
        is_higher = isinstance(row.rank, Rank) and not row.is_species
        if is_higher and row.names:
            above[row.rank.value] = row.names[0][-1]
        elif row.is_species:
            # The genus is part of the name.
            above[Rank.GENUS.value] = ""
        for name, value in zip(RANKS[:6], above):
            columns[name].append(value)
        columns["scientific_name"].append("" if is_higher or row.rank == COMMON_NAME else row.text)
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))
