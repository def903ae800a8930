"""Processes that make examples beside a trainer."""

import multiprocessing
import os
import signal
import threading
from typing import Any

import grain
from absl import flags

_number = 0


def worker_number() -> int:
    """In a worker: which of them it is, from 0 on."""
    return _number


def in_workers(dataset: Any, workers: int, ahead: int) -> Any:
    """An IterDataset whose elements `workers` processes make in turns, each up to `ahead` of them in advance."""
    # grain's workers pass absl's flags on, which only absl's own main function would have parsed.
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
    options = grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=ahead)
    return dataset.mp_prefetch(options, worker_init_fn=_start)


def _start(number: int, workers: int) -> None:
    """Leaves it to the trainer when a worker ends: by closing, or by being gone.

    Ctrl-C and a scheduler's SIGTERM or SIGUSR1 reach every process of a job; workers that died of them would
    make the trainer fail where it wants to save and leave in order.
    """
    global _number
    _number = number
    for signal_number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(signal_number, signal.SIG_IGN)
    leave_with_parent()


def leave_with_parent() -> None:
    """In a process of multiprocessing: end it as soon as the one that started it is gone, however that went."""

    def watch() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
