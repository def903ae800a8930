"""Queries: the distinct taxa of a table, with the full name of each composed and parsed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import polars as pl

from bioclip_jax.text import (
    INVISIBLE,
    MISSING_PATTERN,
    NAME_COLUMNS,
    RANKS,
    ScientificName,
    Taxon,
    fold,
    parse_name,
)

from .prepare import canonical_keys

HIGHER = RANKS[:-1]
GIVEN = (*RANKS, "common_name", "scientific_name", "authorship")
# Columns of authors given separately from the name.
AUTHORSHIP_COLUMNS = ("authorship", "scientificNameAuthorship")
_CHUNK = 100_000


def class_column(columns: Sequence[str]) -> str:
    """Return the column of the rank class; next to `cls`, a column `class` holds an annotation's label."""
    return next((name for name in ("cls", "class_", "class") if name in columns), "class")


def given_taxa(taxa: pl.DataFrame | Sequence[Taxon]) -> pl.DataFrame:
    """Return the columns GIVEN as clean text, one row per taxon; missing and unknown values become ""."""
    if not isinstance(taxa, pl.DataFrame):
        columns = [[taxon.rank(rank) for taxon in taxa] for rank in RANKS]
        names = [taxon.common_name for taxon in taxa]
        taxa = pl.DataFrame([pl.Series(n, v, pl.String) for n, v in zip(GIVEN, [*columns, names])])
    sources = {rank: (rank,) for rank in (*RANKS, "common_name")} | {"class": (class_column(taxa.columns),)}
    sources |= {"scientific_name": NAME_COLUMNS, "authorship": AUTHORSHIP_COLUMNS}
    columns = []
    for name, alternatives in sources.items():
        source = next((column for column in alternatives if column in taxa.columns), None)
        if source is None:
            columns.append(pl.lit("").alias(name))
            continue
        text = (
            pl.col(source)
            .cast(pl.String)
            .fill_null("")
            .str.replace_all(f"[{INVISIBLE}]", "")
            .str.normalize("NFC")
        )
        text = text.str.replace_all(r"\s+", " ").str.strip_chars()
        columns.append(
            pl.when(text.str.contains(MISSING_PATTERN)).then(pl.lit("")).otherwise(text).alias(name)
        )
    return taxa.select(*columns) if taxa.width else pl.DataFrame(schema=dict.fromkeys(GIVEN, pl.String))


def distinct_queries(given: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series]:
    """Return the distinct taxa as queries, and the query number of each row of `given`.

    Columns of a query: q (its number), those of GIVEN with the ranks above species in canonical form, text
    (the name as given), hint (its stated rank, "" if unknown), genus_author, and the parsed name: key (to
    look up), word and epithet (its first two words), infraspecific, author, qualifier, hybrid, formula.
    """
    queries = given.unique(maintain_order=True).with_row_index("q")
    rows = given.join(queries, on=list(GIVEN), how="left", maintain_order="left")["q"]
    genera = _parsed(queries["genus"])
    queries = queries.with_columns(
        _lowest(pl.col).alias("lowest"),
        genera["author"].alias("genus_author"),
        *(canonical_keys(queries[rank]).alias(rank) for rank in HIGHER),
    )
    queries = queries.with_columns(_text().alias("text"), _hint().alias("hint"))
    queries = pl.concat([queries.drop("lowest"), _parsed(queries["text"])], how="horizontal")
    return _with_whole_species(queries), rows


def _text() -> pl.Expr:
    """The name to look up, composed of the given columns."""
    genus, species, whole = pl.col("genus"), pl.col("species"), pl.col("scientific_name")
    full = species.str.contains(r"^[×x ]*[A-Z][a-z-]+ [a-z-]{3,}(?: |$)")
    repeated = species.str.to_lowercase().str.starts_with(genus.str.to_lowercase() + " ")
    # Handle "M. domestica" next to the genus Malus, and capitalized or upper-case epithets.
    epithet = pl.when(repeated).then(species.str.slice(genus.str.len_chars() + 1)).otherwise(species)
    epithet = epithet.str.replace(r"^[A-Z]\.\s*", "")
    first = epithet.str.extract(r"^(\p{Lu}{3,})(?:\s|$)").fill_null(epithet.str.slice(0, 1))
    epithet = first.str.to_lowercase() + epithet.str.slice(first.str.len_chars())
    author = pl.col("authorship")
    name = (
        pl.when(whole != "")
        .then(whole)
        .when((species == "") | (genus == ""))
        .then(species)
        .when(full & ~repeated)
        .then(species)
        .otherwise(genus + " " + epithet)
    )
    name = pl.when(name != "").then(name).otherwise("lowest")
    apart = (author != "") & ~name.str.ends_with(author) & (name != "")
    return pl.when(apart).then(name + " " + author).otherwise(name)


def _lowest(value: Callable[[str], pl.Expr]) -> pl.Expr:
    """value(rank) for the lowest given rank above species, "" without any."""
    values = (pl.when(pl.col(rank) != "").then(value(rank)) for rank in reversed(HIGHER))
    return pl.coalesce(values).fill_null("")


def _hint() -> pl.Expr:
    named = pl.when(pl.col("species") != "").then(pl.lit("species")).otherwise(_lowest(pl.lit))
    return pl.when(pl.col("scientific_name") != "").then(pl.lit("")).otherwise(named)


def _parsed(texts: pl.Series) -> pl.DataFrame:
    """Parse each text into columns."""
    distinct = texts.unique()
    frames = [
        _parts(distinct.slice(start, _CHUNK).to_list()) for start in range(0, max(len(distinct), 1), _CHUNK)
    ]
    parts = (
        texts.rename("text").to_frame().join(pl.concat(frames), on="text", how="left", maintain_order="left")
    )
    return parts.drop("text")


def _parts(texts: list[str]) -> pl.DataFrame:
    names = [parse_name(text) for text in texts]
    columns = (
        dict(zip(ScientificName._fields, zip(*names))) if names else dict.fromkeys(ScientificName._fields, ())
    )
    text = {"text": texts, "key": [name.canonical for name in names]}
    text |= {
        "word": columns["genus"],
        "epithet": columns["species"],
        "infraspecific": columns["infraspecific"],
    }
    text |= {"author": columns["authorship"], "qualifier": columns["qualifier"]}
    flags = {name: pl.Series(columns[name], dtype=pl.Boolean) for name in ("hybrid", "formula")}
    return pl.DataFrame({name: pl.Series(values, dtype=pl.String) for name, values in text.items()} | flags)


def _with_whole_species(queries: pl.DataFrame) -> pl.DataFrame:
    """Look up a species verbatim if it does not parse as an epithet, so that nothing given is lost."""
    unparsed = (
        (pl.col("epithet") == "")
        & ((pl.col("species") != "") | (pl.col("key") == ""))
        & (pl.col("qualifier") == "")
        & ~pl.col("formula")
        & (pl.col("text") != "")
    )
    texts = queries.filter(unparsed)["text"].unique()
    folded = pl.DataFrame({"text": texts, "folded": [" ".join(fold(text).split()) for text in texts]})
    folded = folded.with_columns(pl.col("folded").cast(pl.String))
    queries = queries.join(folded, on="text", how="left", maintain_order="left")
    return queries.with_columns(
        pl.when(unparsed).then("folded").otherwise("key").alias("key"),
        pl.when(unparsed).then("species").otherwise("epithet").alias("epithet"),
        pl.when(unparsed).then(pl.lit("")).otherwise("author").alias("author"),
        pl.when((pl.col("hint") == "species") & ((pl.col("qualifier") != "") | pl.col("formula")))
        .then(pl.lit("genus"))
        .when((pl.col("hint") == "") & (pl.col("epithet") != ""))
        .then(pl.lit("species"))
        .otherwise("hint")
        .alias("hint"),
    ).drop("folded")
