"""Locks between processes: one at a time writes to a file or a folder. They go with the process, however it ends."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from bioclip_jax.errors import UserError

# From file systems without flock: Lustre mounted without it (ENOSYS), NFS without its lock service (ENOLCK),
# others.
_NO_FLOCK = frozenset({errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL})
# Without flock, the holder touches its file this often, and is taken for dead after so long without.
_HEARTBEAT_SECONDS = 20.0
# NFS may show a file's times a minute late.
_SILENT_SECONDS = 100.0
_POLL_SECONDS = 0.5


def lock(file: IO, refusal: str) -> None:
    """Keep other processes from locking `file` until it is closed, however that happens.

    UserError `refusal` where another process has it. On a file system without locks, a note says so, and that
    is all.
    """
    try:
        is_locked = _flock(file)
    except BlockingIOError:
        raise UserError(refusal) from None
    if not is_locked:
        folder = os.path.dirname(os.path.abspath(file.name))
        print(
            f"note: the file system of {folder} has no file locks; keep other commands from writing there "
            f"meanwhile",
            file=sys.stderr,
        )


@contextlib.contextmanager
def locked(path: Path, refusal: str | None) -> Iterator[None]:
    """Hold the lock file `path` in the block, and remove it afterwards; the folder must exist.

    UserError `refusal`, with the process that holds it, where there is one; with None, wait until it is free
    instead. On a file system without flock, a file PATH.held with the holder's process and host takes its
    place: it is taken over from a process of this machine that is gone, and from one of another machine that
    has been silent for a while.
    """
    file = _open_locked(path, refusal)
    if file is None:
        note = f"note: the file system of {path.parent} has no file locks; {path.name}.held replaces one"
        print(note, file=sys.stderr)
        with _held(path.with_name(f"{path.name}.held"), refusal):
            yield
        return
    with file:
        file.truncate(0)
        file.write(json.dumps(_this_process()).encode())
        file.flush()
        try:
            yield
        finally:
            # Before it is unlocked; who opens it now finds out that it has no name any more.
            with contextlib.suppress(OSError):
                path.unlink()


def _flock(file: IO, *, wait: bool = False) -> bool:
    """Lock the file; False where that is not possible. BlockingIOError if another process has it, and `wait` is off."""
    try:
        import fcntl
    except ImportError:  # Windows
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno not in _NO_FLOCK:
            raise
        return False
    return True


def _open_locked(path: Path, refusal: str | None) -> IO | None:
    """The lock file, open and locked, or None where files cannot be locked."""
    while True:
        file = open(path, "a+b")
        try:
            if not _flock(file, wait=refusal is None):
                file.close()
                # What holds a process was written where files can be locked, by a machine that mounts them
                # otherwise.
                if not _read(path):
                    path.unlink(missing_ok=True)
                return None
            # The process that had it may have removed it meanwhile.
            if _is_named(file, path):
                return file
        except BlockingIOError:
            file.close()
            raise UserError(_with_holder(refusal, _read(path))) from None
        except BaseException:
            file.close()
            raise
        file.close()


def _is_named(file: IO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def _held(path: Path, refusal: str | None) -> Iterator[None]:
    """Hold `path` by having made it, and touch it now and then."""
    me, waited_for = _this_process(), None
    while not _make(path, me):
        holder = _read(path)
        if not _is_alive(path, holder, tell=holder != waited_for):
            _remove(path, holder)
        elif refusal is not None:
            raise UserError(_with_holder(refusal, holder))
        else:
            time.sleep(_POLL_SECONDS)
        waited_for = holder
    over = threading.Event()

    def beat() -> None:
        while not over.wait(_HEARTBEAT_SECONDS):
            with contextlib.suppress(OSError):
                os.utime(path)

    threading.Thread(target=beat, daemon=True).start()
    try:
        yield
    finally:
        over.set()
        if _read(path) == me:
            path.unlink(missing_ok=True)


def _make(path: Path, process: dict[str, Any]) -> bool:
    """Make the file, if no other process has; whole at once, since others read it."""
    whole = path.with_name(f"{path.name}-{process['token']}")
    whole.write_text(json.dumps(process))
    try:
        try:
            os.link(whole, path)
        except FileExistsError:
            return False
        except OSError:  # a file system without hard links
            with open(path, "x") as file:
                file.write(json.dumps(process))
    except FileExistsError:
        return False
    finally:
        whole.unlink(missing_ok=True)
    return True


def _remove(path: Path, holder: dict[str, Any] | None) -> None:
    """Remove a dead process's file, but not the one that another newcomer has just made in its place."""
    aside = path.with_name(f"{path.name}-{uuid.uuid4().hex}")
    with contextlib.suppress(FileNotFoundError):
        os.rename(path, aside)
        if _read(aside) != holder:
            with contextlib.suppress(FileExistsError):
                os.link(aside, path)
        aside.unlink()


def _is_alive(path: Path, holder: dict[str, Any] | None, *, tell: bool) -> bool:
    """True for a holder that lives. One of another machine is watched for some time, which `tell` reports."""
    if holder is None:
        # It was removed since, or it is damaged; whichever it is, the next attempt shows.
        return False
    me = _this_process()
    if all(holder.get(key) == me[key] for key in ("boot", "namespace")) and me["boot"]:
        return _started(holder.get("pid")) == holder.get("started")
    if tell:
        print(f"waiting to see whether {_named(holder)} is still running", file=sys.stderr)
    last, end = _touched(path), time.monotonic() + _SILENT_SECONDS
    while last is not None and time.monotonic() < end:
        time.sleep(_POLL_SECONDS)
        if (now := _touched(path)) != last:
            return now is not None
    return False


def _touched(path: Path) -> int | None:
    """When the file was touched last; None if it is gone."""
    try:
        # Opened, because NFS answers from what it remembers otherwise.
        with open(path, "rb") as file:
            return os.fstat(file.fileno()).st_mtime_ns
    except FileNotFoundError:
        return None


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _with_holder(refusal: str, holder: dict[str, Any] | None) -> str:
    return f"{refusal} ({_named(holder)} has it)" if holder else refusal


def _named(holder: dict[str, Any]) -> str:
    return f"process {holder.get('pid')} on {holder.get('host')}"


def _this_process() -> dict[str, Any]:
    """This process as others know it. boot and namespace tell machines and containers apart."""
    pid = os.getpid()
    return {
        "host": socket.gethostname(),
        "pid": pid,
        "started": _started(pid),
        "boot": _text("/proc/sys/kernel/random/boot_id"),
        "namespace": _link("/proc/self/ns/pid"),
        "token": _TOKEN,
    }


# Process numbers come again after a restart of a container, and so may the moment of the start.
_TOKEN = uuid.uuid4().hex


def _started(pid: Any) -> str | None:
    """The moment of a process's start, in ticks since the machine's; None if it is not running."""
    # The program's name, in brackets, may hold blanks and brackets.
    fields = _text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    # A killed process whose parent has not asked for its status is a zombie.
    return fields[19] if fields and fields[0] not in "ZX" else None


def _text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
