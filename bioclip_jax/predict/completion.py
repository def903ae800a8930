"""Completion records of outputs, so that a resumed command does not repeat a finished run."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from bioclip_jax.errors import UserError
from bioclip_jax.files import write_text

from .journal import VERSION, check_same_settings, digest, journal_path


@dataclass(frozen=True)
class CompletionRecord:
    """The file .NAME.finished beside the output NAME: its settings, images and file state.

    settings: options that the rows or the file depend on. keys: image_keys. columns: a digest of the input
    tables' columns in the rows.
    """

    output: Path
    settings: Mapping[str, Any]
    keys: Int64[np.ndarray, " images"]
    columns: str = ""

    def is_current(self) -> bool:
        """Return True if the output is finished and has these settings and images.

        Raises UserError if it exists with other settings, was changed since, or has no readable record.
        """
        output, path = self.output, record_path(self.output)
        if not output.exists():
            return False
        advice = f"drop --resume to replace {output}, or name another output"
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            settings, images, state = record["question"], record["images"], record["output"]
        except FileNotFoundError:
            # A process killed after writing the output and before its record leaves the journal.
            if journal_path(output).exists():
                return False
            raise UserError(
                f"{output} exists already, and there is no interrupted run to resume; {advice}"
            ) from None
        except (OSError, ValueError, KeyError, TypeError):
            raise UserError(f"{path} cannot be read; {advice}") from None
        check_same_settings(output, settings, self._settings, advice)
        if state != _file_state(output):
            raise UserError(f"{output} was changed since it was finished; {advice}")
        if images != self._images:
            print(
                f"note: the images or their table are not those of {output}; predicting all of them again",
                file=sys.stderr,
            )
        return images == self._images

    def write(self) -> None:
        """Record the output, which was just written."""
        record = {"question": self._settings, "images": self._images, "output": _file_state(self.output)}
        write_text(record_path(self.output), json.dumps(record) + "\n")

    @property
    def _settings(self) -> dict[str, Any]:
        return {"journal": VERSION, **self.settings}

    @property
    def _images(self) -> list[str]:
        return [digest(self.keys), self.columns]


def record_path(output: Path) -> Path:
    """Return the path of an output's completion record."""
    return output.with_name(f".{output.name}.finished")


def _file_state(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]
