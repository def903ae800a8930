"""The priors of a calibration, in one table.

Parameters of a community are log-factors on its blueprint (twin.community), so that 0 is the default and 0.69
twice as much; capture rates, handling times and capacities follow from the balance. All priors are normal on
the log scale. Their widths are choices of this project, with the reason beside each; the table is written
into every result.
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

    scope: "community" (one parameter), "producer" or "species" (one each). unit: of exp(center).
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
        return {
            "kind": self.kind,
            "scope": self.scope,
            "meaning": self.meaning,
            "unit": self.unit,
            **central_90(self.center, self.sd),
            "log_sd": self.sd,
            "reason": self.reason,
        }


def central_90(center: float, sd: float) -> dict[str, float]:
    """Return median and central 90 % of exp of a normal(center, sd)."""
    return {
        "median": math.exp(center),
        "lower": math.exp(center - _Z90 * sd),
        "upper": math.exp(center + _Z90 * sd),
    }


PRIORS = (
    Prior(
        "equilibrium",
        "species",
        "biomass at which the community would be in balance under average conditions",
        "factor of the reference biomass",
        0.0,
        0.5,
        "tables of densities are from other years and places, good to a factor of two",
    ),
    Prior(
        "initial",
        "species",
        "biomass at the start, in all patches",
        "factor of the biomass in balance",
        0.0,
        0.3,
        "populations vary between years by a third or so",
    ),
    Prior(
        "growth",
        "producer",
        "spare growth: beyond what consumers take in balance",
        "factor of the default",
        0.0,
        0.4,
        "growth rates of one kind of plant differ by as much between sites",
    ),
    Prior(
        "metabolism",
        "community",
        "respiration of all consumers",
        "factor of the allometric rate",
        0.0,
        0.15,
        "regressions on body mass fix the level well",
    ),
    Prior(
        "max_growth",
        "community",
        "growth of all consumers with food in plenty",
        "factor of the allometric rate",
        0.0,
        0.3,
        "species scatter about the regression on body mass by more, their common level by less",
    ),
    Prior(
        "interference",
        "community",
        "odds of the share of spare intake that a consumer's own density takes away",
        "factor of the default odds",
        0.0,
        0.7,
        "hardly ever measured",
    ),
    Prior(
        "hill",
        "community",
        "exponent of the functional response, at the reference diet",
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
        "without speed, radius and angle: a factor of ten either way spans cameras and animals of most sizes",
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
COMMUNITY_KINDS = ("equilibrium", "initial", "growth", "metabolism", "max_growth", "interference", "hill")
