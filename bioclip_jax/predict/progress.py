"""What a person sees while many images go by: a bar on standard error, and a line for each that cannot be read."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from bioclip_jax.errors import UserError

Item = TypeVar("Item")


def track(
    items: Iterable[Item], description: str, total: int, *, results_on_stdout: bool = False, done: int = 0
) -> Iterator[Item]:
    """The items, with a bar on a terminal that shows how many of `total` were taken, and goes away at the end.

    `results_on_stdout`: they are written meanwhile, so where that is a terminal too, there is no bar among
    them.
    `done`: how many of `total` were taken earlier.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # Rich would send standard output to its own console, and results would never reach their pipe.
    with Progress(
        *columns,
        console=console,
        transient=True,
        redirect_stdout=False,
        disable=not console.is_terminal or (results_on_stdout and sys.stdout.isatty()),
    ) as progress:
        # Rich's own track() ends at the items of this run, without those that were done before.
        task = progress.add_task(description, total=total, completed=done)
        for item in items:
            yield item
            progress.advance(task)


class Unreadable:
    """Names the images that cannot be read, one line each on standard error, and goes on with the others."""

    def __init__(self, total: int) -> None:
        """`total`: how many images there are; where none of them can be read, that is an error."""
        self._total = total
        self.problems: list[str] = []

    def __call__(self, place: int, problem: UserError) -> None:
        if self._total == 1:
            raise problem
        self.problems.append(str(problem))
        print(f"left out: {problem}", file=sys.stderr)
        if len(self.problems) == self._total:
            raise UserError(
                f"none of the {self._total} inputs can be read as an image; give JPEG, PNG or the like"
            )


def report_truncated(truncated: Sequence[str]) -> list[str]:
    """The images that were read though their files lack the end; how many, and the first, go to standard error."""
    if truncated:
        images = "1 image" if len(truncated) == 1 else f"{len(truncated):,} images"
        such = "" if len(truncated) == 1 else "such as "
        print(
            f"read {images} whose end is missing ({such}{truncated[0]}); --strict refuses them",
            file=sys.stderr,
        )
    return list(truncated)
