"""Hours of daylight in the patches, by NOAA's formula."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Shaped

from bioclip_jax.twin.estimate import sunrise_sunset

from .twin import Patch


def daylight_hours(
    patches: Sequence[Patch], days: Shaped[np.ndarray, " days"]
) -> Float[np.ndarray, "days patches"]:
    """Hours from sunrise to sunset, 0 to 24, on local days (datetime64) at the patches' centers."""
    hours = np.empty((len(days), len(patches)))
    for column, patch in enumerate(patches):
        sunrise, sunset = sunrise_sunset(days, patch.latitude, patch.longitude)
        hours[:, column] = sunset - sunrise
    return hours
