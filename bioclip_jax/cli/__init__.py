"""The command line: one verb a function, everything heavy imported inside it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import warnings
from collections.abc import Iterator

from bioclip_jax import __version__
from bioclip_jax.cli import bench, evaluation, index, models, shards, taxa, use
from bioclip_jax.errors import Terminated, UserError, interrupt_status
from bioclip_jax.files import cache_directory, json_text

from .options import Parser

# Packages that only some commands need, and the extra that installs each.
_EXTRAS = {
    "array_record": "train",
    "grain": "train",
    "matplotlib": "eval",
    "ml_collections": "train",
    "psutil": "train",
    "sklearn": "eval",
    "tensorboardX": "train",
    "tensorflow_datasets": "train",
    "threadpoolctl": "eval",
}


def main(argv: list[str] | None = None) -> int:
    """Run one command. Returns the exit status: 0, 2 for a user's mistake, 128 + N after signal N."""
    parser = _parser()
    arguments, rest = parser.parse_known_args(evaluation.suite_first(sys.argv[1:] if argv is None else argv))
    if rest and not arguments.takes_overrides:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    arguments.rest = rest
    if not sys.warnoptions:
        # Libraries warn programmers, with paths of their own files; users are told by errors and notes.
        warnings.filterwarnings("ignore", module=r"(?!bioclip_jax\b)")
    for name in ("stdout", "stderr"):
        # A service or `>&-` may leave a stream closed, which Python shows as None.
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))
    # Names of taxa are in any script, whatever the locale; names of files that are not UTF-8, which Linux
    # allows, go out as the bytes they are.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
    # What XLA compiled once is kept, so that a command's second run, or a resumed training, starts at once.
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache_directory() / "xla"))
    try:
        with _terminable():
            result = arguments.run(arguments)
        if not isinstance(result, int) and result is not None and getattr(arguments, "json", False):
            print(json_text(result))
        sys.stdout.flush()  # so that a full disk or a closed pipe is met here, not when Python exits
    except UserError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        print(
            f"error: this command needs {error.name}; install it: pip install 'bioclip-jax[{extra}]'",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt as error:
        # A verb that keeps something says what, and how to go on.
        print(": ".join(["interrupted", *map(str, error.args)]), file=sys.stderr)
        return interrupt_status(error)
    except BrokenPipeError:
        # The reader of our output (head, less) has seen enough.
        _close_stdout()
        return 0
    except UnicodeEncodeError as error:
        if not any("\udc80" <= character <= "\udcff" for character in error.object[error.start : error.end]):
            raise
        print(
            f"error: {error.object[error.start : error.end]!r} in an argument or a file's name is not text "
            f"in the "
            "locale's encoding; set LC_ALL=C.UTF-8 or PYTHONUTF8=1",
            file=sys.stderr,
        )
        return 2
    except OSError as error:
        about = f"{error.filename}: " if error.filename else ""
        try:
            sys.stdout.flush()
        except OSError:
            _close_stdout()
        print(
            f"error: {about}{error.strerror or error}; check the path, its permissions and the disk",
            file=sys.stderr,
        )
        return 2
    if isinstance(result, int):
        return result
    return arguments.status(result) if hasattr(arguments, "status") else 0


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM, from a scheduler or a container, end the block as Ctrl-C does: partial files are removed."""

    def terminate(number: int, frame: object) -> None:
        raise Terminated

    try:
        before = signal.signal(signal.SIGTERM, terminate)
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _close_stdout() -> None:
    """Let what is still to be printed go nowhere, so that Python does not meet the same error when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> Parser:
    parser = Parser(
        prog="bioclip-jax", description="Train, evaluate, export and use BioCLIP-2-class models in JAX."
    )
    parser.add_argument("--version", action="version", version=f"bioclip-jax {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    models.add_verbs(verbs)
    evaluation.add_verbs(verbs)
    use.add_verbs(verbs)
    taxa.add_verbs(verbs)
    index.add_verbs(verbs)
    shards.add_verbs(verbs)
    bench.add_verbs(verbs)
    return parser
