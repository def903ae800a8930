"""Where things lie in a training directory."""

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
        return self.path / "config.json"

    @property
    def metrics_file(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def tensorboard(self) -> Path:
        return self.path / "tensorboard"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @staticmethod
    def is_one(path: Path | str) -> bool:
        """True if `path` holds a training run, finished or not."""
        path = Path(path)
        return (path / "config.json").is_file() and (path / "checkpoints").is_dir()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other trainings out of the directory, which is made, and removed again if nothing was written to it.

        UserError while another one runs, and where it cannot be written.
        """
        made = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        refusal = f"another training runs in {self.path}; wait for it or stop it, or give another --workdir"
        with contextlib.ExitStack() as stack:
            stack.callback(_remove_empty, made)
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                stack.enter_context(locked(self.path / _LOCK_FILE, refusal))
            except OSError as error:
                raise UserError(
                    f"the --workdir {self.path} cannot be written ({error.strerror}); give another"
                ) from None
            yield

    def steps(self) -> list[int]:
        """Steps of the committed checkpoints, ascending; a half-written one has no numeric name yet."""
        if not self.checkpoints.is_dir():
            return []
        return sorted(int(p.name) for p in self.checkpoints.iterdir() if p.name.isdecimal() and p.is_dir())

    def read_config(self) -> dict[str, Any]:
        """The resolved config of the run. UserError if the file cannot be read."""
        try:
            return json.loads(self.config_file.read_text())
        except (OSError, json.JSONDecodeError) as error:
            raise UserError(
                f"the config of the training run, {self.config_file}, cannot be read ({error}); "
                "give a directory that `bioclip-jax train` wrote"
            ) from error

    def write_config(self, config: dict[str, Any]) -> None:
        """Write `config.json`, so that a kill leaves the old one or the new one."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_text(self.config_file, json.dumps(config, indent=2) + "\n")

    def read_metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl, oldest first; a last line that a kill cut short is left out."""
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
