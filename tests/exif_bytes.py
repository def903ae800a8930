"""EXIF built byte by byte from the standard (CIPA DC-008), and photographs that hold it."""

from __future__ import annotations

import io
import struct

from PIL import Image

ASCII, SHORT, LONG, RATIONAL, UNDEFINED = 2, 3, 4, 5, 7
MAKE, MODEL, CAMERA, GPS = 0x010F, 0x0110, 0x8769, 0x8825
ORIGINAL, DIGITIZED, OFFSET_ORIGINAL, SUBSECOND, SERIAL = 0x9003, 0x9004, 0x9011, 0x9291, 0xA431

# A tag, its type, its number of values, and their bytes.
Entry = tuple[int, int, int, bytes]


def text(tag: int, value: str | bytes) -> Entry:
    data = (value if isinstance(value, bytes) else value.encode()) + b"\0"
    return tag, ASCII, len(data), data


def rationals(tag: int, *values: tuple[int, int]) -> Entry:
    return tag, RATIONAL, len(values), b"".join(struct.pack(">II", *value) for value in values)


def byte(tag: int, value: int) -> Entry:
    return tag, 1, 1, bytes([value])


def place(latitude: float, longitude: float, altitude: float | None = None) -> list[Entry]:
    """GPS entries, in degrees, minutes and 10,000ths of a second."""

    def parts(degrees: float) -> list[tuple[int, int]]:
        ticks = round(abs(degrees) * 36_000_000)
        return [(ticks // 36_000_000, 1), (ticks // 600_000 % 60, 1), (ticks % 600_000, 10_000)]

    entries = [
        text(1, "S" if latitude < 0 else "N"),
        rationals(2, *parts(latitude)),
        text(3, "W" if longitude < 0 else "E"),
        rationals(4, *parts(longitude)),
    ]
    if altitude is not None:
        entries += [byte(5, int(altitude < 0)), rationals(6, (round(abs(altitude) * 100), 100))]
    return entries


def exif(main: list[Entry] = [], camera: list[Entry] = [], gps: list[Entry] = []) -> bytes:  # noqa: B006
    """A TIFF of three directories, big-endian."""
    start = 8
    pointers = [(tag, entries) for tag, entries in ((CAMERA, camera), (GPS, gps)) if entries]
    size = 2 + 12 * (len(main) + len(pointers)) + 4 + sum(_outside(entry) for entry in main)
    below, offset = b"", start + size
    whole = list(main)
    for tag, entries in pointers:
        part = _directory(entries, offset)
        whole.append((tag, LONG, 1, struct.pack(">I", offset)))
        below, offset = below + part, offset + len(part)
    return b"MM\0*" + struct.pack(">I", start) + _directory(whole, start) + below


def _outside(entry: Entry) -> int:
    return len(entry[3]) if len(entry[3]) > 4 else 0


def _directory(entries: list[Entry], start: int) -> bytes:
    entries = sorted(entries)
    data, offset = b"", start + 2 + 12 * len(entries) + 4
    rows = struct.pack(">H", len(entries))
    for tag, kind, count, value in entries:
        if len(value) > 4:
            rows += struct.pack(">HHII", tag, kind, count, offset + len(data))
            data += value
        else:
            rows += struct.pack(">HHI", tag, kind, count) + value.ljust(4, b"\0")
    return rows + bytes(4) + data


def photograph(block: bytes, format: str = "JPEG", **options: object) -> bytes:
    """A small picture with an EXIF block."""
    file = io.BytesIO()
    picture = Image.linear_gradient("L").resize((32, 24)).convert("RGB")
    picture.save(file, format, exif=b"Exif\0\0" + block if format == "JPEG" else block, **options)
    return file.getvalue()
