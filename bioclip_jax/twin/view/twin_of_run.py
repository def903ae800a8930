"""The twin that a run simulated, which the run's settings know by its digest."""

from __future__ import annotations

from pathlib import Path

from bioclip_jax.errors import UserError
from bioclip_jax.twin.scenario import Run, twin_digest
from bioclip_jax.twin.world import Twin, read_twin


def find_twin(run: Run, folder: Path | None = None) -> Twin:
    """Read the twin of a run: `folder`, or the one beside the run.

    Raises UserError if none of the folders beside the run is its twin, and for a folder with another twin.
    """
    wanted = run.settings["twin_sha256"]
    if folder is not None:
        twin = read_twin(folder)
        if twin_digest(folder) != wanted:
            raise UserError(
                f"{folder} is not the twin of {run.path}, or has changed since; name another --twin"
            )
    else:
        beside = sorted(path.parent for path in run.path.absolute().parent.glob("*/twin.json"))
        matching = [path for path in beside if _is_twin(path, wanted)]
        if not matching:
            raise UserError(f"no folder beside {run.path} is the twin of the run; name it with --twin")
        twin = read_twin(matching[0])
    names = tuple(one.name for one in twin.species), tuple(patch.name for patch in twin.patches)
    if names != (run.species, run.patches):
        raise UserError(f"the run {run.path} is damaged; make it again with twin run")
    return twin


def _is_twin(folder: Path, digest: str) -> bool:
    try:
        return twin_digest(folder) == digest
    except OSError:
        return False
