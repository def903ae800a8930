"""The command line: one file per verb, each of which imports heavy libraries only when it runs."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import warnings
from collections.abc import Iterator

from bioclip_jax import __version__
from bioclip_jax.errors import Terminated, UserError, interrupt_status
from bioclip_jax.files import cache_directory, json_text

from . import (
    analyze,
    bench,
    convert,
    duplicates,
    embed,
    explain,
    index,
    models,
    predict,
    review,
    serve,
    shards,
    taxa,
    train,
    twin,
)
from . import eval as eval_verb
from .options import Parser

# In the order of --help.
_VERBS = (
    train,
    convert,
    eval_verb,
    analyze,
    predict,
    review,
    explain,
    embed,
    models,
    serve,
    taxa,
    index,
    duplicates,
    shards,
    twin,
    bench,
)

# Packages that only some commands need, and the extra that installs each.
_EXTRAS = {
    "abmax": "peers",
    "array_record": "train",
    "av": "video",
    "diffrax": "twin",
    "grain": "train",
    "matplotlib": "eval",
    "mesa": "peers",
    "ml_collections": "train",
    "numpyro": "twin",
    "pdqhash": "curate",
    "pillow_heif": "heic",
    "polars": "twin",
    "psutil": "train",
    "rasterio": "twin",
    "rawpy": "raw",
    "sklearn": "eval",
    "tensorboardX": "train",
    "tensorflow_datasets": "train",
    "threadpoolctl": "eval",
}


def main(argv: list[str] | None = None) -> int:
    """Run one command; return its exit status: 0, 2 for a user error, 128 + N after signal N."""
    parser = _parser()
    arguments, rest = parser.parse_known_args(eval_verb.suite_first(sys.argv[1:] if argv is None else argv))
    if rest and not arguments.takes_overrides:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    arguments.rest = rest
    if not sys.warnoptions:
        # Warnings of libraries are for programmers; users get errors and notes.
        warnings.filterwarnings("ignore", module=r"(?!bioclip_jax\b)")
    for name in ("stdout", "stderr"):
        # A stream is None if a service or `>&-` closed it.
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))
    # Taxon names need UTF-8 in any locale; file names that are not valid UTF-8, which Linux allows, are
    # printed as their bytes.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
    # With a persistent cache, a command's second run or a resumed training does not compile again.
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache_directory() / "xla"))
    try:
        with _terminable():
            result = arguments.run(arguments)
        if not isinstance(result, int) and result is not None and getattr(arguments, "json", False):
            print(json_text(result))
        sys.stdout.flush()  # so that a full disk or a closed pipe raises here and not at exit
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
        # Verbs that keep partial results raise Interrupted, with advice on how to resume.
        print(": ".join(["interrupted", *map(str, error.args)]), file=sys.stderr)
        return interrupt_status(error)
    except BrokenPipeError:
        # The reader of the output (head, less) closed it.
        _close_stdout()
        return 0
    except UnicodeEncodeError as error:
        if not any("\udc80" <= character <= "\udcff" for character in error.object[error.start : error.end]):
            raise
        print(
            f"error: {error.object[error.start : error.end]!r} in an argument or a file name is not text in "
            "the locale's encoding; set LC_ALL=C.UTF-8 or PYTHONUTF8=1",
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
    """Handle SIGTERM, from a scheduler or a container, as Ctrl-C, so that partial files are removed."""

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
    """Discard buffered output, so that Python does not raise the same error again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> Parser:
    parser = Parser(
        prog="bioclip-jax", description="Train, evaluate, export and use BioCLIP-2-class models in JAX."
    )
    parser.add_argument("--version", action="version", version=f"bioclip-jax {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for verb in _VERBS:
        verb.add_verbs(verbs)
    return parser
