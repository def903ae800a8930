"""A point estimate with the limits of its interval, as all estimates of the room return it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Interval:
    """A point estimate `mean` and the limits `lower` and `upper` of its interval, in the same unit.

    Whoever returns one states its level (0.90 unless asked for another). The limits need not be symmetric
    about the estimate; they include it.
    """

    mean: float
    lower: float
    upper: float

    def __post_init__(self) -> None:
        if not self.lower <= self.mean <= self.upper:
            raise ValueError(f"the estimate {self.mean} is outside {self.lower} to {self.upper}")

    def as_dict(self) -> dict[str, float]:
        """Return {"mean", "lower", "upper"}, as the JSON of an estimate has it."""
        return {"mean": self.mean, "lower": self.lower, "upper": self.upper}

    def scaled(self, factor: float) -> Interval:
        """Return the interval in another unit; `factor` is positive."""
        return Interval(self.mean * factor, self.lower * factor, self.upper * factor)
