"""Build shards from any source in three steps, ingest, plan and write, and resume a build that was killed.

A chunk's table, the plan and a shard appear under their final names only when complete. Resuming is therefore
making the files that do not exist yet; no record of progress is needed.
"""

import errno
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

import bioclip_jax
from bioclip_jax.curate.executors import Executor, open_executor, progress_bar
from bioclip_jax.errors import UserError
from bioclip_jax.file_kinds import SIZES_FILE
from bioclip_jax.files import atomic_write, check_folder, remove_partials, write_text
from bioclip_jax.locks import lock
from bioclip_jax.pipeline.sources import SEPARATOR, find_metadata, open_source

from .detectors import load_detector
from .disk_space import bytes_needed, check_disk_space
from .fingerprint import build_fingerprint, differences
from .ingest import hash_evaluation, prepare_chunk
from .labels import REPORT_FILES, LabeledSource, open_backbone
from .layout import Job, chunk_starts, close_intermediates
from .plan import make_plan, read_plan
from .settings import BuildSettings
from .write import close_plan, write_catalog, write_shard

WORK_FOLDER = ".build"
BUILD_FILE = "build.json"
_FINGERPRINT_FILE = "settings.json"
_LOCK_FILE = "lock"
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


def build_shards(
    source: str | Path,
    output: str | Path,
    settings: BuildSettings | None = None,
    *,
    engine: str = "local",
    processes: int | None = None,
    dry_run: bool = False,
    tfds_dir: str | Path | None = None,
) -> dict[str, Any]:
    """Write a source's samples as shards, with sizes.json, catalogue.parquet and build.json, or resume.

    With a backbone, alignment.md and alignment.csv report the alignment of every name. The same source and
    settings give the same bytes for any number of processes and kills; only build.json holds times.

    source: anything that open_source reads. engine: "local" or "ray". processes: None for one per core, 0 to
    work in the calling process. dry_run: decide about every sample without writing into `output`. tfds_dir:
    TFDS's data directory.

    Returns output, samples (written), shards, counts (source samples by decision), alignment (with a
    backbone: names and images by status), evaluation (with leakage: images by comparability), and, of this
    run, seconds, prepared (source samples) and images_per_second; a dry run adds bytes_needed, an already
    finished build already_built. Raises UserError, and KeyboardInterrupt after printing how to resume.
    """
    settings = settings or BuildSettings()
    output = Path(output).expanduser().absolute()
    if not dry_run:
        check_folder(output, parents=True)
    job = _job(str(source), output, settings, tfds_dir)
    if _is_listed(str(source), output):
        raise UserError(f"{output} is inside {source} and would be read as input; name a folder elsewhere")
    if dry_run:
        return _dry_run(job, engine, processes)
    fingerprint = build_fingerprint(str(source), job)
    if finished := _finished(job, fingerprint):
        return finished
    check_disk_space(job)
    try:
        for folder in ("prepared", "evaluation"):
            (job.folder / folder).mkdir(parents=True, exist_ok=True)
        with _locked(job.folder):
            _claim(job.folder, fingerprint)
            remove_partials(output)
            began = time.monotonic()
            with closing(open_executor(engine, job, processes)) as workers:
                prepared = _prepare(job, workers)
                if not job.plan.exists():
                    make_plan(job)
                try:
                    _write(job, workers)
                finally:
                    close_intermediates()
                    close_plan()
            result = _finish(job, fingerprint, prepared, began)
            shutil.rmtree(job.folder)
    except KeyboardInterrupt:
        remove_partials(output)
        Console(stderr=True).print("stopped; run the same command again to resume", highlight=False)
        raise
    except (OSError, RuntimeError) as error:
        if not _is_disk_full(error):
            raise
        raise UserError(
            f"{output}: the disk is full; free some space and run the same command again to resume"
        ) from None
    return result


def _job(location: str, output: Path, settings: BuildSettings, tfds_dir: str | Path | None) -> Job:
    for file in settings.files:
        if not file.exists():
            raise UserError(f"{file} does not exist; name an existing file")
    source = open_source(location, tfds_dir=tfds_dir)
    if settings.metadata is not None:
        source = LabeledSource(source, Path(settings.metadata).expanduser())
    evaluations = tuple(open_source(path, tfds_dir=tfds_dir) for path in settings.leakage)
    # Open detectors and backbone now: an invalid one should fail before all images are read.
    detectors = tuple(load_detector(file) for file in settings.filters)
    if settings.backbone is not None:
        open_backbone(settings)
    return Job(
        source=source,
        provider=Path(location).name or location,
        starts=chunk_starts(source),
        evaluations=evaluations,
        detectors=detectors,
        settings=settings,
        folder=output / WORK_FOLDER,
        output=output,
    )


def _is_disk_full(error: Exception) -> bool:
    """True for a full disk, which ArrayRecord's writer reports only in its message."""
    return getattr(error, "errno", None) in _DISK_FULL or any(
        os.strerror(number) in str(error) for number in _DISK_FULL
    )


def _is_listed(location: str, output: Path) -> bool:
    """True if the source's listing would include files of the output."""
    folders = [Path(part.strip()).expanduser().absolute() for part in location.split(SEPARATOR)]
    return any(
        folder.is_dir() and output.is_relative_to(folder) and find_metadata(folder) is None
        for folder in folders
    )


def _dry_run(job: Job, engine: str, processes: int | None) -> dict[str, Any]:
    needed = bytes_needed(job)
    # The machines of a cluster share the output's file system, but not their temporary folders.
    shared = next(folder for folder in job.output.parents if folder.exists()) if engine == "ray" else None
    with tempfile.TemporaryDirectory(prefix=".dry-run-", dir=shared) as folder:
        job = replace(job, folder=Path(folder), dry=True)
        for name in ("prepared", "evaluation"):
            (job.folder / name).mkdir()
        began = time.monotonic()
        with closing(open_executor(engine, job, processes)) as workers:
            prepared = _prepare(job, workers)
        make_plan(job)
        return {"dry_run": True, "bytes_needed": needed, **_result(job, prepared, began)}


def _prepare(job: Job, workers: Executor) -> int:
    """Prepare the remaining chunks and return the number of samples prepared."""
    parts = [
        (number, chunk, *starts[chunk : chunk + 2].tolist())
        for number, evaluation in enumerate(job.evaluations)
        for starts in [chunk_starts(evaluation)]
        for chunk in range(len(starts) - 1)
        if not job.hashed(number, chunk).exists()
    ]
    total = sum(stop - start for *_, start, stop in parts)
    with progress_bar("hashing evaluation images", total) as advance:
        for count in workers.map(hash_evaluation, parts):
            advance(count)
    chunks = [chunk for chunk in range(job.chunks) if not job.prepared(chunk).exists()]
    prepared = 0
    total = sum(int(job.starts[chunk + 1] - job.starts[chunk]) for chunk in chunks)
    with progress_bar("reading images", total) as advance:
        for count in workers.map(prepare_chunk, chunks):
            prepared += count
            advance(count)
    return prepared


def _write(job: Job, workers: Executor) -> None:
    plan = read_plan(job)
    if not plan["samples"]:
        counts = ", ".join(f"{name} {count}" for name, count in plan["counts"].items() if count)
        raise UserError(f"{job.output}: no sample is left to write ({counts}); remove less or fix the source")
    shards = [number for number in range(plan["shards"]) if not job.shard(number).exists()]
    with progress_bar("writing shards", len(shards)) as advance:
        for _ in workers.map(write_shard, shards):
            advance(1)


def _finish(job: Job, fingerprint: dict[str, Any], prepared: int, began: float) -> dict[str, Any]:
    result = _result(job, prepared, began)
    full, rest = divmod(result["samples"], job.settings.samples_per_shard)
    sizes = [job.settings.samples_per_shard] * full + [rest] * (rest > 0)
    _write_json(job.output / SIZES_FILE, {job.shard(number).name: size for number, size in enumerate(sizes)})
    write_catalog(job)
    if job.settings.backbone is not None:
        for name in REPORT_FILES:
            with atomic_write(job.output / name) as partial:
                shutil.copyfile(job.plan / name, partial)
    remove_partials(job.output)
    # The build is finished if and only if this file exists.
    record = {"bioclip_jax": bioclip_jax.__version__, "result": result, "settings": fingerprint}
    _write_json(job.output / BUILD_FILE, record)
    return result


def _result(job: Job, prepared: int, began: float) -> dict[str, Any]:
    plan, seconds = read_plan(job), time.monotonic() - began
    return {
        "output": str(job.output),
        "samples": plan["samples"],
        "shards": plan["shards"],
        "counts": plan["counts"],
        **{name: plan[name] for name in ("alignment", "evaluation") if plan[name]},
        "seconds": round(seconds, 3),
        "prepared": prepared,
        "images_per_second": round(prepared / seconds, 1),
    }


def _finished(job: Job, fingerprint: dict[str, Any]) -> dict[str, Any] | None:
    """Return the result of the same build if it is already finished; None if it is new or unfinished.

    Raises UserError if the output holds anything else.
    """
    output = job.output
    if output.exists() and not output.is_dir():
        raise UserError(f"{output} is a file; name a folder")
    if not output.exists() or not any(output.iterdir()):
        return None
    try:
        record = json.loads((output / BUILD_FILE).read_text())
        before, result = record["settings"], record["result"]
    except FileNotFoundError:
        if not job.folder.is_dir():
            raise UserError(f"{output} is not empty and not a build; name a new folder") from None
        return None
    except (ValueError, KeyError):
        raise UserError(f"{output / BUILD_FILE} is not a build's record; name a new folder") from None
    if changes := differences(before, fingerprint):
        raise UserError(
            f"{output} holds a finished build of other settings ({'; '.join(changes)}); name a new folder"
        )
    shutil.rmtree(job.folder, ignore_errors=True)
    return {**result, "already_built": True}


def _claim(folder: Path, fingerprint: dict[str, Any]) -> None:
    """Record the build's fingerprint. Raises UserError if the folder holds a build with another one."""
    path = folder / _FINGERPRINT_FILE
    if not path.exists():
        _write_json(path, fingerprint)
        return
    if changes := differences(json.loads(path.read_text()), fingerprint):
        raise UserError(
            f"{folder.parent} holds a build that began with other settings ({'; '.join(changes)}); "
            "use those, or name a new folder"
        )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock the folder against other builds; the lock ends with the process."""
    with (folder / _LOCK_FILE).open("w") as file:
        lock(file, f"{folder.parent}: another process is building here; wait for it")
        yield


def _write_json(path: Path, content: Any) -> None:
    write_text(path, json.dumps(content, indent=1) + "\n")
