"""Builds shards of any source: prepare, plan, write. A build that was killed goes on where it was.

Everything is there whole or not at all, under a name that says so: a chunk's table, the plan, a shard. So to
go on is to do what is not there yet, and nothing has to be remembered.
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
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

import bioclip_jax
from bioclip_jax.curate.cleaning import load_detector
from bioclip_jax.curate.engines import Engine, open_engine
from bioclip_jax.errors import UserError
from bioclip_jax.file_kinds import SIZES_FILE
from bioclip_jax.files import atomic_write, check_folder, remove_partials
from bioclip_jax.locks import lock
from bioclip_jax.pipeline.sources import SEPARATOR, find_metadata, open_source

from .catalogue import write_catalogue
from .disk import bytes_needed, check_room
from .identity import build_identity, differences
from .job import Job, chunk_starts
from .labels import LabelledSource
from .plan import make_plan, read_plan
from .prepare import hash_evaluation, prepare_chunk
from .settings import BuildSettings
from .spool import close_spools
from .taxa import REPORT_FILES, open_backbone
from .write import close_plan, write_shard

WORK_FOLDER = ".build"
BUILD_FILE = "build.json"
_IDENTITY_FILE = "settings.json"
_LOCK_FILE = "lock"
_FULL = (errno.ENOSPC, errno.EDQUOT)


def build_shards(
    source: str | Path,
    output: str | Path,
    settings: BuildSettings = BuildSettings(),
    *,
    engine: str = "local",
    processes: int | None = None,
    dry_run: bool = False,
    tfds_dir: str | Path | None = None,
) -> dict[str, Any]:
    """Writes the source's samples as shards into `output`, with sizes.json, catalogue.parquet and build.json.

    With a backbone also alignment.md and alignment.csv, which say what became of every name.

    source: whatever open_source reads. engine: "local" or "ray"; processes: None for one a core, 0 for none
    beside this one. dry_run: decide about every sample and report, but write nothing into `output`. tfds_dir:
    where TFDS keeps prepared data. The same source and settings give the same bytes, whatever the processes
    and however often the build was killed; build.json alone holds times.
    Returns output, samples (written), shards, counts (source samples by decision), alignment (with a
    backbone: names and images by status), evaluation (with leakage: its images by how they could be
    compared), and of this run seconds, prepared (source samples) and images_per_second; dry_run adds
    bytes_needed, and a build that was finished before already_built.
    UserError for what a person can mend; KeyboardInterrupt after saying how to go on.
    """
    output = Path(output).expanduser().absolute()
    if not dry_run:
        check_folder(output, parents=True)
    job = _job(str(source), output, settings, tfds_dir)
    if _is_listed(str(source), output):
        raise UserError(
            f"{output} lies inside {source}, where it would be read as input; name a folder elsewhere"
        )
    if dry_run:
        return _dry_run(job, engine, processes)
    identity = build_identity(str(source), job)
    if finished := _finished(job, identity):
        return finished
    check_room(job)
    try:
        for folder in ("prepared", "evaluation"):
            (job.folder / folder).mkdir(parents=True, exist_ok=True)
        with _locked(job.folder):
            _claim(job.folder, identity)
            remove_partials(output)
            began = time.monotonic()
            with closing(open_engine(engine, job, processes)) as workers:
                prepared = _prepare(job, workers)
                if not job.plan.exists():
                    make_plan(job)
                try:
                    _write(job, workers)
                finally:
                    close_spools()
                    close_plan()
            result = _finish(job, identity, prepared, began)
            shutil.rmtree(job.folder)
    except KeyboardInterrupt:
        remove_partials(output)
        Console(stderr=True).print(
            "stopped; start the same command again to go on where it was", highlight=False
        )
        raise
    except (OSError, RuntimeError) as error:
        if not _is_full(error):
            raise
        raise UserError(
            f"{output}: the disk is full; free some and start the same command again to go on"
        ) from None
    return result


def _job(location: str, output: Path, settings: BuildSettings, tfds_dir: str | Path | None) -> Job:
    for file in settings.files:
        if not file.exists():
            raise UserError(f"{file} does not exist; give a file that does")
    source = open_source(location, tfds_dir=tfds_dir)
    if settings.metadata is not None:
        source = LabelledSource(source, Path(settings.metadata).expanduser())
    evaluations = tuple(open_source(place, tfds_dir=tfds_dir) for place in settings.leakage)
    # What does not fit is to be found before all images are read.
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


def _is_full(error: Exception) -> bool:
    """Whether the disk is; ArrayRecord's writer says so in its own words."""
    return getattr(error, "errno", None) in _FULL or any(
        os.strerror(number) in str(error) for number in _FULL
    )


def _is_listed(location: str, output: Path) -> bool:
    """Whether what is written to the output would be found when the source is looked through."""
    folders = [Path(part.strip()).expanduser().absolute() for part in location.split(SEPARATOR)]
    return any(
        folder.is_dir() and output.is_relative_to(folder) and find_metadata(folder) is None
        for folder in folders
    )


def _dry_run(job: Job, engine: str, processes: int | None) -> dict[str, Any]:
    needed = bytes_needed(job)
    # Machines of a cluster see the output's place, but not each other's temporary folders.
    shared = next(folder for folder in job.output.parents if folder.exists()) if engine == "ray" else None
    with tempfile.TemporaryDirectory(prefix=".dry-run-", dir=shared) as folder:
        job = replace(job, folder=Path(folder), dry=True)
        for name in ("prepared", "evaluation"):
            (job.folder / name).mkdir()
        began = time.monotonic()
        with closing(open_engine(engine, job, processes)) as workers:
            prepared = _prepare(job, workers)
        make_plan(job)
        return {"dry_run": True, "bytes_needed": needed, **_result(job, prepared, began)}


def _prepare(job: Job, workers: Engine) -> int:
    """Does what is not prepared yet; the number of source samples."""
    parts = [
        (number, chunk, *starts[chunk : chunk + 2].tolist())
        for number, evaluation in enumerate(job.evaluations)
        for starts in [chunk_starts(evaluation)]
        for chunk in range(len(starts) - 1)
        if not job.hashed(number, chunk).exists()
    ]
    with _bar("hashing evaluation images", sum(stop - start for *_, start, stop in parts)) as advance:
        for count in workers.map(hash_evaluation, parts):
            advance(count)
    chunks = [chunk for chunk in range(job.chunks) if not job.prepared(chunk).exists()]
    prepared = 0
    with _bar(
        "reading images", sum(int(job.starts[chunk + 1] - job.starts[chunk]) for chunk in chunks)
    ) as advance:
        for count in workers.map(prepare_chunk, chunks):
            prepared += count
            advance(count)
    return prepared


def _write(job: Job, workers: Engine) -> None:
    plan = read_plan(job)
    if not plan["samples"]:
        found = ", ".join(f"{name} {count}" for name, count in plan["counts"].items() if count)
        raise UserError(
            f"{job.output}: no sample is left to write ({found}); remove less, or mend the source"
        )
    shards = [number for number in range(plan["shards"]) if not job.shard(number).exists()]
    with _bar("writing shards", len(shards)) as advance:
        for _ in workers.map(write_shard, shards):
            advance(1)


def _finish(job: Job, identity: dict[str, Any], prepared: int, began: float) -> dict[str, Any]:
    result = _result(job, prepared, began)
    full, rest = divmod(result["samples"], job.settings.samples_per_shard)
    sizes = [job.settings.samples_per_shard] * full + [rest] * (rest > 0)
    _write_json(job.output / SIZES_FILE, {job.shard(number).name: size for number, size in enumerate(sizes)})
    write_catalogue(job)
    if job.settings.backbone is not None:
        for name in REPORT_FILES:
            with atomic_write(job.output / name) as partial:
                shutil.copyfile(job.plan / name, partial)
    remove_partials(job.output)
    # The build is finished if and only if this file is there.
    about = {"bioclip_jax": bioclip_jax.__version__, "result": result, "settings": identity}
    _write_json(job.output / BUILD_FILE, about)
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


def _finished(job: Job, identity: dict[str, Any]) -> dict[str, Any] | None:
    """The result of the same build if it is finished already; UserError if the output holds anything else."""
    output = job.output
    if output.exists() and not output.is_dir():
        raise UserError(f"{output} is a file; name a folder")
    if not output.exists() or not any(output.iterdir()):
        return None
    try:
        about = json.loads((output / BUILD_FILE).read_text())
        before, result = about["settings"], about["result"]
    except FileNotFoundError:
        if not job.folder.is_dir():
            raise UserError(f"{output} is not empty and no build; name a new folder") from None
        return None
    except (ValueError, KeyError):
        raise UserError(f"{output / BUILD_FILE} is not one of a build; name a new folder") from None
    if changes := differences(before, identity):
        raise UserError(
            f"{output} holds a finished build of other settings ({'; '.join(changes)}); name a new folder"
        )
    shutil.rmtree(job.folder, ignore_errors=True)
    return {**result, "already_built": True}


def _claim(folder: Path, identity: dict[str, Any]) -> None:
    """Notes what is built here; UserError if it is something else."""
    path = folder / _IDENTITY_FILE
    if not path.exists():
        _write_json(path, identity)
        return
    if changes := differences(json.loads(path.read_text()), identity):
        raise UserError(
            f"{folder.parent} holds a build that began with other settings ({'; '.join(changes)}); start it "
            f"as it "
            "began, or name a new folder"
        )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """While this process builds in the folder, no other may. The lock goes with the process, however that ends."""
    with (folder / _LOCK_FILE).open("w") as file:
        lock(file, f"{folder.parent}: another process is building here; wait for it")
        yield


@contextmanager
def _bar(description: str, total: int) -> Iterator[Any]:
    """A progress bar on a terminal; what it yields is called with every advance."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(show_speed=True))
    columns = (*columns, MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(description, total=total)
        yield lambda count: progress.advance(task, count)


def _write_json(path: Path, content: Any) -> None:
    with atomic_write(path) as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n")
