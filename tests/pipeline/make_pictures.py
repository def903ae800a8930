"""Write pictures of the formats that Pillow does not: HEIC, DNG, videos, TIFFs with several pages."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Sequence
from fractions import Fraction

import numpy as np
from PIL import Image

ORIENTATION = 0x0112
DATE_TIME_ORIGINAL = 0x9003

# The left half and the right half of `halves`, bright enough to survive any codec.
RED, BLUE = (230, 30, 30), (20, 40, 220)
# Sixteen-bit samples per 8-bit value, below LibRaw's automatic brightening.
_SCALE = 200


def halves(width: int = 64, height: int = 48) -> Image.Image:
    """A picture that is red on the left and blue on the right."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (width // 2, 0, width, height))
    return image


def heic(image: Image.Image, *, orientation: int = 1, date: str | None = None, **options) -> bytes:
    """Encode HEIC with EXIF; pillow-heif turns the orientation into the container's rotation."""
    import pillow_heif

    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    if date is not None:
        exif.get_ifd(0x8769)[DATE_TIME_ORIGINAL] = date
    buffer = io.BytesIO()
    file = pillow_heif.from_pillow(image)
    file.save(buffer, quality=90, exif=exif.tobytes(), **options)
    return buffer.getvalue()


def dng(
    image: Image.Image,
    *,
    orientation: int = 1,
    preview: bytes | None = None,
    date: str = "2024:05:06 07:08:09",
    sides: tuple[int, int] | None = None,
) -> bytes:
    """Write a DNG with an uncompressed Bayer mosaic, and a JPEG preview in the first directory.

    sides: width and height to claim instead of the image's.
    """
    pixels = np.asarray(image).astype(np.uint16) * _SCALE
    mosaic = pixels[..., 1].copy()
    mosaic[0::2, 0::2], mosaic[1::2, 1::2] = pixels[0::2, 0::2, 0], pixels[1::2, 1::2, 2]
    width, height = sides or image.size
    sensor = mosaic.astype("<u2").tobytes()
    small = io.BytesIO()
    image.copy().resize((16, 12)).save(small, "JPEG")
    jpeg = small.getvalue() if preview is None else preview

    main = {
        254: (4, [1]),
        256: (4, [16]),
        257: (4, [12]),
        258: (3, [8, 8, 8]),
        259: (3, [7]),
        262: (3, [6]),
        271: (2, b"Test\0"),
        272: (2, b"Camera\0"),
        273: (4, ["jpeg"]),
        274: (3, [orientation]),
        277: (3, [3]),
        278: (4, [12]),
        279: (4, [len(jpeg)]),
        330: (4, ["sensor"]),
        34665: (4, ["exif"]),
        50706: (1, bytes([1, 4, 0, 0])),
        50707: (1, bytes([1, 1, 0, 0])),
        50708: (2, b"Test Camera\0"),
        50721: (10, _rationals([1, 0, 0, 0, 1, 0, 0, 0, 1])),
        50728: (5, _rationals([1, 1, 1])),
        50778: (3, [21]),
    }
    raw = {
        254: (4, [0]),
        256: (4, [width]),
        257: (4, [height]),
        258: (3, [16]),
        259: (3, [1]),
        262: (3, [32803]),
        273: (4, ["mosaic"]),
        277: (3, [1]),
        278: (4, [height]),
        279: (4, [len(sensor)]),
        33421: (3, [2, 2]),
        33422: (1, bytes([0, 1, 1, 2])),
        50714: (4, [0]),
        50717: (4, [255 * _SCALE]),
    }
    exif = {DATE_TIME_ORIGINAL: (2, date.encode() + b"\0")}
    return _tiff({"main": main, "sensor": raw, "exif": exif}, {"jpeg": jpeg, "mosaic": sensor})


_WIDTHS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 10: 8}


def _rationals(values: Iterable[int]) -> bytes:
    return b"".join(struct.pack("<ii", value, 1) for value in values)


def _tiff(directories: dict[str, dict[int, tuple]], blobs: dict[str, bytes]) -> bytes:
    """A little-endian TIFF: its first directory, others that it points to by name, and their data."""
    positions = dict.fromkeys((*directories, *blobs), 0)
    content = b""
    for _ in range(2):  # the first round finds the positions
        content = bytearray(b"II*\0" + struct.pack("<I", 8))
        for name, tags in directories.items():
            positions[name] = len(content)
            after = len(content) + 2 + 12 * len(tags) + 4
            entries, extra = struct.pack("<H", len(tags)), bytearray()
            for tag, (kind, values) in sorted(tags.items()):
                if not isinstance(values, bytes):
                    numbers = [positions[value] if isinstance(value, str) else value for value in values]
                    values = struct.pack(f"<{len(numbers)}{'H' if kind == 3 else 'I'}", *numbers)
                count = len(values) // _WIDTHS[kind]
                if len(values) > 4:
                    offset = struct.pack("<I", after + len(extra))
                    extra += values + b"\0" * (len(values) % 2)
                    values = offset
                entries += struct.pack("<HHI", tag, kind, count) + values.ljust(4, b"\0")
            content += entries + struct.pack("<I", 0) + extra
        for name, blob in blobs.items():
            positions[name] = len(content)
            content += blob + b"\0" * (len(blob) % 2)
    return bytes(content)


def video(
    frames: Sequence[Image.Image],
    *,
    rate: int = 10,
    times: Sequence[float] | None = None,
    codec: str = "mpeg4",
    container: str = "mp4",
    group: int = 12,
    created: str | None = None,
) -> bytes:
    """Encode a video. times: of the frames in seconds, by default one every 1 / rate. group: of pictures."""
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as file:
        if created is not None:
            file.metadata["creation_time"] = created
        stream = file.add_stream(codec, rate=rate)
        stream.width, stream.height = frames[0].size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.gop_size = group
        stream.bit_rate = 4_000_000
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_image(image)
            frame.time_base = Fraction(1, 1000)
            frame.pts = round(1000 * (number / rate if times is None else times[number]))
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return buffer.getvalue()


def rotated(mp4: bytes, quarter_turns: int) -> bytes:
    """Set the display matrix of an mp4's track to clockwise quarter turns."""
    start = mp4.index(b"tkhd") + 4 + 40
    a, b = [(1, 0), (0, 1), (-1, 0), (0, -1)][quarter_turns % 4]
    fixed = [a << 16, b << 16, 0, -b << 16, a << 16, 0, 0, 0, 1 << 30]
    return mp4[:start] + struct.pack(">9i", *fixed) + mp4[start + 36 :]


def shade(value: int, size: tuple[int, int] = (64, 48)) -> Image.Image:
    """A gray picture, whose value tells frames and pages apart."""
    return Image.new("RGB", size, (value,) * 3)


def tiff(pages: Sequence[Image.Image], **options) -> bytes:
    """Write a TIFF with one directory a page."""
    buffer = io.BytesIO()
    pages[0].save(buffer, "TIFF", save_all=True, append_images=pages[1:], **options)
    return buffer.getvalue()
