"""Config files and their overrides on the command line."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from bioclip_jax.cli.config import read_config
from bioclip_jax.errors import UserError
from bioclip_jax.models import get_config
from bioclip_jax.train.config import train_config

CONFIGS = Path(__file__).parents[2] / "configs"
MINI = str(CONFIGS / "mini.py")
EXPERIMENTS = sorted(p.name for p in CONFIGS.glob("*.py") if p.stem not in ("__init__", "common"))
HYPERPARAMETERS = [
    *("data.train", "data.window", "seed", "global_batch_size", "replay.batch_size"),
    *(f"image.{key}" for key in ("scale", "ratio", "interpolation", "mirror", "brightness", "mean", "std")),
    *("caption.types", "caption.draw", "caption.context_length"),
    *("model", "precision", "patch_dropout", "loss", "learning_rate", "weight_decay", "warmup_steps"),
    *(f"optimizer.{key}" for key in ("name", "beta1", "beta2", "eps", "clip_norm", "frozen")),
]


@pytest.mark.parametrize("file", EXPERIMENTS)
def test_every_experiment_is_a_valid_config(file):
    config = train_config(
        read_config(str(CONFIGS / file), ["--config.data.train=shards", "--config.data.val=shards"])
    )
    assert (
        get_config(config.model) and config.learning_rate > 0 and config.with_steps(1_000_000).total_steps > 0
    )


@pytest.mark.parametrize("file", EXPERIMENTS)
def test_every_experiment_states_its_hyperparameters(file):
    text = (CONFIGS / file).read_text()
    missing = [key for key in HYPERPARAMETERS if f"    config.{key} = " not in text]
    assert not missing, f"{file} leaves {missing} to common.py"


@pytest.mark.parametrize("file", ["bioclip_vit_b16.py", "bioclip2_vit_l14.py", "bioclip2_5_vit_h14.py"])
def test_the_published_recipes_use_imagenet_normalization(file):
    from open_clip.constants import IMAGENET_MEAN, IMAGENET_STD

    image = train_config(read_config(str(CONFIGS / file), ["--config.data.train=shards"])).image
    assert (image.mean, image.std) == (IMAGENET_MEAN, IMAGENET_STD)


def test_overrides_reach_the_dataclass():
    overrides = [
        "--config.learning_rate=0.5",
        "--config.data.val=elsewhere",
        "--config.init_from=local-dir:x",
    ]
    config = train_config(read_config(MINI, [*overrides, "--config.total_steps=7", "--config.mesh.fsdp=2"]))
    assert (config.learning_rate, config.data.val, config.init_from) == (0.5, "elsewhere", "local-dir:x")
    assert (config.total_steps, config.mesh.fsdp) == (7, 2)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "--config.learning_rte=1",
            "unknown config key config.learning_rte; did you mean config.learning_rate?",
        ),
        ("--config.data.trian=x", "unknown config key config.data.trian; did you mean config.data.train?"),
        ("--config.global_batch_size=many", "does not fit"),
        ("--config.image.scale[9]=1.0", "does not fit"),
        ("--learning_rate=1", "unknown option --learning_rate=1"),
        ("--config.seed", "unknown option --config.seed"),
    ],
)
def test_an_invalid_override_is_reported_in_one_line(override, message):
    with pytest.raises(UserError) as error:
        read_config(MINI, [override])
    assert message in str(error.value)


def test_missing_and_broken_config_files_are_reported(tmp_path):
    with pytest.raises(UserError, match="there is no config file"):
        read_config(str(tmp_path / "none.py"))
    broken = tmp_path / "broken.py"
    broken.write_text("def get_config():\n    return 1 / 0\n")
    with pytest.raises(UserError, match="broken.py cannot be read: ZeroDivisionError"):
        read_config(str(broken))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("--config.global_batch_size=0", "config.global_batch_size is 0; it must be at least 1"),
        ("--config.learning_rate=-1.0", "config.learning_rate is -1.0; it must not be negative"),
        ("--config.total_steps=0", "config.total_steps and config.epochs are both 0 or not set"),
        ("--config.total_steps=-5", "config.total_steps is -5; it must not be negative"),
        ("--config.keep_checkpoints=0", "config.keep_checkpoints is 0; keep at least 1"),
        ("--config.evaluate.batch_size=-1", "config.evaluate.batch_size is -1"),
        ("--config.optimizer.clip_norm=-1.0", "config.optimizer.clip_norm is -1.0"),
        (
            "--config.data.val=",
            "config.evaluate_every is set, but config.data.val is not",
        ),
        ("--config.learning_rate=nan", "config.learning_rate is nan; it must be a finite number"),
        ("--config.learning_rate=inf", "config.learning_rate is inf; it must be a finite number"),
        ("--config.weight_decay=nan", "config.weight_decay is nan; it must be a finite number"),
        ("--config.epochs=nan", "config.epochs is nan; it must be a finite number"),
        ("--config.epochs=inf", "config.epochs is inf; it must be a finite number"),
        ("--config.optimizer.clip_norm=nan", "config.optimizer.clip_norm is nan; it must be a finite number"),
        ("--config.optimizer.beta2=1.5", "config.optimizer.beta2 is 1.5; it must be at least 0 and below 1"),
        ("--config.optimizer.eps=0.0", "config.optimizer.eps is 0.0; it must be above 0"),
        ("--config.image.scale=(0.5, 1e999)", "config.image.scale is inf; it must be a finite number"),
        ("--config.data.weights=(1.0, 1e999)", "config.data.weights is inf; it must be a finite number"),
        ("--config.patch_dropout=nan", "config.patch_dropout is nan; it must be a finite number"),
        ("--config.precision=fp23", "config.precision is 'fp23'; it must be one of fp32, bf16"),
    ],
)
def test_a_value_out_of_range_is_reported(override, message):
    with pytest.raises(UserError, match=message.replace(".", r"\.")):
        train_config(read_config(MINI, [override]))


def test_epochs_are_converted_to_steps():
    config = train_config(read_config(MINI, ["--config.total_steps=3", "--config.epochs=2.5"]))
    assert config.with_steps(1000).total_steps == 3, "total_steps overrides epochs"
    overrides = ["--config.epochs=2.5", "--config.total_steps=0", "--config.global_batch_size=100"]
    assert train_config(read_config(MINI, overrides)).with_steps(1000).total_steps == 25


def test_steps_of_the_published_recipe_and_of_the_reference():
    config = train_config(read_config(str(CONFIGS / "bioclip2_vit_l14.py"), ["--config.data.train=shards"]))
    samples = 213_999_000
    assert config.with_steps(samples).total_steps == 71_244
    # The reference's loader rounds the batches of an epoch up to the same number for each of its 8 workers.
    workers, batches = 8, math.ceil(samples / config.global_batch_size)
    assert int(config.epochs) * math.ceil(batches / workers) * workers == 71_280
