"""Predictions on the page: a card a photo, and a table of them all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bioclip_jax.markup import text
from bioclip_jax.predict import Rank
from bioclip_jax.predict.classifiers import UNKNOWN, Explained, Node, RankAnswer, TreeOfLifeClassifier
from bioclip_jax.text import RANKS

from .markup import bar, bars, download, empty, percent, picture, species_name, table
from .photos import Photo

Row = dict[str, Any]

# Photos with a card of their own; the table and the CSV hold all.
MOST_CARDS = 24


def identified(photos: Sequence[Photo], taxa: TreeOfLifeClassifier, floor: float) -> str:
    """Each photo's prediction at the narrowest rank whose confidence reaches `floor`, and where it comes from."""
    rows = [prediction_row(photo, taxa, floor) for photo in photos]
    cards = "".join(_card(photo, taxa, floor) for photo in photos[:MOST_CARDS])
    more = len(photos) - MOST_CARDS
    told = f'<p class="bj-muted">{more} more photos are in the table only.</p>' if more > 0 else ""
    lines = (
        (_cell(photo), "no rank reaches it", "–", "–")
        if row["rank"] == UNKNOWN
        else (_cell(photo), _prediction_cell(row), text(row["rank"]), percent(row["score"]))
        for photo, row in zip(photos, rows)
    )
    summary = table(("Photo", "Prediction", "Rank", "Confidence"), lines)
    head = f'<div class="bj-head"><h2>All predictions</h2>{download(rows, "predictions.csv")}</div>'
    overview = f'<section class="bj-card">{head}{summary}</section>'
    # With many photos the overview is what people look for first.
    return f"{overview}{cards}{told}" if len(photos) > 3 else f"{cards}{told}{overview}"


def prediction_row(photo: Photo, taxa: TreeOfLifeClassifier, floor: float) -> Row:
    """The CSV's row: rank, name and confidence of the prediction, the lineage down to it, and the best species anyway.

    Where no rank reaches `floor`, it is "unknown", as predict says it, and the score that of the best
    species.
    """
    answer = photo.explained.answer(floor)
    best = photo.explained.species[0]
    names = {"species": UNKNOWN} if answer is None else taxa.names.row(answer.row, answer.rank)
    return {
        "file_name": photo.name,
        "rank": UNKNOWN if answer is None else answer.rank.get_label(),
        "prediction": UNKNOWN if answer is None else names[answer.rank.get_label()],
        "score": best["score"] if answer is None else answer.score,
        **{rank: names.get(rank, "") for rank in RANKS},
        "common_name": names.get("common_name", ""),
        "best_species": best["species"],
        "best_species_score": best["score"],
    }


def labelled(photos: Sequence[Photo], rows: Sequence[Sequence[Row]]) -> str:
    """Each photo beside its labels, the most probable first."""
    cards = "".join(
        f'<section class="bj-card bj-label-card">{picture(photo.thumbnail, photo.name)}'
        f"<div>{bars([(text(row['classification']), row['score']) for row in own[:8]], photo.name, 2)}</div></section>"
        for photo, own in zip(photos[:MOST_CARDS], rows)
    )
    every = [row for own in rows for row in own]
    more = len(photos) - MOST_CARDS
    told = (
        f'<span class="bj-muted">{more} more photos are in the file only.</span>'
        if more > 0
        else "<span></span>"
    )
    return (
        f'<div class="bj-grid">{cards}</div><div class="bj-head">{told}{download(every, "labels.csv")}</div>'
    )


def similar_images(photo: Photo, rows: Sequence[Row], pictures: Sequence[bytes | None]) -> str:
    """The photo, and the index's images that are most like it, each with its lineage where that is known."""
    if not rows:
        return empty("Nothing found", "No image of the index lies within that taxon.")
    found = "".join(_similar(row, picture) for row, picture in zip(rows, pictures))
    own = f"{picture(photo.thumbnail, photo.name)}<figcaption>{text(photo.name)}</figcaption>"
    query = f'<figure class="bj-query">{own}</figure>'
    plain = [{"query": photo.name, **row} for row in rows]
    head = f'<div class="bj-head"><h2>Most similar in the index</h2>{download(plain, "similar.csv")}</div>'
    return f'<section class="bj-card">{head}<div class="bj-similar">{query}{found}</div></section>'


def _similar(row: Row, thumbnail: bytes | None) -> str:
    ranks = [row[rank] for rank in RANKS if row.get(rank)]
    species = row.get("species") or ""
    name = row.get("common_name") or species or (ranks[-1] if ranks else "")
    image = (
        picture(thumbnail, name or "similar image")
        if thumbnail
        else '<span class="bj-missing">no picture</span>'
    )
    title = f"<b>{text(name)}</b>" if name else ""
    scientific = f"<em>{text(species)}</em>" if species and species != name else ""
    lineage = f"<small>{text(' › '.join(ranks[:6]))}</small>" if ranks else ""
    score = f'<span class="bj-score">similarity {row["score"]:.3f}</span>'
    return f"<figure>{image}<figcaption>{title}{scientific}{score}{lineage}</figcaption></figure>"


def _card(photo: Photo, taxa: TreeOfLifeClassifier, floor: float) -> str:
    explained = photo.explained
    answer, lineage = explained.answer(floor), explained.lineage(floor)
    species = bars([(species_name(row), row["score"]) for row in explained.species], "Most probable species")
    ladder = "".join(_step(step, floor, step == answer) for step in lineage)
    tree = _branches(explained.tree) or '<p class="bj-muted">There are none.</p>'
    branches = f"<details><summary>All branches of at least 1 %</summary>{tree}</details>"
    return (
        f'<section class="bj-card bj-photo"><div class="bj-side">{picture(photo.thumbnail, photo.name)}'
        f'<p class="bj-file">{text(photo.name)}</p></div>'
        f'<div class="bj-headline">{_headline(answer, taxa, floor)}</div>'
        f'<div class="bj-two"><div><h3>From kingdom to species</h3><ol class="bj-ladder">{ladder}</ol>'
        f"{_elsewhere(explained, lineage)}{branches}</div>{species}</div></section>"
    )


def _headline(answer: RankAnswer | None, taxa: TreeOfLifeClassifier, floor: float) -> str:
    if answer is None:
        advice = "Ask for less, or try a closer photo."
        return f'<h2>No rank reaches {round(100 * floor)} % confidence</h2><p class="bj-muted">{advice}</p>'
    row, rank = taxa.names.row(answer.row, answer.rank), answer.rank.get_label()
    common = row.get("common_name")
    scientific = (
        f"<em>{text(row[rank])}</em>" if answer.rank in (Rank.SPECIES, Rank.GENUS) else text(row[rank])
    )
    title = f"{text(common)} <small>{scientific}</small>" if common else scientific
    return (
        f'<h2>{title}</h2><p><span class="bj-chip">{rank}</span> <b>{percent(answer.score)}</b> '
        f"confidence</p>"
    )


def _step(step: RankAnswer, floor: float, is_answer: bool) -> str:
    name = text(step.name or "unnamed")
    name = f"<em>{name}</em>" if step.rank in (Rank.SPECIES, Rank.GENUS) else name
    kind = "bj-answer" if is_answer else "" if step.score >= floor else "bj-below"
    return (
        f'<li class="{kind}"><span class="bj-rank">{step.rank.get_label()}</span><span '
        f'class="bj-name">{name}</span>'
        f"<b>{percent(step.score)}</b>{bar(step.score)}</li>"
    )


def _elsewhere(explained: Explained, lineage: Sequence[RankAnswer]) -> str:
    """A note where the most probable species is not in the lineage that is shown."""
    best = explained.ranks[-1]
    if best.row == lineage[-1].row:
        return ""
    pairs = zip(explained.lineages[Rank.SPECIES], lineage)
    rank = next((own.rank.get_label() for own, shown in pairs if own.name != shown.name), "branch")
    species = f"<em>{text(best.name or 'unnamed')}</em> ({percent(best.score)})"
    return f'<p class="bj-muted">The most probable species, {species}, is in another {rank}.</p>'


def _branches(node: Node) -> str:
    lines = "".join(
        f'<li><span class="bj-rank">{text(child["rank"])}</span> {text(child["name"] or "unnamed")}'
        f"{_common(child)} <b>{percent(child['score'])}</b>{_branches(child)}</li>"
        for child in node["children"]
    )
    return f'<ul class="bj-tree">{lines}</ul>' if lines else ""


def _common(node: Mapping[str, Any]) -> str:
    return f" <small>{text(node['common_name'])}</small>" if node.get("common_name") else ""


def _cell(photo: Photo) -> str:
    return f'<span class="bj-cell">{picture(photo.thumbnail, "")}<span>{text(photo.name)}</span></span>'


def _prediction_cell(row: Row) -> str:
    name = (
        f"<em>{text(row['prediction'])}</em>"
        if row["rank"] in ("genus", "species")
        else text(row["prediction"])
    )
    common = f" <small>{text(row['common_name'])}</small>" if row["common_name"] else ""
    # Narrow windows have no room for the column of ranks.
    return f'{name}{common} <small class="bj-narrow">{text(row["rank"])}</small>'
