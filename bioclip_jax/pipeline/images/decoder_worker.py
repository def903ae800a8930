"""The process that runs libheif, LibRaw and FFmpeg: requests on standard input, replies on standard output.

A message is the length of a JSON header, the header, and as many bytes as its `length` says.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import struct
import sys
from typing import Any, BinaryIO

import numpy as np

from .bad_image import BadImage
from .file_part import open_part

LENGTH = struct.Struct(">I")
# Address space beyond the pixels' own: the libraries, and the stacks of their threads.
_OWN_MEMORY = 3 << 30
# Bytes per pixel of the largest intermediate images, those of LibRaw: 16 bits in four channels, twice.
_BYTES_PER_PIXEL = 24


def send(file: BinaryIO, header: dict[str, Any], payload: Any = b"") -> None:
    """Write a message."""
    payload = memoryview(payload).cast("B")
    text = json.dumps(header | {"length": len(payload)}).encode()
    file.write(LENGTH.pack(len(text)) + text)
    file.write(payload)
    file.flush()


def receive(file: BinaryIO) -> tuple[dict[str, Any], bytes]:
    """Read a message. Raises EOFError if the other side is gone."""
    header = json.loads(_exactly(file, LENGTH.unpack(_exactly(file, LENGTH.size))[0]))
    return header, _exactly(file, header["length"])


def _exactly(file: BinaryIO, size: int) -> bytes:
    content = file.read(size)
    if len(content) < size:
        raise EOFError
    return content


class Requests:
    """Handlers of requests; the last video stays open, so that its next frame is only decoded further."""

    def __init__(self) -> None:
        self._video: Any = None
        self._video_key: Any = None

    def handle(self, request: dict[str, Any], data: bytes) -> tuple[dict[str, Any], Any]:
        """Answer one request. Raises any exception about a bad file."""
        _limit_memory(request["max_pixels"])
        if request["kind"] == "video":
            return self._handle_video(request)
        # heic or raw
        library = importlib.import_module(f".{request['kind']}", __package__)
        if request["task"] == "size":
            return {"size": library.size(data)}, b""
        if request["task"] == "exif":
            exif = library.exif(data)
            return {"exif": exif is not None}, exif or b""
        return _pixels(library.decode(data, request["max_pixels"], request["upright"]))

    def _handle_video(self, request: dict[str, Any]) -> tuple[dict[str, Any], Any]:
        key = [request[name] for name in ("path", "offset", "size", "state", "max_pixels", "upright")]
        if self._video_key != key or request["task"] == "about" or self._video.is_past(request["time"]):
            self._close_video()
            from .video import Video

            file = open_part(request["path"], request["offset"], request["size"])
            self._video, self._video_key = Video(file, request["max_pixels"], request["upright"]), key
        if request["task"] == "about":
            about = {"last": self._video.last_time(), "created": self._video.created}
            self._close_video()
            return about, b""
        return _pixels(self._video.at(request["time"]))

    def _close_video(self) -> None:
        if self._video is not None:
            self._video.close()
        self._video = self._video_key = None


def _pixels(pixels: np.ndarray) -> tuple[dict[str, Any], Any]:
    return {"shape": pixels.shape}, np.ascontiguousarray(pixels)


def _limit_memory(max_pixels: int) -> None:
    """Let a file that asks for absurd memory fail alone, instead of the machine."""
    import resource

    limit = _OWN_MEMORY + _BYTES_PER_PIXEL * max_pixels
    with contextlib.suppress(ValueError, OSError):  # systems that have no such limit
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        if hard == resource.RLIM_INFINITY or limit <= hard:
            resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def main() -> None:
    """Answer requests until standard input is closed."""
    # Ctrl-C is the parent's, which closes the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Libraries may write to standard output, so replies have a descriptor of their own.
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    requests = Requests()
    while True:
        try:
            request, data = receive(sys.stdin.buffer)
        except EOFError:
            return
        try:
            header, payload = requests.handle(request, data)
        except MemoryError:
            header, payload = {"cause": "too_large", "message": "it needs too much memory"}, b""
        except BadImage as error:
            header, payload = {"cause": error.cause, "message": str(error)}, b""
        except OSError as error:
            header = {"cause": None, "message": error.strerror or str(error), "errno": error.errno}
            payload = b""
        except Exception as error:  # the libraries raise errors of any type
            message = str(error).strip().partition("\n")[0] or type(error).__name__
            header, payload = {"cause": "truncated", "message": f"damaged: {message}"}, b""
        try:
            send(replies, header, payload)
        except BrokenPipeError:
            os._exit(0)


if __name__ == "__main__":
    main()
