"""The page of a Report: its template's context, with the thumbnails."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from bioclip_jax import html
from bioclip_jax.html import THUMBNAIL_SIDE, number, share, thumbnail_url
from bioclip_jax.pipeline.images import BadImage, ReadOptions, decode
from bioclip_jax.predict.crop import pixel_edges
from bioclip_jax.predict.image_file import ImageFile, read_upright
from bioclip_jax.predict.progress import track
from bioclip_jax.predict.results import plain_text
from bioclip_jax.text import RANKS

from .report import BINS, MOST_ROWS, MOST_THUMBNAILS, UNKNOWN, Card, Name, Report
from .tree import taxon_tree

ANIMAL = "animal"
_MOST_BARS = 10
# Characters of a column's text on a card.
_LONGEST_DETAIL = 300
_MOST_UNREADABLE = 1_000
# The shorter side in pixels at which a photograph is decoded for the thumbnail of a tiny box.
_MOST_DECODED = 4_096
# The summary's limits of confidence, in bins.
_LIMITS = (20, 19, 16, 10, 5, 0)

# Label, value, value of a full bar, text.
_Bar = tuple[str, float, float, str]


def write_page(report: Report, path: Path, images: int, unreadable: Sequence[str]) -> None:
    """Write the page. images: number of inputs. unreadable: a message for each image without a prediction."""
    data, notice = _cards(report, path)
    known = [(name, count) for name, count in report.best.most_common() if name.lineage]
    several = len(known) > _MOST_BARS
    html.write_page(
        path,
        "predictions.html",
        images=images,
        model=report.model,
        fingerprint=report.fingerprint,
        made=report.made,
        settings=[
            (name.replace("_", " "), str(value))
            for name, value in report.settings.items()
            if name != "min_prob"
        ],
        figures=_headline(report, images, len(unreadable)),
        predicted=report.images,
        by_confidence=_by_confidence(report),
        by_rank=_by_rank(report) if len(report.ranks) > 1 else [],
        by_camera=_by_camera(report),
        thing="event" if report.by_event else "image",
        things=_things(report),
        most_frequent=[
            (_display_name(name), count, known[0][1], number(count)) for name, count in known[:_MOST_BARS]
        ],
        most_frequent_title=(
            f"Most frequent predictions (the first {_MOST_BARS} of {number(len(known))})"
            if several
            else f"{_things(report)} by prediction"
        ),
        taxa=taxon_tree(dict(known)) if report.taxonomic and known else None,
        data=data,
        notice=notice,
        unreadable=unreadable[:_MOST_UNREADABLE],
        more_unreadable=len(unreadable) - _MOST_UNREADABLE,
    )


def _things(report: Report) -> str:
    if report.by_event:
        return "Events"
    return "Animals" if report.detections[ANIMAL] else "Images"


def _headline(report: Report, images: int, unreadable: int) -> list[tuple[str, str]]:
    names = [name for name in report.best if name.lineage]
    figures = [("images" if images != 1 else "image", number(images))]
    if report.by_event:
        name = "event" if report.images == 1 else "events"
        figures.append((f"{name} with a prediction", number(report.images)))
    figures += _detections(report)
    if report.taxonomic:
        for rank, plural in (("family", "families"), ("genus", "genera"), ("species", "species")):
            depth = RANKS.index(rank) + 1
            if count := len({name.lineage[:depth] for name in names if len(name.lineage) >= depth}):
                figures.append((plural, number(count)))
    else:
        figures.append(("different labels", number(len(names))))
    if report.dates is not None:
        figures.append(("date", " to ".join(dict.fromkeys(report.dates))))
    confident = sum(report.confidence[BINS * 4 // 5 :])
    figures.append(("have at least 80 % confidence", share(confident, report.images)))
    if unknown := report.best[Name(())]:
        figures.append(("unknown", number(unknown)))
    figures.append(("unreadable", number(unreadable)))
    return figures


def _detections(report: Report) -> list[tuple[str, str]]:
    """Return the numbers of what a detector found; by events, of those with it and nothing before it."""
    counts = report.detections
    if report.by_event:
        # Animals are in the number of events with a prediction.
        labels = (
            ("person", "event with a person", "events with a person"),
            ("vehicle", "event with a vehicle", "events with a vehicle"),
            ("blank", "blank event", "blank events"),
            ("failed", "event not read by the detector", "events not read by the detector"),
        )
        return _counted(counts, labels)
    labels = (
        (ANIMAL, "animal", "animals"),
        ("person", "person", "people"),
        ("vehicle", "vehicle", "vehicles"),
        ("blank", "blank", "blank"),
        ("failed", "not read by the detector", "not read by the detector"),
    )
    return _counted(counts, labels)


def _counted(counts: Mapping[str, int], labels: Sequence[tuple[str, str, str]]) -> list[tuple[str, str]]:
    return [
        (one if counts[kind] == 1 else more, number(counts[kind]))
        for kind, one, more in labels
        if counts[kind]
    ]


def _by_confidence(report: Report) -> list[_Bar]:
    rows = []
    for upper, lower in zip(_LIMITS, _LIMITS[1:]):
        count = sum(report.confidence[lower:upper])
        limit = f"{100 * upper // BINS} %"
        label = f"{100 * lower // BINS} to {limit}" if lower else f"below {limit}"
        rows.append((label, count, report.images, f"{number(count)} ({share(count, report.images)})"))
    return rows


def _by_rank(report: Report) -> list[_Bar]:
    ranks = (rank for rank in [*reversed(RANKS), UNKNOWN] if report.ranks[rank])
    return [(rank, report.ranks[rank], report.images, number(report.ranks[rank])) for rank in ranks]


def _cards(report: Report, page: Path) -> tuple[dict[str, Any], str]:
    """Return the script's data, and a notice if images or pictures are missing.

    id: the report's identity. ranks: RANKS, or [] for labels. names: [lineage, common name] of each
    prediction. cards: [file name, [[index in names, score], ...], thumbnail or "", more] of each image, where
    more is an object: link (of the file, relative to the page), box ([x, y, width, height] in shares of the
    image), event (its identifier), frames ([file name, thumbnail] of others of the event) and details ([name,
    text] of its other columns), each only if there is one.
    """
    cards, pictured = report.cards()
    shown = [card for card in cards if card.index in pictured]
    pictures = dict(zip((card.index for card in shown), thumbnails([card.image for card in shown])))
    frames = _event_frames(shown)
    names: dict[Name, int] = {}
    listed = []
    for card in cards:
        predictions = [
            [names.setdefault(name, len(names)), float(f"{score:.4g}")] for name, score in card.predictions
        ]
        more: dict[str, Any] = {"link": link} if (link := _link(card.image, page)) else {}
        if card.image.box is not None:
            more["box"] = [float(f"{edge:.6g}") for edge in card.image.box]
        if card.event:
            more["event"] = card.event
        if card.index in frames:
            more["frames"] = frames[card.index]
        if card.details:
            more["details"] = [[name, _shown(value)] for name, value in card.details.items()]
        listed.append([card.image.name, predictions, pictures.get(card.index, ""), more])
    notices = []
    if len(cards) < report.images:
        things = "events" if report.by_event else "images"
        notices.append(
            f"The page holds {number(MOST_ROWS)} predictions, so {number(len(cards))} of the "
            f"{number(report.images)} {things} are here: the first of each best prediction, then the second, "
            "and so on. The output has all."
        )
    if len(pictured) < len(cards):
        notices.append(f"{number(MOST_THUMBNAILS)} have a picture, chosen the same way.")
    ranks = RANKS if report.taxonomic else []
    data = {"id": report.identity, "ranks": ranks, "names": list(names), "cards": listed}
    return data, " ".join(notices)


def _event_frames(cards: Sequence[Card]) -> dict[int, list[list[str]]]:
    """Return [file name, thumbnail] of other photographs of the events, for as many cards as have room."""
    chosen, room = [], MOST_THUMBNAILS
    for card in cards:
        if card.frames and len(card.frames) <= room:
            chosen += [(card.index, frame) for frame in card.frames]
            room -= len(card.frames)
    frames: dict[int, list[list[str]]] = {}
    for (index, frame), picture in zip(chosen, thumbnails([frame for _, frame in chosen])):
        frames.setdefault(index, []).append([plain_text(frame.name), picture])
    return frames


def _shown(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else plain_text(str(value))
    return text if len(text) <= _LONGEST_DETAIL else f"{text[: _LONGEST_DETAIL - 1]}…"


def _by_camera(report: Report) -> list[_Bar]:
    cameras = report.cameras.most_common(_MOST_BARS)
    return [(camera, count, report.images, number(count)) for camera, count in cameras]


def _link(image: ImageFile, page: Path) -> str:
    """Return the address of an image's file relative to the page, so that both may move together; else ""."""
    if image.size is not None or image.content is not None:
        return ""
    try:
        path = os.path.relpath(os.path.abspath(image.path), os.path.abspath(page.parent))
    except ValueError:  # another drive
        return ""
    return quote(path.replace(os.sep, "/"), errors="surrogateescape")


def thumbnails(images: Sequence[ImageFile]) -> list[str]:
    """Return a JPEG data URL of each image or its box, upright; "" if it cannot be read any more."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return list(track(pool.map(_thumbnail, images), "making thumbnails", len(images)))


def _thumbnail(image: ImageFile) -> str:
    try:
        box = image.box
        # The box, not the image around it, is as large as a thumbnail.
        share = 1 if box is None else max(min(box.width, box.height), THUMBNAIL_SIDE / _MOST_DECODED)
        if image.frame is None:
            pixels = decode(image.read(), min_side=round(THUMBNAIL_SIDE / share))
        else:
            pixels = np.asarray(read_upright(image, ReadOptions()))
        if box is None:
            return thumbnail_url(pixels)
        left, top, right, bottom = pixel_edges(box, pixels.shape[1], pixels.shape[0])
        return thumbnail_url(np.ascontiguousarray(pixels[top:bottom, left:right]))
    except (BadImage, OSError, ValueError, MemoryError):
        return ""


def _display_name(name: Name) -> str:
    last = next((part for part in reversed(name.lineage) if part), "no name")
    return f"{name.common_name} ({last})" if name.common_name else last
