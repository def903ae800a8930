"""Progress bars and reports of unreadable images, on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from bioclip_jax.errors import UserError

Item = TypeVar("Item")


def track(
    items: Iterable[Item], description: str, total: int, *, results_on_stdout: bool = False, done: int = 0
) -> Iterator[Item]:
    """Yield the items, with a transient progress bar if standard error is a terminal.

    results_on_stdout: results are printed meanwhile, so if standard output is a terminal too, no bar is
    drawn among them. done: the part of `total` that an earlier run finished.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # Rich redirects standard output to its own console by default, and results would miss their pipe.
    with Progress(
        *columns,
        console=console,
        transient=True,
        redirect_stdout=False,
        disable=not console.is_terminal or (results_on_stdout and sys.stdout.isatty()),
    ) as progress:
        # Rich's own track() would end at this run's items and ignore `done`.
        task = progress.add_task(description, total=total, completed=done)
        for item in items:
            yield item
            progress.advance(task)


class FailureLog:
    """Report each unreadable image in one line on standard error.

    problems: the messages so far.
    """

    def __init__(self, total: int) -> None:
        """total: number of inputs. If none of them is readable, the last call raises UserError."""
        self._total = total
        self.problems: list[str] = []

    def __call__(self, index: int, problem: UserError) -> None:
        """Report the error of the image with an index."""
        if self._total == 1:
            raise problem
        self.problems.append(str(problem))
        print(f"skipped: {problem}", file=sys.stderr)
        if len(self.problems) == self._total:
            raise UserError(
                f"none of the {self._total} inputs can be read as an image; give JPEG, PNG or the like"
            )


def report_truncated(truncated: Sequence[str]) -> list[str]:
    """Report the number of truncated images and the first of them on standard error; return all."""
    if truncated:
        images = "1 image" if len(truncated) == 1 else f"{len(truncated):,} images"
        such = "" if len(truncated) == 1 else "such as "
        print(
            f"read {images} whose end is missing ({such}{truncated[0]}); --strict refuses them",
            file=sys.stderr,
        )
    return list(truncated)
