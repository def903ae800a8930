"""Worker pools that map a function over items: local processes, Ray actors, or the calling process."""

import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from itertools import islice
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any, Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from bioclip_jax.errors import UserError, first_line
from bioclip_jax.pipeline import exit_with_parent

# Items queued per worker: enough that none waits for the parent, few enough that little is lost with a
# worker.
_QUEUED = 2
_RESUME = "run the same command again"


class Executor(Protocol):
    """Workers that share a job, the first argument of every function that they call."""

    processes: int

    def map(self, function: Callable[[Any, Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """Yield function(job, item) in order of completion. Raises UserError if a worker is lost."""
        ...

    def close(self) -> None:
        """Stop the workers immediately, without waiting for their current items."""
        ...


def open_executor(name: str, job: Any, processes: int | None = None) -> Executor:
    """Return the executor "local" or "ray".

    processes: number of workers; None for one per core of the machine or cluster, 0 (local only) to work in
    the calling process.
    """
    if processes is not None and processes < (name == "ray"):
        raise UserError(f"processes is {processes}; it must be at least {int(name == 'ray')}")
    if name == "local":
        return InlineExecutor(job) if processes == 0 else LocalExecutor(job, processes)
    if name == "ray":
        return RayExecutor(job, processes)
    raise UserError(f"engine is {name!r}; choose local or ray")


def map_in_order(
    function: Callable[[Any], Any], items: Sequence[Any], processes: int | None, description: str
) -> Iterator[Any]:
    """Yield function(item) in the order of the items, with a progress bar on a terminal.

    processes: None for one per core; 0, and any number for a single item, work in the calling process. Raises
    UserError if a worker is lost.
    """
    if processes is not None and processes < 0:
        raise UserError(f"processes is {processes}; it must be at least 0")
    processes = min(_cores() if processes is None else processes, len(items))
    inline = processes == 0 or len(items) == 1
    with progress_bar(description, len(items)) as advance:
        for result in map(function, items) if inline else _ordered(function, items, processes):
            advance(1)
            yield result


def _ordered(function: Callable[[Any], Any], items: Sequence[Any], processes: int) -> Iterator[Any]:
    early, following = {}, 0
    with closing(LocalExecutor(function, processes)) as executor:
        for index, result in executor.map(_indexed, enumerate(items)):
            early[index] = result
            while following in early:
                yield early.pop(following)
                following += 1


def _indexed(function: Callable[[Any], Any], item: tuple[int, Any]) -> tuple[int, Any]:
    return item[0], function(item[1])


@contextmanager
def progress_bar(description: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show progress on standard error while it is a terminal; yields a function that advances it by n."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(show_speed=True))
    columns = (*columns, MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(
        *columns, console=console, transient=True, redirect_stdout=False, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task(description, total=total)
        yield lambda count: progress.advance(task, count)


def _cores() -> int:
    return len(os.sched_getaffinity(0))


class InlineExecutor:
    """Executor without workers: items are processed one by one in the calling process."""

    processes = 0

    def __init__(self, job: Any):
        self._job = job

    def map(self, function: Callable[[Any, Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """Yield function(job, item) in order."""
        return (function(self._job, item) for item in items)

    def close(self) -> None:
        """Do nothing: there are no workers."""


class LocalExecutor:
    """Spawned processes; each receives the job once, when it starts."""

    def __init__(self, job: Any, processes: int | None = None):
        self.processes = processes or _cores()
        self._context = _RecordingContext()
        self._pool = ProcessPoolExecutor(self.processes, self._context, _start_worker, (job,))

    def map(self, function: Callable[[Any, Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """Yield function(job, item) in order of completion. Raises UserError if a worker is lost."""
        items, running = iter(items), set()
        while True:
            try:
                for item in islice(items, _QUEUED * self.processes - len(running)):
                    running.add(self._pool.submit(_call, function, item))
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                results = [future.result() for future in done]
            except BrokenProcessPool:
                raise UserError(
                    f"a worker process died, perhaps for lack of memory; {_RESUME}, or with fewer --processes"
                ) from None
            yield from results

    def close(self) -> None:
        """Kill the workers. A chunk may take a minute, and its partial files have temporary names."""
        for process in self._context.started:
            process.kill()
        self._pool.shutdown(wait=True, cancel_futures=True)


class RayExecutor:
    """Actors on the Ray cluster named by RAY_ADDRESS, or on a local one that is stopped with the build.

    All machines must see the source and the output under the same paths. An actor lost with its machine is
    restarted elsewhere and its items are repeated, which is harmless.
    """

    def __init__(self, job: Any, processes: int | None = None):
        try:
            import ray
        except ImportError:
            raise UserError("engine ray needs ray; install it: pip install 'bioclip-jax[ray]'") from None
        self._ray = ray
        self._started = not ray.is_initialized()
        if self._started:
            # Ray reports its use over the network by default.
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            cluster = (
                {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": processes, "include_dashboard": False}
            )
            try:
                ray.init(log_to_driver=False, logging_level="error", **cluster)
            except ConnectionError as error:
                address = os.environ.get("RAY_ADDRESS")
                raise UserError(f"cannot connect to a Ray cluster at {address}: {error}") from None
        self.processes = processes or max(1, int(ray.cluster_resources().get("CPU", 1)))
        actor = ray.remote(num_cpus=1, max_restarts=3, max_task_retries=3)(_Actor)
        # Inside a list, so that each actor fetches the job once and not with every call.
        self._job = [ray.put(job)]
        self._actors = [actor.remote() for _ in range(self.processes)]

    def map(self, function: Callable[[Any, Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """Yield function(job, item) in order of completion. Raises UserError if a worker is lost."""
        ray, items = self._ray, iter(items)
        free, running = _QUEUED * self._actors, {}
        while True:
            for actor, item in zip(list(free), items):
                free.remove(actor)
                running[actor.call.remote(self._job, function, item)] = actor
            if not running:
                return
            done, _ = ray.wait(list(running), num_returns=1)
            for reference in done:
                free.append(running.pop(reference))
                try:
                    result = ray.get(reference)
                except ray.exceptions.RayTaskError as error:
                    raise error.cause from None
                except ray.exceptions.RayActorError as error:
                    raise UserError(
                        f"a Ray worker was lost permanently ({first_line(error)}); {_RESUME}"
                    ) from None
                yield result

    def close(self) -> None:
        """Kill the actors, and stop Ray if it was started here."""
        for actor in self._actors:
            self._ray.kill(actor)
        if self._started:
            self._ray.shutdown()


class _Actor:
    def __init__(self) -> None:
        self._job = None

    def call(self, job: list[Any], function: Callable[[Any, Any], Any], item: Any) -> Any:
        import ray

        if self._job is None:
            self._job = ray.get(job[0])
        return function(self._job, item)


class _RecordingContext(SpawnContext):
    """Spawn context that records its processes: ProcessPoolExecutor cannot kill its own."""

    def __init__(self) -> None:
        self.started: list[SpawnProcess] = []

    def Process(self, *args: Any, **kwargs: Any) -> SpawnProcess:
        self.started.append(SpawnProcess(*args, **kwargs))
        return self.started[-1]


_job: Any = None


def _start_worker(job: Any) -> None:
    global _job
    # Ctrl-C reaches the workers too; the parent stops them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    exit_with_parent()
    _job = job


def _call(function: Callable[[Any, Any], Any], item: Any) -> Any:
    return function(_job, item)
