"""The page of a run whose visitors ask a server for scenarios of their own."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Mapping, Sequence
from typing import Any

from bioclip_jax.twin.animals import cast_of
from bioclip_jax.twin.community import Community
from bioclip_jax.twin.scenario import Run
from bioclip_jax.twin.world import Twin

from .blocks import deltas
from .content import as_numbers, effects_of, patch_order
from .export import ExportOptions, compose_page
from .flows import median_flows
from .page import Page
from .scenes import HOURS, make_scene
from .series import quantiles


def live_page(
    pair: Run, run: Run, twin: Twin, options: ExportOptions, menu: Mapping[str, Any]
) -> tuple[Page, dict[str, Any]]:
    """Return the page of a run and its JSON, with the choices of a menu.

    pair: the baseline of the members that visitors simulate, which need not be all of the run's.
    Raises UserError if the page would tell a coordinate, a camera or a place.
    """
    total, _ = quantiles(pair, patch_order(twin))
    live = {"menu": menu, "members": pair.biomass.shape[1]}
    return compose_page(run, twin, options, (live, deltas(total[:1])))


def live_branch(
    pair: Run, twin: Twin, communities: Community, events: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return what the page adds for a scenario, as JSON: events, effects, series, flows, hours of scenes.

    pair: the baseline, then the scenario. communities: of its members. events: as the page describes them.
    """
    total, patches = quantiles(pair, patch_order(twin))
    return {
        "events": list(events),
        "effects": effects_of(pair, pair.branches[1]),
        "flows": as_numbers(median_flows(communities, pair.biomass[1], pair.area_km2)),
        "total": _text(deltas(total[1:])),
        "patches": _text(deltas(patches[1:])),
        "members": pair.biomass.shape[1],
        "hours": HOURS if cast_of(pair, 1, twin.species) else [],
    }


def live_scene(cast: Mapping[str, int], twin: Twin, hour: int, seconds: float) -> dict[str, Any]:
    """Return a scene of a scenario's animals as JSON: header and gzipped content. hour: number of HOURS."""
    header, content = make_scene(cast, twin, 0, HOURS[hour], seconds)
    return header | {"content": _text(gzip.compress(content, mtime=0))}


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
