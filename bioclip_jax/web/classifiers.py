"""Classifiers for photos with known vectors, restricted to what a visitor chooses, in a bounded cache."""

from __future__ import annotations

import itertools
import math
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32

from bioclip_jax.errors import UserError
from bioclip_jax.predict import OnBad
from bioclip_jax.predict.classifiers import CustomLabelsClassifier, LearnedClassifier, TreeOfLifeClassifier
from bioclip_jax.predict.taxa import UnknownTaxa, calibration_values, read_checklist

from .language import VisitorError
from .photos import Photo

_BATCH = 64
# Choices whose classifiers are kept; the names of one of 100,000 taxa take 3.6 MB (measured).
_CACHED_CHOICES = 8
# Bytes of a checklist, some 68,000 names with authors, read and found in 4 s, and characters of a taxon.
MAX_CHECKLIST, _MAX_TAXON = 3_000_000, 200
# Unknown names that a message lists.
_LISTED_NAMES = 12
# Temperatures outside make every score equal, or 0 and 1.
_LEAST_TEMPERATURE, _MOST_TEMPERATURE = 0.05, 100


class _KnownVectors:
    """Classifier mixin for photos with known vectors; rows name a photo by its index, as names may repeat."""

    def features(
        self, images: Iterable[tuple[int, Photo]], on_bad: OnBad | None = None
    ) -> Iterator[tuple[list[tuple[int, str]], Float32[np.ndarray, "rows embed_dim"]]]:
        photos = list(images)
        for start in range(0, len(photos), _BATCH):
            batch = photos[start : start + _BATCH]
            vectors = np.stack([photo.vector for _, photo in batch])
            yield [(index, str(index)) for index, _ in batch], vectors


class PhotoLabels(_KnownVectors, CustomLabelsClassifier):
    """CustomLabelsClassifier for photos with known vectors."""


class PhotoHead(_KnownVectors, LearnedClassifier):
    """LearnedClassifier for photos with known vectors."""


class PhotoTaxa(_KnownVectors, TreeOfLifeClassifier):
    """TreeOfLifeClassifier for photos with known vectors.

    calibrated: the temperature is a calibration's.
    """

    calibrated = False

    def restricted(self, choice: Choice) -> PhotoTaxa:
        """Return a classifier of those selected taxa that `choice` names, at its temperature.

        Raises UserError for unknown names, and if no taxon is left.
        """
        temperature = self.temperature if choice.temperature is None else choice.temperature
        taxa = PhotoTaxa(self.model, self.head, temperature=temperature)
        taxa.calibrated = self.calibrated if choice.temperature is None else choice.calibrated
        if choice.checklist or choice.within:
            subset = None
            if choice.checklist:
                subset = read_checklist("the checklist", zlib.decompress(choice.checklist))
            try:
                taxa.choose(subset, choice.within or None, skip_unknown=choice.skip_unknown)
            except UnknownTaxa as error:
                raise _unknown(error, choice) from None
        rows = taxa._selected
        if self._selected is not None:
            rows = self._selected if rows is None else np.intersect1d(rows, self._selected, True)
            if not len(rows):
                raise VisitorError("none_left")
        taxa.prior = self.prior
        taxa._choose(rows)
        return taxa


def _unknown(error: UnknownTaxa, choice: Choice) -> VisitorError:
    """Return advice for a visitor and for a program about a checklist's unknown names, or the taxon's."""
    shown = [
        f"{name} ({' / '.join(near)}?)" if near else name
        for name, near in itertools.islice(error.similar.items(), _LISTED_NAMES)
    ]
    names = ", ".join(shown) + (" …" if len(error.similar) > _LISTED_NAMES else "")
    if not choice.checklist or choice.within in error.similar:
        near = " / ".join(error.similar.get(choice.within, ()))
        key = "unknown_within_near" if near else "unknown_within"
        return VisitorError(key, plain=str(error), name=choice.within, near=near)
    unknown = VisitorError("unknown_all", names=names)
    if not error.others_known:
        return unknown
    plain = f"{unknown}, or send skip_unknown=true"
    return VisitorError("unknown_some", plain=plain, names=names, skip="")


@dataclass(frozen=True)
class Choice:
    """A visitor's choice of candidates: all that the server offers, unless restricted.

    within: a taxon of any rank. checklist: content of a table or list of names, compressed, as it stays with
    a visitor's page; skip_unknown ignores names that the server lacks. temperature: None is the server's;
    calibrated: it is a calibration's. head: name of a learned head, which excludes all others.
    """

    within: str = ""
    checklist: bytes = b""
    skip_unknown: bool = False
    temperature: float | None = None
    calibrated: bool = False
    head: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "within", " ".join(self.within.split()))
        if self.head and (self.within or self.checklist or self.temperature is not None):
            raise VisitorError("head_excludes", head=self.head[:40])
        if len(self.within) > _MAX_TAXON:
            raise VisitorError("long_within", count=len(self.within), most=_MAX_TAXON)

    @classmethod
    def create(cls, checklist: bytes = b"", **fields: Any) -> Choice:
        """Return the choice with the plain content of a checklist. Raises VisitorError for too much."""
        checklist = checklist.strip()
        if len(checklist) > MAX_CHECKLIST:
            raise VisitorError("long_checklist", most=MAX_CHECKLIST // 10**6)
        return cls(checklist=zlib.compress(checklist) if checklist else b"", **fields)


ALL = Choice()


class ChoiceForm(NamedTuple):
    """A visitor's entries. checklist: pasted; loaded: of a file, used if nothing is pasted.

    calibration: temperature of a loaded file, which the field `temperature` shows.
    """

    head: str | None
    within: str
    checklist: str
    loaded: bytes
    skip_unknown: bool
    temperature: str
    calibration: float | None

    def choice(self) -> Choice:
        """Return the choice. Raises VisitorError for values that cannot be used."""
        temperature = parse_temperature(self.temperature)
        return Choice.create(
            self.checklist.encode() if self.checklist.strip() else self.loaded,
            head=self.head or "",
            within=self.within,
            skip_unknown=self.skip_unknown,
            temperature=temperature,
            calibrated=temperature is not None and temperature == self.calibration,
        )


class Classifiers:
    """The server's taxa and learned heads, and the last classifiers that visitors chose.

    Equal choices share a classifier. heads: by name.
    """

    def __init__(self, taxa: PhotoTaxa | None, heads: Mapping[str, PhotoHead]) -> None:
        self._taxa, self.heads = taxa, heads
        self._chosen: OrderedDict[Choice, PhotoTaxa] = OrderedDict()

    def __getitem__(self, choice: Choice) -> PhotoTaxa | PhotoHead | None:
        """Return the classifier of a choice, None for taxa on a server without.

        Raises UserError for an unknown head, and as PhotoTaxa.restricted.
        """
        if choice.head:
            if choice.head not in self.heads:
                names = ", ".join(self.heads)
                raise VisitorError("no_head" if names else "no_heads", head=choice.head[:40], choices=names)
            return self.heads[choice.head]
        if self._taxa is None or choice == ALL:
            return self._taxa
        taxa = self._chosen.pop(choice, None) or self._taxa.restricted(choice)
        self._chosen[choice] = taxa
        if len(self._chosen) > _CACHED_CHOICES:
            self._chosen.popitem(last=False)
        return taxa


def parse_temperature(text: str) -> float | None:
    """Read a temperature, None for an empty text. Raises VisitorError for anything but a sensible number."""
    if not text.strip():
        return None
    try:
        value = float(text.strip().replace(",", "."))
    except ValueError:
        value = math.nan
    if not _LEAST_TEMPERATURE <= value <= _MOST_TEMPERATURE:
        limits = {"least": _LEAST_TEMPERATURE, "most": _MOST_TEMPERATURE}
        raise VisitorError("temperature_number", value=text.strip()[:20], **limits)
    return value


def parse_calibration(content: bytes, name: str, fingerprint: str) -> float:
    """Read the temperature of a file of `taxa calibrate` for the model with `fingerprint`.

    Raises VisitorError for another file, and one of another model.
    """
    try:
        value, values = calibration_values(content)
        temperature = parse_temperature(str(value))
    except (ValueError, UserError):
        raise VisitorError("calibration_file", name=name) from None
    if values["fingerprint"] != fingerprint:
        raise VisitorError("calibration_model", name=name)
    return temperature
