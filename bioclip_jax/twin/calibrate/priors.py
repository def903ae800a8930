"""The priors of a calibration, in one table.

Rates of a community are calibrated as log-factors on the rates of the balanced community (from_twin), so that
0 is the default and 0.69 twice the rate. All priors are normal on the log scale. Their widths are choices of
this project, with the reason beside each; the table is written into every result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

# Factor at the upper end of a normal's central 90 % on the log scale, per standard deviation.
_Z90 = 1.6448536269514722


@dataclass(frozen=True)
class Prior:
    """Prior of a kind of parameter: normal(center, sd) on the log scale.

    scope: "community" (one parameter), "producer", "consumer", "species" (one each), or "cell" (of the
    confusion matrix). unit: of exp(center).
    """

    kind: str
    scope: str
    meaning: str
    unit: str
    center: float
    sd: float
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """Return the row of the table, with the central 90 % as values."""
        bounds = [math.exp(self.center + side * _Z90 * self.sd) for side in (-1, 1)]
        return {
            "kind": self.kind,
            "scope": self.scope,
            "meaning": self.meaning,
            "unit": self.unit,
            "median": math.exp(self.center),
            "lower": bounds[0],
            "upper": bounds[1],
            "log_sd": self.sd,
            "reason": self.reason,
        }


PRIORS = (
    Prior(
        "initial",
        "species",
        "biomass at the start, in all patches",
        "factor of the reference biomass",
        0.0,
        0.5,
        "tables of densities are from other years and places, good to a factor of two",
    ),
    Prior(
        "capture",
        "consumer",
        "capture rate of all links of a consumer",
        "factor of the balanced rate",
        0.0,
        0.3,
        "balanced rates sustain the reference biomasses; what remains is by how much these are off",
    ),
    Prior(
        "growth",
        "producer",
        "intrinsic growth rate",
        "factor of the balanced rate",
        0.0,
        0.3,
        "as for capture; growth rates of one kind of plant differ by about as much between sites",
    ),
    Prior(
        "capacity",
        "producer",
        "carrying capacity",
        "factor of the balanced capacity",
        0.0,
        0.3,
        "as for growth; the capacity is set from the reference biomass",
    ),
    Prior(
        "metabolism",
        "community",
        "respiration of all species",
        "factor of the allometric rate",
        0.0,
        0.15,
        "allometric regressions fix the level well; species scatter about it, which capture takes up",
    ),
    Prior(
        "handling",
        "community",
        "handling time of all links",
        "factor of the allometric time",
        0.0,
        0.3,
        "maximum intake relative to metabolism is known to about a third",
    ),
    Prior(
        "interference",
        "community",
        "time lost to conspecifics",
        "factor of the default",
        0.0,
        0.5,
        "hardly measured; a factor of two either way",
    ),
    Prior(
        "hill",
        "community",
        "exponent of the functional response, at equal capture from the reference biomass",
        "factor of the default exponent",
        0.0,
        0.1,
        "from near type II to clearly sigmoid",
    ),
    Prior(
        "detectability",
        "species",
        "events per day of effort and animal per km²",
        "km²/day",
        math.log(0.05),
        2.3,
        "without speed, radius and angle: a factor of ten either way covers cameras and animals of most sizes",
    ),
    Prior(
        "dispersion",
        "community",
        "variance of counts beyond Poisson's, 1/size of the negative binomial",
        "1",
        math.log(0.2),
        1.0,
        "counts of a period at one place vary by 20 to 100 % beyond chance",
    ),
    Prior(
        "blank",
        "community",
        "triggers without an animal",
        "1/day",
        math.log(0.5),
        1.5,
        "from a few a month to several a day",
    ),
)
BY_KIND = {prior.kind: prior for prior in PRIORS}
# Kinds that change the community or its start; the others belong to the observations.
COMMUNITY_KINDS = (
    "initial",
    "capture",
    "growth",
    "capacity",
    "metabolism",
    "handling",
    "interference",
    "hill",
)
