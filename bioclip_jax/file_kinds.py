"""Kinds of files by name, ignoring case: images, videos, tars, unsupported media, and files of systems."""

from __future__ import annotations

import importlib.util
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache

# Formats that Pillow's own wheels decode.
IMAGE_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .mpo .png .webp .avif .gif .bmp .tif .tiff .jp2 .ppm .pgm .pbm .pnm".split()
)
TIFF_SUFFIXES = (".tif", ".tiff")
HEIC_SUFFIXES = frozenset(".heic .heif .hif".split())
# Those that LibRaw reads and that pipeline.images recognizes by content.
RAW_SUFFIXES = frozenset(
    ".dng .cr2 .cr3 .crw .nef .nrw .arw .srf .sr2 .orf .rw2 .rwl .raf .pef .srw .mrw".split()
)
VIDEO_SUFFIXES = frozenset(".mp4 .m4v .mov .avi .mkv .webm .wmv .asf .mpg .mpeg .mts .m2ts .3gp .flv".split())
TAR_SUFFIX = ".tar"
# Number of samples per shard of a folder, as webdataset's users write it: {"shard-00000.tar": 10000, ...}.
SIZES_FILE = "sizes.json"
# Table of all samples of a shard build, with the decision about each.
CATALOG_FILE = "catalogue.parquet"
RECORD_SUFFIXES = (".array_record", ".arrayrecord")
PARQUET_SUFFIXES = (".parquet", ".pq")
COMPRESSED_TAR_SUFFIXES = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst")

# Media and archives that a user may expect to be read, also in tars, where texts are captions.
_UNSUPPORTED_SUFFIXES = frozenset(
    """
    .jxl .psd .svg .pdf .eps .tga .ico .j2k .jpx .x3f .raw .3fr .iiq .kdc .gpr .dcr .mef .mos .erf
    .zip .7z .rar
    """.split()
) | frozenset(COMPRESSED_TAR_SUFFIXES)

# The module that decodes each extra's formats, and the files that the extra adds.
_EXTRAS = {
    "heic": ("pillow_heif", HEIC_SUFFIXES),
    "raw": ("rawpy", RAW_SUFFIXES),
    "video": ("av", VIDEO_SUFFIXES),
}

# Folders in which macOS, Windows and storage servers keep previews, deleted files and the results of fsck.
_SYSTEM_FOLDERS = frozenset(
    ("__macosx", "@eadir", "@recycle", "#recycle", "#snapshot", "$recycle.bin", "recycler")
    + ("system volume information", "lost+found")
)


def suffix_of(name: str | os.PathLike[str]) -> str:
    """Lower-case suffix of a file's name, as ".jpg"; both suffixes of a compressed tar, as ".tar.gz"."""
    name = os.path.basename(os.fspath(name)).lower()
    compressed = next((suffix for suffix in COMPRESSED_TAR_SUFFIXES if name.endswith(suffix)), None)
    return compressed or os.path.splitext(name)[1]


def is_image(name: str | os.PathLike[str]) -> bool:
    """True for the name of an image that can be decoded; of HEIC and camera raw, if their extras are here."""
    suffix = suffix_of(name)
    return suffix in IMAGE_SUFFIXES or any(
        suffix in _EXTRAS[extra][1] and has_extra(extra) for extra in ("heic", "raw")
    )


def is_video(name: str | os.PathLike[str]) -> bool:
    """True for the name of a video, which is decoded with the extra [video]."""
    return suffix_of(name) in VIDEO_SUFFIXES


@cache
def has_extra(extra: str) -> bool:
    """True if the library of the extra heic, raw or video is installed; it is not imported."""
    return importlib.util.find_spec(_EXTRAS[extra][0]) is not None


def install_command(extra: str) -> str:
    """The command that installs an extra."""
    return f"pip install 'bioclip-jax[{extra}]'"


def is_tar(name: str | os.PathLike[str]) -> bool:
    """True for the name of an uncompressed tar."""
    return suffix_of(name) == TAR_SUFFIX


def is_compressed_tar(name: str | os.PathLike[str]) -> bool:
    """True for the name of a compressed tar, which allows no random access."""
    return suffix_of(name) in COMPRESSED_TAR_SUFFIXES


def is_hidden(name: str) -> bool:
    """True for the name of a file or folder that a system creates: .git, ._a.jpg, __MACOSX, @eaDir."""
    return (name.startswith(".") and name not in (".", "..")) or name.lower() in _SYSTEM_FOLDERS


def is_hidden_path(path: str) -> bool:
    """True for a slash-separated path, such as a tar member's, with a hidden part."""
    return any(map(is_hidden, path.split("/")))


def is_unsupported(name: str | os.PathLike[str]) -> bool:
    """True for the name of an image, video or archive that is not read, or not without an extra or option."""
    suffix = suffix_of(name)
    return suffix in _UNSUPPORTED_SUFFIXES or any(suffix in suffixes for _, suffixes in _EXTRAS.values())


def kinds_of(names: Iterable[str | os.PathLike[str]]) -> dict[str, int]:
    """Number of files by suffix, the most frequent first; the whole name where there is no suffix."""
    counts = Counter(suffix_of(name) or os.path.basename(os.fspath(name)) for name in names)
    return dict(sorted(counts.items(), key=lambda kind: (-kind[1], kind[0])))


def skipped_kinds(counts: Mapping[str, int]) -> list[str]:
    """A line for each reason why files are skipped: `3 .heic skipped: pip install 'bioclip-jax[heic]'`."""
    groups: dict[str, list[str]] = {}
    for suffix, count in counts.items():
        extra = next((name for name, (_, suffixes) in _EXTRAS.items() if suffix in suffixes), None)
        groups.setdefault(_advice(extra), []).append(f"{count:,} {suffix}")
    return [f"{', '.join(kinds)} skipped{advice}" for advice, kinds in sorted(groups.items(), reverse=True)]


def _advice(extra: str | None) -> str:
    if extra is None:
        return ""
    steps = [] if has_extra(extra) else [install_command(extra)]
    if extra == "video":
        steps.append("predict, embed and index build read frames of videos with --every SECONDS")
    return f": {'; '.join(steps)}" if steps else ""
