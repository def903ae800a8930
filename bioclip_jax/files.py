"""Files that are written: checked before any work, and there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from bioclip_jax.errors import UserError

PathLike = str | os.PathLike[str]
# Paths that a command reads, one or more by what they are to it.
Reads = Mapping[str, PathLike | Iterable[PathLike] | None]

# In the names of files that are being written.
PARTIAL = ".partial-"
# Bytes of a name are limited to 255, of which a partial file's own marks take 45.
_LONGEST_STEM = 40


@contextlib.contextmanager
def written_beside(output: Path) -> Iterator[Path]:
    """A path to write to, which becomes `output` when the block ends well and is removed when it does not.

    No other process uses its name, and its suffix is that of `output`, because matplotlib and NumPy go by it.
    Its content is on the disk before it is renamed, so that a power failure leaves no empty file under a
    final name. Of a symbolic link, the file that it leads to is replaced. A stream is the path itself.
    UserError if its folder is missing or it is a folder.
    """
    _check_place(output)
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
    """Write a text file as UTF-8, whole or not at all."""
    with written_beside(output) as partial:
        partial.write_text(text, encoding="utf-8")


def remove_partials(folder: Path) -> None:
    """Remove what killed processes left half-written anywhere in the folder."""
    for path in list(folder.rglob(f"*{PARTIAL}*")):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def cache_directory() -> Path:
    """The folder for what this package can rebuild: in $XDG_CACHE_HOME, else ~/.cache; not created here.

    A process without a home directory, as in a container whose user has no entry, takes one in the system's
    folder of temporary files, named by the user's number.
    """
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bioclip_jax"
    except RuntimeError:
        user = os.getuid() if hasattr(os, "getuid") else "user"
        return Path(tempfile.gettempdir()) / f"bioclip_jax-{user}"


def is_stream(output: Path) -> bool:
    """True where bytes go on at once: to a pipe, a terminal or another device."""
    # /dev/stdout is a stream to its user, even where it leads to a file.
    return output.absolute().parent == Path("/dev") or (os.path.exists(output) and not os.path.isfile(output))


def check_output(output: PathLike | None, what: str = "the output") -> None:
    """UserError if the file `output` cannot be written: its folder is missing or closed, or it is a folder itself.

    `what`: the output's name in the message.
    """
    if output is None:
        return
    output = Path(output)
    if output == Path("-"):
        raise UserError(f"{what} does not go to standard output; name a file")
    _check_place(output, what)
    if is_stream(output):
        return
    try:
        if os.path.exists(output):
            # A file that is write-protected is not replaced, though its folder would allow it.
            os.close(os.open(output, os.O_WRONLY))
        _try_folder(_target(output).parent)
    except OSError as error:
        raise UserError(f"{what} {output} cannot be written ({error.strerror}); name another") from None


def _check_place(output: Path, what: str = "the output") -> None:
    """UserError where there is no place for the file; without a trial to write."""
    if os.path.isdir(output):
        raise UserError(f"{what} {output} is a folder; name a file in it")
    target = _target(output)
    try:
        os.stat(target.parent)
    except FileNotFoundError:
        raise UserError(f"the folder of {what} {output} does not exist; make it, or name another") from None
    except OSError as error:
        raise UserError(f"{what} {output} cannot be written ({error.strerror}); name another") from None
    try:
        os.lstat(target)
    except FileNotFoundError:
        pass
    except NotADirectoryError:
        raise UserError(
            f"{what} {output} cannot be written, because {target.parent} is a file; name another"
        ) from None
    except OSError as error:  # the name is too long, or the folder may not be looked into
        raise UserError(f"{what} {output} cannot be written ({error.strerror}); name another") from None


def _target(output: Path) -> Path:
    """The final target of a link; of links in a circle, the link itself, which is then replaced."""
    return Path(os.path.realpath(output))


def check_suffix(output: PathLike | None, suffixes: Sequence[str], what: str = "the output") -> None:
    """UserError if a file's name does not end in one of the suffixes, whatever their case."""
    if output is not None and Path(output).suffix.lower() not in suffixes and not is_stream(Path(output)):
        raise UserError(f"{what} {output} has the name of another format; end it in {' or '.join(suffixes)}")


def check_folder(output: Path, what: str = "the output", *, parents: bool = False) -> None:
    """UserError if the folder `output` can neither be written to nor be made.

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
        raise UserError(f"{what} {output} cannot be written ({error.strerror}); name another") from None


def _try_folder(folder: Path) -> None:
    """OSError if no file can be made in the folder."""
    # Permissions alone do not tell: root has all of them, and a file system may be read-only or full.
    with tempfile.TemporaryFile(dir=folder):
        pass


def check_outputs(outputs: Mapping[str, PathLike | None], reads: Reads = {}) -> None:
    """UserError if an output cannot be written, is another output too, or is a file that is read, by whatever name.

    outputs: files by the options that name them, as "--report", or by names as "the report". reads: as
    check_not_read.
    """
    paths = {option: Path(path) for option, path in outputs.items() if path is not None}
    seen: dict[object, str] = {}
    for option, path in paths.items():
        check_output(path, f"the {option[2:]}" if option.startswith("--") else option)
        for key in {_target(path), identity(path) or _target(path)} if not is_stream(path) else ():
            if (other := seen.setdefault(key, option)) != option:
                raise UserError(f"{other} and {option} are one file, {path}; give each a file of its own")
    check_not_read(paths, reads)


def check_not_read(outputs: Mapping[str, PathLike | None], reads: Reads) -> None:
    """UserError if one of the outputs is a file that is read, by whatever name: links and spellings are followed.

    outputs: as check_outputs. reads: paths by their part in the command, as "an input" or "the --backbone".
    Of a folder, the files have to be given; a path that is none, or where nothing is, is passed over.
    """
    # A file that does not exist yet is not read, so mostly no input has to be looked at.
    written = {
        key: option for option, path in outputs.items() if path is not None and (key := identity(path))
    }
    if not written:
        return
    for part, paths in reads.items():
        for path in [paths] if isinstance(paths, (str, os.PathLike)) else paths or ():
            if option := written.get(identity(path)):
                raise UserError(
                    f"{option} would overwrite {os.fspath(path)}, which is {part}; name another file"
                )


def files_below(folder: PathLike) -> Iterator[Path]:
    """All files in a folder and its folders."""
    for parent, _, names in os.walk(folder):
        yield from (Path(parent, name) for name in names)


def identity(path: PathLike) -> tuple[int, int] | None:
    """Device and inode of a regular file, the same whatever links lead to it; None where there is none."""
    try:
        status = os.stat(path)
    # A list of labels, where a path could stand too, may be too long for a path or hold a zero byte.
    except (OSError, ValueError):
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None
