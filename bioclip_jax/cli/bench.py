"""The verbs that measure speed and memory."""

from __future__ import annotations

import argparse
from typing import Any

from .options import (
    Result,
    add_configured,
    add_verb,
    experiment_config,
    positive,
    print_result,
    register_datasets,
)


def bench_loader(arguments: argparse.Namespace) -> Result:
    from bioclip_jax.bench import measure_loader

    result = measure_loader(
        arguments.shards, peer=arguments.peer, workers=arguments.workers, window=arguments.window
    )
    if not arguments.json:
        print_result(result)
    return result


def bench_train(arguments: argparse.Namespace) -> Result:
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
    from bioclip_jax.bench import measure_memory, memory_table

    result = measure_memory(experiment_config(arguments), devices=arguments.devices)
    if not arguments.json:
        print(memory_table(result))
    return result


def bench_scaling(arguments: argparse.Namespace) -> Result:
    from bioclip_jax.bench import GPUS, model_scaling, scaling_table

    result = model_scaling(
        experiment_config(arguments), pairs_per_second=arguments.pairs_per_second, gpus=arguments.gpus or GPUS
    )
    if not arguments.json:
        print(scaling_table(result))
    return result


def bench_predict(arguments: argparse.Namespace) -> Result:
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


def add_verbs(verbs: Any) -> None:
    """Declare them."""
    kinds = verbs.add_parser("bench", help="measure speed, beside a peer if asked").add_subparsers(
        title="benchmarks", metavar="WHAT", required=True
    )
    verb = add_verb(kinds, "loader", bench_loader, "images/s of the training pipeline on one core")
    verb.add_argument("shards", metavar="SHARDS", help="a folder of tars")
    verb.add_argument("--peer", action="store_true", help="run webdataset and torchvision beside it")
    verb.add_argument(
        "--workers", type=positive, nargs="+", default=(), metavar="N", help="also through N processes"
    )
    verb.add_argument(
        "--window", type=int, default=0, metavar="N", help="read forward at N places, as data.window"
    )
    verb = add_configured(kinds, "train", bench_train, "pairs/s, FLOP/s and memory of a config's update")
    verb.add_argument(
        "--steps", type=positive, default=20, help="updates to time, behind a warm-up (default 20)"
    )
    verb.add_argument(
        "--data", metavar="DATA", help="read batches from here, as data.train (default: random ones)"
    )
    verb.add_argument("--peer", action="store_true", help="run open_clip under torch.compile beside it")
    verb = add_configured(
        kinds, "memory", bench_memory, "what a device holds, by compiling for so many on a CPU"
    )
    verb.add_argument("--devices", type=positive, required=True, metavar="N", help="devices to compile for")
    verb = add_configured(kinds, "scaling", bench_scaling, "a model of the cost on 8 to 1,024 GPUs")
    verb.add_argument(
        "--pairs-per-second",
        type=float,
        required=True,
        metavar="X",
        help="of one GPU alone, as bench train measures it",
    )
    verb.add_argument("--gpus", type=positive, nargs="+", metavar="N", help="default 8 16 ... 1024")

    verb = add_verb(kinds, "predict", bench_predict, "speed, memory and scores of predictions")
    verb.add_argument(
        "--model", default="ViT-B-16", metavar="MODEL", help="or an architecture, with random weights"
    )
    verb.add_argument("--peer", action="store_true", help="run pybioclip beside it")
    verb.add_argument(
        "--full", action="store_true", help="also what takes the peer half an hour, and 20,000 images"
    )
    verb.add_argument(
        "--parts", nargs="+", metavar="PART", help="of labels, taxa, folders, memory (default: all)"
    )
    verb.add_argument(
        "--taxa-count", type=positive, default=867_455, metavar="N", help="taxa of the synthetic tree"
    )
    verb.add_argument("--image-cosine", type=float, default=0.3, metavar="X", help="of an image to its taxon")
    verb.add_argument(
        "--labels", type=positive, default=400, metavar="N", help="labels of the larger classifier"
    )
    verb.add_argument("--images", metavar="DIR", help="photographs (default: generated ones)")
    verb.add_argument("--photographs", type=positive, default=64, metavar="N", help="how many are timed")
