"""Which classes of Herbarium19 are Old, labelled in part, in generalised category discovery.

The split that the benchmark publishes beside its code (Vaze et al. 2022, https://arxiv.org/abs/2201.02609).
"""

from __future__ import annotations

CLASSES = 683
# Bit i says whether class i, by the order of the folders' names as texts, is Old.
_OLD = int(
    "76c02d86e801f8bcd37003fe680af02710c78ea92f207bfee27f0da55fa8b9b1e51b35e29e61482ef4d"
    "c54e7ca0fb64bc6028c19de41eedbae3c0ed75165e2cbcaeba015250e44339f31620f89751d76164c436d5cb",
    16,
)
OLD = tuple(index for index in range(CLASSES) if _OLD >> index & 1)
