"""Worker processes that make examples for a trainer."""

import multiprocessing
import os
import signal
import threading
from typing import Any

_index = 0


def worker_index() -> int:
    """Index of this worker process, from 0."""
    return _index


def in_workers(dataset: Any, workers: int, ahead: int) -> Any:
    """Spread an IterDataset over `workers` processes, each up to `ahead` elements in advance."""
    import grain
    from absl import flags

    # grain's workers pass on absl's flags, which only absl's own main function would have parsed.
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
    options = grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=ahead)
    return dataset.mp_prefetch(options, worker_init_fn=_initialize)


def _initialize(index: int, workers: int) -> None:
    """Ignore signals, so that the trainer decides when this worker ends.

    Ctrl-C and a scheduler's SIGTERM or SIGUSR1 reach every process of a job; if they ended the workers, the
    trainer would fail before it could save a checkpoint.
    """
    global _index
    _index = index
    for signal_number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(signal_number, signal.SIG_IGN)
    exit_with_parent()


def exit_with_parent() -> None:
    """End this multiprocessing child as soon as its parent is gone, even if killed."""

    def watch() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
