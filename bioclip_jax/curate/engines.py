"""Who does the work: processes of this machine, or a Ray cluster. Both map a function over items, in any order."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any, Protocol

from bioclip_jax.errors import UserError

# Items handed out before their worker is free: none waits for the parent, and few are lost with a worker.
_AHEAD = 2
_AGAIN = "start the same command again"


class Engine(Protocol):
    """Workers that each hold the job and call functions with it."""

    processes: int

    def map(self, function: Callable[[Any, Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """function(job, item) for all items, as they are done. UserError if a worker is lost."""
        ...

    def close(self) -> None:
        """Stops the workers at once, whatever they do."""
        ...


def open_engine(name: str, job: Any, processes: int | None = None) -> Engine:
    """The engine "local" or "ray"; processes: workers, None for one a core of the machine or the cluster.

    Local with 0 processes works in this one.
    """
    if processes is not None and processes < (name == "ray"):
        raise UserError(f"processes is {processes}; it must be at least {int(name == 'ray')}")
    if name == "local":
        return InProcess(job) if processes == 0 else LocalEngine(job, processes)
    if name == "ray":
        return RayEngine(job, processes)
    raise UserError(f"engine is {name!r}; choose local or ray")


class InProcess:
    """No workers at all: this process does one item after the other."""

    processes = 0

    def __init__(self, job: Any):
        self._job = job

    def map(self, function: Callable[[Any, Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        return (function(self._job, item) for item in items)

    def close(self) -> None:
        pass


class LocalEngine:
    """Spawned processes, which get the job once, when they start."""

    def __init__(self, job: Any, processes: int | None = None):
        self.processes = processes or len(os.sched_getaffinity(0))
        self._context = _Recording()
        self._pool = ProcessPoolExecutor(self.processes, self._context, _start, (job,))

    def map(self, function: Callable[[Any, Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        items, running = iter(items), set()
        while True:
            try:
                for item in islice(items, _AHEAD * self.processes - len(running)):
                    running.add(self._pool.submit(_call, function, item))
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                results = [future.result() for future in done]
            except BrokenProcessPool:
                raise UserError(
                    f"a worker process has died, perhaps for lack of memory; {_AGAIN}, or with fewer "
                    f"--processes"
                ) from None
            yield from results

    def close(self) -> None:
        # A worker may be in the midst of a chunk that takes a minute; what it has written so far has another
        # name.
        for process in self._context.started:
            process.kill()
        self._pool.shutdown(wait=True, cancel_futures=True)


class RayEngine:
    """Actors on the Ray cluster that RAY_ADDRESS names, or on a Ray of this machine that ends with the build.

    The source and the output must lie where all its machines see them. An actor that is lost with its machine
    is started again elsewhere, and its items with it: doing one twice does no harm.
    """

    def __init__(self, job: Any, processes: int | None = None):
        try:
            import ray
        except ImportError:
            raise UserError("engine ray needs ray; install it: pip install 'bioclip-jax[ray]'") from None
        self._ray = ray
        self._started = not ray.is_initialized()
        if self._started:
            # Ray of its own accord reports over the network that it was used.
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            cluster = (
                {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": processes, "include_dashboard": False}
            )
            try:
                ray.init(log_to_driver=False, logging_level="error", **cluster)
            except ConnectionError as error:
                raise UserError(
                    f"no Ray cluster answers at {os.environ.get('RAY_ADDRESS')}: {error}"
                ) from None
        self.processes = processes or max(1, int(ray.cluster_resources().get("CPU", 1)))
        actor = ray.remote(num_cpus=1, max_restarts=3, max_task_retries=3)(_Actor)
        # In a list, so that each actor fetches it once and not with every call.
        self._job = [ray.put(job)]
        self._actors = [actor.remote() for _ in range(self.processes)]

    def map(self, function: Callable[[Any, Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        ray, items = self._ray, iter(items)
        free, running = _AHEAD * self._actors, {}
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
                    reason = str(error).splitlines()[0]
                    raise UserError(f"a Ray worker was lost for good ({reason}); {_AGAIN}") from None
                yield result

    def close(self) -> None:
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


class _Recording(SpawnContext):
    """Starts processes afresh, and knows them, because a ProcessPoolExecutor does not stop its own in the midst."""

    def __init__(self) -> None:
        self.started: list[SpawnProcess] = []

    def Process(self, *args: Any, **kwargs: Any) -> SpawnProcess:
        self.started.append(SpawnProcess(*args, **kwargs))
        return self.started[-1]


_job: Any = None


def _start(job: Any) -> None:
    global _job
    # Ctrl-C reaches the workers too; it is the parent that stops them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    _job = job


def _call(function: Callable[[Any, Any], Any], item: Any) -> Any:
    return function(_job, item)


def _leave_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)
