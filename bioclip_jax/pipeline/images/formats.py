"""Formats that Pillow does not decode, by their first bytes: HEIC, camera raw, and video containers."""

from __future__ import annotations

import struct
from typing import Literal

from bioclip_jax.file_kinds import install_command

from .bad_image import BadImage

Kind = Literal["heic", "raw", "video"]


# Each kind's name for people, and the package that decodes it.
_TITLES: dict[Kind, tuple[str, str]] = {
    "heic": ("HEIC", "pillow-heif"),
    "raw": ("camera raw", "rawpy"),
    "video": ("a video", "av"),
}

# Brands of HEVC images. mif1 and msf1 say only that the file is of the HEIF family, as AVIF is.
_HEIC = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_HEIF = {b"mif1", b"msf1", b"mif2"}
_AVIF = {b"avif", b"avis"}
# First bytes of raw files that are not TIFFs: Canon's CRW, Olympus, Panasonic, Fujifilm, Sigma, Minolta.
_RAW = (b"II\x1a\0\0\0HEAPCCDR", b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FUJIFILMCCD-RAW", b"FOVb", b"\0MRM")
_TIFF = {b"II*\0": "<", b"MM\0*": ">"}

_NEW_SUBFILE_TYPE, _COMPRESSION, _PHOTOMETRIC, _SUB_IFDS, _DNG_VERSION = 254, 259, 262, 330, 50706
_REDUCED = 1
# Mosaics of color filters, and images that are linear in light.
_SENSOR_DATA = {32803, 34892}
# Compressions of Nikon, Sony, Pentax, Samsung and Kodak.
_RAW_COMPRESSIONS = {34713, 32767, 65535, 32769, 32770, 32772, 65000}

# FFmpeg's names of the containers. It would recognize playlists too, which open other files and addresses,
# so the container is always named.
_VIDEO = (
    (b"\x1a\x45\xdf\xa3", "matroska"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
    (b"FLV\x01", "flv"),
    (b"\0\0\x01\xba", "mpeg"),
    (b"\0\0\x01\xb3", "mpegvideo"),
)
_QUICKTIME_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_TRANSPORT_PACKETS = (188, 192)
# Bytes from which the format is recognized, except for the directory of a TIFF.
HEAD = 512


def foreign_kind(data: bytes) -> Kind | None:
    """The kind of encoded data that a library of its own decodes; None for all other data."""
    if data[4:8] == b"ftyp":
        return _ftyp_kind(data)
    if data.startswith(_RAW):
        return "raw"
    if data[:4] in _TIFF:
        return "raw" if _is_raw_tiff(data) else None
    return "video" if video_format(data) else None


def video_format(head: bytes) -> str | None:
    """FFmpeg's name of the container that begins with these bytes, HEAD of them or more; None for others."""
    if head[4:8] in _QUICKTIME_BOXES:
        return None if head[4:8] == b"ftyp" and _ftyp_kind(head) != "video" else "mov"
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return "avi"
    for size in _TRANSPORT_PACKETS:
        first = size - 188
        if len(head) > first + size and head[first] == head[first + size] == 0x47:
            return "mpegts"
    return next((name for magic, name in _VIDEO if head.startswith(magic)), None)


class MissingLibrary(BadImage):
    """An intact file whose library is not installed. advice: what to do about it."""

    def __init__(self, kind: Kind):
        title, package = _TITLES[kind]
        super().__init__("unreadable", f"it is {title}, which needs {package}")
        self.advice = install_command(kind)


def _ftyp_kind(data: bytes) -> Kind | None:
    end = min(int.from_bytes(data[:4], "big"), HEAD)
    major, *others = (data[start : start + 4] for start in (8, *range(16, end, 4)))
    brands = {major, *others}
    if major == b"crx ":  # Canon's CR3
        return "raw"
    if major in _AVIF or (major in _HEIF and brands & _AVIF):
        return None
    if major in _HEIC or major in _HEIF:
        return "heic"
    # JPEG 2000's brand; Pillow decodes it.
    return None if major == b"jp2 " else "video"


def _is_raw_tiff(data: bytes) -> bool:
    """True for a TIFF of a camera: one marked as CR2 or DNG, or one that starts with a reduced image.

    Cameras put a small image first and the sensor's data in a SubIFD; a pyramid does it the other way round.
    """
    if data[8:10] == b"CR":
        return True
    tags = _first_directory(data)
    return (
        _DNG_VERSION in tags
        or tags.get(_PHOTOMETRIC) in _SENSOR_DATA
        or tags.get(_COMPRESSION) in _RAW_COMPRESSIONS
        or (bool(tags.get(_NEW_SUBFILE_TYPE, 0) & _REDUCED) and _SUB_IFDS in tags)
    )


def _first_directory(data: bytes) -> dict[int, int]:
    """Tags of a TIFF's first directory with their values, or the offsets of long ones."""
    order = _TIFF[data[:4]]
    try:
        (start,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, start)
        tags = {}
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(f"{order}HH", data, entry)
            (tags[tag],) = struct.unpack_from(f"{order}{'H' if kind == 3 else 'I'}", data, entry + 8)
        return tags
    except struct.error:
        return {}
