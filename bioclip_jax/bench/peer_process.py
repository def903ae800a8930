"""The other end of train_peer: starts the peer's process and times its steps."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from bioclip_jax.errors import UserError
from bioclip_jax.models import get_config
from bioclip_jax.train import TrainConfig


class Peer:
    """open_clip's training of a config's model on one device; `close` ends it.

    on_gpu: whether its device is a GPU. about: how it trains, for the result. seconds: of every turn's step
    so far.
    """

    def __init__(self, config: TrainConfig) -> None:
        """UserError where its packages are missing, or it cannot train, such as for want of memory."""
        command = [sys.executable, "-m", "bioclip_jax.bench.train_peer"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.seconds: list[float] = []
        try:
            where = self._answer()
            self.on_gpu: bool = where["on_gpu"]
            settings = peer_settings(config, where["devices"])
            how = self._ask(settings)
        except BaseException:
            self.close()
            raise
        self.pairs = sum(settings["streams"])
        self.about: dict[str, Any] = {
            "device": where["device"],
            "pairs": self.pairs,
            "micro_batches": settings["micro_batches"],
            "precision": settings["precision"],
            "checkpointing": settings["checkpointing"],
            "text_length": settings["model_cfg"]["text_cfg"]["context_length"],
            "compiled": how["compiled"],
            "compile_seconds": round(how["compile_seconds"], 1),
            "versions": how["versions"],
        }

    def turn(self, steps: int) -> None:
        """So many steps, timed."""
        answer = self._ask(steps)
        self.seconds.append(answer["seconds"] / steps)
        self.about["peak_memory_bytes"] = answer["peak_memory_bytes"]

    def close(self) -> None:
        """End the process, and with it the memory that it holds."""
        self._process.stdin.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _ask(self, what: Any) -> dict[str, Any]:
        try:
            print(json.dumps(what), file=self._process.stdin, flush=True)
        except BrokenPipeError:
            pass  # It has ended, and may have said why.
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"error": f"it ended with status {self._process.wait()}"}
        if "missing" in answer:
            raise UserError(
                f"--peer needs {answer['missing']}; install the peers: pip install 'bioclip-jax[peers]'"
            )
        if "error" in answer:
            raise UserError(
                f"the peer failed: {answer['error']}; give a smaller batch or more micro-batches, or leave "
                f"out --peer"
            )
        return answer


def peer_settings(config: TrainConfig, devices: int) -> dict[str, Any]:
    """What the peer is told to train on one of `devices` devices: the config's own choices, as far as it has them.

    Of the remat policies it has "full". It has pure_bf16; what else is not fp32 it computes by autocast to
    bfloat16.
    """
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
