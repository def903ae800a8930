"""The benchmarks: bench loader, train, memory, compile, gpu, scaling, learn, predict, field, events, twin."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from bioclip_jax.errors import UserError

from .bench_field import add_field_verbs
from .bench_twin import add_twin_verb
from .config import add_config_verb, experiment_config
from .options import Result, add_family, add_verb, non_negative, positive, print_result, register_datasets

# The recipes' batches are for 32 GPUs.
_RECIPE_DEVICES = 32


def bench_loader(arguments: argparse.Namespace) -> Result:
    """Measure the input pipeline."""
    from bioclip_jax.bench import measure_loader

    result = measure_loader(
        arguments.shards, peer=arguments.peer, workers=arguments.workers, window=arguments.window
    )
    if not arguments.json:
        print_result(result)
    return result


def bench_train(arguments: argparse.Namespace) -> Result:
    """Measure the training step."""
    from bioclip_jax.bench import measure_training
    from bioclip_jax.distributed import all_processes

    config = experiment_config(arguments)
    register_datasets()
    with all_processes() as first:
        result = measure_training(config, steps=arguments.steps, peer=arguments.peer, data=arguments.data)
    if first and not arguments.json:
        print_result(result)
    return result if first else None


def bench_memory(arguments: argparse.Namespace) -> Result:
    """Measure device memory."""
    from bioclip_jax.bench import measure_memory, memory_table

    result = measure_memory(experiment_config(arguments), devices=arguments.devices)
    if not arguments.json:
        print(memory_table(result))
    return result


def bench_compile(arguments: argparse.Namespace) -> Result:
    """Compile the training step for GPUs that need not be there."""
    from bioclip_jax.bench import compile_table, measure_compiled

    result = measure_compiled(
        config_for_devices(arguments),
        target=arguments.target,
        devices=arguments.devices,
        gemm=arguments.gemm,
        text_length=arguments.text_length,
        hlo=arguments.hlo,
    )
    if not arguments.json:
        print(compile_table(result))
    return result


def config_for_devices(arguments: argparse.Namespace) -> Any:
    """Return the config with the batch of --devices: by option or override, else the recipe's for each."""
    config = experiment_config(arguments)

    def of_all(key: str, each: int | None, batch: int) -> int:
        if each is None and any(option.startswith(f"--config.{key}=") for option in arguments.rest):
            return batch
        return _of_one_device(each, batch) * arguments.devices

    pairs = of_all("global_batch_size", arguments.pairs_per_device, config.global_batch_size)
    replayed = of_all("replay.batch_size", arguments.replay_pairs_per_device, config.replay.batch_size)
    return replace(config, global_batch_size=pairs, replay=replace(config.replay, batch_size=replayed))


def _of_one_device(given: int | None, batch: int) -> int:
    """Return the pairs of a device: those of the option, else its share of the config's batch."""
    return batch // _RECIPE_DEVICES if given is None else given


def bench_scaling(arguments: argparse.Namespace) -> Result:
    """Model training on many GPUs."""
    from bioclip_jax.bench import GPUS, model_scaling, scaling_table

    result = model_scaling(
        experiment_config(arguments), pairs_per_second=arguments.pairs_per_second, gpus=arguments.gpus or GPUS
    )
    if not arguments.json:
        print(scaling_table(result))
    return result


def bench_predict(arguments: argparse.Namespace) -> Result:
    """Measure prediction."""
    from bioclip_jax.bench import measure_prediction, prediction_table

    result = measure_prediction(
        arguments.model,
        peer=arguments.peer,
        full=arguments.full,
        taxa_count=arguments.taxa_count,
        image_cosine=arguments.image_cosine,
        many_labels=arguments.labels,
        images=arguments.images,
        photographs=arguments.photographs,
        **({"parts": arguments.parts} if arguments.parts else {}),
    )
    if not arguments.json:
        print(prediction_table(result))
    return result


def bench_gpu(arguments: argparse.Namespace) -> Result:
    """Measure a GPU that is available only briefly."""
    from bioclip_jax.bench import Sizes, gpu_report, measure_gpu, plan_measurements

    config = experiment_config(arguments)
    pairs = _of_one_device(arguments.pairs_per_device, config.global_batch_size)
    replayed = _of_one_device(arguments.replay_pairs_per_device, config.replay.batch_size)
    sizes = (Sizes.smallest if arguments.quick else Sizes)(pairs, replayed)
    if arguments.list:
        listed = plan_measurements(config, sizes)
        if not arguments.json:
            for measurement in listed:
                print(f"{measurement.name:32s} {measurement.minutes:4.1f} minutes  {measurement.title}")
        return {measurement.name: measurement.minutes for measurement in listed}
    if arguments.output is None:
        raise UserError("name the folder for the results: bioclip-jax bench gpu OUT")
    result = measure_gpu(config, arguments.output, sizes, minutes=arguments.minutes, only=arguments.only)
    if not arguments.json:
        print(gpu_report(result))
    return result


def add_verbs(verbs: Any) -> None:
    """Declare the verbs."""
    family = add_family(verbs, "bench", "measure speed and memory, optionally against a peer")
    verb = add_verb(family, "loader", bench_loader, "images/s of the input pipeline on one core")
    verb.add_argument("shards", metavar="SHARDS", help="a folder of tars")
    verb.add_argument("--peer", action="store_true", help="also measure webdataset and torchvision")
    verb.add_argument(
        "--workers", type=positive, nargs="+", default=(), metavar="N", help="also with N worker processes"
    )
    verb.add_argument(
        "--window", type=int, default=0, metavar="N", help="sequential read positions, as data.window"
    )
    verb = add_config_verb(family, "train", bench_train, "pairs/s, FLOP/s and memory of the training step")
    verb.add_argument(
        "--steps", type=positive, default=20, help="steps to time, after a warm-up (default: 20)"
    )
    verb.add_argument(
        "--data", metavar="DATA", help="source of batches, as data.train (default: random batches)"
    )
    verb.add_argument("--peer", action="store_true", help="also measure open_clip with torch.compile")
    verb = add_config_verb(family, "memory", bench_memory, "memory of each of N devices, compiled on a CPU")
    verb.add_argument("--devices", type=positive, required=True, metavar="N", help="devices to compile for")
    verb = add_config_verb(
        family,
        "compile",
        bench_compile,
        "memory, collectives and a roofline of the training step, compiled for NVIDIA GPUs without one",
        "All times are estimates. The batch of a device is its share of the config's on 32 devices, on any "
        "number of them; one set by --config.global_batch_size or --config.replay.batch_size is that of all.",
    )
    verb.add_argument(
        "--target", default="h100", metavar="GPU", help="h100, h200 or a100-40gb (default: h100)"
    )
    verb.add_argument(
        "--devices",
        type=positive,
        default=1,
        metavar="N",
        help="GPUs to compile for, in machines of eight (default: 1)",
    )
    _add_pairs(verb)
    verb.add_argument(
        "--gemm",
        default="rewrite",
        metavar="KIND",
        help="matrix products: rewrite, by cuBLASLt with epilogues, or cublas, XLA's default flags with "
        "cuBLASLt in place of Triton (default: rewrite)",
    )
    verb.add_argument(
        "--text-length", type=positive, default=48, metavar="N", help="tokens of a text (default: 48)"
    )
    verb.add_argument("--hlo", type=Path, metavar="FILE", help="also write the compiled program as text")
    verb = add_config_verb(
        family,
        "gpu",
        bench_gpu,
        "measure a GPU in short calls, each going on where the last one stopped",
        default="bioclip2_vit_l14.py",
    )
    verb.add_argument(
        "output", type=Path, nargs="?", metavar="OUT", help="folder of gpu.md, gpu.json and caches"
    )
    verb.add_argument(
        "--minutes", type=float, default=9.0, metavar="N", help="duration of this call (default: 9)"
    )
    verb.add_argument("--only", nargs="+", default=(), metavar="NAME", help="only these measurements")
    verb.add_argument("--list", action="store_true", help="print the measurements and guesses of their time")
    _add_pairs(verb)
    verb.add_argument(
        "--quick",
        action="store_true",
        help="the smallest sizes, to try the command; its figures mean nothing",
    )
    verb = add_config_verb(family, "scaling", bench_scaling, "model the cost of training on 8 to 1,024 GPUs")
    verb.add_argument(
        "--pairs-per-second",
        type=float,
        required=True,
        metavar="X",
        help="throughput of one GPU, from bench train",
    )
    verb.add_argument("--gpus", type=positive, nargs="+", metavar="N", help="default: 8 16 ... 1024")

    add_twin_verb(family)
    add_field_verbs(family)
    verb = add_verb(family, "predict", bench_predict, "speed, memory and scores of predict")
    verb.add_argument(
        "--model", default="ViT-B-16", metavar="MODEL", help="a model, or an architecture with random weights"
    )
    verb.add_argument("--peer", action="store_true", help="also measure pybioclip")
    verb.add_argument(
        "--full", action="store_true", help="include cases that take the peer half an hour, and 20,000 images"
    )
    verb.add_argument(
        "--parts",
        nargs="+",
        metavar="PART",
        help="labels, taxa, folders, memory (default: these four), precision",
    )
    verb.add_argument(
        "--taxa-count", type=positive, default=867_455, metavar="N", help="taxa of the synthetic tree"
    )
    verb.add_argument(
        "--image-cosine", type=float, default=0.3, metavar="X", help="cosine of an image to its taxon"
    )
    verb.add_argument(
        "--labels",
        type=positive,
        default=400,
        metavar="N",
        help="labels of the larger classifier (default: 400)",
    )
    verb.add_argument("--images", metavar="DIR", help="photographs (default: generated images)")
    verb.add_argument(
        "--photographs", type=positive, default=64, metavar="N", help="photographs to time (default: 64)"
    )


def _add_pairs(verb: argparse.ArgumentParser) -> None:
    """Add the batch of a device."""
    verb.add_argument(
        "--pairs-per-device",
        type=positive,
        metavar="N",
        help="pairs of a device, replayed ones excluded (default: the config's batch / 32)",
    )
    verb.add_argument(
        "--replay-pairs-per-device",
        type=non_negative,
        metavar="N",
        help="replayed pairs of a device (default: the config's / 32)",
    )
