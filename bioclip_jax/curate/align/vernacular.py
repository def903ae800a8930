"""Common names from a Darwin Core VernacularName table."""

from __future__ import annotations

import polars as pl

from bioclip_jax.errors import UserError

# Codes per language: ISO 639-1, as GBIF writes them, then 639-3 and 639-2/B, as the Catalogue of Life does.
_LANGUAGES = (
    "af afr|ar ara|bg bul|ca cat|cs ces cze|cy cym wel|da dan|de deu ger|el ell gre|en eng|es spa|et est|"
    "fa fas per|fi fin|fr fra fre|he heb|hi hin|hr hrv|hu hun|id ind|is isl ice|it ita|ja jpn|ko kor|lt lit|"
    "lv lav|ms msa may|nb nob|nl nld dut|no nor|pl pol|pt por|ro ron rum|ru rus|sk slk slo|sl slv|sr srp|"
    "sv swe|sw swa|th tha|tr tur|uk ukr|vi vie|zh zho chi|zu zul"
)
_CODES = {code: codes.split() for codes in _LANGUAGES.split("|") for code in codes.split()}
_PREFERRED = ("true", "1", "yes", "y", "t")


def language_codes(language: str) -> list[str]:
    """Return all codes of a language, or the given one if it is unknown; "en-GB" counts as "en"."""
    code = language.strip().lower().replace("_", "-").split("-")[0]
    return _CODES.get(code, [code])


def read_common_names(table: pl.LazyFrame, names: pl.LazyFrame, language: str, where: str) -> pl.DataFrame:
    """Read distinct names of a language: row (of the accepted taxon), common_name, best (one per taxon).

    The best name is one that the table prefers, else the most frequent, else the first alphabetically. Names
    are distinct if their lower-case forms are. Raises UserError if a column is missing.
    """
    columns = table.collect_schema().names()
    missing = [name for name in ("taxonID", "vernacularName") if name not in columns]
    if missing:
        raise UserError(
            f"{where} has no column {', '.join(missing)}; give a Darwin Core VernacularName table"
        )
    if "language" in columns:
        code = pl.col("language").str.strip_chars().str.to_lowercase().str.extract(r"^([a-z]+)")
        spoken = {"en": ["english"]}.get(language_codes(language)[0], [])
        table = table.filter(code.is_in([*language_codes(language), *spoken]))
    preferred = pl.lit(False)
    if "isPreferredName" in columns:
        preferred = pl.col("isPreferredName").str.to_lowercase().is_in(_PREFERRED)
    name = pl.col("vernacularName").str.replace_all(r"\s+", " ").str.strip_chars()
    taxon = pl.col("taxonID").str.strip_chars().alias("taxon_id")
    table = table.select(taxon, name.alias("common_name"), preferred.alias("preferred"))
    table = table.filter(pl.col("common_name") != "").collect(engine="streaming")
    rows = names.select("taxon_id", pl.col("accepted").alias("row")).join(
        table.lazy().select("taxon_id").unique(), on="taxon_id", how="semi"
    )
    rows = rows.collect(engine="streaming").unique("taxon_id", keep="first")
    table = table.join(rows, on="taxon_id", how="inner")
    folded = pl.col("common_name").str.to_lowercase().alias("folded")
    spellings = (
        table.group_by("row", folded)
        .agg(
            pl.len().alias("count"),
            pl.col("preferred").any(),
            pl.col("common_name").sort().mode(maintain_order=True).first(),
        )
        .sort("row", "preferred", "count", "folded", descending=[False, True, True, False])
    )
    return spellings.select("row", "common_name", (pl.int_range(pl.len()).over("row") == 0).alias("best"))
