"""Kinds of files by name, ignoring case: images, tars, unsupported media, and files that systems create."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable

# Formats that Pillow's own wheels decode. HEIC, JPEG XL and camera raw files need further libraries.
IMAGE_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .mpo .png .webp .avif .gif .bmp .tif .tiff .jp2 .ppm .pgm .pbm .pnm".split()
)
TAR_SUFFIX = ".tar"
# Number of samples per shard of a folder, as webdataset's users write it: {"shard-00000.tar": 10000, ...}.
SIZES_FILE = "sizes.json"
# Table of all samples of a shard build, with the decision about each.
CATALOG_FILE = "catalogue.parquet"
RECORD_SUFFIXES = (".array_record", ".arrayrecord")
PARQUET_SUFFIXES = (".parquet", ".pq")
COMPRESSED_TAR_SUFFIXES = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst")

# Media and archives that a user may expect to be read: skipping them is reported, unlike skipping text files.
_UNSUPPORTED_SUFFIXES = frozenset(
    """
    .heic .heif .hif .jxl .psd .svg .pdf .eps .tga .ico .j2k .jpx
    .dng .cr2 .cr3 .crw .nef .nrw .arw .srf .sr2 .orf .rw2 .raf .pef .srw .x3f .raw .3fr .iiq .kdc .mrw .gpr
    .mp4 .m4v .mov .avi .mkv .webm .wmv .mpg .mpeg .mts .m2ts .3gp .flv
    .zip .7z .rar
    """.split()
) | frozenset(COMPRESSED_TAR_SUFFIXES)

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
    """True for the name of an image that can be decoded."""
    return suffix_of(name) in IMAGE_SUFFIXES


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
    """True for the name of an image, video or archive of an unsupported format."""
    return suffix_of(name) in _UNSUPPORTED_SUFFIXES


def unsupported_kinds(names: Iterable[str | os.PathLike[str]]) -> str | None:
    """Summary of skipped files by kind, `4 files of unsupported kinds skipped (2 .heic, 2 .mp4)`, or None."""
    counts = Counter(suffix_of(name) for name in names if is_unsupported(name))
    if not counts:
        return None
    total = counts.total()
    most_frequent = sorted(counts.items(), key=lambda kind: (-kind[1], kind))
    kinds = ", ".join(f"{count} {suffix}" for suffix, count in most_frequent)
    return f"{total:,} {'file' if total == 1 else 'files'} of unsupported kinds skipped ({kinds})"
