"""The verbs of the wildlife digital twin: twin observe, share, estimate, validate; others in twin_world."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bioclip_jax.errors import UserError

from .candidates import add_taxa, add_taxa_choice, add_temperature
from .options import (
    Result,
    add_family,
    add_model,
    add_reading,
    add_transform,
    add_verb,
    loading,
    positive,
    probability,
)
from .twin_view import add_view_verbs
from .twin_world import add_world_verbs

_PACKAGE = "any Camtrap DP: a folder, datapackage.json or zip"
# Species per photograph: enough for all probabilities that matter, and little enough for a journal.
_SPECIES = 50
# Options that have no effect without --model, but for --precision, which has a default.
_OF_THE_MODEL = (
    "pretrained",
    "device",
    "batch_size",
    "transform",
    "exif",
    "max_pixels",
    "strict",
    "subset",
    "within",
    "prior",
    "backbone",
    "skip_unknown",
    "taxa",
    "temperature",
)


def observe(arguments: argparse.Namespace) -> Result:
    """Make a Camtrap DP of photographs."""
    from bioclip_jax.twin.observe import ObserveOptions, observe_photos

    given = vars(arguments)
    predict = None
    if arguments.model is not None:
        if arguments.predictions is not None:
            raise UserError("--model and --predictions both name the species; give only one")
        predict = _predictor(arguments)
    elif unused := [name for name in _OF_THE_MODEL if given[name]]:
        raise UserError(f"--{unused[0].replace('_', '-')} applies to a model; name it with --model")
    # A file of taxa calibrate holds both the temperature and the reliability at it.
    if (
        arguments.reliability is None
        and arguments.temperature is not None
        and Path(arguments.temperature).is_file()
    ):
        given["reliability"] = Path(arguments.temperature)
    names = {field.name for field in dataclasses.fields(ObserveOptions)}
    options = ObserveOptions(**{name: value for name, value in given.items() if name in names})
    result = observe_photos(
        arguments.photos, arguments.deployments, arguments.output, options, predict=predict
    )
    if not arguments.json:
        _report(result)
    return result


def share(arguments: argparse.Namespace) -> Result:
    """Write a copy of a Camtrap DP for others."""
    from bioclip_jax.twin.observe.camtrap_dp import read_package
    from bioclip_jax.twin.observe.privacy import read_sensitivity, share_package

    sensitivity = None if arguments.sensitive is None else read_sensitivity(arguments.sensitive)
    result = share_package(
        read_package(arguments.package),
        arguments.output,
        sensitivity,
        precise=arguments.precise,
        copy_media=arguments.photographs,
    )
    if not arguments.json:
        position = (
            "exact positions" if arguments.precise else f"positions in cells of {result['degrees']:g} degrees"
        )
        left = result["left_out"]
        print(
            f"{result['deployments']:,} deployments, {result['media']:,} media, {result['observations']:,} "
            f"observations, {position}; left out {left['people']:,} observations of people and "
            f"{left['withheld']:,} of withheld species\nwrote {result['folder']}",
            file=sys.stderr,
        )
    return result


def estimate(arguments: argparse.Namespace) -> Result:
    """Estimate the species of a Camtrap DP."""
    from bioclip_jax.twin.estimate import EstimateOptions, estimate_package, estimates_table

    names = {field.name for field in dataclasses.fields(EstimateOptions)}
    given = {name: value for name, value in vars(arguments).items() if name in names and value is not None}
    result = estimate_package(arguments.package, arguments.output, EstimateOptions(**given))
    if not arguments.json:
        print(estimates_table(result))
        print(f"note: {result['classifier']['note']}\nwrote {result['output']}", file=sys.stderr)
    return result


def validate(arguments: argparse.Namespace) -> Result:
    """Run the cases with a published or planted outcome."""
    from bioclip_jax.twin.validate import Settings, cases_table
    from bioclip_jax.twin.validate import validate as run_cases

    def predictor(world: Path) -> Callable[[Path, Path], str]:
        return _predictor(argparse.Namespace(**vars(arguments) | {"subset": world / "species.csv"}))

    if arguments.model is not None:
        from bioclip_jax.convert import resolve

        # A wrong model is an error now, and not minutes later, when its case runs.
        resolve(arguments.model, pretrained=arguments.pretrained)
    settings = Settings(
        None if arguments.model is None else predictor, runs=arguments.runs, worlds=arguments.worlds
    )
    result = run_cases(settings, arguments.data, cases=arguments.cases)
    if not arguments.json:
        print(cases_table(result))
    return result


def _predictor(arguments: argparse.Namespace) -> Callable[[Path, Path], str]:
    """Return a function that predicts the photographs of a table resumably, and names the model."""
    from bioclip_jax.predict import PredictOptions

    given = vars(arguments) | loading(arguments)
    names = {field.name for field in dataclasses.fields(PredictOptions)} - {"unknown", "output", "resume"}
    settings: dict[str, Any] = {name: value for name, value in given.items() if name in names}
    # Checks the options before any photograph is read.
    options = PredictOptions(**settings, k=_SPECIES)
    options.read_candidates()

    def predict(photos: Path, output: Path) -> str:
        from bioclip_jax.predict import predict_files

        result = predict_files([photos], arguments.model, options, output=output, resume=True)
        return f"{arguments.model} {result['fingerprint'][:12]}"

    return predict


def _report(result: dict[str, Any]) -> None:
    """Report a package on standard error."""
    lines = [
        f"{result['media']:,} photographs in {result['events']:,} events of {result['deployments']:,} "
        f"deployments, {result['effort_days']:,.1f} days of effort"
    ]
    species = list(result["species"].items())
    if species:
        shown = ", ".join(f"{name} ({count:,})" for name, count in species[:5])
        lines.append(f"{len(species):,} species, by events: {shown}{', ...' if len(species) > 5 else ''}")
    skipped = {
        "dropped {:,} photographs of people and vehicles": "people_dropped",
        "skipped {:,} photographs outside their deployments": "outside_deployments",
        "skipped {:,} photographs without a time": "without_time",
    }
    lines += [text.format(result[name]) for text, name in skipped.items() if result[name]]
    lines.append(f"wrote {result['output']}")
    if "share" in result:
        lines.append(f"wrote {result['share']['folder']}, which others may see")
    print("\n".join(lines), file=sys.stderr)


def _add_sharing(verb: argparse._ActionsContainer, photographs: str) -> None:
    """Add the options of a package for others; photographs: name of the flag that copies them."""
    verb.add_argument(
        "--sensitive",
        type=Path,
        metavar="CSV",
        help="sensitive species: scientificName, category (default: cells of 0.1 degrees for all)",
    )
    verb.add_argument("--precise", action="store_true", help="share exact positions and places")
    verb.add_argument(
        photographs,
        action="store_true",
        help="also copy the photographs, without metadata and people; a skyline may still tell the place",
    )


def add_verbs(verbs: Any) -> None:
    """Declare the verbs; options of observe are named as the fields of ObserveOptions."""
    family = add_family(verbs, "twin", "from photographs of camera traps to occupancy, activity and density")
    verb = add_verb(family, "observe", observe, "make a Camtrap DP package of camera-trap photographs")
    verb.add_argument(
        "photos", metavar="PHOTOS", help="a folder with a sub-folder per deployment, or a table with filepath"
    )
    verb.add_argument(
        "deployments",
        metavar="DEPLOYMENTS",
        help="a table with Camtrap DP's columns of deployments, and maybe folder, clockOffset and downTime",
    )
    verb.add_argument("output", metavar="OUT", type=Path, help="the package, a new folder")
    verb.add_argument("--overwrite", action="store_true", help="replace the package in OUT")
    time = verb.add_argument_group("time")
    time.add_argument(
        "--gap",
        type=float,
        default=120.0,
        metavar="SECONDS",
        help="longest pause within an event (default: 120)",
    )
    time.add_argument(
        "--timezone",
        metavar="ZONE",
        help="zone of the cameras' clocks, such as Europe/Brussels (default: that of each deploymentStart)",
    )
    evidence = verb.add_argument_group("evidence")
    evidence.add_argument("--predictions", type=Path, metavar="FILE", help="table that predict wrote")
    evidence.add_argument("--detections", type=Path, metavar="JSON", help="output of MegaDetector")
    evidence.add_argument(
        "--detection-threshold",
        type=probability,
        default=0.2,
        metavar="P",
        help="least confidence of a box (default: 0.2)",
    )
    evidence.add_argument(
        "--human",
        type=Path,
        metavar="CSV",
        help="labels: filepath or eventID, scientificName; also count, lifeStage, sex, classifiedBy",
    )
    evidence.add_argument(
        "--reliability", type=Path, metavar="JSON", help="file of taxa calibrate, for the estimates"
    )
    evidence.add_argument(
        "--unknown", type=probability, metavar="P", help="an animal of less probability has no species"
    )
    privacy = verb.add_argument_group("privacy")
    privacy.add_argument(
        "--people",
        choices=["drop", "keep"],
        default="drop",
        help="photographs of people and vehicles: leave them out (default), or mark them as not public",
    )
    privacy.add_argument("--share", type=Path, metavar="DIR", help="also write a package that others may see")
    _add_sharing(privacy, "--share-photographs")
    verb.add_argument(
        "--project",
        type=Path,
        metavar="TOML",
        help="title, contributors, licenses and project of the package",
    )
    model = verb.add_argument_group("model", "names the species, instead of --predictions")
    add_model(model, default=None)
    add_taxa_choice(model)
    add_temperature(model)
    add_transform(model)
    add_reading(model)

    verb = add_verb(family, "share", share, "copy a Camtrap DP without what others must not see")
    verb.add_argument("package", metavar="PACKAGE", type=Path, help=_PACKAGE)
    verb.add_argument("output", metavar="OUT", type=Path, help="the package for others, a new folder")
    _add_sharing(verb, "--photographs")

    verb = add_verb(
        family,
        "estimate",
        estimate,
        "estimate occupancy, activity and abundance of the species in a Camtrap DP, with 90 % intervals",
    )
    verb.add_argument("package", metavar="PACKAGE", type=Path, help=_PACKAGE)
    verb.add_argument(
        "output", metavar="OUT", type=Path, help="folder of the JSON, the tables and the figures"
    )
    verb.add_argument("--species", nargs="+", metavar="NAME", help="only these species (default: all)")
    verb.add_argument(
        "--visit-days", type=float, metavar="N", help="length of a visit to a site in days (default: 1)"
    )
    verb.add_argument(
        "--movement",
        type=Path,
        metavar="CSV",
        help="speed, detection radius and angle by scientificName, for densities: speed_m_per_s, radius_m, "
        "angle_rad and their standard errors speed_se, radius_se, angle_se",
    )
    verb.add_argument(
        "--reliability",
        type=Path,
        metavar="JSON",
        help="file of taxa calibrate, for a package without verified events",
    )
    covariates = verb.add_argument_group("covariates")
    covariates.add_argument(
        "--covariates", type=Path, metavar="CSV", help="further columns by deploymentID or locationID"
    )
    covariates.add_argument(
        "--occupancy-covariates", nargs="+", metavar="COLUMN", help="columns that occupancy may depend on"
    )
    covariates.add_argument(
        "--detection-covariates", nargs="+", metavar="COLUMN", help="columns that detection may depend on"
    )
    privacy = verb.add_argument_group("privacy")
    privacy.add_argument(
        "--sensitive", type=Path, metavar="CSV", help="sensitive species: scientificName, category"
    )
    privacy.add_argument(
        "--precise", action="store_true", help="exact positions, and withheld species too: not for others"
    )

    add_world_verbs(family)
    add_view_verbs(family)

    verb = add_verb(family, "validate", validate, "compare the twin with published and planted cases")
    verb.add_argument(
        "--data", type=Path, metavar="DIR", help="folder of the published data, which some cases need"
    )
    verb.add_argument("--cases", nargs="+", metavar="N", help="only these cases (default: all)")
    add_model(verb, default=None)
    add_taxa(verb)
    verb.add_argument(
        "--runs", type=positive, default=400, metavar="N", help="surveys of case 6 (default: 400)"
    )
    verb.add_argument(
        "--worlds",
        type=positive,
        default=60,
        metavar="N",
        help="worlds of case 11 beside the photographed ones (default: 60)",
    )
