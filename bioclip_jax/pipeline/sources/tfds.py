"""Samples of a TFDS builder, read without TensorFlow."""

import contextlib
import io
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bioclip_jax.errors import UserError, did_you_mean, first_line
from bioclip_jax.locks import locked
from bioclip_jax.text import CAPTION_FILES

from .sample import Sample, sample_from_row

# Without common_name, which is also a column of the taxon.
_STORED_CAPTIONS = tuple(name for name in CAPTION_FILES if name != "common_name")
_NAME = re.compile(r"([A-Za-z]\w*)((?:/[\w.=,-]+)?)(?::([\w\[\]%:+-]+))?")


def looks_like_tfds_name(text: str) -> bool:
    """True if `text` has the form NAME[/CONFIG][:SPLIT]."""
    return _NAME.fullmatch(text) is not None


class TFDSSource:
    """One split of a TFDS builder, prepared as ArrayRecord on first use.

    name: NAME[/CONFIG][:SPLIT]. Features are read by name: image (encoded), the ranks (class or cls),
    common_name, key, and caption types; without these, captions are made from the ranks. Every other scalar
    becomes metadata. The builder must be registered, that is, its module imported.

    Raises UserError if there is no such builder or split.
    """

    def __init__(self, name: str, split: str = "train", tfds_dir: str | Path | None = None):
        import tensorflow_datasets as tfds

        self.skipped_shards: list[str] = []
        match = _NAME.fullmatch(name)
        if match is None:
            raise UserError(f"{name!r} is not of the form NAME[/CONFIG][:SPLIT]")
        builder_name, split = match[1] + match[2], match[3] or split
        builder = _prepared_builder(builder_name, tfds_dir)
        try:
            self._data = builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})
        except (KeyError, ValueError):
            splits = ", ".join(builder.info.splits)
            raise UserError(f"TFDS builder {builder_name} has no split {split!r}; it has {splits}") from None
        self._name = f"{builder_name}:{split}"

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, index: int) -> Sample:
        """The sample."""
        features = dict(self._data[index])
        image = features.pop("image", b"")
        features = {name: _plain(value) for name, value in features.items()}
        key = str(features.pop("key", f"{self._name}/{index}"))
        captions = {name: features.pop(name) for name in _STORED_CAPTIONS if name in features}
        sample = sample_from_row(key, image if isinstance(image, bytes) else b"", features)
        captions = {name: text for name, text in captions.items() if text}
        return replace(sample, captions=captions) if captions else sample


def _prepared_builder(name: str, tfds_dir: str | Path | None) -> Any:
    import tensorflow_datasets as tfds

    directory = None if tfds_dir is None else str(Path(tfds_dir).expanduser())
    try:
        builder = tfds.builder(name, data_dir=directory, file_format="array_record")
    except tfds.core.DatasetNotFoundError:
        raise UserError(f"{name} is neither a path nor a registered TFDS builder{_hint(name)}") from None
    except ValueError as error:  # an unknown config
        raise UserError(f"TFDS builder {name}: {first_line(error)}") from None
    if builder.info.file_format.value != "array_record":
        raise UserError(
            f"{builder.data_dir} is not prepared as ArrayRecord; remove it, or set another data.tfds_dir"
        )
    if builder.is_prepared():
        return builder
    # The processes of one job start together; the first prepares the data for all.
    root = Path(builder.data_dir).parent
    root.mkdir(parents=True, exist_ok=True)
    print(f"preparing {name} in {builder.data_dir}", file=sys.stderr)
    if not sys.stderr.isatty():
        # TFDS's progress bars would add a line a second to a log file.
        tfds.disable_progress_bar()
    # TFDS prints "Unknown size" to stdout, which is reserved for a command's result.
    with locked(root / ".prepare.lock", None), contextlib.redirect_stdout(io.StringIO()):
        builder = tfds.builder(name, data_dir=directory, file_format="array_record")
        builder.download_and_prepare(file_format="array_record")
    return builder


def _plain(value: Any) -> Any:
    """Convert bytes to text and zero-dimensional arrays to Python scalars."""
    if isinstance(value, (np.ndarray, np.generic)) and value.ndim == 0:
        value = value.item()
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _hint(name: str) -> str:
    import tensorflow_datasets as tfds

    name = name.partition("/")[0]
    known = tfds.list_builders(with_community_datasets=False)
    return did_you_mean(name, known, "give a path or import the module that registers it")
