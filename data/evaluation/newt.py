"""NeWT: 164 binary questions about natural images."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from bioclip_jax.datasets.manual import ManualBuilder, Row, first_file
from bioclip_jax.errors import UserError


class NeWT(ManualBuilder):
    """Natural World Tasks: 164 binary tasks on appearance, behavior, context, counting and gestalt.

    Layout: newt2021_labels.csv (id, task_cluster, task_subcluster, task, label, text_label, split, height,
    width) and newt2021_images/ID.jpg. An image belongs to one task, with label 0 or 1; class is the label as
    text.
    """

    name = "newt"
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "newt2021_labels.csv and newt2021_images/ of https://github.com/visipedia/newt"
    )
    LOOK_FOR = ("newt2021_labels.csv",)
    HOMEPAGE = "https://github.com/visipedia/newt"
    FEATURES = {"task": str, "task_cluster": str, "task_subcluster": str, "label": np.int64}

    def read(self, root: Path) -> Mapping[str, Iterable[Row]]:
        splits: dict[str, list[Row]] = {"train": [], "test": []}
        path = root / "newt2021_labels.csv"
        for line in self.table(path, "id", "task", "task_cluster", "label", "text_label", "split"):
            if line["split"] not in splits or line["label"] not in ("0", "1"):
                raise UserError(
                    f"{self.name}: {path} gives image {line['id']} the split {line['split']!r} and the label "
                    f"{line['label']!r}; they must be train or test and 0 or 1"
                )
            splits[line["split"]].append(
                {
                    "image": first_file(f"{line['id']}.jpg", root / "newt2021_images"),
                    "key": line["id"],
                    "class": line["text_label"],
                    "task": line["task"],
                    "task_cluster": line["task_cluster"],
                    "task_subcluster": line.get("task_subcluster", ""),
                    "label": int(line["label"]),
                }
            )
        return splits
