"""Results as HTML: the macros of html/templates/web.html, with the data they show."""

from __future__ import annotations

import csv
import functools
import io
import itertools
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup

from bioclip_jax.errors import listing
from bioclip_jax.html import data_url, macros
from bioclip_jax.predict import UNKNOWN, Rank
from bioclip_jax.predict.classifiers import Explanation, RankPrediction
from bioclip_jax.text import RANKS

from .classifiers import ALL, Choice, PhotoHead, PhotoTaxa
from .language import language
from .photos import Photo

Row = dict[str, Any]

# Photos with a card of their own; the table and the CSV hold all.
MAX_CARDS = 24
_MAX_PROBLEMS = 12
_CARD_LABELS = 8

_turns = itertools.count()


@functools.cache
def html(code: str, template: str = "web.html") -> Any:
    """Return the macros of a template of the page in a language."""
    return macros(template, t=language(code))


def identified(
    code: str, photos: Sequence[Photo], taxa: PhotoTaxa, threshold: float, choice: Choice = ALL
) -> Markup:
    """Predictions at the narrowest rank whose confidence reaches `threshold`, with their lineages."""
    rows = [prediction_row(photo, taxa, threshold) for photo in photos]
    cards = [_card(photo, taxa, threshold) for photo in photos[:MAX_CARDS]]
    show = html(code, "web_identify.html").identified
    shown = show(list(zip(photos, rows)), cards, csv_url(rows), threshold, taxa.calibrated)
    candidates = [[_candidate(row) for row in photo.explained.species] for photo in photos]
    return shown + _review_data(code, photos, candidates, choice)


def learned(code: str, photos: Sequence[Photo], threshold: float, choice: Choice) -> Markup:
    """Predictions of a learned head, with the familiarity of each photo."""
    rows = [{"file_name": photo.name, **row} for photo in photos for row in photo.ranked]
    cards = [(photo, [_named(row) for row in photo.ranked]) for photo in photos]
    shown = html(code, "web_learned.html").learned(cards, csv_url(rows), threshold, MAX_CARDS)
    candidates = [[_candidate(row) for row in photo.ranked] for photo in photos]
    return shown + _review_data(code, photos, candidates, choice)


def _candidate(row: Mapping[str, Any]) -> Row:
    """Return a row as scripts of the review describe a candidate."""
    lineage = [row.get(rank, "") for rank in RANKS]
    named = _named(row)
    common = row.get("common_name") or ""
    known = lineage if any(lineage) else []
    return {"label": named["name"], "lineage": known, "common": common, "score": round(row["score"], 6)}


def _review_data(
    code: str, photos: Sequence[Photo], candidates: Sequence[Sequence[Row]], choice: Choice
) -> Markup:
    """Hidden data of the review, and of requests for a closer look; a checklist is not repeated in those."""
    described = [
        {"key": photo.digest, "filepath": photo.name, "event": "", "box": None, "candidates": rows}
        for photo, rows in zip(photos, candidates)
    ]
    values = {"within": choice.within, "head": choice.head, "temperature": choice.temperature or ""}
    query = urlencode({name: value for name, value in values.items() if value})
    return html(code).review_data(described, f"&{query}" if query else "")


def _named(row: Mapping[str, Any]) -> Row:
    """Return the name of a head's row, its rank ("" for a label that is no taxon) and its values."""
    rank = next((rank for rank in reversed(RANKS) if row.get(rank)), "")
    name = row[rank] if rank else row.get("classification", "")
    return {**row, "name": name, "rank": rank, "common_name": row.get("common_name", "")}


def active(code: str, classifier: PhotoTaxa | PhotoHead, choice: Choice) -> Markup:
    """Line about the candidates that a visitor chose, and the names that were skipped."""
    words = language(code)
    if isinstance(classifier, PhotoHead):
        facts = [words("choices.classes", count=len(classifier.classes), head=choice.head)]
    else:
        facts = [words("page.taxa", count=len(classifier.names))]
        if classifier.temperature != 1 or classifier.calibrated:
            kind = "calibrated" if classifier.calibrated else "at_temperature"
            facts.append(words(f"choices.{kind}", value=words.decimal(classifier.temperature, 2)))
    lines = [words("choices.active", facts=", ".join(facts))]
    subset = getattr(classifier, "subset", None)
    if subset is not None and subset.unknown:
        unknown = list(subset.unknown)
        shown = listing(unknown, _MAX_PROBLEMS) if code == "en" else ", ".join(unknown[:_MAX_PROBLEMS])
        lines.append(words("choices.skipped", count=len(unknown), names=shown))
    return html(code).active(lines)


def prediction_row(photo: Photo, taxa: PhotoTaxa, threshold: float) -> Row:
    """CSV row of a photo: rank, name and confidence of the prediction, its lineage, and the best species.

    If no rank reaches `threshold`, the prediction is "unknown" and the score that of the best species.
    """
    prediction = photo.explained.prediction(threshold)
    best = photo.explained.species[0]
    names = {"species": UNKNOWN} if prediction is None else taxa.names.row(prediction.row, prediction.rank)
    return {
        "file_name": photo.name,
        "rank": UNKNOWN if prediction is None else prediction.rank.get_label(),
        "prediction": UNKNOWN if prediction is None else names[prediction.rank.get_label()],
        "score": best["score"] if prediction is None else prediction.score,
        **{rank: names.get(rank, "") for rank in RANKS},
        "common_name": names.get("common_name", ""),
        "best_species": best["species"],
        "best_species_score": best["score"],
    }


def _card(photo: Photo, taxa: PhotoTaxa, threshold: float) -> dict[str, Any]:
    explained = photo.explained
    prediction, lineage = explained.prediction(threshold), explained.lineage(threshold)
    return {
        "photo": photo,
        "prediction": prediction,
        "names": prediction and taxa.names.row(prediction.row, prediction.rank),
        "lineage": lineage,
        "other_rank": _diverging_rank(explained, lineage),
    }


def _diverging_rank(explained: Explanation, lineage: Sequence[RankPrediction]) -> str | None:
    """Widest rank at which the lineage of the most probable species leaves `lineage`; None if it does not."""
    if explained.ranks[-1].row == lineage[-1].row:
        return None
    pairs = zip(explained.lineages[Rank.SPECIES], lineage)
    return next((best.rank.get_label() for best, shown in pairs if best.name != shown.name), "branch")


def labeled(code: str, photos: Sequence[Photo], rows: Sequence[Sequence[Row]]) -> Markup:
    """Photos beside their labels, the most probable first."""
    cards = [(photo, labels[:_CARD_LABELS]) for photo, labels in zip(photos[:MAX_CARDS], rows)]
    url = csv_url([row for labels in rows for row in labels])
    return html(code).labeled(cards, max(len(photos) - MAX_CARDS, 0), url)


def similar_images(
    code: str, photo: Photo, rows: Sequence[Row], thumbnails: Sequence[bytes | None]
) -> Markup:
    """Photo and its most similar images of the index, with their lineages if known."""
    if not rows:
        return html(code).empty("similar.nothing", "similar.nothing_about")
    images = []
    for row, thumbnail in zip(rows, thumbnails):
        ranks = [row[rank] for rank in RANKS if row.get(rank)]
        name = row.get("common_name") or row.get("species") or (ranks[-1] if ranks else "")
        images.append(({"species": "", **row}, name, ranks[:6], thumbnail))
    return html(code).similar(photo, images, csv_url([{"query": photo.name, **row} for row in rows]))


def notices(code: str, problems: Sequence[str], notes: Sequence[str]) -> Markup:
    """Messages about skipped files (`problems`) and about the other ones; each differs from the last one."""
    hidden = max(len(problems) - _MAX_PROBLEMS, 0)
    return html(code).notices(problems[:_MAX_PROBLEMS], hidden, notes, next(_turns))


def sentence(message: object) -> str:
    """Message with a capital at the beginning and punctuation at the end."""
    words = str(message).strip()
    return f"{words[:1].upper()}{words[1:]}{'' if words.endswith(('.', '?', '!', '…')) else '.'}"


def csv_url(rows: Sequence[Mapping[str, Any]]) -> str:
    """Encode rows as a CSV in a data URL, so that the server stores no file."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    file = io.StringIO()
    writer = csv.DictWriter(file, columns, restval="")
    writer.writeheader()
    writer.writerows({column: _without_formula(value) for column, value in row.items()} for row in rows)
    # Spreadsheets recognize UTF-8 by its byte order mark.
    return data_url(b"\xef\xbb\xbf" + file.getvalue().encode(), "text/csv")


def _without_formula(value: Any) -> Any:
    """Quote text that a spreadsheet would run as a formula; a photo may have any name."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t") else value
