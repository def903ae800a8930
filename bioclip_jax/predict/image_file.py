"""One image among INPUTS: a file, a page, a frame, a tar's member, or a part of one of these."""

from __future__ import annotations

import io
import os
import re
from dataclasses import dataclass, field
from typing import BinaryIO

from PIL import Image

from bioclip_jax.pipeline.images import (
    FrameReader,
    OnTruncated,
    ReadOptions,
    VideoFile,
    open_part,
    read_image,
    read_page,
    video_frame,
)

from .crop import Box

# The fragment of a page or, as in W3C's media fragments, of a time in seconds.
_FRAGMENT = re.compile(r"(?P<path>.+)#(?:page=(?P<page>[1-9]\d*)|t=(?P<time>\d+(?:\.\d+)?))", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One image: a file, `size` bytes at `offset` of a tar, or the content of a pipe.

    name: its name in results, the path as given; of a tar member TAR/MEMBER. box: the part of the upright
    image that is meant; None is all of it. frame: an int is a page of a TIFF, from 1 (named
    scan.tif#page=3), a float the time in a video in seconds after its first picture (clip.mp4#t=12).
    """

    name: str
    path: str
    offset: int = 0
    size: int | None = None
    content: bytes | None = field(default=None, repr=False)
    box: Box | None = None
    frame: int | float | None = None

    @property
    def source_name(self) -> str:
        """The name of the file that a page or frame is in; else the image's own."""
        match = None if self.frame is None else _FRAGMENT.fullmatch(self.name)
        return match["path"] if match else self.name

    def read(self) -> bytes:
        """Return the encoded file, with all of its pages. Raises OSError if it is unreadable."""
        if self.content is not None:
            return self.content
        with open(self.path, "rb") as file:
            if self.offset:  # a pipe, which a table may list, cannot seek
                file.seek(self.offset)
            return file.read(-1 if self.size is None else self.size)

    def open(self) -> BinaryIO:
        """Open the encoded file for reading in parts. Raises OSError if it is unreadable."""
        if self.content is not None:
            return io.BytesIO(self.content)
        return open_part(self.path, self.offset, self.size)

    @property
    def video(self) -> VideoFile:
        """The file as a video."""
        return VideoFile(self.path, self.offset, self.size)


def image_file(name: str, path: str | None = None, box: Box | None = None) -> ImageFile:
    """Return the image of a name; PATH#page=3 and PATH#t=12 without a file of that name are page and frame.

    path: where it is, if that is not the name.
    """
    path = name if path is None else path
    match = _FRAGMENT.fullmatch(path)
    if match is None or os.path.lexists(path):
        # Share one string between name and path, since a table may list millions.
        return ImageFile(name, name if path == name else path, box=box)
    frame = int(match["page"]) if match["page"] else float(match["time"])
    return ImageFile(name, match["path"], box=box, frame=frame)


def frame_name(name: str, frame: int | float) -> str:
    """Return the name of a page or frame of the file `name`."""
    if isinstance(frame, int):
        return f"{name}#page={frame}"
    return f"{name}#t={f'{frame:.3f}'.rstrip('0').rstrip('.')}"


def read_upright(
    image: ImageFile,
    read: ReadOptions,
    on_truncated: OnTruncated | None = None,
    frames: FrameReader | None = None,
) -> Image.Image:
    """Decode an image, page or frame to RGB, upright unless read.exif is "ignore"; its box is not cut out.

    frames: decodes frames of a video in one pass. Raises BadImage as read_image, or OSError.
    """
    if image.frame is None:
        return read_image(image.read(), read, on_truncated)
    if isinstance(image.frame, int):
        with image.open() as file:
            return read_page(file, image.frame, read)
    return Image.fromarray((frames or video_frame)(image.video, image.frame, read))
