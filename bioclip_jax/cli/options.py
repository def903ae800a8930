"""The parser, options and messages that several verbs share."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, NoReturn

from bioclip_jax.convert import DEFAULT_MODEL, TRANSFORMS
from bioclip_jax.convert import MODEL_FORMS as MODEL
from bioclip_jax.errors import count_of
from bioclip_jax.predict import FORMATS, PRECISIONS

# A verb's result, printed with --json.
Result = dict[str, Any] | None

# Of what report_done counts.
_SINGULAR = {"images": "image", "queries": "query", "taxa": "taxon", "texts": "text"}

DATA = "tars, ArrayRecord, a folder with metadata.csv or NAME:SPLIT"


class Parser(argparse.ArgumentParser):
    """Parser whose errors are one line, like all errors of the command."""

    def error(self, message: str) -> NoReturn:
        """Print the error and exit with status 2."""
        print(f"error: {message}; see {self.prog} --help", file=sys.stderr)
        sys.exit(2)


def add_verb(
    verbs: Any, name: str, run: Any, help: str, epilog: str | None = None
) -> argparse.ArgumentParser:
    """Add a verb that calls `run` with the parsed arguments."""
    # argparse expands % in the help of a verb, but not in its description.
    short = help.replace("%", "%%")
    verb = verbs.add_parser(name, help=short, description=help[0].upper() + help[1:] + ".", epilog=epilog)
    verb.set_defaults(run=run, takes_overrides=False)
    verb.add_argument("--json", action="store_true", help="print the result as one JSON object")
    return verb


def add_family(verbs: Any, name: str, help: str, title: str = "verbs", metavar: str = "VERB") -> Any:
    """Add a verb with verbs of its own, and return its subparsers, for add_verb."""
    family = verbs.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
    return family.add_subparsers(title=title, metavar=metavar, required=True)


def add_inputs(verb: argparse.ArgumentParser, name: str = "inputs", nargs: str = "+") -> None:
    """Add image inputs."""
    verb.add_argument(
        name,
        nargs=nargs,
        metavar="INPUTS",
        help="images, folders, globs, tables with a filepath column, or tars",
    )


def add_every(verb: argparse._ActionsContainer) -> None:
    """Add --every, for frames of videos."""
    verb.add_argument(
        "--every",
        type=float,
        metavar="SECONDS",
        help="also read videos, a frame every so many seconds (default: videos are skipped)",
    )


def add_batch_size(verb: argparse.ArgumentParser) -> None:
    """Add --batch-size."""
    verb.add_argument("--batch-size", type=positive, metavar="N", help="images per forward pass")


def add_device(verb: argparse.ArgumentParser, precision: str | None = "fp32") -> None:
    """Add --device, --precision and --batch-size. precision: the default, None for that of an index."""
    verb.add_argument(
        "--device", metavar="DEVICE", help="cpu, cuda or cuda:N (default: all devices of the fastest kind)"
    )
    verb.add_argument(
        "--precision",
        choices=PRECISIONS,
        default=precision,
        help="arithmetic of the towers; bf16 is meant for GPUs, most CPUs are slower with it "
        f"(default: {precision or 'that of the index, else fp32'})",
    )
    add_batch_size(verb)


def add_model(
    verb: argparse.ArgumentParser, default: str | None = DEFAULT_MODEL, precision: str | None = "fp32"
) -> None:
    """Add the model, its device and its precision."""
    note = f" (default: {default})" if default else ""
    verb.add_argument("--model", metavar="MODEL", help=f"{MODEL}, or an architecture with --pretrained{note}")
    verb.add_argument(
        "--pretrained", metavar="TAG|FILE", help="weights of an architecture: open_clip's tag, or a file"
    )
    add_device(verb, precision)


def add_address(verb: argparse.ArgumentParser, *, port: int, path: str) -> None:
    """Add the address of a server. port: its default. path: an example of --root-path."""
    verb.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1, this machine only")
    verb.add_argument("--port", type=int, default=port, help=f"default: {port}")
    verb.add_argument(
        "--root-path",
        default="",
        metavar="PATH|URL",
        help=f"address behind a proxy: {path}, or https://example.org{path} to also allow that host",
    )


def add_output(verb: argparse.ArgumentParser, *others: str) -> None:
    """Add the file of rows and its format. others: formats that this verb alone writes."""
    verb.add_argument(
        "--format", choices=(*FORMATS, *others), help="default: by the output's suffix, else csv"
    )
    verb.add_argument("--output", type=file_or_stdout, metavar="FILE", help="default: standard output")


def add_capture(verb: argparse.ArgumentParser) -> None:
    """Add the columns of EXIF."""
    verb.add_argument(
        "--add",
        default=(),
        metavar="COLUMNS",
        help="columns from EXIF: any of date,place,camera",
    )


def add_transform(verb: argparse.ArgumentParser, default: str = "by the model's origin") -> None:
    """Add the image transform. default: description of the one that applies without the option."""
    verb.add_argument(
        "--transform",
        choices=TRANSFORMS,
        help="image preprocessing: the model's own preprocess_cfg, or pybioclip's squash as for "
        f"imageomics/bioclip and imageomics/bioclip-2 (default: {default})",
    )


def add_reading(verb: argparse.ArgumentParser) -> None:
    """Add options for reading image files."""
    verb.add_argument(
        "--exif",
        choices=["apply", "ignore"],
        help="rotate images by their EXIF orientation (default), or not, as pybioclip",
    )
    verb.add_argument(
        "--max-pixels",
        type=positive,
        metavar="N",
        help="largest image to read, in pixels (default 178,956,970)",
    )
    verb.add_argument("--strict", action="store_true", help="refuse truncated JPEGs")


def reading(arguments: argparse.Namespace) -> Any:
    """Return the options of add_reading as ReadOptions, None if none is given."""
    names = ("exif", "max_pixels", "strict")
    given = {name: value for name in names if (value := getattr(arguments, name))}
    if not given:
        return None
    from bioclip_jax.pipeline.images import ReadOptions

    return ReadOptions(**given)


def loading(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the options of add_model, add_transform and add_reading as keyword arguments of load_model."""
    names = ("pretrained", "device", "precision", "batch_size", "transform")
    given = {name: getattr(arguments, name) for name in names if hasattr(arguments, name)}
    return given | ({"reading": reading(arguments)} if hasattr(arguments, "exif") else {})


def file_or_stdout(text: str) -> Path | None:
    """Parse a file; "-" and pybioclip's "stdout" mean standard output."""
    return None if text in ("stdout", "-") else Path(text)


def probability(text: str) -> float:
    """Parse a number above 0 and at most 1."""
    number = float(text)
    if not 0 < number <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and at most 1")
    return number


def positive(text: str) -> int:
    """Parse a positive integer."""
    number = _whole(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not positive")
    return number


def non_negative(text: str) -> int:
    """Parse a nonnegative integer."""
    number = _whole(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{number} is below 0")
    return number


def seed(text: str) -> int:
    """Parse a seed of JAX's random numbers, which has 63 bits."""
    number = non_negative(text)
    if number >= 2**63:
        raise argparse.ArgumentTypeError(f"{number} is not below 2^63")
    return number


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def register_datasets() -> None:
    """Register the project's TFDS builders."""
    import bioclip_jax.datasets  # noqa: F401


def print_result(result: dict[str, Any]) -> None:
    """Print one value per line, and the values of a dictionary on one line."""
    for name, value in result.items():
        if isinstance(value, dict):
            value = "  ".join(f"{key} {_format(item)}" for key, item in value.items()) or "none"
        print(f"{name:24s} {_format(value)}")


def print_known(result: dict[str, Any]) -> None:
    """Print the values that are not None, and the lengths of lists."""
    counted = {name: len(value) if isinstance(value, list) else value for name, value in result.items()}
    print_result({name: value for name, value in counted.items() if value is not None})


def _format(value: Any) -> str:
    if isinstance(value, (list, tuple)) and value and all(isinstance(item, float) for item in value):
        return " to ".join(map(_format, value)) if len(value) == 2 else ", ".join(map(_format, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def report_done(arguments: argparse.Namespace, result: Result, kind: str, done: str) -> None:
    """Report counts and the output on standard error, unless results are printed on a terminal."""
    if arguments.json or (result["output"] is None and sys.stdout.isatty()):
        return
    unreadable = len(result.get("unreadable", ()))
    message = f"{done} {count_of(result[kind] - unreadable, _SINGULAR[kind], kind)}"
    if "events" in result:
        message += f" of {count_of(result['events'], 'event')}"
    if unreadable:
        message += f", skipped {unreadable:,} unreadable"
    if result["output"] is not None:
        message += f": {result['output']}"
    elif arguments.output is not None:
        message += "; none has a prediction, so nothing was written"
    if "rows" in result:
        message += f", row names in {result['rows']}"
    print(message, file=sys.stderr)
