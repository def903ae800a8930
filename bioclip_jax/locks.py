"""Inter-process locks on files and folders, released when the holder ends, even by SIGKILL.

Unlike filelock's FileLock, they fall back to a marker file on any file system without flock, take that over
from a dead machine, and name the holder in errors.
"""

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

# Errors of file systems without flock: Lustre mounted without it (ENOSYS), NFS without its lock service
# (ENOLCK), and others.
_NO_FLOCK = frozenset({errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL})
# Without flock, the holder touches its file at this interval, and is presumed dead after _SILENT_SECONDS.
_HEARTBEAT_SECONDS = 20.0
# Allows for NFS, which may show a file's times a minute late.
_SILENT_SECONDS = 100.0
_POLL_SECONDS = 0.5


def lock(file: IO, refusal: str) -> None:
    """Lock an open file until it is closed.

    Raises UserError with the text `refusal` if another process holds it. On a file system without locks, only
    prints a note.
    """
    try:
        is_locked = _flock(file)
    except BlockingIOError:
        raise UserError(refusal) from None
    if not is_locked:
        folder = os.path.dirname(os.path.abspath(file.name))
        print(
            f"note: the file system of {folder} has no file locks; "
            "keep other commands from writing there meanwhile",
            file=sys.stderr,
        )


@contextlib.contextmanager
def locked(path: Path, refusal: str | None) -> Iterator[None]:
    """Hold the lock file `path` during the block, and delete it afterwards. Its folder must exist.

    If another process holds it, raises UserError with the text `refusal` and the holder; with None, waits. On
    a file system without flock, a file PATH.held with the holder's process and host replaces the lock. It is
    taken over from a dead process at once on this machine, and after missed heartbeats on another.
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
            # Deleted while still locked: a process that opened it meanwhile then sees that it has no name.
            with contextlib.suppress(OSError):
                path.unlink()


def _flock(file: IO, *, wait: bool = False) -> bool:
    """Lock the file; False if it cannot be locked. Raises BlockingIOError if it is held, unless `wait`."""
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
    """Open and lock the lock file; None if files cannot be locked."""
    while True:
        file = open(path, "a+b")
        try:
            if not _flock(file, wait=refusal is None):
                file.close()
                # A file with a holder was written by a machine whose mount has locks.
                if not _read(path):
                    path.unlink(missing_ok=True)
                return None
            # Its last holder may have deleted it meanwhile.
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
    """Hold the marker file `path`, and touch it as a heartbeat."""
    me, previous = _this_process(), None
    while not _create(path, me):
        holder = _read(path)
        if not _is_alive(path, holder, report=holder != previous):
            _remove(path, holder)
        elif refusal is not None:
            raise UserError(_with_holder(refusal, holder))
        else:
            time.sleep(_POLL_SECONDS)
        previous = holder
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(_HEARTBEAT_SECONDS):
            with contextlib.suppress(OSError):
                os.utime(path)

    threading.Thread(target=beat, daemon=True).start()
    try:
        yield
    finally:
        stop.set()
        if _read(path) == me:
            path.unlink(missing_ok=True)


def _create(path: Path, process: dict[str, Any]) -> bool:
    """Create the marker file with its content at once; False if it exists."""
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
    """Delete a dead process's marker file, but not that of a process that has just taken over."""
    aside = path.with_name(f"{path.name}-{uuid.uuid4().hex}")
    with contextlib.suppress(FileNotFoundError):
        os.rename(path, aside)
        if _read(aside) != holder:
            with contextlib.suppress(FileExistsError):
                os.link(aside, path)
        aside.unlink()


def _is_alive(path: Path, holder: dict[str, Any] | None, *, report: bool) -> bool:
    """True if the holder is running. Waits for another machine's heartbeat, with a message if `report`."""
    if holder is None:  # deleted meanwhile, or damaged
        return False
    me = _this_process()
    if all(holder.get(key) == me[key] for key in ("boot", "namespace")) and me["boot"]:
        return _started(holder.get("pid")) == holder.get("started")
    if report:
        print(f"waiting for a heartbeat of {_named(holder)}", file=sys.stderr)
    last, end = _touched(path), time.monotonic() + _SILENT_SECONDS
    while last is not None and time.monotonic() < end:
        time.sleep(_POLL_SECONDS)
        if (now := _touched(path)) != last:
            return now is not None
    return False


def _touched(path: Path) -> int | None:
    """Modification time of the file; None if it does not exist."""
    try:
        # Opening revalidates NFS's cache of attributes.
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
    return f"{refusal} (held by {_named(holder)})" if holder else refusal


def _named(holder: dict[str, Any]) -> str:
    return f"process {holder.get('pid')} on {holder.get('host')}"


def _this_process() -> dict[str, Any]:
    """Identity of this process; boot and namespace distinguish machines and containers."""
    pid = os.getpid()
    return {
        "host": socket.gethostname(),
        "pid": pid,
        "started": _started(pid),
        "boot": _text("/proc/sys/kernel/random/boot_id"),
        "namespace": _link("/proc/self/ns/pid"),
        "token": _TOKEN,
    }


# A restarted container may reuse process numbers and even start times.
_TOKEN = uuid.uuid4().hex


def _started(pid: Any) -> str | None:
    """Start time of a process in ticks since boot; None if it is not running."""
    # The program's name, in parentheses, may contain blanks and parentheses.
    fields = _text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    # A killed process that its parent has not waited for is a zombie.
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
