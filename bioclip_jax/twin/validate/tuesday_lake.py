"""Cases 4 and 5: Tuesday Lake, from which three minnows were taken and bass put in.

Cohen, Jonsson and Carpenter (2003, Proc. Natl. Acad. Sci. USA 100:1781): body mass and numerical abundance of
all species of the open water in 1984 and 1986, and who eats whom.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from .cases import Settings
from .lake_manipulation import predict_manipulation, score
from .lake_slopes import DEFAULTS, simulate_from_masses
from .lake_web import LakeWeb, read_web, slope

FOLDER = "food_webs"
PUBLISHED_SLOPES = {1984: -0.827, 1986: -0.741}
SIMULATED, TOLERANCE = -0.75, 0.15
_SLOPE_MEMBERS, _MANIPULATION_MEMBERS = 128, 160


def read_lake(data: str | os.PathLike[str]) -> dict[int, LakeWeb]:
    """Return the webs of 1984 and 1986 by year, from the folder food_webs below `data`.

    Raises UserError for a missing file or column, an unknown category, a mass or abundance that is not
    positive, and a link of a species that the nodes lack.
    """
    folder = Path(data) / FOLDER
    return {
        1900 + year: read_web(folder / f"tl{year}_nodes.csv", folder / f"tl{year}_links.csv")
        for year in (84, 86)
    }


def lake_slopes_case(settings: Settings, lake: dict[int, LakeWeb]) -> dict[str, Any]:
    """Return case 4: the slopes as read, and the mean over simulations of each web.

    The allometry's defaults come too, which the ranges for algae replaced after these had missed.
    """
    study: dict[str, Any] = {}
    holds, parts = True, []
    for year, web in lake.items():
        read = slope(web.mass_kg, web.per_m3)
        simulated = simulate_from_masses(web, members=_SLOPE_MEMBERS, seed=settings.seed)
        defaults = simulate_from_masses(web, members=_SLOPE_MEMBERS, seed=settings.seed, fate=DEFAULTS)
        default = float(np.mean(defaults["slopes"]))
        mean, survivors = (float(np.mean(simulated[name])) for name in ("slopes", "survivors"))
        lower, upper = (float(value) for value in np.quantile(simulated["slopes"], [0.05, 0.95]))
        study[str(year)] = {
            "read": read,
            "simulated": {"mean": mean, "lower": lower, "upper": upper},
            "simulated_from_defaults": default,
            "species": len(web.names),
            "mean_survivors": survivors,
            "members": _SLOPE_MEMBERS,
        }
        holds &= abs(read - PUBLISHED_SLOPES[year]) <= 0.002 and abs(mean - SIMULATED) <= TOLERANCE
        parts.append(
            f"{year} read {read:.3f}, simulated from masses and links {mean:.3f} on average of "
            f"{_SLOPE_MEMBERS} ({lower:.2f} to {upper:.2f}; {survivors:.1f} of {len(web.names)} species "
            f"survive); with default efficiency and grazing {default:.3f}"
            f"{', which misses' if abs(default - SIMULATED) > TOLERANCE else ''}"
        )
    return {"ours": "; ".join(parts), "holds": bool(holds), "study": study}


def lake_manipulation_case(settings: Settings, lake: dict[int, LakeWeb]) -> dict[str, Any]:
    """Return case 5, which holds once its skill is published with intervals, whatever it is."""
    before, after = lake[1984], lake[1986]
    prediction = predict_manipulation(before, after, members=_MANIPULATION_MEMBERS, seed=settings.seed)
    study = score(prediction, before, after)
    ratios = study["aggregate"]
    skill, shared = study["skill"], study["shared"]
    verdict = "none" if skill <= 0 else "next to none" if skill < 0.1 else f"{skill:.0%} of the variance"
    parts = [
        f"skill against no change: {verdict} (RMSE of log ratios {study['rmse']:.2f}, no change "
        f"{study['rmse_no_change']:.2f})",
        f"{study['wrong_signs']} of {shared} signs wrong ({study['wrong_signs'] / shared:.0%}; "
        f"'all decline' {study['wrong_if_all_decline']})",
        f"90 % intervals hold {study['covered']} of {shared} responses, and of {study['undecided']} the data "
        "cannot tell the sign",
        *(
            f"{kind} x {one['observed']:.2f}, predicted {one['median']:.2f} ({one['lower']:.2f} to "
            f"{one['upper']:.2f}{'' if one['covered'] else ', misses it'}"
            f"{', spans 1: the data cannot tell' if one['lower'] < 1 < one['upper'] else ''})"
            for kind, one in ratios.items()
        ),
        f"{study['draws']} of {study['drawn']} draws keep the lake of 1984",
    ]
    return {"ours": "; ".join(parts), "holds": True, "study": study}
