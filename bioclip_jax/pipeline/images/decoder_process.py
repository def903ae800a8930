"""HEIC, camera raw and video, decoded in processes of their own.

The libraries for these formats parse in C++ what cameras, and strangers, wrote. A file that makes one crash,
hang or ask for all memory ends its process: the image is then unreadable, and everything else goes on.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8

from bioclip_jax.file_kinds import has_extra

from .bad_image import BadImage
from .decoder_worker import receive, send
from .formats import Kind, MissingLibrary
from .read_options import ReadOptions

Pixels = UInt8[np.ndarray, "height width 3"]

# Most processes at a time.
_MOST_WORKERS = min(8, os.cpu_count() or 1)
# Seconds after which a decoder is taken to hang. Going on in a video may mean reading gigabytes.
_PATIENCE = {"heic": 60, "raw": 120, "video": 600}
# A worker ends after this number of requests, so that memory which a library loses does not add up.
_MOST_REQUESTS = 2000


@dataclass(frozen=True)
class VideoFile:
    """`size` bytes at `offset` of a file, a video; None is the whole file."""

    path: str
    offset: int = 0
    size: int | None = None


@dataclass(frozen=True)
class VideoAbout:
    """Time of the last picture in seconds after the first, and the stated time of recording in ISO 8601."""

    last: float
    created: str | None


def decode_foreign(data: bytes, kind: Kind, read: ReadOptions) -> Pixels:
    """Decode HEIC or camera raw to RGB pixels, upright unless read.exif is "ignore".

    The rotation in a HEIC's container always applies. Raises BadImage as open_image.
    """
    if kind == "video":
        raise BadImage("not_an_image", "it is a video, whose frames are read with --every SECONDS")
    return _as_pixels(_ask(kind, {"task": "pixels", **_reading(read)}, data))


def foreign_size(data: bytes, kind: Kind, read: ReadOptions) -> tuple[int, int]:
    """Width and height of a HEIC or raw image, upright."""
    width, height = _ask(kind, {"task": "size", **_reading(read)}, data)[0]["size"]
    return width, height


def foreign_exif(data: bytes, kind: Kind) -> bytes | None:
    """EXIF data of a HEIC or raw image as a small TIFF, None without."""
    header, content = _ask(kind, {"task": "exif", **_reading(ReadOptions())}, data)
    return content if header["exif"] else None


def video_about(file: VideoFile, read: ReadOptions) -> VideoAbout:
    """Length and time of recording of a video. Raises BadImage if it is none, OSError if unreadable."""
    header, _ = _ask("video", {"task": "about", **_video(file), **_reading(read)})
    return VideoAbout(header["last"], header["created"])


def video_frame(file: VideoFile, time: float, read: ReadOptions) -> Pixels:
    """Decode the picture shown `time` seconds after the first. Raises BadImage, or OSError."""
    return _as_pixels(_ask("video", _frame(file, time, read)))


class FrameReader:
    """video_frame, with frames of one video that are asked for in order of time decoded in one pass.

    Use from one thread at a time, and close at the end.
    """

    def __init__(self) -> None:
        self._worker: _Worker | None = None

    def __call__(self, file: VideoFile, time: float, read: ReadOptions) -> Pixels:
        """Decode a picture, as video_frame."""
        if not has_extra("video"):
            raise MissingLibrary("video")
        if self._worker is None:
            self._worker = _new_worker()
        return _as_pixels(self._worker.ask("video", _frame(file, time, read)))

    def close(self) -> None:
        """End the process."""
        if self._worker is not None:
            self._worker.stop()
            with _lock:
                _busy.discard(self._worker)
        self._worker = None


def _reading(read: ReadOptions) -> dict[str, Any]:
    return {"max_pixels": read.max_pixels, "upright": read.exif == "apply"}


def _video(file: VideoFile) -> dict[str, Any]:
    status = os.stat(file.path)
    state = [status.st_size, status.st_mtime_ns]
    return {"path": os.path.abspath(file.path), "offset": file.offset, "size": file.size, "state": state}


def _frame(file: VideoFile, time: float, read: ReadOptions) -> dict[str, Any]:
    return {"task": "pixels", "time": time, **_video(file), **_reading(read)}


def _as_pixels(reply: tuple[dict[str, Any], bytes]) -> Pixels:
    header, content = reply
    return np.frombuffer(content, np.uint8).reshape(header["shape"])


def _ask(kind: Kind, request: dict[str, Any], data: bytes = b"") -> tuple[dict[str, Any], bytes]:
    worker = _take(kind)
    try:
        return worker.ask(kind, request, data)
    finally:
        _give_back(worker)


class _Worker:
    """One decoder process, started at the first request and after a crash."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._requests = 0

    def ask(self, kind: Kind, request: dict[str, Any], data: bytes = b"") -> tuple[dict[str, Any], bytes]:
        """Send a request and return the reply. Raises BadImage, or OSError for an unreadable file."""
        if self._process is None or self._process.poll() is not None:
            self._start()
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        self._requests += 1
        try:
            with contextlib.suppress(BrokenPipeError):
                send(process.stdin, {"kind": kind, **request}, data)
            # The first byte of the reply tells that the work is done; the rest follows at once.
            if not select.select([process.stdout], [], [], _PATIENCE[kind])[0]:
                raise BadImage("unreadable", f"its decoder has not ended after {_PATIENCE[kind]} seconds")
            header, payload = receive(process.stdout)
        except EOFError:
            self.stop()
            raise BadImage("truncated", "damaged: its decoder crashed") from None
        except BaseException:
            # A reply that nobody reads would be taken for the next request's.
            self.stop()
            raise
        if "message" in header:
            if header["cause"] is None:
                raise OSError(header["errno"], header["message"])
            raise BadImage(header["cause"], header["message"])
        return header, payload

    @property
    def worn(self) -> bool:
        return self._requests >= _MOST_REQUESTS

    def stop(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):
                    pipe.close()
            process.wait()

    def forget(self) -> None:
        """Leave the process to the parent that started it."""
        self._process = None

    def _start(self) -> None:
        self._requests = 0
        module = "bioclip_jax.pipeline.images.decoder_worker"
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # the libraries' own log
            env=environment,
        )


_idle: list[_Worker] = []
_busy: set[_Worker] = set()
_lock = threading.Lock()
_slots = threading.BoundedSemaphore(_MOST_WORKERS)


def _take(kind: Kind) -> _Worker:
    if not has_extra(kind):
        raise MissingLibrary(kind)
    _slots.acquire()
    return _new_worker()


def _new_worker() -> _Worker:
    with _lock:
        worker = _idle.pop() if _idle else _Worker()
        _busy.add(worker)
    return worker


def _give_back(worker: _Worker) -> None:
    if worker.worn:
        worker.stop()
    with _lock:
        _busy.discard(worker)
        _idle.append(worker)
    _slots.release()


@atexit.register
def _stop_all() -> None:
    with _lock:
        workers = [*_idle, *_busy]
        _idle.clear()
    for worker in workers:
        worker.stop()


def _after_fork() -> None:
    """Start afresh in a forked child, whose pipes would be shared with the parent."""
    global _lock, _slots
    for worker in (*_idle, *_busy):
        worker.forget()
    _idle.clear()
    _busy.clear()
    _lock, _slots = threading.Lock(), threading.BoundedSemaphore(_MOST_WORKERS)


os.register_at_fork(after_in_child=_after_fork)
