"""Builds killed at any time resume to identical bytes and leave no processes behind."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from build_inputs import contents, jpeg, make_folder, photograph, row, taxon, write_rows

from bioclip_jax.curate.build import BuildSettings, build_shards

SCRIPT = Path(__file__).with_name("build_process.py")
COUNT, PER_SHARD = 420, 40
# Seconds; generous for a busy machine.
PATIENCE = 120


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """420 photographs: three of them copies, one truncated, one missing, one listed twice."""
    folder = make_folder(tmp_path_factory.mktemp("source") / "photos", COUNT - 3)
    (folder / "cut.jpg").write_bytes(jpeg(photograph(1))[:700])
    for number in (10, 20, 30):
        (folder / f"photo-{number:03d}.jpg").write_bytes((folder / "photo-005.jpg").read_bytes())
    rows = [row(f"photo-{number:03d}.jpg", taxon(number)) for number in range(COUNT - 3)]
    extra = [row("cut.jpg", taxon(1)), row("gone.jpg", taxon(2)), row("photo-007.jpg", taxon(7))]
    write_rows(folder / "metadata.csv", rows[:200] + extra + rows[200:])
    return folder


@pytest.fixture(scope="module")
def undisturbed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Output of an uninterrupted build."""
    output = tmp_path_factory.mktemp("undisturbed") / "shards"
    settings = BuildSettings(samples_per_shard=PER_SHARD, dedup="exact")
    result = build_shards(source, output, settings, processes=0)
    assert result["counts"] == {
        "duplicate_key": 1,
        "exact_duplicate": 3,
        "kept": COUNT - 6,
        "no_image": 1,
        "truncated": 1,
    }
    return contents(output)


def start(source: Path, output: Path, processes: int = 2) -> subprocess.Popen:
    command = [sys.executable, str(SCRIPT), str(source), str(output), str(processes), str(PER_SHARD)]
    return subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for(process: subprocess.Popen, condition: Callable[[], bool]) -> bool:
    """Wait until the condition holds; False if the process ended before."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "the build made no progress"
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.01)
            return False
    return True


def progress(output: Path) -> int:
    """Score a build's progress by its files."""
    names = [path.name for path in output.glob("**/*")]
    if "build.json" in names:
        return 1000
    if any(name.startswith("catalogue.parquet") for name in names):
        return 900
    if any(name.startswith("sizes.json") for name in names):
        return 800
    if "plan" in names:
        return 100 + sum(10 if name.endswith(".tar") else name.startswith("shard-") for name in names)
    spools = sum(".spool" in name for name in names)
    return spools + 10 * sum(name.endswith(".parquet") for name in names)


def began(output: Path) -> int:
    """Time at which the last process locked the folder."""
    lock = output / ".build" / "lock"
    return lock.stat().st_mtime_ns if lock.exists() else 0


def test_ten_kills_leave_identical_bytes(source, undisturbed, tmp_path):
    output, reached = tmp_path / "shards", []
    for target in (0, 1, 11, 12, 22, 43, 100, 101, 110, 131, 160):
        before = began(output)

        def has_reached(target: int = target, before: int = before) -> bool:
            return began(output) > before and progress(output) >= target

        process = start(source, output, processes=2 if target in (12, 110) else 0)
        if wait_for(process, has_reached):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        if process.returncode != -signal.SIGKILL:
            break
        reached.append(progress(output))
    assert len(reached) >= 10, f"only {len(reached)} kills came in time, at {reached}"
    assert reached[0] < 100 <= reached[-1] and any(0 < each < 70 for each in reached), reached
    process = start(source, output)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    after = contents(output)
    assert sorted(after) == sorted(undisturbed), f"after kills at {reached}"
    different = [name for name in undisturbed if after[name] != undisturbed[name]]
    assert not different, f"{different} differ after kills at {reached}"


def children(process: subprocess.Popen) -> list[int]:
    """Process ids of the build's workers."""
    try:
        pids = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        commands = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids}
    except FileNotFoundError:
        return []
    return [pid for pid, command in commands.items() if b"spawn_main" in command]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_lost_worker_is_reported_and_the_build_resumes(source, undisturbed, tmp_path):
    output = tmp_path / "shards"
    process = start(source, output)
    assert wait_for(process, lambda: len(children(process)) == 2 and progress(output) >= 1)
    os.kill(children(process)[0], signal.SIGKILL)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2 and "a worker process died" in errors and "run the same command" in errors
    settings = BuildSettings(samples_per_shard=PER_SHARD, dedup="exact")
    build_shards(source, output, settings, processes=0)
    assert contents(output) == undisturbed


def interrupt(source: Path, output: Path) -> tuple[int, str]:
    """Send SIGINT to a build that has begun; return its status and standard error."""
    process = start(source, output)
    if wait_for(process, lambda: len(children(process)) == 2 and progress(output) >= 2):
        os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE)
    return process.returncode, errors


def test_workers_end_with_their_parent_and_ctrl_c_prints_how_to_resume(source, tmp_path):
    output = tmp_path / "shards"
    process = start(source, output)
    assert wait_for(process, lambda: len(children(process)) == 2 and progress(output) >= 1)
    workers = children(process)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + PATIENCE
    while any(is_running(pid) for pid in workers):
        assert time.monotonic() < deadline, f"workers {workers} outlive their parent"
    status, errors = interrupt(source, output)
    while status == 0:
        # On a busy machine a build can finish before the signal.
        shutil.rmtree(output)
        status, errors = interrupt(source, output)
    assert status == 130 and "run the same command again" in errors, errors
    assert "Traceback" not in errors
    assert not [path for path in output.rglob("*.partial-*")]
