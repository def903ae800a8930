"""The page of `explain`: the context of its template."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bioclip_jax import html
from bioclip_jax.html import share, thumbnail_url
from bioclip_jax.pipeline.images import BadImage, decode
from bioclip_jax.predict.options import PredictOptions
from bioclip_jax.predict.settings import candidate_settings, selection_settings

from .explained import Candidate, ExplainedPhotograph
from .overlay import overlay_url
from .reference_pictures import Reference

if TYPE_CHECKING:
    from .heat_maps import HeatMap

_PICTURE_SIDE, _REFERENCE_SIDE = 640, 168


def write_page(
    path: Path,
    photographs: Sequence[ExplainedPhotograph],
    classifier: Any,
    options: PredictOptions,
    index: Any,
    unreadable: Sequence[str],
) -> None:
    """Write the page atomically."""
    drawn = [one.heat_map for photo in photographs for one in photo.candidates if one.heat_map is not None]
    settings = candidate_settings(options) | selection_settings(options)
    html.write_page(
        path,
        "explain.html",
        photographs=[_photograph(photo) for photo in photographs],
        model=classifier.model_str,
        fingerprint=classifier.model.fingerprint,
        made=datetime.now(),
        settings=[
            (name.replace("_", " "), str(value)) for name, value in settings.items() if name != "min_prob"
        ],
        method=drawn[0].method if drawn else None,
        window=drawn[0].window if drawn else None,
        grid=len(drawn[0].values) if drawn else 0,
        index=None if index is None else str(index.directory),
        unreadable=unreadable,
    )


def _photograph(photo: ExplainedPhotograph) -> dict[str, Any]:
    seen = photo.seen
    height, width = photo.picture.shape[:2]
    return {
        "name": photo.name,
        "picture": thumbnail_url(photo.picture, _PICTURE_SIDE),
        "width": width,
        "height": height,
        "seen": [f"{100 * side:.3f}%" for side in seen],
        "cropped": tuple(seen) != (0.0, 0.0, 1.0, 1.0),
        "candidates": [_candidate(one) for one in photo.candidates],
    }


def _candidate(one: Candidate) -> dict[str, Any]:
    row, drawn = one.row, one.heat_map
    return {
        "name": one.name,
        "common_name": row.get("common_name") or "",
        "italic": bool(row.get("species_epithet") or (row.get("genus") == one.name)),
        "lineage": " › ".join(
            str(row[rank]) for rank in ("kingdom", "phylum", "class", "order", "family") if row.get(rank)
        ),
        "score": float(row["score"]),
        "percent": share(float(row["score"]), 1),
        "overlay": None if drawn is None else overlay_url(drawn.values),
        "alt": "" if drawn is None else f"Heat map of {one.name}: {describe(drawn)}",
        "sentence": "" if drawn is None else _sentence(drawn),
        "references": None if one.references is None else [_reference(each) for each in one.references],
    }


def describe(drawn: HeatMap) -> str:
    """Return the parts of the picture with the strongest patches for and against, in words."""
    parts = [f"strongest for it {_place(drawn.values)}"] if drawn.values.max() > 0 else []
    if -drawn.values.min() > 0.25 * max(drawn.values.max(), 1e-9):
        parts.append(f"against it {_place(-drawn.values)}")
    return ", ".join(parts) or "no patch matters"


def _place(values: np.ndarray) -> str:
    row, column = np.unravel_index(int(values.argmax()), values.shape)
    thirds = [min(2, 3 * int(position) // size) for position, size in zip((row, column), values.shape)]
    words = (("top", "", "bottom")[thirds[0]], ("left", "", "right")[thirds[1]])
    place = " ".join(filter(None, words))
    return f"at the {place}" if place else "in the middle"


def _sentence(drawn: HeatMap) -> str:
    """Return the effect of the strongest window, or of all patches, in percent."""
    if drawn.method == "gradient":
        return f"Without any patch: {share(math.exp(drawn.without), 1)}"
    least = math.exp(min(0.0, drawn.log_probability - float(drawn.values.max())))
    part = "patch" if drawn.window == 1 else f"{drawn.window} × {drawn.window} patches"
    return f"Without the strongest {part}: {share(least, 1)}"


def _reference(reference: Reference) -> dict[str, Any]:
    picture = ""
    try:
        picture = thumbnail_url(decode(Path(reference.path).read_bytes(), min_side=_REFERENCE_SIDE))
    except (BadImage, OSError, ValueError, MemoryError):
        pass
    return {
        "picture": picture,
        "name": Path(reference.path).name,
        "path": reference.path,
        "similarity": f"{reference.score:.2f}",
    }
