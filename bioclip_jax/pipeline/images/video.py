"""Frames of a video by FFmpeg (PyAV), in the decoder's process.

A frame is named by its time in seconds after the first; at a time between two frames, the earlier one is
shown, as a player does, so variable frame rates need no care. Videos are read once from front to back, and
groups of pictures without a requested frame are not decoded.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import UInt8

from .bad_image import BadImage
from .formats import HEAD, video_format

Pixels = UInt8[np.ndarray, "height width 3"]

# Bytes of packets that wait for the start of the next group of pictures before they are decoded after all.
_MOST_WAITING = 64 << 20
# Slack in seconds when times are compared: below the distance of frames at 1,000 per second.
_SLACK = 0.0005
# From this height on, players take colors without a label as BT.709.
_HD_HEIGHT = 720
# FFmpeg's AVCOL_SPC_UNSPECIFIED.
_UNSPECIFIED = 2
# Tags of the time of recording; Apple's has the local time zone.
_CREATED = ("com.apple.quicktime.creationdate", "creation_time", "DATE", "date")


class Video:
    """The first video stream of a file, read from front to back. upright: turn it by the file's rotation.

    Raises BadImage if there is none, or if its pictures have more than `max_pixels`.
    """

    def __init__(self, file: BinaryIO, max_pixels: int, upright: bool = True):
        import av

        container = video_format(file.read(HEAD))
        file.seek(0)
        if container is None:
            raise BadImage("not_an_image", "it is not a video of a known format")
        self._errors = (av.FFmpegError, ValueError)
        self._max_pixels, self._upright = max_pixels, upright
        try:
            self._container = av.open(file, format=container, metadata_errors="replace")
        except self._errors as error:
            raise BadImage("truncated", f"damaged video: {_text(error)}") from None
        # Covers of films are streams of one picture.
        cover = av.stream.Disposition.attached_pic
        streams = [stream for stream in self._container.streams.video if not stream.disposition & cover]
        if not streams:
            raise BadImage("not_an_image", "it holds no video")
        self._stream = stream = streams[0]
        if stream.time_base is None or stream.codec_context is None:
            raise BadImage("not_an_image", "its codec is unknown")
        stream.thread_type = "AUTO"
        stream.codec_context.options = {"max_pixels": str(max_pixels)}
        self._check_size(stream.codec_context.width, stream.codec_context.height)
        self._start = (stream.start_time or 0) * stream.time_base
        self._packets = self._demux()
        self._waiting: deque[Any] = deque()
        self._frames: deque[Any] = deque()
        self._current: Any = None
        self._flushed = False
        self._shown: tuple[Any, Pixels] | None = None
        self._fed = False

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    @property
    def created(self) -> str | None:
        """The time of recording as the file states it, in ISO 8601."""
        tags = {**self._stream.metadata, **self._container.metadata}
        return next((tags[name] for name in _CREATED if tags.get(name)), None)

    def last_time(self) -> float:
        """Time of the last picture, from its packet and not from the header; the video is then at its end."""
        last = None
        if self._container.duration is not None:
            # Lands on the last group of pictures, however late the header says that the end is.
            with contextlib.suppress(*self._errors):
                self._container.seek((self._container.start_time or 0) + self._container.duration)
                last = max(map(self._time, self._demux()), default=None)
        if last is None:
            with contextlib.suppress(*self._errors):
                self._container.seek(self._container.start_time or 0)
            last = max(map(self._time, self._demux()), default=None)
        if last is None:
            raise BadImage("truncated", "damaged video: it holds no picture")
        return max(0.0, last)

    def at(self, time: float) -> Pixels:
        """Decode the picture shown at `time`, which must not be before that of an earlier call.

        Raises BadImage if no picture up to that time can be decoded.
        """
        while (following := self._following(time)) is not None:
            if self._current is not None and self._time(following) > time + _SLACK:
                break
            self._current = self._frames.popleft()
        if self._current is None:
            raise BadImage("truncated", "damaged video: no picture can be decoded")
        if self._shown is None or self._shown[0] is not self._current:
            self._shown = self._current, self._pixels(self._current)
        return self._shown[1]

    def is_past(self, time: float) -> bool:
        """True if the video has gone on beyond the picture shown at `time`."""
        return self._current is not None and self._time(self._current) > time + _SLACK

    def _demux(self) -> Iterator[Any]:
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except self._errors:
                return  # the rest of a damaged file
            if packet.size and (packet.pts is not None or packet.dts is not None):
                yield packet

    def _time(self, item: Any) -> float:
        stamp = item.pts if item.pts is not None else item.dts
        return 0.0 if stamp is None else float(stamp * self._stream.time_base - self._start)

    def _following(self, time: float) -> Any:
        """The next decoded frame, None at the end. Frames of groups that end before `time` are skipped."""
        while not self._frames:
            self._fill(time)
            if self._waiting:
                self._decode(self._waiting.popleft())
            elif not self._flushed:
                self._flushed = True
                self._decode(None)
            else:
                return None
        return self._frames[0]

    def _fill(self, time: float) -> None:
        """Read packets until all of those up to `time` are read; drop those before its key frame."""
        size = sum(packet.size for packet in self._waiting)
        while size < _MOST_WAITING:
            last = self._waiting[-1] if self._waiting else None
            if last is not None and (last.dts is None or self._dts(last) > time + _SLACK):
                return
            if (packet := next(self._packets, None)) is None:
                return
            if packet.is_keyframe and self._time(packet) <= time + _SLACK:
                # Nothing before this picture is needed any more.
                if self._fed:
                    self._stream.codec_context.flush_buffers()
                    self._fed = False
                self._frames.clear()
                self._waiting.clear()
                size = 0
            self._waiting.append(packet)
            size += packet.size

    def _dts(self, packet: Any) -> float:
        return float(packet.dts * self._stream.time_base - self._start)

    def _decode(self, packet: Any) -> None:
        self._fed = True
        with contextlib.suppress(*self._errors):  # a damaged picture: the one before stays
            self._frames.extend(self._stream.codec_context.decode(packet))

    def _check_size(self, width: int, height: int) -> None:
        if width * height > self._max_pixels:
            raise BadImage("too_large", f"{width} x {height} pixels are more than {self._max_pixels:,}")

    def _pixels(self, frame: Any) -> Pixels:
        """RGB pixels in their shape on the screen."""
        self._check_size(frame.width, frame.height)
        ratio = self._stream.sample_aspect_ratio
        width = frame.width
        if ratio and 0.1 < ratio < 10:
            width = max(1, round(width * ratio))
            self._check_size(width, frame.height)
        unlabeled = frame.colorspace == _UNSPECIFIED and frame.height >= _HD_HEIGHT
        shape = {"format": "rgb24", "width": width, "height": frame.height}
        pixels = frame.to_ndarray(**shape, src_colorspace="ITU709" if unlabeled else None)
        turns = round(frame.rotation / 90) % 4 if self._upright else 0
        return np.ascontiguousarray(np.rot90(pixels, turns))


def _text(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
