"""Simulation of visitors' scenarios, paired with the baseline of a run."""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32

from bioclip_jax.errors import UserError
from bioclip_jax.twin.animals import cast_of
from bioclip_jax.twin.community import simulate_chunks
from bioclip_jax.twin.scenario import BASELINE, Run, Scenario, ensemble_of, read_run
from bioclip_jax.twin.view import ExportOptions, find_twin, live_branch, live_page, live_scene
from bioclip_jax.twin.world import Twin

from ..queue import Busy, RequestQueue
from .refusals import Refusal
from .what_if import NAME, Menu, WhatIf

Tell = Callable[[dict[str, Any]], None]

# Members of a visitor's simulation: the first of the run's.
_MOST_MEMBERS = 32
# Members that a core simulates at a time; between such chunks a simulation can be ended.
_CHUNK = 8
# Steps that an interval of a month may take; ordinary ones take ten.
_MOST_STEPS = 1024
_KEPT_RESULTS = 64


@dataclass(frozen=True)
class TwinLimits:
    """Limits of the server. waiting: simulations in the queue. seconds: of one simulation, from its start.

    per_visitor: simulations that an address may have at a time, waiting ones included.
    """

    waiting: int = 16
    seconds: float = 60.0
    per_visitor: int = 4


class _Result(NamedTuple):
    """A scenario's part of the page, the animals of its scenes, and the scenes so far, by hour."""

    branch: dict[str, Any]
    cast: Mapping[str, int]
    scenes: dict[int, dict[str, Any]]


class TwinService:
    """A run, its page, and simulations of what its visitors ask for, one at a time.

    Everything is compiled when it is made, so that a simulation takes a few seconds. queue: of simulations.
    """

    def __init__(self, run: Run, twin: Twin, options: ExportOptions, limits: TwinLimits) -> None:
        self.limits, self.note = limits, run.note
        self._twin, self._scene_seconds = twin, options.scene_seconds
        self._ensemble = ensemble_of(run, twin)
        self._members = np.arange(min(run.biomass.shape[1], _MOST_MEMBERS))
        self._communities, self._start = self._ensemble.parameters(self._members)
        self.queue = RequestQueue(limits.waiting)
        self._results: OrderedDict[str, _Result] = OrderedDict()
        self._lock = threading.Lock()
        baseline = self._simulate(None, lambda share: None)
        self._pair = replace(
            run,
            branches=(BASELINE, NAME),
            biomass=np.stack([baseline, baseline]),
            ledger_residual=np.zeros((2, len(self._members))),
        )
        mass_kg = np.array([one.mass_g / 1000 for one in twin.species])
        starting = np.median(self._pair.total(0)[:, 0], axis=0) * run.area_km2.sum() / mass_kg
        self.menu = Menu(twin, run.settings["years"], starting.tolist(), precise=options.precise)
        # Compiles what a visitor's result takes beside the simulation.
        live_branch(self._pair, twin, self._communities, [])
        self.page, self.content = live_page(self._pair, run, twin, options, self.menu.as_json())

    def simulate(self, what_if: WhatIf, tell: Tell, left: threading.Event) -> dict[str, Any]:
        """Return what the page adds for a scenario, as live_branch.

        tell: called with {"place": n} while n simulations are before this one, and with {"done": share}.
        left: set when the visitor has gone, which ends the simulation. Raises Refusal.
        """
        known = self._known(what_if)
        if known is None:
            with self._turn(tell, left):
                known = self._result(what_if, tell, left)
        return known.branch

    def scene(self, what_if: WhatIf, hour: int, tell: Tell, left: threading.Event) -> dict[str, Any]:
        """Return a scene at the end of a scenario, as live_scene; otherwise as simulate."""
        with self._turn(tell, left):
            known = self._known(what_if) or self._result(what_if, tell, left)
            if not known.cast:
                raise Refusal("animals")
            if hour not in known.scenes:
                known.scenes[hour] = live_scene(known.cast, self._twin, hour, self._scene_seconds)
            return known.scenes[hour]

    def _known(self, what_if: WhatIf) -> _Result | None:
        with self._lock:
            if what_if.key in self._results:
                self._results.move_to_end(what_if.key)
            return self._results.get(what_if.key)

    @contextmanager
    def _turn(self, tell: Tell, left: threading.Event) -> Iterator[None]:
        def wait(place: int) -> None:
            _check_present(left)
            tell({"place": place})

        try:
            with self.queue.turn(wait):
                _check_present(left)
                yield
        except Busy:
            raise Refusal("busy") from None

    def _result(self, what_if: WhatIf, tell: Tell, left: threading.Event) -> _Result:
        deadline = time.monotonic() + self.limits.seconds

        def between(share: float) -> None:
            _check_present(left)
            if time.monotonic() > deadline:
                raise Refusal("long", seconds=round(self.limits.seconds))
            tell({"done": round(share, 3)})

        try:
            biomass = self._simulate(what_if.scenario, between)
        except UserError:
            raise Refusal("hard") from None
        pair = replace(self._pair, biomass=np.stack([self._pair.biomass[0], biomass]))
        branch = live_branch(pair, self._twin, self._communities, what_if.shown)
        result = _Result(branch, cast_of(pair, 1, self._twin.species), {})
        with self._lock:
            self._results[what_if.key] = result
            if len(self._results) > _KEPT_RESULTS:
                self._results.popitem(last=False)
        return result

    def _simulate(
        self, scenario: Scenario | None, between: Callable[[float], None]
    ) -> Float32[np.ndarray, "members times patches species"]:
        """Return the biomass of all members, kg/km²; between: called with the share that is done."""
        between(0.0)
        timeline = self._ensemble.timeline
        parts = []
        chunks = simulate_chunks(
            self._communities,
            self._start,
            self._ensemble.conditions_with(self._members, scenario),
            timeline.days,
            tolerance=self._ensemble.tolerance,
            max_steps=_MOST_STEPS,
            chunk=_CHUNK,
        )
        with closing(chunks):
            for trajectory in chunks:
                parts.append(trajectory.biomass[:, timeline.kept].astype(np.float32))
                between(min(len(parts) * _CHUNK / len(self._members), 1.0))
        return np.concatenate(parts)


def open_twin(
    run: str | os.PathLike[str], options: ExportOptions, limits: TwinLimits = TwinLimits()
) -> TwinService:
    """Open a run for visitors, and compile what they will ask for.

    Raises UserError for a run, a twin or a posterior that is not valid, and if the page would tell the place.
    """
    read = read_run(run)
    twin = find_twin(read, options.twin)
    return TwinService(read, twin, options, limits)


def _check_present(left: threading.Event) -> None:
    # Nobody reads it: it ends the work of a visitor who has gone.
    if left.is_set():
        raise Refusal("broken")
