"""The verb twin calibrate."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from bioclip_jax.errors import listing

from .options import Result, add_verb, positive, seed

_METHODS = ("map", "nuts")
# Parameters that a report names; a large web has a hundred.
_SHOWN = 12


def calibrate(arguments: argparse.Namespace) -> Result:
    """Calibrate a twin's community to observations."""
    from bioclip_jax.twin.calibrate import CalibrateOptions, calibrate_twin

    options = CalibrateOptions(
        method=arguments.method,
        draws=arguments.draws,
        movement=arguments.movement,
        reliability=arguments.reliability,
        seed=arguments.seed,
        check=arguments.check,
    )
    result = calibrate_twin(arguments.twin, arguments.observations, arguments.output, options)
    if not arguments.json:
        _report(result)
    return result


def _report(result: dict[str, Any]) -> None:
    """Report on standard error what the data inform."""
    lines = [f"identified: {listing(result['identified'], _SHOWN) or 'nothing'}"]
    if result["not_identified"]:
        lines.append(f"the data cannot tell: {listing(result['not_identified'], _SHOWN)}")
    if "simulations" in result:
        verdict = {
            True: "uniform",
            False: "not uniform: the posterior is wrong somewhere",
            None: "not judged, since no parameter is identified",
        }[result["uniform"]]
        least = result["least_corrected_p"]
        lines.append(
            f"ranks of {result['simulations']:,} simulations: {verdict}"
            + ("" if least is None else f" (least p {least:.3f}, corrected)")
        )
    else:
        predictive = result["predictive"]
        lines.append(
            f"{predictive['coverage_90']:.0%} of the counts are within their 90 % predictive intervals"
        )
        if result["note"]:
            lines.append(f"warning: {result['note']}")
    print("\n".join([*lines, f"wrote {result['output']}"]), file=sys.stderr)


def add_calibrate_verb(family: Any) -> None:
    """Declare the verb in the family of `twin`."""
    verb = add_verb(
        family,
        "calibrate",
        calibrate,
        "fit a twin's community to a Camtrap DP or a table of counts; says what the data cannot tell",
    )
    verb.add_argument("twin", metavar="TWIN", type=Path, help="folder that twin build wrote")
    verb.add_argument(
        "observations",
        metavar="OBSERVATIONS",
        type=Path,
        help="any Camtrap DP, or a table with date (or start, end), patch, species, count and effort_days",
    )
    verb.add_argument(
        "output", metavar="OUT", type=Path, help="folder of the posterior, its draws and the pictures"
    )
    verb.add_argument(
        "--method",
        choices=_METHODS,
        default=_METHODS[0],
        help="map: maximum, Laplace's approximation and importance resampling (default); nuts: no-U-turn "
        "sampler, slower, for posteriors of odd shape",
    )
    verb.add_argument(
        "--draws", type=positive, default=500, metavar="N", help="draws of the posterior (default: 500)"
    )
    verb.add_argument(
        "--check",
        type=positive,
        default=0,
        metavar="N",
        help="instead of the fit, test it on N simulations of this survey (simulation-based calibration)",
    )
    verb.add_argument("--seed", type=seed, default=0, metavar="N", help="of all draws (default: 0)")
    verb.add_argument(
        "--movement",
        type=Path,
        metavar="CSV",
        help="speed, detection radius and angle by scientificName, as of twin estimate; without it densities "
        "are known only as far as the twin's species table knows them",
    )
    verb.add_argument(
        "--reliability",
        type=Path,
        metavar="JSON",
        help="file of taxa calibrate, for a Camtrap DP without verified events",
    )
