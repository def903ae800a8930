"""Files in the layout of huggingface_hub's cache."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

REVISION = "0123456789abcdef0123456789abcdef01234567"


def into_cache(hub: Path, kind: str, repository: str, files: Mapping[str, Path]) -> Path:
    """Copy `files` by their names in the repository into the cache `hub`; returns the snapshot's folder.

    kind: "models" or "datasets". A snapshot holds links to blobs, as huggingface_hub makes them.
    """
    folder = hub / f"{kind}--{repository.replace('/', '--')}"
    snapshot = folder / "snapshots" / REVISION
    for part in ("refs", "blobs"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "refs" / "main").write_text(REVISION)
    for name, path in files.items():
        blob = folder / "blobs" / name.replace("/", "-")
        shutil.copy(path, blob)
        (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / name).symlink_to(blob)
    return snapshot
