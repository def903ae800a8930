"""Model cards: architecture, training data, settings, metrics and usage."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from bioclip_jax import __version__

from .load import ModelBundle

__all__ = ["model_card"]

_TASK = "zero-shot-image-classification"
# Settings of a run that its card lists, in this order.
_SETTINGS = (
    "total_steps",
    "epochs",
    "global_batch_size",
    "learning_rate",
    "weight_decay",
    "warmup_steps",
    "precision",
    "seed",
    "init_from",
)
_CAPTION_SETTINGS = ("types", "draw")
# Accuracies of an evaluation, in [0, 1], besides those by rank.
_ACCURACIES = ("top1", "top3", "top5")


def model_card(bundle: ModelBundle, name: str) -> str:
    """Return README.md for the Hub, YAML front matter and Markdown; name: of the directory, for the title."""
    metrics = (bundle.training or {}).get("metrics") or {}
    parts = [
        f"---\n{_front_matter(bundle, name, metrics)}\n---\n",
        f"# {name}\n",
        f"A CLIP for organisms: architecture {bundle.name}, {_parameters(bundle):.1f} M parameters, "
        f"images of {bundle.config.vision.image_size} pixels, vectors of {bundle.config.embed_dim} "
        f"dimensions. "
        f"Written by bioclip_jax {__version__}.\n",
        _data(bundle),
        _settings(bundle),
        _metrics(metrics),
        _usage(name),
    ]
    return "\n".join(part for part in parts if part)


def _front_matter(bundle: ModelBundle, name: str, metrics: Mapping[str, Any]) -> str:
    results = None
    if metrics:
        dataset = _public_name(bundle.training["config"]["data"].get("val"))
        results = [
            EvalResult(
                task_type=_TASK,
                dataset_type=dataset,
                dataset_name=dataset,
                metric_type="accuracy",
                metric_name=metric,
                metric_value=round(value, 4),
            )
            for metric, value in _accuracies(metrics)
        ]
    return ModelCardData(
        library_name="open_clip",
        pipeline_tag=_TASK,
        tags=["clip", "biology", "biodiversity", "species", "taxonomy", "bioclip_jax"],
        model_name=name,
        eval_results=results or None,
    ).to_yaml()


def _data(bundle: ModelBundle) -> str:
    if bundle.training is None:
        return (
            f"## Data\n\nThe weights come from {_public_name(bundle.source)}; see there for what they "
            f"were trained on.\n"
        )
    config = bundle.training["config"]
    caption = config.get("caption", {})
    lines = [f"- Training: {_public_name(config['data'].get('train'))}"]
    if config["data"].get("val"):
        lines.append(f"- Validation: {_public_name(config['data']['val'])}")
    lines += [f"- Caption {key}: {_plain(caption[key])}" for key in _CAPTION_SETTINGS if caption.get(key)]
    return "## Data\n\n" + "\n".join(lines) + "\n"


def _settings(bundle: ModelBundle) -> str:
    preprocess = bundle.preprocess
    rows = [("model", bundle.name)]
    if bundle.training is not None:
        config = bundle.training["config"]
        rows.append(("step of the checkpoint", bundle.training["step"]))
        settings = config | {"init_from": config.get("init_from") and _public_name(config["init_from"])}
        rows += [(key, settings[key]) for key in _SETTINGS if settings.get(key) is not None]
    rows += [
        ("image size", f"{preprocess.size} pixels"),
        ("resize mode", preprocess.resize_mode),
        ("interpolation", preprocess.interpolation),
        ("mean", preprocess.mean),
        ("std", preprocess.std),
    ]
    return "## Configuration\n\n" + _table(
        ("setting", "value"), [(key, _plain(value)) for key, value in rows]
    )


def _metrics(metrics: Mapping[str, Any]) -> str:
    rows = [(name, f"{value:.1%}") for name, value in _accuracies(metrics)]
    if not rows:
        return ""
    caption = f"Zero-shot accuracy on the validation data at step {metrics['step']}"
    if isinstance(metrics.get("n"), int):
        caption += f", {metrics['n']} images"
    return f"## Metrics\n\n{caption}.\n\n" + _table(("metric", "accuracy"), rows)


def _accuracies(metrics: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name in _ACCURACIES:
        if isinstance(metrics.get(name), float):
            yield name, metrics[name]
    for rank, value in metrics.get("ranks", {}).items():
        if isinstance(value, float):
            yield f"top1 {rank}", value


def _usage(name: str) -> str:
    return f"""## Use

With open_clip, from this directory (on the Hub: `hf-hub:ORG/{name}` for `local-dir:PATH`):

```python
import open_clip

model, _, preprocess = open_clip.create_model_and_transforms("local-dir:PATH")
tokenizer = open_clip.get_tokenizer("local-dir:PATH")
```

With pybioclip: `bioclip predict --model local-dir:PATH --cls "Malus domestica,Musa acuminata" image.jpg`

With bioclip_jax: `bioclip-jax predict image.jpg --model PATH --cls "Malus domestica,Musa acuminata"`

The tokenizer is CLIP's byte-pair encoding, which open_clip carries itself; nothing is fetched.
"""


def _table(head: tuple[str, str], rows: list[tuple[Any, Any]]) -> str:
    return (
        "\n".join([f"| {head[0]} | {head[1]} |", "| --- | --- |", *(f"| {a} | {b} |" for a, b in rows)])
        + "\n"
    )


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _public_name(location: Any) -> str:
    """Return the name of a dataset or model; only the last two parts of a path, as cards are published."""
    text = str(location)
    if text.startswith("hf-hub:"):
        return text
    return "/".join(Path(text).parts[-2:])


def _parameters(bundle: ModelBundle) -> float:
    def count(node: Any) -> int:
        return sum(map(count, node.values())) if isinstance(node, dict) else node.size

    return count(bundle.params) / 1e6
