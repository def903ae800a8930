"""Find the shards of a folder, check each one, and compare sizes.json and other files with them."""

import hashlib
import json
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int64, UInt64

from bioclip_jax.errors import UserError
from bioclip_jax.file_kinds import (
    CATALOG_FILE,
    RECORD_SUFFIXES,
    SIZES_FILE,
    is_compressed_tar,
    is_hidden,
    is_tar,
    suffix_of,
)
from bioclip_jax.pipeline.sources import METADATA_FILES

from .checks import check_sample
from .findings import Findings
from .raw_samples import read_samples

_INDEX_SUFFIX = ".index"
# Files that builders, readers and people leave beside shards.
_COMPANIONS = {SIZES_FILE, CATALOG_FILE, "build.json", "alignment.md", "alignment.csv"}
_COMPANIONS |= {"dataset_info.json", "features.json", "LICENSE", "README"}
# Files that a report must not overwrite.
PROTECTED = _COMPANIONS | set(METADATA_FILES)
# Head of a tar's index file: magic, size, modification time.
_INDEX_HEAD = struct.Struct("<8sQQ")


@dataclass(frozen=True)
class Shard:
    """A shard file; `name` is its path relative to the verified folder."""

    path: Path
    name: str


@dataclass(frozen=True)
class ShardResult:
    """A shard's findings, and for each sample the key's hash, its position and its soundness."""

    shard: Shard
    findings: Findings
    keys: UInt64[np.ndarray, " samples"]
    positions: Int64[np.ndarray, " samples"]
    sound: Bool[np.ndarray, " samples"]


def check_shard(shard: Shard) -> ShardResult:
    """Read a whole shard and check every sample."""
    findings = Findings(shard.name)
    keys, positions, sound = bytearray(), [], []
    try:
        for sample in read_samples(shard.path, findings):
            keys += hashlib.blake2b(sample.key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
            positions.append(sample.position)
            sound.append(check_sample(sample, findings))
    except OSError as error:
        findings.error("unreadable_file", "", error.strerror or str(error))
    if not positions and not findings.counts:
        findings.note("no_samples", "", "a shard without samples")
    return ShardResult(
        shard,
        findings,
        np.frombuffer(bytes(keys), np.uint64),
        np.array(positions, np.int64),
        np.array(sound, bool),
    )


def find_shards(location: str | Path) -> tuple[Path, list[Shard], list[Findings]]:
    """Return the verified folder, its shards, and the findings about its other files.

    location: a folder, a shard or a glob. Symbolic links in a folder are not followed. Raises UserError if
    there are no shards.
    """
    text = str(location)
    if "://" in text:
        raise UserError(f"{text} is not on this machine; copy it to a local folder to verify it")
    path = Path(text).expanduser()
    if path.is_file():
        if not (_is_shard(path) or is_compressed_tar(path)):
            raise UserError(
                f"{path} is not named like a shard; give a .tar or .array_record file, or a folder of them"
            )
        return path.parent, *_classify(path.parent, [path], follow=True)
    if path.is_dir():
        unreadable: list[Findings] = []
        shards, others = _classify(path, _walk(path, unreadable))
        others += unreadable
        if not shards and not any("compressed_tar" in findings.counts for findings in others):
            links = sum(findings.counts["linked_file"] for findings in others)
            hint = f" ({links} symbolic links were not followed)" if links else ""
            raise UserError(f"{path} holds no shards{hint}; give a folder of .tar or .array_record files")
        return path, shards, others
    if any(character in path.name for character in "*?[") and path.parent.is_dir():
        if matches := sorted(path.parent.glob(path.name)):
            return path.parent, *_classify(path.parent, matches)
    raise UserError(f"{location} does not exist; give a folder of shards, one shard, or a glob")


def _walk(folder: Path, unreadable: list[Findings]) -> list[Path]:
    """List files and links below a folder, without hidden folders; unreadable ones become findings."""
    listed = []

    def on_error(error: OSError) -> None:
        findings = Findings(os.path.relpath(error.filename, folder))
        findings.error("unreadable_file", "", f"the folder cannot be read ({error.strerror})")
        unreadable.append(findings)

    for parent, folders, files in os.walk(folder, onerror=on_error):
        links = [name for name in folders if Path(parent, name).is_symlink()]
        folders[:] = [name for name in folders if not is_hidden(name)]
        listed += [Path(parent, name) for name in files + links]
    return sorted(listed)


def _classify(folder: Path, files: list[Path], follow: bool = False) -> tuple[list[Shard], list[Findings]]:
    shards, others = [], []
    for file in files:
        name = str(file.relative_to(folder)).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        findings = Findings(name)
        if file.is_symlink() and not follow:
            findings.note("linked_file", "", "a symbolic link, not followed")
        elif not file.is_file():
            findings.note("not_a_shard", "", "neither a file nor a folder")
        elif _is_shard(file) and not is_hidden(file.name):
            shards.append(Shard(file, name))
        elif is_compressed_tar(file):
            findings.error("compressed_tar", "", "it is compressed; decompress it")
        elif file.suffix == _INDEX_SUFFIX and file.with_suffix("").is_file():
            if not _index_fits(file):
                findings.note("outdated_index", "", "the index of another or an older tar")
        elif file.name not in _COMPANIONS and file.stem not in _COMPANIONS:
            findings.note("not_a_shard", "", "not a shard")
        others.append(findings)
    return shards, [findings for findings in others if findings.counts]


def _is_shard(file: Path) -> bool:
    return is_tar(file) or suffix_of(file) in RECORD_SUFFIXES


def _index_fits(index: Path) -> bool:
    try:
        with index.open("rb") as file:
            head = file.read(_INDEX_HEAD.size)
        status = index.with_suffix("").stat()
    except OSError:
        return False
    return len(head) == _INDEX_HEAD.size and _INDEX_HEAD.unpack(head)[1:] == (
        status.st_size,
        status.st_mtime_ns,
    )


def check_sizes(folder: Path, samples: Mapping[Path, int]) -> list[Findings]:
    """Compare each sizes.json with the numbers of samples of the shards beside it, given by path."""
    results = []
    for parent in sorted({shard.parent for shard in samples}):
        file = parent / SIZES_FILE
        if not file.is_file() or file.is_symlink():
            continue
        findings = Findings(str(file.relative_to(folder)))
        try:
            sizes = json.loads(file.read_bytes())
        except (OSError, ValueError, RecursionError):
            sizes = None
        counts = {shard.name: count for shard, count in samples.items() if shard.parent == parent}
        if not isinstance(sizes, dict):
            findings.error(
                "sizes_disagree", "", "it is not a JSON object of shards and their numbers of samples"
            )
            sizes = counts
        for name in sorted({*sizes, *counts}):
            if name not in counts:
                findings.error("sizes_disagree", name, "listed, but missing")
            elif name not in sizes:
                findings.error("sizes_disagree", name, "not listed")
            elif sizes[name] != counts[name]:
                findings.error(
                    "sizes_disagree",
                    name,
                    f"lists {str(sizes[name])[:40]} samples, the shard has {counts[name]}",
                )
        results.append(findings)
    return results
