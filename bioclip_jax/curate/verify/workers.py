"""Shards shared out among processes, their results in the order of the shards."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

from rich.console import Console
from rich.progress import Progress

from bioclip_jax.curate.engines import LocalEngine
from bioclip_jax.errors import UserError


def in_order(
    function: Callable[[Any], Any], items: Sequence[Any], processes: int | None, description: str
) -> Iterator[Any]:
    """function(item) of all items, in order, with a progress bar on a terminal.

    processes: how many work on it, None for one a core; for none, or for one item, it is this process.
    UserError if a process is lost.
    """
    if processes is not None and processes < 0:
        raise UserError(f"processes is {processes}; it must be at least 0")
    processes = min(len(os.sched_getaffinity(0)) if processes is None else processes, len(items))
    alone = processes == 0 or len(items) == 1
    console = Console(stderr=True)
    with Progress(
        console=console, transient=True, redirect_stdout=False, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task(description, total=len(items))
        for result in map(function, items) if alone else _elsewhere(function, items, processes):
            progress.advance(task)
            yield result


def _elsewhere(function: Callable[[Any], Any], items: Sequence[Any], processes: int) -> Iterator[Any]:
    early, following = {}, 0
    with closing(LocalEngine(function, processes)) as engine:
        for number, result in engine.map(_numbered, enumerate(items)):
            early[number] = result
            while following in early:
                yield early.pop(following)
                following += 1


def _numbered(function: Callable[[Any], Any], item: tuple[int, Any]) -> tuple[int, Any]:
    return item[0], function(item[1])
