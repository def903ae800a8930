"""Checks of one sample: image, captions and their agreement, and the cleaned copy of a sound sample."""

import io
from collections.abc import Mapping
from functools import cache

import simplejpeg
from PIL import Image

from bioclip_jax.pipeline.images import BadImage, ReadOptions, decode, without_texts
from bioclip_jax.pipeline.sources import Sample
from bioclip_jax.text import (
    CAPTION_FILES,
    COMMON_SEPARATOR,
    PLAIN_TYPE,
    PREFIX,
    MissingCaption,
    Taxon,
    complete_captions,
    fold,
    parse_name,
)

from .findings import Findings
from .raw_samples import RawSample, quoted, safe_key

_SCIENTIFIC = ("scientific_name", "sci", "sci_com")
_TAXONOMIC = ("taxonomic_name", "taxon", "taxon_com")
_TAGGED = ("taxonTag", "taxonTag_com")
_COMMON = ("common_name", "com")
# As training reads images.
_READ = ReadOptions(strict=True)


def check_sample(raw: RawSample, findings: Findings) -> bool:
    """Add a sample's defects to `findings`; True if clean_sample makes it fit for training."""
    image_is_sound = _check_image(raw, findings)
    return _check_captions(raw, findings) and image_is_sound


def clean_sample(raw: RawSample) -> Sample:
    """Return a sound sample with a safe key and all captions; invalid ones are rebuilt from the others."""
    texts = {}
    for name, content in raw.captions.items():
        try:
            texts[name] = content.decode("utf-8")
        except UnicodeDecodeError:
            continue
    return Sample(safe_key(raw.key), raw.image, complete_captions(texts), raw.taxon, raw.metadata)


def _check_image(raw: RawSample, findings: Findings) -> bool:
    if not raw.image:
        if not raw.interrupted:
            reason = "its image file is empty" if raw.image_kind else "it has no image file"
            findings.error("no_image", raw.key, reason)
        return False
    try:
        damaged = _decode(raw.image)
        unusual = _unusual(raw.image, raw.image_kind)
    except BadImage as error:
        findings.error(error.cause, raw.key, str(error))
        return False
    except Exception as error:  # Pillow's converters raise errors of many classes
        findings.error("unreadable", raw.key, f"it cannot be converted to RGB: {error}")
        return False
    if damaged:
        findings.note("damaged_jpeg", raw.key, "libjpeg warns of damage, but the image decodes")
    for kind, message in unusual:
        findings.note(kind, raw.key, message)
    return True


def _decode(image: bytes) -> bool:
    """Decode an image in full, as training does; True if libjpeg reports damage. Raises BadImage."""
    damaged = False
    if image[:2] == b"\xff\xd8":
        try:
            height, width, colors, _ = simplejpeg.decode_jpeg_header(image)
            if height * width <= _READ.max_pixels and colors not in ("CMYK", "YCCK"):
                simplejpeg.decode_jpeg(image, "RGB")
                return False
        except ValueError:
            damaged = True
    decode(image, read=_READ)
    return damaged


def _unusual(data: bytes, extension: str) -> list[tuple[str, str]]:
    """List deviations from a baseline color JPEG as (kind of note, message)."""
    image = Image.open(io.BytesIO(without_texts(data) if data.startswith(b"\x89PNG\r") else data))
    format = "JPEG" if image.format == "MPO" else image.format
    notes = []
    if format == "JPEG":
        if image.info.get("progressive"):
            notes.append(("progressive_jpeg", "a progressive JPEG"))
    else:
        notes.append((format.lower(), f"an image in the format {format}"))
        if getattr(image, "is_animated", False):
            notes.append(("animated", "an animation, of which only the first frame is read"))
    if image.mode == "CMYK":
        notes.append(("cmyk", "an image in CMYK"))
    # Pillow opens 16-bit color PNGs as 8-bit.
    if image.mode.startswith("I;16") or (format == "PNG" and data[24] == 16):
        notes.append(("sixteen_bit", "an image with 16 bits a channel"))
    if image.mode in ("1", "L", "LA") or image.mode.startswith("I"):
        notes.append(("grayscale", "an image without color"))
    if extension and _formats().get(f".{extension}") != format:
        notes.append(("wrong_extension", f"a {format} image named .{extension}"))
    return notes


@cache
def _formats() -> Mapping[str, str]:
    return Image.registered_extensions()


def _check_captions(raw: RawSample, findings: Findings) -> bool:
    texts = {}
    for name, content in raw.captions.items():
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError as error:
            findings.error("caption_not_utf8", raw.key, f"{name}: byte {error.start} is not UTF-8")
            continue
        if not text.strip():
            findings.error("caption_empty", raw.key, f"{name} is empty")
            continue
        texts[name] = text
    try:
        complete = complete_captions(texts)
    except MissingCaption as error:
        if texts or not raw.interrupted:
            findings.error("no_caption", raw.key, str(error))
        return False
    if any(name in texts for name in CAPTION_FILES):
        if missing := [name for name in CAPTION_FILES if name not in raw.captions]:
            findings.note("caption_missing", raw.key, f"captions missing: {', '.join(missing)}")
    if unknown := [name for name, text in texts.items() if complete[name] != text.strip()]:
        findings.note("caption_unknown", raw.key, f"captions with words for unknown: {', '.join(unknown)}")
    # Completed captions count too: training and a repaired copy would use them.
    if disagreement := find_disagreement(complete):
        findings.error("captions_disagree", raw.key, disagreement)
        return False
    return True


def find_disagreement(captions: Mapping[str, str]) -> str | None:
    """Describe captions of one sample that name different taxa or common names; None if all agree."""
    scientific, taxonomic, common, tagged = {}, {}, {}, {}
    for kind, text in captions.items():
        if kind == PLAIN_TYPE:
            continue
        name, _, common_name = (_plain(part) for part in _unprefixed(text).partition(COMMON_SEPARATOR))
        if kind in _COMMON:
            common[kind] = common_name or name
            continue
        if common_name:
            common[kind] = common_name
        for names, kinds in ((scientific, _SCIENTIFIC), (taxonomic, _TAXONOMIC), (tagged, _TAGGED)):
            if kind in kinds:
                names[kind] = name
    for kind, name in tagged.items():
        # Without a taxonomy, tagged captions hold the plain name, which may contain a rank's word by chance.
        taxonomic[kind] = name if name in taxonomic.values() else _untagged(name)
    for names in (scientific, taxonomic, common):
        (first, value), *others = names.items() or [("", "")]
        for kind, other in others:
            if other != value:
                return f"{first} is {quoted(value)}, {kind} is {quoted(other)}"
    if scientific and taxonomic:
        (first, value), (kind, other) = next(iter(scientific.items())), next(iter(taxonomic.items()))
        if not _is_named_in(value, other):
            return f"{first} is {quoted(value)}, which is not in {kind}, {quoted(other)}"
    return None


def _is_named_in(scientific: str, taxonomic: str) -> bool:
    """True if a scientific name, with authors and infraspecific epithets, may belong to a taxonomic name."""
    words = set(taxonomic.split())
    if set(scientific.split()) <= words:
        return True
    name = parse_name(scientific)
    lowest = {epithet for epithet in (name.species, name.infraspecific) if epithet} or {fold(name.genus)}
    return bool(lowest & set(map(fold, words)))


def _unprefixed(text: str) -> str:
    return text.strip().removeprefix(PREFIX)


def _plain(name: str) -> str:
    """Strip a name of the caption's final period and extra white space."""
    return " ".join(name.split()).rstrip(".").rstrip()


def _untagged(name: str) -> str:
    try:
        return _plain(Taxon.from_tagged(name).taxonomic_name)
    except ValueError:
        return name
