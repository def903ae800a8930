"""The command line: one verb a function, everything heavy imported inside it."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

from bioclip_jax import __version__
from bioclip_jax.errors import UserError

# A result as one JSON object, or text for a person.
Result = dict[str, Any] | None


def main(argv: list[str] | None = None) -> int:
    """Run one command. Returns the exit status: 0, 2 for a user's mistake, 128 + N after signal N."""
    parser = _parser()
    arguments, rest = parser.parse_known_args(argv)
    if rest and not arguments.takes_overrides:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    arguments.rest = rest
    # What XLA compiled once is kept, so that a command's second run, or a resumed training, starts at once.
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bioclip_jax" / "xla"
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))
    try:
        result = arguments.run(arguments)
    except UserError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output (head, less) has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        about = f"{error.filename}: " if error.filename else ""
        print(f"error: {about}{error.strerror or error}; check the path, its permissions and the disk", file=sys.stderr)
        return 2
    if isinstance(result, int):
        return result
    if result is not None and getattr(arguments, "json", False):
        print(json.dumps(result))
    return 0


def train(arguments: argparse.Namespace) -> Result | int:
    from bioclip_jax.distributed.startup import all_processes
    from bioclip_jax.train.loop import Interrupted, train

    config = _config(arguments)
    _register_datasets()
    with all_processes() as first:
        try:
            result = train(config, arguments.workdir, evaluate=_validation(config))
        except Interrupted as stop:
            if first:
                print(stop, file=sys.stderr)
            return 128 + stop.signal
        return result if first else None


def _config(arguments: argparse.Namespace) -> Any:
    """The TrainConfig of --config and the overrides behind it."""
    from bioclip_jax.train.config import train_config
    from bioclip_jax.train.flags import read_config

    return train_config(read_config(arguments.config, arguments.rest))


def _validation(config: Any) -> Any:
    """The zero-shot hook over the validation split, or None where the config asks for none."""
    if not config.evaluate_every:
        return None
    from bioclip_jax.evaluate.zero_shot import ValidationHook

    return ValidationHook(config)


def export(arguments: argparse.Namespace) -> Result:
    from bioclip_jax.convert.hub import export_model

    path = export_model(arguments.model, arguments.output, format=arguments.format)
    print(f"wrote {path}; load it with open_clip.create_model_and_transforms('local-dir:{path}')", file=sys.stderr)
    return {"output": str(path)}


def import_(arguments: argparse.Namespace) -> Result:
    from bioclip_jax.convert.hub import import_model

    path = import_model(arguments.source, arguments.output, model=arguments.model)
    print(f"wrote {path}; give it as MODEL, or as config.init_from", file=sys.stderr)
    return {"output": str(path)}


def embed(arguments: argparse.Namespace) -> Result:
    from bioclip_jax.predict.embed import embed

    return embed(arguments.inputs, arguments.model, arguments.output, batch_size=arguments.batch_size)


def predict(arguments: argparse.Namespace) -> Result:
    from bioclip_jax.predict.predict import predict

    return predict(
        arguments.inputs,
        arguments.model,
        labels=arguments.cls,
        k=arguments.k,
        format=arguments.format,
        output=arguments.output,
        batch_size=arguments.batch_size,
        as_result=arguments.json,
    )


def eval_zero_shot(arguments: argparse.Namespace) -> Result:
    from bioclip_jax.evaluate.zero_shot import evaluate_model

    _register_datasets()
    result = evaluate_model(
        arguments.model,
        data=arguments.data,
        images=arguments.images,
        labels=arguments.labels,
        text_type=arguments.text_type,
        templates=arguments.templates,
        candidates=arguments.candidates,
        batch_size=arguments.batch_size,
    )
    if not arguments.json:
        _print_result(result)
    return result


def analyze_overview(arguments: argparse.Namespace) -> Result:
    from bioclip_jax.analyze.overview import overview

    _register_datasets()
    return overview(arguments.model, arguments.data, arguments.output)


def bench_loader(arguments: argparse.Namespace) -> Result:
    from bioclip_jax.bench.loader import run

    result = run(arguments.shards, peer=arguments.peer, workers=arguments.workers, window=arguments.window)
    if not arguments.json:
        _print_result(result)
    return result


def bench_train(arguments: argparse.Namespace) -> Result:
    from bioclip_jax.bench.train import run
    from bioclip_jax.distributed.startup import all_processes

    config = _config(arguments)
    _register_datasets()
    with all_processes() as first:
        result = run(config, steps=arguments.steps, peer=arguments.peer, data=arguments.data)
    if first and not arguments.json:
        _print_result(result)
    return result if first else None


def bench_memory(arguments: argparse.Namespace) -> Result:
    from bioclip_jax.bench.memory import run, table

    result = run(_config(arguments), devices=arguments.devices)
    if not arguments.json:
        print(table(result))
    return result


def bench_scaling(arguments: argparse.Namespace) -> Result:
    from bioclip_jax.bench.scaling import GPUS, run, table

    result = run(_config(arguments), pairs_per_second=arguments.pairs_per_second, gpus=arguments.gpus or GPUS)
    if not arguments.json:
        print(table(result))
    return result


def _print_result(result: dict[str, Any]) -> None:
    """A line a figure for a person; groups of figures on one line."""
    for name, value in result.items():
        if isinstance(value, dict):
            value = "  ".join(f"{key} {_figure(item)}" for key, item in value.items()) or "none"
        print(f"{name:24s} {_figure(value)}")


def _figure(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _register_datasets() -> None:
    """Make the project's own TFDS builders known by name."""
    import bioclip_jax.datasets  # noqa: F401


class _Parser(argparse.ArgumentParser):
    """Tells a mistake in one line, as every other mistake is told."""

    def error(self, message: str) -> NoReturn:
        print(f"error: {message}; see {self.prog} --help", file=sys.stderr)
        sys.exit(2)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="bioclip-jax", description="Train, evaluate, export and use BioCLIP-2-class models in JAX."
    )
    parser.add_argument("--version", action="version", version=f"bioclip-jax {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)

    verb = _configured(
        verbs,
        "train",
        train,
        "train a model, or go on with a run",
        "If the directory holds a checkpoint, training goes on from it.",
    )
    verb.add_argument("--workdir", required=True, type=Path, metavar="DIR", help="the training directory")

    verb = _verb(verbs, "export", export, "write a directory that open_clip, pybioclip and the Hub load")
    verb.add_argument("model", metavar="MODEL", help=_MODEL)
    verb.add_argument("output", type=Path, metavar="OUT", help="a directory that does not exist or is empty")
    verb.add_argument("--format", choices=["open_clip"], default="open_clip")

    verb = _verb(verbs, "import", import_, "read weights of open_clip, safetensors or pickled")
    verb.add_argument(
        "source", metavar="SOURCE", help="a directory, a weights file, local-dir:PATH or hf-hub:ORG/NAME"
    )
    verb.add_argument("output", type=Path, metavar="OUT", help="a directory that does not exist or is empty")
    verb.add_argument("--model", metavar="NAME", help="the architecture by its open_clip name, where SOURCE says none")

    verb = _verb(verbs, "embed", embed, "write one unit vector an image")
    _inputs(verb)
    verb.add_argument("--output", required=True, type=Path, metavar="FILE", help="ends in .npy, .parquet or .json")

    verb = _verb(verbs, "predict", predict, "name what is on images")
    _inputs(verb)
    verb.add_argument(
        "--cls", required=True, metavar="LABELS", help="the possible answers: a,b,c or a file with one a line"
    )
    verb.add_argument("--k", type=_positive, default=5, help="how many answers an image (default 5)")
    verb.add_argument("--format", choices=["csv", "table", "json", "parquet"], default=None, help="default csv")
    verb.add_argument("--output", type=Path, metavar="FILE", help="default: standard output")

    protocols = verbs.add_parser("eval", help="score a model by a published protocol").add_subparsers(
        title="protocols", metavar="PROTOCOL", required=True
    )
    verb = _verb(protocols, "zero-shot", eval_zero_shot, "top-1 and top-5 among class names, at every rank")
    verb.add_argument("--model", required=True, metavar="MODEL", help=_MODEL)
    where = verb.add_mutually_exclusive_group(required=True)
    where.add_argument("--data", metavar="DATA", help="tars, ArrayRecord, a folder with metadata.csv or NAME:SPLIT")
    where.add_argument("--images", type=Path, metavar="DIR", help="the folder that the CSV's file paths start from")
    verb.add_argument("--labels", type=Path, metavar="CSV", help="annotations for --images")
    verb.add_argument("--text-type", default="taxon_com", choices=["asis", "sci", "taxon", "com", "sci_com", "taxon_com"])
    verb.add_argument("--candidates", metavar="DATA", help="take the possible species from here instead of from the data")
    verb.add_argument("--templates", choices=["openai", "one"], default="openai")
    verb.add_argument("--batch-size", type=_positive, help="images that go through the model at once")

    kinds = verbs.add_parser("analyze", help="look into the embedding space").add_subparsers(
        title="analyses", metavar="ANALYSIS", required=True
    )
    verb = _verb(kinds, "overview", analyze_overview, "draw the training curve and a map of the embeddings")
    verb.add_argument("--model", required=True, metavar="MODEL", help="a training directory")
    verb.add_argument("--data", required=True, metavar="DATA", help="the images to map")
    verb.add_argument("--output", required=True, type=Path, metavar="PNG")

    kinds = verbs.add_parser("bench", help="measure speed, beside a peer if asked").add_subparsers(
        title="benchmarks", metavar="WHAT", required=True
    )
    verb = _verb(kinds, "loader", bench_loader, "images/s of the training pipeline on one core")
    verb.add_argument("shards", metavar="SHARDS", help="a folder of tars")
    verb.add_argument("--peer", action="store_true", help="run webdataset and torchvision beside it")
    verb.add_argument("--workers", type=_positive, nargs="+", default=(), metavar="N", help="also through N processes")
    verb.add_argument("--window", type=int, default=0, metavar="N", help="read forward at N places, as data.window")
    verb = _configured(kinds, "train", bench_train, "pairs/s, FLOP/s and memory of a config's update")
    verb.add_argument("--steps", type=_positive, default=20, help="updates to time, behind a warm-up (default 20)")
    verb.add_argument("--data", metavar="DATA", help="read batches from here, as data.train (default: random ones)")
    verb.add_argument("--peer", action="store_true", help="run open_clip under torch.compile beside it")
    verb = _configured(kinds, "memory", bench_memory, "what a device holds, by compiling for so many on a CPU")
    verb.add_argument("--devices", type=_positive, required=True, metavar="N", help="devices to compile for")
    verb = _configured(kinds, "scaling", bench_scaling, "a model of the cost on 8 to 1,024 GPUs")
    verb.add_argument(
        "--pairs-per-second", type=float, required=True, metavar="X", help="of one GPU alone, as bench train measures it"
    )
    verb.add_argument(
        "--gpus", type=_positive, nargs="+", metavar="N", help="default 8 16 ... 1024"
    )
    return parser


_MODEL = "a training directory, a checkpoint in it, an exported or imported directory, local-dir:PATH or hf-hub:ORG/NAME"


def _verb(verbs: Any, name: str, run: Any, help: str, epilog: str | None = None) -> argparse.ArgumentParser:
    verb = verbs.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".", epilog=epilog)
    verb.set_defaults(run=run, takes_overrides=False)
    verb.add_argument("--json", action="store_true", help="print the result as one JSON object")
    return verb


def _configured(verbs: Any, name: str, run: Any, help: str, epilog: str = "") -> argparse.ArgumentParser:
    """A verb that works on an experiment."""
    overrides = "Any key of the config can be set behind the other options: --config.learning_rate=1e-4. "
    verb = _verb(verbs, name, run, help, overrides + epilog)
    verb.set_defaults(takes_overrides=True)
    verb.add_argument("--config", required=True, metavar="FILE", help="a Python file with get_config(), as in configs/")
    return verb


def _inputs(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "inputs", nargs="+", metavar="INPUTS", help="images, folders, globs, a CSV with a filepath column, or tars"
    )
    verb.add_argument("--model", required=True, metavar="MODEL", help=_MODEL)
    verb.add_argument("--batch-size", type=_positive, help="images that go through the model at once")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not positive")
    return number


if __name__ == "__main__":
    sys.exit(main())
