"""Prediction provenance as text or JSON."""

from __future__ import annotations

import json
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from bioclip_jax import __version__
from bioclip_jax.errors import InvalidValue
from bioclip_jax.files import check_output, file_sha256
from bioclip_jax.predict.preprocess import ImageLike, name_of

# Names are buffered in memory up to this number of bytes, then on disk: a million are 100 MB.
_IN_MEMORY = 1 << 20


def verify_recorder_path(path: str | os.PathLike[str]) -> bool:
    """Return True if a log can be written to `path`: text is appended, JSON needs a new file.

    Raises UserError for an existing JSON file, a folder, and a missing folder.
    """
    path = Path(path)
    check_output(path, "the log")
    if _is_json(path) and path.exists():
        raise InvalidValue(
            f"the log {path} exists already, and JSON cannot be appended to; name another, or a .txt"
        )
    return True


def attach_prediction_recorder(classifier: Any, **top_level_settings: Any) -> PredictionRecorder:
    """Attach a recorder to a classifier; `top_level_settings` are written to its log unchanged.

    save_recorded_predictions writes the log.
    """
    recorder = PredictionRecorder(classifier, **top_level_settings)
    classifier.set_recorder(recorder)
    return recorder


def save_recorded_predictions(
    classifier: Any, path: str | os.PathLike[str], include_command_line: bool = True
) -> None:
    """Write the classifier's log: as JSON to a new `path` ending in .json, else append it as text.

    Raises UserError as verify_recorder_path, and without an attached recorder.
    """
    if classifier.recorder is None:
        raise InvalidValue(
            "the classifier has no recorder; call attach_prediction_recorder before it predicts"
        )
    classifier.recorder.create_report(path, shlex.join(sys.argv) if include_command_line else None)


class PredictionRecorder:
    """Record a classifier's predictions: settings, images, times, model and devices.

    Image names are buffered in a temporary file, so that a million of them need little memory.

    output: file of the predictions, logged with its SHA-256.
    """

    def __init__(self, classifier: Any, **top_level_settings: Any) -> None:
        """Start the log's time."""
        self.model_str: str = classifier.model_str
        self.pretrained_str: str | None = classifier.pretrained_str
        self.device: str = str(classifier.device)
        self.top_level_settings = top_level_settings
        self.start = _now()
        self.end: str | None = None
        self._began, self._seconds = time.monotonic(), 0.0
        self.output: Path | None = None
        self._classifier = classifier
        self._details: list[dict[str, Any]] = []
        self._counts: list[int] = []
        # One JSON string per line: names cannot break a line, and are copied unchanged to a JSON log.
        self._names = tempfile.SpooledTemporaryFile(_IN_MEMORY, "w+", encoding="ascii", newline="\n")

    def add_prediction(self, images: Iterable[ImageLike] | ImageLike, **kwargs: Any) -> None:
        """Record one call: the names of its images, or else their indices, and its details."""
        single = isinstance(images, (str, os.PathLike)) or not isinstance(images, Iterable)
        count = 0
        for count, image in enumerate([images] if single else images, 1):
            self._names.write(json.dumps(name_of(image) or str(count - 1)) + "\n")
        self._counts.append(count)
        self._details.append(kwargs)
        self.end = _now()
        self._seconds = time.monotonic() - self._began

    def create_report(self, path: str | os.PathLike[str], command_line: str | None) -> None:
        """Write the log to `path`, as save_recorded_predictions."""
        verify_recorder_path(path)
        path = Path(path)
        if not _is_json(path):
            with path.open("a", encoding="utf-8", errors="surrogateescape") as file:
                self._write_text(file, command_line)
            return
        try:
            # Another run may have created it since the check.
            file = path.open("x", encoding="utf-8")
        except FileExistsError:
            raise InvalidValue(f"the log {path} was created by another run meanwhile; name another") from None
        try:
            with file:
                self._write_json(file, command_line)
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    @property
    def predictions(self) -> list[dict[str, Any]]:
        """All calls as in pybioclip: {"images": names, "details": {...}}."""
        names = self._each_name()
        return [
            {"images": [json.loads(next(names)) for _ in range(count)], "details": details}
            for count, details in zip(self._counts, self._details)
        ]

    def _about(self, command_line: str | None) -> dict[str, Any]:
        """Return the log's head: pybioclip's keys, then ours."""
        import jax

        model, taxa = self._classifier.model, getattr(self._classifier, "head", None)
        learned = getattr(self._classifier, "learned_head", None)
        about = {
            "bioclip_jax_version": __version__,
            "start": self.start,
            "end": self.end,
            "command_line": command_line,
            "model": self.model_str,
            "pretrained": self.pretrained_str,
            "device": self.device,
            "top_level_settings": self.top_level_settings,
            "jax_version": jax.__version__,
            "devices": [
                f"{device.platform}:{device.id} {device.device_kind}" for device in jax.local_devices()
            ],
            "model_source": model.source,
            "model_fingerprint": model.fingerprint,
            "transform": model.transform_note,
            "precision": model.precision,
        }
        if taxa is not None:
            about["taxa"] = dict(taxa.about) | {
                "path": str(taxa.path),
                "count": len(taxa.names),
                "dtype": taxa.dtype,
            }
        if learned is not None:
            names = ("data", "rank", "photographs", "chosen", "accuracy", "interval", "created")
            about["head"] = {name: learned.about.get(name) for name in names} | {
                "path": str(learned.path),
                "classes": len(learned.labels),
                "digest": learned.digest,
            }
        about |= {"images": sum(self._counts), "seconds": round(self._seconds, 3)}
        if self.output is not None:
            about["output"] = {"path": str(self.output), "sha256": file_sha256(self.output)}
        return about

    def _each_name(self) -> Iterator[str]:
        """Yield the names as JSON strings, oldest first."""
        self._names.seek(0)
        for line in self._names:
            yield line.rstrip("\n")
        self._names.seek(0, os.SEEK_END)

    def _write_json(self, file: TextIO, command_line: str | None) -> None:
        """Write JSON laid out as by json.dump(..., indent=4)."""
        head = json.dumps(self._about(command_line), indent=4, default=str).removesuffix("\n}")
        file.write(head + ',\n    "predictions": [')
        names = self._each_name()
        for number, (count, details) in enumerate(zip(self._counts, self._details)):
            file.write((",\n" if number else "\n") + '        {\n            "images": [')
            file.writelines((",\n" if image else "\n") + " " * 16 + next(names) for image in range(count))
            text = json.dumps(details, indent=4, default=str).replace("\n", "\n" + " " * 12)
            file.write(
                ("\n            ]" if count else "]") + f',\n            "details": {text}\n        }}'
            )
        file.write("\n    ]\n}\n" if self._counts else "]\n}\n")

    def _write_text(self, file: TextIO, command_line: str | None) -> None:
        about = self._about(command_line)
        title = f"** Prediction Log - bioclip-jax v{__version__} - {self.start} to {self.end} **"
        file.write(f"{'*' * len(title)}\n{title}\n{'*' * len(title)}\n")
        for key in ("bioclip_jax_version", "start", "end"):
            del about[key]
        settings = about.pop("top_level_settings")
        for key, value in (about | settings).items():
            if value is not None:
                file.write(f"{_title(key)}: {_as_text(value)}\n")
        names = self._each_name()
        for count, details in zip(self._counts, self._details):
            for key, value in details.items():
                if value is not None and value != []:
                    file.write(f"{_title(key)}: {_as_text(value)}\n")
            file.write("Images:\n")
            file.writelines(json.loads(next(names)).replace("\n", "\\n") + "\n" for _ in range(count))
        file.write("\n")


def _is_json(path: Path) -> bool:
    return path.suffix.lower() == ".json"


def _now() -> str:
    return datetime.now().isoformat(timespec="seconds")


def _title(key: str) -> str:
    """Return a key in title case: Model Fingerprint for model_fingerprint."""
    return " ".join(word.capitalize() for word in key.split("_"))


def _as_text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {part}" for key, part in value.items())
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
