"""Layout of a training directory."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bioclip_jax.errors import UserError
from bioclip_jax.files import write_text
from bioclip_jax.locks import locked

# Held by the training that writes to the directory.
_LOCK_FILE = ".lock"


@dataclass(frozen=True)
class TrainingDirectory:
    """The files of one training run: `config.json`, `metrics.jsonl`, `tensorboard/`, `checkpoints/`."""

    path: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path).absolute())

    @property
    def config_file(self) -> Path:
        """The resolved config as JSON."""
        return self.path / "config.json"

    @property
    def metrics_file(self) -> Path:
        """One JSON object per logged step."""
        return self.path / "metrics.jsonl"

    @property
    def tensorboard(self) -> Path:
        """The folder of TensorBoard's event files."""
        return self.path / "tensorboard"

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints, each named by its step."""
        return self.path / "checkpoints"

    @staticmethod
    def exists_at(path: Path | str) -> bool:
        """Return True if `path` holds a training run, finished or not."""
        path = Path(path)
        return (path / "config.json").is_file() and (path / "checkpoints").is_dir()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Create the directory and lock it against other trainings; remove it again if it stays empty.

        Raises UserError if another training holds the lock, or the directory cannot be written.
        """
        created = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        refusal = f"another training runs in {self.path}; wait for it or stop it, or give another --workdir"
        with contextlib.ExitStack() as stack:
            stack.callback(_remove_empty, created)
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                stack.enter_context(locked(self.path / _LOCK_FILE, refusal))
            except OSError as error:
                raise UserError(
                    f"the --workdir {self.path} cannot be written ({error.strerror}); give another"
                ) from None
            yield

    def steps(self) -> list[int]:
        """Return the steps of the committed checkpoints, ascending; unfinished ones have no numeric name."""
        if not self.checkpoints.is_dir():
            return []
        return sorted(int(p.name) for p in self.checkpoints.iterdir() if p.name.isdecimal() and p.is_dir())

    def describe_newest(self) -> str:
        """Return a clause about the newest checkpoint, for error messages."""
        steps = self.steps()
        return f"checkpoint {steps[-1]} is the last good one" if steps else "there is no checkpoint yet"

    def read_config(self) -> dict[str, Any]:
        """Return the resolved config of the run; raise UserError if the file cannot be read."""
        try:
            return json.loads(self.config_file.read_text())
        except (OSError, json.JSONDecodeError) as error:
            raise UserError(
                f"the config of the training run, {self.config_file}, cannot be read ({error}); "
                "give a directory that `bioclip-jax train` wrote"
            ) from error

    def write_config(self, config: dict[str, Any]) -> None:
        """Write `config.json` atomically."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_text(self.config_file, json.dumps(config, indent=2) + "\n")

    def read_metrics(self) -> list[dict[str, Any]]:
        """Return the lines of metrics.jsonl, oldest first, without a last line that a kill truncated."""
        if not self.metrics_file.exists():
            return []
        lines = []
        for text in self.metrics_file.read_text().splitlines():
            try:
                lines.append(json.loads(text))
            except json.JSONDecodeError:
                break
        return lines


def _remove_empty(folders: Iterable[Path]) -> None:
    with contextlib.suppress(OSError):
        for folder in folders:
            folder.rmdir()
