"""The verb `predict`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bioclip_jax.errors import UserError
from bioclip_jax.predict.inputs import find_images
from bioclip_jax.predict.progress import Unreadable, track
from bioclip_jax.predict.results import check_format, check_output, write_rows


def predict(
    inputs: Sequence[str | os.PathLike[str]],
    model: str,
    labels: str,
    *,
    k: int = 5,
    format: str | None = None,
    output: Path | None = None,
    batch_size: int | None = None,
    as_result: bool = False,
) -> dict[str, Any]:
    """Write the k best labels of each image to `output`, or to standard output.

    Args: `inputs` as find_images; `labels`, "a,b,c" or a file with one a line; `format` as check_format;
      `as_result`, without an output put the rows into the result instead of writing them.
    Returns: {"images", "unreadable", and "output" or "predictions"}. An image that cannot be read is named on
      standard error and left out.
    Errors: UserError for wrong arguments, before the model is loaded, and where no image can be read.
    """
    output = None if output is None else Path(output)
    if not as_result or output is not None:
        format = check_format(format, output)
    check_output(output)
    if k < 1:
        raise UserError(f"--k is {k}; it must be at least 1")
    images = find_images(inputs)

    # JAX is loaded once there is something to do.
    from bioclip_jax.predict.classifiers import CustomLabelsClassifier, read_labels
    from bioclip_jax.predict.model import load_model

    names = read_labels(labels)
    classifier = CustomLabelsClassifier(names, load_model(model, batch_size=batch_size))
    unreadable = Unreadable(len(images))
    to_stdout = output is None and not as_result
    tracked = track(images, "predicting", len(images), results_on_stdout=to_stdout)
    rows = classifier.stream(tracked, k, unreadable)
    result: dict[str, Any] = {"images": len(images)}
    if as_result and output is None:
        result["predictions"] = list(rows)
    else:
        write_rows(rows, format, output)
        result["output"] = None if output is None else str(output)
    return result | {"unreadable": unreadable.problems}
