"""Predictions as Darwin Core occurrences, one for each image, crop or event (`--format dwc`).

Terms: https://dwc.tdwg.org/terms/. The mapping follows GBIF's guide for camera traps (Reyserhove et al. 2023,
doi:10.35035/doc-0qzp-2x37) as camtrapdp::write_dwc does: observations of people, vehicles, blanks and unknown
animals are no occurrences.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from bioclip_jax import __version__
from bioclip_jax.predict.review import CONFIRMED, CORRECTED, REJECTED
from bioclip_jax.tables import fold_name
from bioclip_jax.text import RANKS, Taxon, genus_and_epithet

from .events import FrameEvents
from .inputs import ImageFile
from .results import Prediction, Row, with_index
from .selection import UNKNOWN

DWC = "dwc"
TERMS = (
    "occurrenceID",
    "basisOfRecord",
    "occurrenceStatus",
    "eventID",
    "parentEventID",
    "eventDate",
    "recordedBy",
    "associatedMedia",
    "identifiedBy",
    "dateIdentified",
    "identificationVerificationStatus",
    "identificationRemarks",
    "taxonID",
    "scientificName",
    "taxonRank",
    *RANKS[:-1],
    "specificEpithet",
    "vernacularName",
)
# Only if coordinates are asked for, since those of a rare species draw poachers.
PLACE_TERMS = ("decimalLatitude", "decimalLongitude", "geodeticDatum")
UNVERIFIED, VERIFIED = "unverified", "verified using recorded media"
_DATUM = "EPSG:4326"
# Namespace of the identifiers, so that they are those of this mapping.
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "bioclip_jax.darwin_core")
# Bytes of a file's start that its fingerprint covers, which are headers and the first rows of pixels.
_HEAD = 1 << 16
_MOST_MEDIA = 100
# Columns of input tables, by their folded names.
_PEOPLE = ("recordedby", "recorded_by", "photographer", "observer", "setupby")
_DEPLOYMENT = ("deploymentid", "deployment_id")
_LATITUDE, _LONGITUDE = ("latitude", "decimallatitude"), ("longitude", "decimallongitude")


class DarwinCoreRows:
    """Occurrences of predictions.

    skipped: number of predictions that are none, by reason.
    """

    def __init__(
        self,
        classifier: Any,
        images: Sequence[ImageFile],
        events: FrameEvents,
        *,
        by_event: bool,
        place: bool,
    ) -> None:
        """events: of `images`, whose times are the occurrences'. by_event: predictions are of events."""
        self._images, self._events = images, events
        self._by_event, self._place = by_event, place
        name = os.path.basename(str(classifier.model_str).rstrip("/"))
        self._identified_by = f"{name} ({classifier.model.fingerprint[:12]}), bioclip_jax {__version__}"
        self._today = datetime.now(UTC).date().isoformat()
        self.skipped: Counter[str] = Counter()

    def rows(self, predictions: Iterable[Prediction]) -> Iterator[Row]:
        """Yield the best prediction of each image or event as an occurrence."""
        predictions = (prediction for prediction in predictions if prediction[1])
        if self._by_event:
            indexed = ((self._first_of(rows[0]["event"]), (image, rows)) for image, rows in predictions)
        else:
            indexed = with_index(predictions, self._images)
        for index, (image, rows) in indexed:
            occurrence = self._occurrence(index, image, rows[0])
            if occurrence is not None:
                yield occurrence

    def _first_of(self, event: str) -> int:
        """Return the index of an event's first photograph."""
        return int(self._events.by_id(event).images[0])

    def _occurrence(self, index: int, image: ImageFile, row: Row) -> Row | None:
        names = list(row)
        end = names.index("score") + 1
        prediction = {name: row[name] for name in names[:end]}
        others = {fold_name(name): row[name] for name in names[end:]}
        if prediction["score"] is None:
            self.skipped[str(others.get("detection") or "without an animal")] += 1
            return None
        # A table of corrections, or the final table of `review`.
        status = str(others.get("status") or others.get("verified") or "")
        taxon = _predicted(prediction)
        if status == REJECTED or (status not in (CONFIRMED, CORRECTED) and not taxon):
            self.skipped[UNKNOWN] += 1
            return None
        event = self._events[int(self._events.numbers[index])]
        start, end_time = event.start, event.end
        if not self._by_event:
            start = end_time = self._events.text_of(index)
        occurrence = dict.fromkeys((*TERMS, *(PLACE_TERMS if self._place else ())), "")
        occurrence |= {
            "occurrenceID": self._identifier(index, image, event.id),
            "basisOfRecord": "MachineObservation",
            "occurrenceStatus": "present",
            "eventID": event.id,
            "parentEventID": _first(others, _DEPLOYMENT),
            "eventDate": start if start == end_time else f"{start}/{end_time}",
            "recordedBy": _first(others, _PEOPLE),
            "associatedMedia": " | ".join(self._media(image, event.images)),
            "identifiedBy": self._identified_by,
            "dateIdentified": self._today,
            "identificationVerificationStatus": UNVERIFIED,
            "identificationRemarks": _remarks(prediction, row),
            "taxonID": _first(others, ("taxonid", "taxon_id")),
        }
        if status in (CONFIRMED, CORRECTED):
            taxon = _verified(others) or taxon
            occurrence["identificationVerificationStatus"] = VERIFIED
            occurrence["identifiedBy"] = _first(others, ("reviewed_by", "identifiedby"))
            occurrence["dateIdentified"] = str(others.get("reviewed_at", ""))
        occurrence |= taxon
        if self._place:
            latitude, longitude = _first(others, _LATITUDE), _first(others, _LONGITUDE)
            if latitude and longitude:
                occurrence |= dict(zip(PLACE_TERMS, (latitude, longitude, _DATUM)))
        return occurrence

    def _media(self, image: ImageFile, images: Iterable[int]) -> list[str]:
        if not self._by_event:
            return [image.name]
        return list(dict.fromkeys(self._images[index].name for index in images))[:_MOST_MEDIA]

    def _identifier(self, index: int, image: ImageFile, event: str) -> str:
        """Return a URN: of the file's name, the box or event, and the start of the content.

        The same photographs under the same names have the same identifiers in every run, with any model.
        """
        first = self._images[index]
        box = "" if self._by_event or image.box is None else str([round(edge, 6) for edge in image.box])
        parts = (event if self._by_event else first.name, box, _fingerprint(first))
        return uuid.uuid5(_NAMESPACE, "\0".join(parts).encode(errors="surrogateescape").hex()).urn


def _predicted(prediction: Mapping[str, Any]) -> dict[str, Any]:
    """Return the terms of a predicted taxon, empty for "unknown"."""
    lineage = {rank: str(prediction.get(rank) or "") for rank in RANKS}
    if prediction.get("rank") == UNKNOWN or UNKNOWN in lineage.values() or not any(lineage.values()):
        return {}
    species = lineage.pop("species")
    rank = "species" if species else next(rank for rank in reversed(RANKS) if lineage.get(rank))
    return lineage | {
        "scientificName": species or lineage[rank],
        "taxonRank": rank,
        "specificEpithet": str(prediction.get("species_epithet") or ""),
        "vernacularName": str(prediction.get("common_name") or ""),
    }


def _verified(others: Mapping[str, Any]) -> dict[str, Any]:
    """Return the terms of the taxon that a person named, of a table of corrections.

    A name that was typed has no ranks; two words of it are genus and epithet.
    """
    ranks = {rank: str(others.get(f"input_{rank}") or others.get(rank) or "") for rank in RANKS}
    label = str(others.get("label") or "")
    if not any(ranks.values()) and label:
        taxon = Taxon.from_row({"scientific_name": label})
        ranks["genus"], ranks["species"] = taxon.genus, taxon.species
    ranks["genus"], epithet = genus_and_epithet(ranks["genus"], ranks.pop("species"))
    if not any(ranks.values()) and not epithet:
        return {"scientificName": label} if label else {}
    rank = "species" if epithet else next(rank for rank in reversed(RANKS) if ranks.get(rank))
    common = others.get("input_common_name") or others.get("common_name")
    return ranks | {
        "scientificName": f"{ranks['genus']} {epithet}".strip() if epithet else ranks[rank],
        "taxonRank": rank,
        "specificEpithet": epithet,
        "vernacularName": str(common or ""),
    }


def _remarks(prediction: Mapping[str, Any], row: Row) -> str:
    remarks = f"confidence {prediction['score']:.4f}"
    if row.get("familiarity") is not None:
        remarks += f", familiarity {row['familiarity']:.4f}"
    if row.get("frames") and "event" in prediction:
        frames = row["frames"]
        remarks += f", pooled over {frames} frame{'' if frames == 1 else 's'}"
        remarks += f", of which {row['disagreeing']} named another taxon" if row["disagreeing"] else ""
    return remarks


def _first(others: Mapping[str, Any], names: Sequence[str]) -> str:
    for name in names:
        for column in (name, f"input_{name}"):
            if others.get(column) not in (None, ""):
                return str(others[column])
    return ""


def _fingerprint(image: ImageFile) -> str:
    """Return a hash of the size and the first bytes of an image's content, "" for one that is gone."""
    try:
        if image.content is not None or image.size is not None:
            data = image.read()
            size, head = len(data), data[:_HEAD]
        else:
            with open(image.path, "rb") as file:
                head, size = file.read(_HEAD), os.fstat(file.fileno()).st_size
    except OSError:
        return ""
    return hashlib.blake2b(head + size.to_bytes(8, "little"), digest_size=16).hexdigest()
