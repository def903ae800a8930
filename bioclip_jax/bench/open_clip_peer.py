"""open_clip's training step as a peer: the client, and the tasks of its process.

The process is `python -m bioclip_jax.bench.open_clip_peer`.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bioclip_jax.errors import UserError

from .peer import PeerProcess, import_torchvision, serve_tasks

if TYPE_CHECKING:
    from bioclip_jax.train import TrainConfig

WARM_UP_STEPS = 2


class OpenClipPeer:
    """open_clip training a config's model on one device, in a process that ends with `close`.

    on_gpu: True if it trains on a GPU. pairs: of one step. seconds: of a step, one entry for each turn.
    about: its settings, for the result.
    """

    def __init__(self, config: TrainConfig, *, needs_gpu: bool = False) -> None:
        """Start and warm up.

        Raises UserError if packages are missing, training fails, e.g. for memory, or with needs_gpu if torch
        has no GPU.
        """
        advice = "give a smaller batch or more micro-batches"
        self._process = PeerProcess(__name__, memory_advice=advice)
        self.seconds: list[float] = []
        try:
            device = self._process.call("device")
            self.on_gpu: bool = device["on_gpu"]
            if needs_gpu and not self.on_gpu:
                raise UserError("the installed torch has no GPU; install one that is built for CUDA")
            settings = peer_settings(config, device["devices"])
            prepared = self._process.call("prepare", settings=settings)
        except BaseException:
            self.close()
            raise
        self.pairs = sum(settings["streams"])
        self.about: dict[str, Any] = {
            "device": device["device"],
            "pairs": self.pairs,
            "micro_batches": settings["micro_batches"],
            "precision": settings["precision"],
            "checkpointing": settings["checkpointing"],
            "text_length": settings["model_cfg"]["text_cfg"]["context_length"],
            "compiled": prepared["compiled"],
            "compile_seconds": round(prepared["compile_seconds"], 1),
            "versions": prepared["versions"],
        }

    def turn(self, steps: int) -> None:
        """Train and time `steps` steps."""
        result = self._process.call("train", steps=steps)
        self.seconds.append(result["seconds"] / steps)
        self.about["peak_memory_bytes"] = result["peak_memory_bytes"]

    def close(self) -> None:
        """End the process and release its memory."""
        self._process.close()


def peer_settings(config: TrainConfig, devices: int) -> dict[str, Any]:
    """Settings of make_step for one of `devices` devices, as close to the config as open_clip allows.

    Of the remat policies it has "full" only; precisions other than fp32 and pure_bf16 become autocast to
    bfloat16. Raises UserError if the pairs of a device do not divide into the micro-batches.
    """
    from bioclip_jax.models import get_config

    streams = [rows // devices for rows in (config.global_batch_size, config.replay.batch_size) if rows]
    if any(rows % config.micro_batches for rows in streams):
        raise UserError(
            f"{streams} pairs on a device do not divide into {config.micro_batches} micro-batches; change "
            f"one of them"
        )
    return {
        "model_cfg": get_config(config.model).to_open_clip(),
        "streams": streams,
        "micro_batches": config.micro_batches,
        "precision": config.precision if config.precision in ("fp32", "pure_bf16") else "bf16",
        "checkpointing": config.remat == "full",
        "compile": True,
        "learning_rate": config.learning_rate,
        "weight_decay": config.weight_decay,
        "betas": [config.optimizer.beta1, config.optimizer.beta2],
        "eps": config.optimizer.eps,
    }


class Tasks:
    """Tasks of the peer's process."""

    def __init__(self) -> None:
        import torch

        import_torchvision()
        import open_clip

        self._torch, self._open_clip = torch, open_clip
        self._on_gpu = torch.cuda.is_available() and os.environ.get("JAX_PLATFORMS") != "cpu"
        self._step: Callable[[], Any]

    def device(self) -> dict[str, Any]:
        """Name, kind and number of the devices."""
        if not self._on_gpu:
            return {"device": "cpu", "on_gpu": False, "devices": 1}
        cuda = self._torch.cuda
        return {"device": cuda.get_device_name(), "on_gpu": True, "devices": cuda.device_count()}

    def prepare(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Compile and warm up the step of these settings (see make_step)."""
        start = time.perf_counter()
        device = self._torch.device("cuda" if self._on_gpu else "cpu")
        compiled = settings["compile"]
        try:
            self._warm_up(settings, device, compiled=compiled)
        except self._torch._dynamo.exc.BackendCompilerFailed as error:
            print(f"warning: torch.compile failed, the peer runs without it: {error}", file=sys.stderr)
            self._torch._dynamo.reset()
            compiled = False
            self._warm_up(settings, device, compiled=compiled)
        versions = {"torch": self._torch.__version__, "open_clip": self._open_clip.__version__}
        seconds = time.perf_counter() - start
        return {"compiled": compiled, "compile_seconds": seconds, "versions": versions}

    def _warm_up(self, settings: dict[str, Any], device: Any, *, compiled: bool) -> None:
        self._step = make_step(settings, device, compiled=compiled)
        for _ in range(WARM_UP_STEPS):
            self._step()

    def train(self, steps: int) -> dict[str, Any]:
        """Time `steps` steps."""
        start = time.perf_counter()
        for _ in range(steps):
            self._step()
        memory = self._torch.cuda.max_memory_allocated() if self._on_gpu else None
        return {"seconds": time.perf_counter() - start, "peak_memory_bytes": memory}


def make_step(settings: dict[str, Any], device: Any, *, compiled: bool) -> Callable[[], Any]:
    """Update of an open_clip model on random pairs; a call blocks until it is done and returns the loss.

    settings: model_cfg, as in open_clip_config.json; streams, the pairs of each loss (tree of life, and
    replay if any); micro_batches; precision, "fp32", "bf16" or "pure_bf16"; checkpointing; learning_rate,
    weight_decay, betas, eps.

    Like open_clip's own training: autocast for bf16, bfloat16 parameters for pure_bf16, AdamW, ClipLoss,
    texts at the model's context length, and gradient accumulation that computes all features first, so that
    the loss is that of the whole batch. Replayed pairs share the towers' pass; their second projector, a
    thousandth of the work, is omitted.
    """
    import open_clip
    import torch

    torch.backends.cuda.matmul.allow_tf32 = True
    autocasts, pure = settings["precision"] == "bf16", settings["precision"] == "pure_bf16"
    torch.manual_seed(0)
    original = open_clip.CLIP(**settings["model_cfg"], cast_dtype=torch.bfloat16 if autocasts else None)
    original.to(device=device, dtype=torch.bfloat16 if pure else None)
    if settings["checkpointing"]:
        original.set_grad_checkpointing(True)
    model = torch.compile(original) if compiled else original
    optimizer = torch.optim.AdamW(
        original.parameters(),
        lr=settings["learning_rate"],
        betas=settings["betas"],
        eps=settings["eps"],
        weight_decay=settings["weight_decay"],
    )
    contrast, parts = open_clip.ClipLoss(), settings["micro_batches"]
    rows = [pairs // parts for pairs in settings["streams"]]
    batches = _random_batches(settings, original.visual.image_size[0], device)

    def encode(images: Any, texts: Any) -> tuple[list[Any], list[Any], Any]:
        image_features, text_features, scale = model(images, texts)
        return list(image_features.split(rows)), list(text_features.split(rows)), scale

    def loss(images: list[Any], texts: list[Any], scale: Any) -> Any:
        return sum(contrast(image, text, scale) for image, text in zip(images, texts, strict=True))

    def autocast() -> Any:
        return torch.autocast(device.type, dtype=torch.bfloat16, enabled=autocasts)

    def backward_in_parts() -> Any:
        with torch.no_grad(), autocast():
            cached = [encode(*batch)[:2] for batch in batches]
        for part, batch in enumerate(batches):
            with autocast():
                *fresh, scale = encode(*batch)
                # The features of all parts enter the loss; only this part's carry a gradient.
                known = [fresh if i == part else cached[i] for i in range(parts)]
                sides = zip(*known, strict=True)
                total = loss(
                    *([torch.cat(stream) for stream in zip(*side, strict=True)] for side in sides), scale
                )
            total.backward()
        return total

    def step() -> Any:
        optimizer.zero_grad(set_to_none=True)
        if parts == 1:
            with autocast():
                total = loss(*encode(*batches[0]))
            total.backward()
        else:
            total = backward_in_parts()
        optimizer.step()
        with torch.no_grad():
            original.logit_scale.clamp_(0, 4.6052)
        if device.type == "cuda":
            torch.cuda.synchronize()
        return total.detach()

    return step


def _random_batches(settings: dict[str, Any], size: int, device: Any) -> list[tuple[Any, Any]]:
    """Micro-batches of (images, texts), each with an equal share of every stream's pairs."""
    import torch

    text, parts = settings["model_cfg"]["text_cfg"], settings["micro_batches"]
    images, texts = [], []
    for pairs in settings["streams"]:
        pixels = torch.randn(pairs, 3, size, size, device=device)
        if settings["precision"] == "pure_bf16":
            pixels = pixels.to(torch.bfloat16)
        images.append(pixels.chunk(parts))
        tokens = torch.randint(1, text["vocab_size"], (pairs, text["context_length"]), device=device)
        texts.append(tokens.chunk(parts))
    return [
        tuple(torch.cat(streams) for streams in part) for part in zip(zip(*images), zip(*texts), strict=True)
    ]


if __name__ == "__main__":
    serve_tasks(Tasks)
