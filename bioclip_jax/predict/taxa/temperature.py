"""The option --temperature: a number, or a file that `taxa calibrate` wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bioclip_jax.errors import UserError

from .prior import Prior

_NO_TEMPERATURE = "is not a number and not a file of `bioclip-jax taxa calibrate`"


def read_temperature(text: str, fingerprint: str) -> float:
    """Parse a temperature: a number, or a file of `taxa calibrate` for the model with `fingerprint`.

    Raises UserError for anything else.
    """
    try:
        return float(text)
    except ValueError:
        pass
    temperature, content = _read_calibration(text)
    if content["fingerprint"] != fingerprint:
        raise UserError(
            f"{text} was fitted to another model; fit one to this model with `bioclip-jax taxa calibrate`"
        )
    return temperature


def prior_warning(text: str, prior: Prior | None) -> str | None:
    """Return a warning if a calibration was fitted with another prior, else None.

    A prior makes scores more or less extreme, so the temperature that fits them differs. Its content counts,
    not its path. text: as read_temperature, which has checked it.
    """
    try:
        float(text)
        return None
    except ValueError:
        fitted = _read_calibration(text)[1].get("prior") or {}
    used = {} if prior is None else prior.settings
    if fitted.get("digest") == used.get("digest"):
        return None
    names = [f"the prior {one['path']}" if one else "no prior" for one in (fitted, used)]
    return (
        f"the temperature of {text} was fitted with {names[0]}, and this run has {names[1]}; fit it again "
        "with the same --prior"
    )


def _read_calibration(path: str) -> tuple[float, dict[str, Any]]:
    """Return the temperature and the content of a file of `taxa calibrate`."""
    if not Path(path).is_file():
        raise UserError(f"--temperature {path} {_NO_TEMPERATURE}")
    try:
        return calibration_values(Path(path).read_bytes())
    except (OSError, ValueError):
        raise UserError(f"--temperature {path} {_NO_TEMPERATURE}; give one") from None


def calibration_values(content: bytes) -> tuple[float, dict[str, Any]]:
    """Return the temperature and all values of a file of `taxa calibrate`, which has a fingerprint.

    Raises ValueError for other content.
    """
    try:
        values = json.loads(content)
        temperature, _ = float(values["temperature"]), values["fingerprint"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError("no file of taxa calibrate") from None
    return temperature, values
