"""The verb `explain`: a page with the patches that decided on each photograph, and reference pictures."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from bioclip_jax.convert import model_files
from bioclip_jax.errors import UserError
from bioclip_jax.files import check_not_read, check_outputs, files_below
from bioclip_jax.pipeline.images import BadImage
from bioclip_jax.predict.inputs import ImageFile, find_images
from bioclip_jax.predict.options import PredictOptions
from bioclip_jax.predict.progress import FailureLog, track
from bioclip_jax.predict.rank import Rank
from bioclip_jax.predict.selection import DEFAULT_K

from .explained import Candidate, ExplainedPhotograph
from .overlay import seen_part
from .page import write_page
from .reference_pictures import references

if TYPE_CHECKING:
    from bioclip_jax.predict.search import ImageIndex

    from .heat_maps import Method

# A page for people: each photograph takes seconds, and its pictures some 100 kB.
MOST_PHOTOGRAPHS = 60
_PICTURE_SIDE = 640


def explain_files(
    inputs: Sequence[str | os.PathLike[str]],
    model: str | None = None,
    output: str | os.PathLike[str] | None = None,
    options: PredictOptions | None = None,
    *,
    index: str | os.PathLike[str] | None = None,
    method: Method | None = None,
    window: int | None = None,
    pictures: int = 3,
) -> dict[str, Any]:
    """Explain the answers for some photographs, and write them as a page.

    inputs: as find_images, at most MOST_PHOTOGRAPHS. model: as load_model, by default that of `index`.
    options: candidates, k and model options, as predict_files. index: a folder of `index build`, for
    `pictures` reference pictures of each candidate. method, window: as heat_maps. output: the page, or None.
    Returns {"images", "method", "output", "unreadable", "explanations": [{"file_name", "candidates":
    [{"prediction", "heat_map": {"values", "log_probability", "without"} or None, "references"}]}]}.
    Raises UserError for invalid options and an index of another model.
    """
    options = options or PredictOptions(as_result=True)
    if output is not None:
        output = Path(output)
        if output.suffix.lower() not in (".html", ".htm"):
            raise UserError(f"the explanation {output} is an HTML page; end its name in .html")
        check_outputs({"--output": output})
    candidates = options.read_candidates()
    images = find_images(inputs)
    if len(images) > MOST_PHOTOGRAPHS:
        raise UserError(
            f"{len(images):,} photographs are too many for a page to look at closely; give at most "
            f"{MOST_PHOTOGRAPHS}"
        )
    reads = options.files_read | {"an input": itertools.chain(inputs, (image.path for image in images))}
    reads |= {"part of the model": model_files(model)}
    loading = options.loading
    opened = None
    if index is not None:
        from bioclip_jax.predict.search import ImageIndex

        opened = ImageIndex(index)
        reads |= {"part of the index": files_below(opened.directory)}
        model = opened.model_for(model)
        loading["transform"] = loading["transform"] or opened.transform
    check_not_read({"--output": output}, reads)

    # Importing JAX takes seconds, so options and inputs are checked first.
    from bioclip_jax.predict.candidates import make_classifier
    from bioclip_jax.predict.model import load_model

    loaded = load_model(model, **loading)
    if opened is not None:
        from bioclip_jax.predict.search import check_same_model

        given = {"fingerprint": loaded.fingerprint, "source": loaded.source, "transform": loaded.transform}
        check_same_model(opened.directory, opened.about, given)
    classifier = make_classifier(loaded, options, candidates)
    failures = FailureLog(len(images))
    explained = []
    for number, image in enumerate(track(images, "explaining", len(images))):
        try:
            explained.append(_explain(image, classifier, options, opened, method, window, pictures))
        except (BadImage, OSError, ValueError, MemoryError) as error:
            if isinstance(error, UserError):
                raise
            failures(
                number, UserError(f"{image.name} cannot be read ({error}); give a JPEG, PNG or the like")
            )
    if not explained:
        raise UserError("no photograph could be read, so there is nothing to explain")
    shown = next((one.heat_map for photo in explained for one in photo.candidates if one.heat_map), None)
    result: dict[str, Any] = {"images": len(images), "method": shown.method if shown else None}
    if output is not None:
        write_page(output, explained, classifier, options, opened, failures.problems)
    return result | {
        "output": None if output is None else str(output),
        "unreadable": failures.problems,
        "explanations": [photo.as_json() for photo in explained],
    }


def _explain(
    image: ImageFile,
    classifier: Any,
    options: PredictOptions,
    index: ImageIndex | None,
    method: Method | None,
    window: int | None,
    pictures: int,
) -> ExplainedPhotograph:
    from bioclip_jax.predict.preprocess import load_upright

    from .heat_maps import explain_pixels

    preprocess = classifier.model.preprocess
    picture = load_upright(image, preprocess)
    vector, explained = explain_pixels(
        classifier,
        preprocess(picture),
        k=options.k or DEFAULT_K,
        rank=options.rank or Rank.SPECIES,
        method=method,
        window=window,
    )
    rows = [target.row for target, _ in explained]
    found: list[Any] = [None] * len(rows)
    if index is not None:
        found = references(index, vector, rows, pictures, without=image.path)
    small = picture.convert("RGB")
    small.thumbnail((_PICTURE_SIDE, _PICTURE_SIDE), Image.Resampling.LANCZOS)
    return ExplainedPhotograph(
        image.name,
        np.asarray(small),
        seen_part(preprocess, *picture.size),
        [Candidate(target.row, target.name, drawn, near) for (target, drawn), near in zip(explained, found)],
    )
