"""Options, configs and messages that several verbs share."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, NoReturn

from bioclip_jax.convert import DEFAULT_MODEL, TRANSFORMS
from bioclip_jax.convert import MODEL_FORMS as MODEL
from bioclip_jax.predict import FORMATS

# A result as one JSON object, or text for a person.
Result = dict[str, Any] | None


class Parser(argparse.ArgumentParser):
    """Tells a mistake in one line, as every other mistake is told."""

    def error(self, message: str) -> NoReturn:
        print(f"error: {message}; see {self.prog} --help", file=sys.stderr)
        sys.exit(2)


def add_verb(
    verbs: Any, name: str, run: Any, help: str, epilog: str | None = None
) -> argparse.ArgumentParser:
    verb = verbs.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".", epilog=epilog)
    verb.set_defaults(run=run, takes_overrides=False)
    verb.add_argument("--json", action="store_true", help="print the result as one JSON object")
    return verb


def add_configured(verbs: Any, name: str, run: Any, help: str, epilog: str = "") -> argparse.ArgumentParser:
    """A verb that works on an experiment."""
    overrides = "Any key of the config can be set behind the other options: --config.learning_rate=1e-4. "
    verb = add_verb(verbs, name, run, help, overrides + epilog)
    verb.set_defaults(takes_overrides=True)
    verb.add_argument(
        "--config", required=True, metavar="FILE", help="a Python file with get_config(), as in configs/"
    )
    return verb


def add_inputs(verb: argparse.ArgumentParser, nargs: str = "+") -> None:
    verb.add_argument(
        "inputs",
        nargs=nargs,
        metavar="INPUTS",
        help="images, folders, globs, tables with a filepath column, or tars",
    )


def add_model(verb: argparse.ArgumentParser, default: str | None = DEFAULT_MODEL) -> None:
    """Which model, and how it runs."""
    note = f" (default {default})" if default else ""
    verb.add_argument("--model", metavar="MODEL", help=f"{MODEL}, or an architecture with --pretrained{note}")
    verb.add_argument(
        "--pretrained", metavar="TAG|FILE", help="the weights of an architecture: open_clip's tag, or a file"
    )
    verb.add_argument(
        "--device", metavar="DEVICE", help="cpu, cuda or cuda:N (default: all there are of the fastest)"
    )
    verb.add_argument("--batch-size", type=positive, help="images that go through the model at once")


def add_taxa(verb: argparse._ActionsContainer) -> None:
    """The taxa head."""
    verb.add_argument(
        "--taxa", type=Path, metavar="FILE", help="what taxa build wrote (default: the model's own)"
    )


def add_taxa_choice(verb: argparse._ActionsContainer) -> None:
    """The taxa of the head that can be predicted."""
    verb.add_argument(
        "--subset", type=Path, metavar="CSV", help="only these taxa; the first column is named by their rank"
    )
    verb.add_argument(
        "--within", metavar="TAXON", help="only what belongs to a taxon of any rank, such as Mammalia"
    )
    verb.add_argument(
        "--skip-unknown", action="store_true", help="pass over names of --subset that the taxa lack"
    )
    add_taxa(verb)


def add_temperature(verb: argparse._ActionsContainer) -> None:
    """The softmax temperature of taxa."""
    verb.add_argument("--temperature", metavar="T|FILE", help="what taxa calibrate wrote, or a number")


def add_output(verb: argparse.ArgumentParser) -> None:
    """The file of rows, and its format."""
    verb.add_argument("--format", choices=FORMATS, help="default: by the output's suffix, else csv")
    verb.add_argument("--output", type=file_or_stdout, metavar="FILE", help="default: standard output")


def add_transform(verb: argparse.ArgumentParser, default: str = "what the model is") -> None:
    """The transform of images. `default`: which it is without the option, for a person."""
    verb.add_argument(
        "--transform",
        choices=TRANSFORMS,
        help="how images are prepared: by the model's own preprocess_cfg, or squashed as pybioclip does for "
        f"imageomics/bioclip and imageomics/bioclip-2 (default: {default})",
    )


def add_reading(verb: argparse.ArgumentParser) -> None:
    """Options for reading image files."""
    verb.add_argument(
        "--exif",
        choices=["apply", "ignore"],
        help="turn images upright by EXIF (default), or not, as pybioclip",
    )
    verb.add_argument(
        "--max-pixels", type=positive, metavar="N", help="read images of up to N pixels (default 178,956,970)"
    )
    verb.add_argument("--strict", action="store_true", help="refuse JPEGs that lack their last rows")


def reading(arguments: argparse.Namespace) -> Any:
    """The options of add_reading as ReadOptions; None where none is given."""
    given = {
        name: getattr(arguments, name)
        for name in ("exif", "max_pixels", "strict")
        if getattr(arguments, name)
    }
    if not given:
        return None
    from bioclip_jax.pipeline.images import ReadOptions

    return ReadOptions(**given)


def running(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options of add_model without the model, add_transform and add_reading, as keyword arguments."""
    names = ("pretrained", "device", "batch_size", "transform")
    given = {name: getattr(arguments, name) for name in names if hasattr(arguments, name)}
    return given | ({"reading": reading(arguments)} if hasattr(arguments, "exif") else {})


def file_or_stdout(text: str) -> Path | None:
    """For arguments: a file, or standard output by its usual name or the one that pybioclip gives it."""
    return None if text in ("stdout", "-") else Path(text)


def probability(text: str) -> float:
    """For arguments: a number above 0 and at most 1."""
    number = float(text)
    if not 0 < number <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and at most 1")
    return number


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not positive")
    return number


def non_negative(text: str) -> int:
    """For arguments: a whole number from 0 on."""
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{number} is below 0")
    return number


def experiment_config(arguments: argparse.Namespace) -> Any:
    """The TrainConfig of --config and the overrides behind it."""
    from bioclip_jax.train import read_config, train_config

    return train_config(read_config(arguments.config, arguments.rest))


def register_datasets() -> None:
    """Register the TFDS builders of bioclip_jax.datasets, where TFDS is installed."""
    try:
        import bioclip_jax.datasets  # noqa: F401
    except ModuleNotFoundError as error:
        # Without it, only data that is named as a TFDS set is an error.
        if error.name != "tensorflow_datasets":
            raise


def print_result(result: dict[str, Any]) -> None:
    """A line a figure for a person; groups of figures on one line."""
    for name, value in result.items():
        if isinstance(value, dict):
            value = "  ".join(f"{key} {_figure(item)}" for key, item in value.items()) or "none"
        print(f"{name:24s} {_figure(value)}")


def _figure(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def tell_done(arguments: argparse.Namespace, result: Result, kind: str, done: str) -> None:
    """Say on standard error how many there were and where they are, unless the results themselves are on a terminal."""
    if arguments.json or (result["output"] is None and sys.stdout.isatty()):
        return
    unreadable = len(result.get("unreadable", ()))
    message = f"{done} {result[kind] - unreadable:,} {kind}"
    if unreadable:
        message += f", skipped {unreadable:,} unreadable"
    if result["output"] is not None:
        message += f": {result['output']}"
    elif arguments.output is not None:
        message += ", none of which has an answer; nothing was written"
    if "rows" in result:
        message += f", its rows are named in {result['rows']}"
    print(message, file=sys.stderr)


def print_known(result: dict[str, Any]) -> None:
    """print_result of what has a value; of lists, how many entries they have."""
    counted = {name: len(value) if isinstance(value, list) else value for name, value in result.items()}
    print_result({name: value for name, value in counted.items() if value is not None})
