"""The cases of `twin validate`, with what was published or planted, and what comes out here."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bioclip_jax.twin.observe import Predict

from .walks import encounter_study


def validate(
    predictor: Callable[[Path], Predict] | None, *, runs: int = 400, worlds: int = 60, seed: int = 0
) -> dict[str, Any]:
    """Run the cases; return {"cases": [{"case", "name", "published", "ours", "holds"}]}.

    predictor: as study_closed_loop, whose case is not run without (holds: None). runs: of case 6. worlds: of
    case 11, beside three that are photographed.
    """
    from threadpoolctl import threadpool_limits

    # As in estimate_package.
    with threadpool_limits(1):
        return {"cases": [_encounters(runs, seed), _closed_loop(predictor, worlds, seed)]}


def cases_table(result: dict[str, Any]) -> str:
    """Return the cases as a table."""
    verdicts = {True: "holds", False: "does not hold", None: "not run"}
    return "\n".join(
        f"{case['case']:>2}  {case['name']}\n    must: {case['published']}\n    ours: {case['ours']}\n"
        f"    {verdicts[case['holds']]}"
        for case in result["cases"]
    )


def _encounters(runs: int, seed: int) -> dict[str, Any]:
    study = encounter_study(runs=runs, seed=seed)
    bias, coverage = study["mean_bias"], study["coverage"]
    return {
        "case": 6,
        "name": "random encounter model on simulated walks",
        "published": "mean bias at most 5 %, 95 % intervals cover 92 to 98 %",
        "ours": f"mean bias {bias:+.1%}, coverage {coverage:.1%} of {runs} runs",
        "holds": bool(abs(bias) <= 0.05 and 0.92 <= coverage <= 0.98),
        "study": study,
    }


def _closed_loop(predictor: Callable[[Path], Predict] | None, worlds: int, seed: int) -> dict[str, Any]:
    case = {
        "case": 11,
        "name": "closed loop: planted worlds, photographed, named by a model, estimated",
        "published": "90 % intervals of occupancy and relative abundance cover 85 to 95 %, without the "
        "correction of the model's errors they do not; mean density within 5 %",
    }
    if predictor is None:
        return case | {"ours": "needs a model; name one with --model", "holds": None}
    # It imports the embedded data sets, which only training and this case need.
    from .closed_loop import study_closed_loop

    with tempfile.TemporaryDirectory(prefix="bioclip_jax-") as folder:
        study = study_closed_loop(Path(folder), predictor, drawn=worlds, seed=seed)
    corrected, naive = (
        [study[f"{prefix}{name}"]["coverage"] for name in ("occupancy", "relative_abundance")]
        for prefix in ("", "naive_")
    )
    ratio, naive_ratios = study["density"]["ratio"], study["naive_density_ratio"].values()
    return case | {
        "ours": f"occupancy {corrected[0]:.1%} and relative abundance {corrected[1]:.1%} of "
        f"{study['occupancy']['intervals']} intervals each in {study['worlds']} worlds, uncorrected "
        f"{naive[0]:.1%} and {naive[1]:.1%}; mean density {ratio:.3f} of the planted one, uncorrected "
        f"{min(naive_ratios):.2f} to {max(naive_ratios):.2f} by species; the model labels "
        f"{study['event_accuracy']:.0%} of events right",
        "holds": all(0.85 <= value <= 0.95 for value in corrected)
        and max(naive) < 0.85
        and abs(ratio - 1) <= 0.05,
        "study": study,
    }
