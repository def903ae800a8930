"""open_clip's train step, in a process of its own: `python -m bioclip_jax.bench.train_peer`.

A process of its own gives its memory back when it ends, and brings torch into no other. It talks in lines of
JSON: it says which device it has, is told what to train, says how it does that, and then answers each number
of steps with the seconds they took, until its input ends.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

WARM_UP_STEPS = 2


def main() -> None:
    # Whatever a library prints must not come between the lines.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(**answer: Any) -> None:
        print(json.dumps(answer), file=answers, flush=True)

    try:
        import torch

        from .torchvision import import_torchvision

        import_torchvision()
        import open_clip
    except ImportError as error:
        return say(missing=error.name)
    on_gpu = torch.cuda.is_available() and os.environ.get("JAX_PLATFORMS") != "cpu"
    device = torch.device("cuda" if on_gpu else "cpu")
    name = torch.cuda.get_device_name() if on_gpu else "cpu"
    say(device=name, on_gpu=on_gpu, devices=torch.cuda.device_count() if on_gpu else 1)
    settings = json.loads(sys.stdin.readline())
    try:
        step, compiled, seconds = _ready(settings, device)
        versions = {"torch": torch.__version__, "open_clip": open_clip.__version__}
        say(compiled=compiled, compile_seconds=seconds, versions=versions)
        for line in sys.stdin:
            start = time.perf_counter()
            for _ in range(json.loads(line)):
                step()
            memory = torch.cuda.max_memory_allocated() if on_gpu else None
            say(seconds=time.perf_counter() - start, peak_memory_bytes=memory)
    except RuntimeError as error:  # a device that is out of memory, above all
        say(error=f"{type(error).__name__}: {error}".splitlines()[0])


def _ready(settings: dict[str, Any], device: Any) -> tuple[Callable[[], Any], bool, float]:
    """(the step, whether it is compiled, seconds until it was warm)."""
    import torch

    start = time.perf_counter()
    if settings["compile"]:
        step = make_step(settings, device, compiled=True)
        try:
            for _ in range(WARM_UP_STEPS):
                step()
            return step, True, time.perf_counter() - start
        except torch._dynamo.exc.BackendCompilerFailed as error:
            print(f"torch.compile cannot work here, so the peer runs without: {error}", file=sys.stderr)
            torch._dynamo.reset()
    step = make_step(settings, device, compiled=False)
    for _ in range(WARM_UP_STEPS):
        step()
    return step, False, time.perf_counter() - start


def make_step(settings: dict[str, Any], device: Any, *, compiled: bool) -> Callable[[], Any]:
    """One update of an open_clip model on random pairs on the device; it waits for the device and gives the loss.

    settings: model_cfg, as in an open_clip_config.json; streams, the pairs of each loss (the tree of life's,
    and the replayed ones, if any); micro_batches; precision, "fp32", "bf16" or "pure_bf16"; checkpointing;
    learning_rate, weight_decay, betas, eps.

    As open_clip trains: autocast for bf16, bfloat16 parameters for pure_bf16, AdamW, ClipLoss, texts at the
    model's context length, and micro-batches whose features are computed first and whose loss is that of all.
    Replayed pairs go through the towers along with the others; the second projector, a thousandth of the
    work, is left out.
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
                # Of each stream, everyone's features, of which only this part's carry a gradient.
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
    """The micro-batches, of each stream as many pairs."""
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
    main()
