"""Output files: checks before any work, atomic writes, strict JSON, arrays, and the cache directory."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import shutil
import stat
import tempfile
import uuid
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bioclip_jax.errors import UserError

PathLike = str | os.PathLike[str]
# Paths that a command reads, by their role in it, as {"an input": paths}.
Reads = Mapping[str, PathLike | Iterable[PathLike] | None]

# Marker in the names of files that are being written.
PARTIAL = ".partial-"
# File names are limited to 255 bytes, of which the marker, a UUID and the suffix take about 50.
_LONGEST_STEM = 40
_NO_READS: Reads = {}


@contextlib.contextmanager
def atomic_write(output: Path) -> Iterator[Path]:
    """Yield a temporary path that replaces `output` if the block succeeds and is deleted if it fails.

    The temporary name is unique and has the suffix of `output`, which matplotlib and NumPy depend on. The
    content is synced to disk before renaming, so that a power failure leaves no empty file. A symbolic link's
    target is replaced. For a stream, the path itself is yielded. Raises UserError if `output` is a folder or
    its folder is missing.
    """
    _check_target(output)
    if is_stream(output):
        yield output
        return
    output = _target(output)
    partial = output.with_name(f".{output.stem[:_LONGEST_STEM]}{PARTIAL}{uuid.uuid4().hex}{output.suffix}")
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, output)
    finally:
        partial.unlink(missing_ok=True)


def write_text(output: Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    with atomic_write(output) as partial:
        partial.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def written_together(output: Path, reads: Reads | None = None) -> Iterator[Path]:
    """Yield a temporary folder; move its files into `output` on success, remove it on an error.

    Raises UserError if a file would overwrite an input (`reads`: as check_not_read).
    """
    parent = output if output.is_dir() else output.absolute().parent
    partial = Path(tempfile.mkdtemp(prefix=f".{output.name}.", suffix=".partial", dir=parent))
    try:
        yield partial
        check_not_read(
            {f"{path.name} in --output": output / path.name for path in partial.iterdir()}, reads or {}
        )
        output.mkdir(exist_ok=True)
        for path in sorted(partial.iterdir()):
            os.replace(path, output / path.name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextlib.contextmanager
def replaced_folder(output: Path) -> Iterator[Path]:
    """Yield a temporary folder that replaces the folder `output`, if any, when the block succeeds.

    It is deleted if the block fails. A symbolic link's target is replaced.
    """
    target = _target(output)
    partial = target.with_name(f".{target.name[:_LONGEST_STEM]}{PARTIAL}{uuid.uuid4().hex}")
    partial.mkdir()
    try:
        yield partial
        if target.exists():
            previous = partial.with_name(f"{partial.name}-previous")
            os.rename(target, previous)
            os.rename(partial, target)
            shutil.rmtree(previous)
        else:
            os.rename(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def apply_umask(path: Path, mode: int) -> None:
    """Give a file or folder the permissions that a plain open or mkdir would: `mode` without the umask."""
    # mkdtemp and safetensors create private files; models and heads are often shared by a group.
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(mode & ~mask)


def file_sha256(path: PathLike) -> str:
    """Return the SHA-256 of a file's content, which may be larger than memory."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_text(value: Any, **options: Any) -> str:
    """json.dumps with null for NaN and infinite numbers, which JSON lacks."""
    try:
        return json.dumps(value, allow_nan=False, **options)
    except ValueError:
        return json.dumps(_without_nan(value), allow_nan=False, **options)


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _without_nan(item) for key, item in value.items()}
    return [_without_nan(item) for item in value] if isinstance(value, (list, tuple)) else value


def read_arrays(path: Path) -> dict[str, Any]:
    """Return the arrays of an .npz file. Raises OSError for a missing and ValueError for a damaged one."""
    import numpy as np

    try:
        with zipfile.ZipFile(path):
            pass
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    # What a flipped bit in the archive, a header or an entry raises.
    except (EOFError, KeyError, NotImplementedError, RuntimeError, SyntaxError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is damaged ({error})") from None


def remove_partials(folder: Path) -> None:
    """Delete partial files that killed processes left anywhere in the folder."""
    for path in list(folder.rglob(f"*{PARTIAL}*")):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def cache_directory() -> Path:
    """The folder of this package's caches, in $XDG_CACHE_HOME or ~/.cache; the caller creates it.

    Without a home directory, as in a container whose user has no passwd entry, it is in the system's folder
    for temporary files.
    """
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bioclip_jax"
    except RuntimeError:
        user = os.getuid() if hasattr(os, "getuid") else "user"
        return Path(tempfile.gettempdir()) / f"bioclip_jax-{user}"


def is_stream(output: Path) -> bool:
    """True for a pipe, a terminal or another device."""
    # To its user /dev/stdout is a stream, even if it is redirected to a file.
    return output.absolute().parent == Path("/dev") or (os.path.exists(output) and not os.path.isfile(output))


def check_output(output: PathLike | None, what: str = "the output") -> None:
    """Raise UserError if the file `output` cannot be written.

    what: name of the output in the message.
    """
    if output is None:
        return
    output = Path(output)
    if output == Path("-"):
        raise UserError(f"{what} does not go to standard output; name a file")
    _check_target(output, what)
    if is_stream(output):
        return
    try:
        if os.path.exists(output):
            # A write-protected file is kept, although its folder would allow replacing it.
            os.close(os.open(output, os.O_WRONLY))
        _try_folder(_target(output).parent)
    except OSError as error:
        raise _unwritable(output, what, error) from None


def _unwritable(output: Path, what: str, error: OSError) -> UserError:
    return UserError(f"{what} {output} cannot be written ({error.strerror}); name another")


def _check_target(output: Path, what: str = "the output") -> None:
    """Raise UserError if the path cannot be that of a file; writes nothing."""
    if os.path.isdir(output):
        raise UserError(f"{what} {output} is a folder; name a file in it")
    target = _target(output)
    try:
        os.stat(target.parent)
    except FileNotFoundError:
        raise UserError(f"the folder of {what} {output} does not exist; make it, or name another") from None
    except OSError as error:
        raise _unwritable(output, what, error) from None
    try:
        os.lstat(target)
    except FileNotFoundError:
        pass
    except NotADirectoryError:
        raise UserError(
            f"{what} {output} cannot be written, because {target.parent} is a file; name another"
        ) from None
    except OSError as error:  # the name is too long, or the folder is not searchable
        raise _unwritable(output, what, error) from None


def _target(output: Path) -> Path:
    """The final target of a link; of a cycle of links, the link itself, which is then replaced."""
    return Path(os.path.realpath(output))


def check_suffix(output: PathLike | None, suffixes: Sequence[str], what: str = "the output") -> None:
    """Raise UserError if a file's name ends in none of the suffixes, in any case."""
    if output is not None and Path(output).suffix.lower() not in suffixes and not is_stream(Path(output)):
        raise UserError(f"{what} {output} has the name of another format; end it in {' or '.join(suffixes)}")


def check_folder(output: Path, what: str = "the output", *, parents: bool = False) -> None:
    """Raise UserError if the folder `output` can be neither written to nor created.

    parents: folders above it may be missing too.
    """
    output = Path(output)
    if os.path.exists(output) and not os.path.isdir(output):
        raise UserError(f"{what} {output} is a file; name a folder")
    if not os.path.exists(output) and not parents and not os.path.exists(output.parent):
        raise UserError(f"the folder of {what} {output} does not exist; make it, or name another")
    existing = next(folder for folder in (output, *output.parents) if os.path.exists(folder))
    if not existing.is_dir():
        raise UserError(f"{what} {output} cannot be made, because {existing} is a file; name another")
    try:
        _try_folder(existing)
    except OSError as error:
        raise _unwritable(output, what, error) from None


def _try_folder(folder: Path) -> None:
    """Raise OSError if no file can be created in the folder."""
    # Permissions are not enough: root has all of them, and a file system may be read-only or full.
    with tempfile.TemporaryFile(dir=folder):
        pass


def check_outputs(outputs: Mapping[str, PathLike | None], reads: Reads = _NO_READS) -> None:
    """Raise UserError if an output cannot be written, is another output too, or is also read.

    outputs: files by their options, as "--report", or by names, as "the report". reads: as check_not_read.
    """
    paths = {option: Path(path) for option, path in outputs.items() if path is not None}
    seen: dict[object, str] = {}
    for option, path in paths.items():
        check_output(path, f"the {option[2:]}" if option.startswith("--") else option)
        for key in {_target(path), _inode(path) or _target(path)} if not is_stream(path) else ():
            if (other := seen.setdefault(key, option)) != option:
                raise UserError(f"{other} and {option} are one file, {path}; give each a file of its own")
    check_not_read(paths, reads)


def check_not_read(outputs: Mapping[str, PathLike | None], reads: Reads) -> None:
    """Raise UserError if an output is a file that is also read, under any name or link.

    outputs: as check_outputs. reads: paths by their role, as "an input" or "the --backbone"; the files of a
    folder must be listed, and missing or invalid paths are skipped.
    """
    # An output that does not exist yet cannot be an input, so most calls check no input.
    written = {key: option for option, path in outputs.items() if path is not None and (key := _inode(path))}
    if not written:
        return
    for role, paths in reads.items():
        for path in [paths] if isinstance(paths, (str, os.PathLike)) else paths or ():
            if option := written.get(_inode(path)):
                raise UserError(
                    f"{option} would overwrite {os.fspath(path)}, which is {role}; name another file"
                )


def files_below(folder: PathLike) -> Iterator[Path]:
    """All files in a folder and its subfolders."""
    for parent, _, names in os.walk(folder):
        yield from (Path(parent, name) for name in names)


def _inode(path: PathLike) -> tuple[int, int] | None:
    """Device and inode of a regular file, following links; None for anything else."""
    try:
        status = os.stat(path)
    # The value may be a list of labels instead of a path, and so too long or with a zero byte.
    except (OSError, ValueError):
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None
