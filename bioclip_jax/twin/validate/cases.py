"""The cases of `twin validate`, with what was published or planted, and what comes out here."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bioclip_jax.errors import UserError, did_you_mean, first_line
from bioclip_jax.twin.observe import Predict

_VERDICTS = {True: "holds", False: "does not hold", None: "not run"}


@dataclass(frozen=True)
class Settings:
    """Options of the cases.

    predictor: as study_closed_loop, for case 11. runs: surveys of case 6. worlds: of case 11,
    beside three that are photographed. seed: of all random numbers.
    """

    predictor: Callable[[Path], Predict] | None = None
    runs: int = 400
    worlds: int = 60
    seed: int = 0


@dataclass(frozen=True)
class Case:
    """A case, and the functions of this room's file `module` that read its data and run it.

    number: of the case, or a word for a study without one. published: what must come out.
    run: a function of Settings, and of what `read` returned if the case has data. It returns {"ours": one
    line, "holds": True, False, or None if not run, "study": figures, for JSON}.
    files: what it reads below the folder of the data. read: a function of that folder; raises UserError.
    needs_model: it is not run without Settings.predictor.
    """

    number: int | str
    name: str
    published: str
    module: str
    run: str
    files: tuple[str, ...] = ()
    read: str | None = None
    needs_model: bool = False

    def function(self, name: str) -> Callable[..., Any]:
        """Return a function of the case's file, imported only now: some files import heavy libraries."""
        return getattr(importlib.import_module(f".{self.module}", __package__), name)

    def missing(self, data: Path | None) -> list[str]:
        """Return the files that the folder lacks."""
        return [name for name in self.files if data is None or not (data / name).exists()]


_LAKE = tuple(f"food_webs/tl{year}_{part}.csv" for year in (84, 86) for part in ("nodes", "links"))
# In the order in which they run. To add a case, add its entry and write its functions in its subject's file.
CASES = (
    Case(
        1,
        "Lotka-Volterra equations, as a limit of the community's",
        "small-orbit period 2π/√(αγ) within 1e-3, the invariant drifts by at most 1e-6",
        "lotka_volterra",
        "lotka_volterra_case",
    ),
    Case(
        2,
        "lynx and hare, 1900 to 1920: posterior of the Lotka-Volterra equations",
        "means α 0.55, β 0.028, γ 0.80, δ 0.024 within 3 %, 80 % interval of α 0.47 to 0.63 within 0.02",
        "lynx_hare",
        "lynx_hare_case",
        ("lynx_hare/hudson-bay-lynx-hare.csv",),
        "read_pelts",
    ),
    Case(
        3,
        "bioenergetic pair of a producer and its consumer, Hill exponent 2",
        "steady state 0.1890, 0.2197 within 0.001",
        "bioenergetic",
        "bioenergetic_case",
    ),
    Case(
        4,
        "Tuesday Lake: slope of log abundance on log body mass, read and simulated from masses",
        "-0.827 (1984) and -0.741 (1986) within 0.002; simulated -0.75 within 0.15 on average",
        "tuesday_lake",
        "lake_slopes_case",
        _LAKE,
        "read_lake",
    ),
    Case(
        5,
        "Tuesday Lake: minnows out and bass in, predicted from 1984 alone",
        "the skill against no change is published with intervals, whatever it is; producers x 0.29, "
        "invertebrates x 0.69",
        "tuesday_lake",
        "lake_manipulation_case",
        _LAKE,
        "read_lake",
    ),
    Case(
        6,
        "random encounter model on simulated walks",
        "mean bias at most 5 %, 95 % intervals cover 92 to 98 %",
        "walks",
        "encounter_case",
    ),
    Case(
        7,
        "Portal: kangaroo rats kept out; calibrated on control plots alone, with priors widened in hindsight",
        "90 % intervals cover small granivores x 2.22 (1.70 to 2.96) and Onychomys x 0.66 (0.40 to 1.05)",
        "portal",
        "portal_case",
        ("portal/surveys.csv", "portal/plots.csv", "portal/Portal_rodent_trapping.csv"),
        "read_portal",
    ),
    Case(
        8,
        "persistence of food webs by the ratio of predator to prey mass",
        "persistence rises with the ratio from 1 to 100, and then saturates: a decade adds at most a third",
        "persistence",
        "persistence_case",
    ),
    Case(
        9,
        "collective states of Couzin et al. 2002, by the width of the zone of orientation",
        "swarm, torus and parallel group by polarization and rotation; the ways up and down differ",
        "couzin",
        "couzin_case",
    ),
    Case(
        10,
        "zebra stripes as lion, hyena and zebra resolve them, read from the rendered views",
        "people resolve them 4.5, 7.5 and 2.6 times as far, within 10 %",
        "stripes",
        "stripes_case",
    ),
    Case(
        11,
        "closed loop: planted worlds, photographed, named by a model, estimated",
        "90 % intervals of occupancy and relative abundance cover 85 to 95 %, without the correction of the "
        "model's errors they do not; mean density within 5 %",
        "closed_loop",
        "closed_loop_case",
        needs_model=True,
    ),
    Case(
        "links",
        "feeding links of the Serengeti, inferred with each consumer's own links hidden",
        "area under the ROC curve at least 0.8, above that of taxonomy alone",
        "inferred_links",
        "inferred_links_case",
        ("serengeti/links_code.csv", "serengeti/species_code.csv", "traits/phylacine_1.2_traits.csv"),
        "read_serengeti",
    ),
)


def validate(
    settings: Settings | None = None, data: Path | None = None, *, cases: Sequence[str] | None = None
) -> dict[str, Any]:
    """Run the cases, with progress on standard error.

    data: folder of published data; cases that need files it lacks are not run. cases: numbers of those to
    run, default all.

    Returns {"cases": [{"case", "name", "published", "ours", "holds", "study"}]}, holds: None for a case that
    was not run. A case that fails with an error does not hold, and the others run. Raises UserError for an
    unknown case, a wrong folder and invalid data, before any case runs.
    """
    from threadpoolctl import threadpool_limits

    settings = settings or Settings()
    chosen = _choose(cases)
    _check_folder(data, chosen)
    read: dict[int | str, list[Any]] = {
        case.number: [case.function(case.read)(data)] if case.read and not case.missing(data) else []
        for case in chosen
    }
    rows = []
    # As in estimate_package.
    with threadpool_limits(1):
        for case in chosen:
            row = {"case": case.number, "name": case.name, "published": case.published}
            print(f"case {case.number}: {case.name}", file=sys.stderr, flush=True)
            start = time.monotonic()
            row |= _run(case, settings, data, read[case.number])
            print(
                f"case {case.number}: {_VERDICTS[row['holds']]}, {time.monotonic() - start:.0f} s",
                file=sys.stderr,
                flush=True,
            )
            rows.append(row)
    return {"cases": rows}


def cases_table(result: dict[str, Any]) -> str:
    """Return the cases as a table."""
    return "\n".join(
        f"{case['case']:>2}  {case['name']}\n    must: {case['published']}\n    ours: {case['ours']}\n"
        f"    {_VERDICTS[case['holds']]}"
        for case in result["cases"]
    )


def _run(case: Case, settings: Settings, data: Path | None, read: list[Any]) -> dict[str, Any]:
    if missing := case.missing(data):
        files = " and ".join(str(Path(data or "DIR") / name) for name in missing)
        return {"ours": f"needs {files}; name the folder with --data", "holds": None}
    if case.needs_model and settings.predictor is None:
        return {"ours": "needs a model; name one with --model", "holds": None}
    try:
        return case.function(case.run)(settings, *read)
    except ModuleNotFoundError as error:
        return {"ours": f"needs {error.name}, which is not installed", "holds": None}
    except UserError as error:
        return {"ours": str(error), "holds": None}
    except Exception as error:  # whatever a case does, the others run
        return {"ours": f"failed with {type(error).__name__}: {first_line(error)}", "holds": False}


def _choose(names: Sequence[str] | None) -> list[Case]:
    if names is None:
        return list(CASES)
    known = {str(case.number): case for case in CASES}
    for name in names:
        if name not in known:
            hint = did_you_mean(name, [key for key in known if not key.isdigit()])
            raise UserError(f"--cases {name} is not a case; the cases are {', '.join(known)}{hint}")
    return [case for key, case in known.items() if key in names]


def _check_folder(data: Path | None, chosen: Sequence[Case]) -> None:
    if data is None:
        return
    if not data.is_dir():
        state = "is a file" if data.exists() else "does not exist"
        raise UserError(f"--data {data} {state}; name the folder of the published data")
    needing = [case for case in chosen if case.files]
    if needing and all(len(case.missing(data)) == len(case.files) for case in needing):
        example = data / needing[0].files[0]
        raise UserError(f"--data {data} has no data of these cases, such as {example}; name another folder")
