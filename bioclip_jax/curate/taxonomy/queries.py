"""The names that a table asks about: each distinct taxon once, its name put together and taken apart."""

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
# Columns that hold the author of a name, if that is apart.
AUTHORSHIP_COLUMNS = ("authorship", "scientificNameAuthorship")
_CHUNK = 100_000


def class_column(columns: Sequence[str]) -> str:
    """The column that holds the class; where `cls` is there, `class` is an annotation's label."""
    return next((name for name in ("cls", "class_", "class") if name in columns), "class")


def given_taxa(taxa: pl.DataFrame | Sequence[Taxon]) -> pl.DataFrame:
    """The columns GIVEN as clean text, a row for each of `taxa`; words such as "unknown" are "", as what is lacking."""
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
    """The distinct taxa, and for each row of `given` the query it is.

    Columns of a query: q (its number), those of GIVEN with the ranks above species in canonical form, text
    (the name as given), hint (the rank it is said to have, "" unknown), genus_author, and the parts of the
    name: key (to look up), word and epithet (its first two), infraspecific, author, qualifier, hybrid,
    formula.
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
    """The name to look up, put together from what is given."""
    genus, species, whole = pl.col("genus"), pl.col("species"), pl.col("scientific_name")
    full = species.str.contains(r"^[×x ]*[A-Z][a-z-]+ [a-z-]{3,}(?: |$)")
    repeated = species.str.to_lowercase().str.starts_with(genus.str.to_lowercase() + " ")
    # "M. domestica" beside the genus Malus, and epithets with a capital or in capitals.
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


def _lowest(shown: Callable[[str], pl.Expr]) -> pl.Expr:
    """What `shown` makes of the lowest rank above the species that is given."""
    return pl.coalesce(pl.when(pl.col(rank) != "").then(shown(rank)) for rank in reversed(HIGHER)).fill_null(
        ""
    )


def _hint() -> pl.Expr:
    named = pl.when(pl.col("species") != "").then(pl.lit("species")).otherwise(_lowest(pl.lit))
    return pl.when(pl.col("scientific_name") != "").then(pl.lit("")).otherwise(named)


def _parsed(texts: pl.Series) -> pl.DataFrame:
    """The parts of each text as columns."""
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
    """Nothing of a species that is given may be lost because it is no epithet: then it is looked up as it stands."""
    strange = (
        (pl.col("epithet") == "")
        & ((pl.col("species") != "") | (pl.col("key") == ""))
        & (pl.col("qualifier") == "")
        & ~pl.col("formula")
        & (pl.col("text") != "")
    )
    texts = queries.filter(strange)["text"].unique()
    folded = pl.DataFrame({"text": texts, "folded": [" ".join(fold(text).split()) for text in texts]})
    folded = folded.with_columns(pl.col("folded").cast(pl.String))
    queries = queries.join(folded, on="text", how="left", maintain_order="left")
    return queries.with_columns(
        pl.when(strange).then("folded").otherwise("key").alias("key"),
        pl.when(strange).then("species").otherwise("epithet").alias("epithet"),
        pl.when(strange).then(pl.lit("")).otherwise("author").alias("author"),
        pl.when((pl.col("hint") == "species") & ((pl.col("qualifier") != "") | pl.col("formula")))
        .then(pl.lit("genus"))
        .when((pl.col("hint") == "") & (pl.col("epithet") != ""))
        .then(pl.lit("species"))
        .otherwise("hint")
        .alias("hint"),
    ).drop("folded")
