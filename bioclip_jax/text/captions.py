"""The ten captions of a TreeOfLife sample: made from a taxon, or completed from those in a shard."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from bioclip_jax.errors import UserError

from .names import has_missing_word, known_text, last_epithet, without_missing_words
from .taxon import COMMON_SEPARATOR, PREFIX, RANKS, Taxon

CAPTION_FILES = (
    "scientific_name",
    "taxonomic_name",
    "common_name",
    "sci",
    "com",
    "taxon",
    "sci_com",
    "taxon_com",
    "taxonTag",
    "taxonTag_com",
)
DRAWN_TYPES = ("sci", "com", "taxon", "sci_com", "taxon_com")
# The only caption of a sample without taxonomy, such as replay data: KEY.txt.
PLAIN_TYPE = "txt"


class MissingCaption(ValueError):
    """A sample has no caption from which the others could be made."""


@dataclass(frozen=True)
class CaptionConfig:
    """Captions used in training.

    types: the caption types drawn from, with equal probability.
    draw: "step" draws one type for a global batch, as in the reference; "sample" one for each sample.
    unique_texts: encode each distinct text of a batch once.
    context_length: tokens per text, below the model's; longer texts are cut. None for the model's own.
    lengths: shorter lengths for the text tower; each batch uses the shortest that cuts none of its texts,
    with the same results in less time. Each needs a compilation.
    """

    types: tuple[str, ...] = DRAWN_TYPES
    draw: Literal["step", "sample"] = "step"
    unique_texts: bool = False
    context_length: int | None = None
    lengths: tuple[int, ...] = ()

    def __post_init__(self):
        for name in ("types", "lengths"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        known = (*CAPTION_FILES, PLAIN_TYPE)
        for name in self.types:
            if name not in known:
                raise UserError(
                    f"caption.types: {name!r} is not a caption type; choose from {', '.join(known)}"
                )
        if not self.types:
            raise UserError(f"caption.types is empty; choose from {', '.join(known)}")
        if self.draw not in ("step", "sample"):
            raise UserError(f"caption.draw is {self.draw!r}; choose 'step' or 'sample'")
        if self.context_length is not None and self.context_length < 3:
            raise UserError(f"caption.context_length is {self.context_length}; it must be at least 3")
        if any(length < 3 for length in self.lengths):
            raise UserError(f"caption.lengths is {self.lengths}; each must be at least 3")

    def shortest_length(self, longest: int, context_length: int) -> int:
        """Return the length for a batch whose longest text has `longest` tokens, including its end."""
        return min(
            (length for length in self.lengths if longest <= length < context_length), default=context_length
        )


def captions_from_taxon(taxon: Taxon, scientific_name: str = "") -> dict[str, str]:
    """Return all CAPTION_FILES of a taxon; the scientific name replaces a missing common name.

    As in the TreeOfLife toolbox, a `scientific_name` is used in sci and sci_com, without a full stop at its
    end, and of several epithets ("lupus familiaris") taxonomic and tagged names have only the last. Raises
    MissingCaption if no rank and no name is known.
    """
    scientific = scientific_name.rstrip(".") or taxon.scientific_name or taxon.common_name
    if " " in taxon.species:
        taxon = replace(taxon, species=last_epithet(taxon.species))
    taxonomic = taxon.taxonomic_name or scientific
    return _all_captions(scientific, taxonomic, taxon.common_name, taxon.tagged_name)


def complete_captions(captions: Mapping[str, str]) -> dict[str, str]:
    """Return all CAPTION_FILES, completed from the given ones, which are kept except for unknown words.

    "a photo of Animalia Unknown Unknown." becomes "a photo of Animalia."; a caption without other names is
    ignored. A sample with only a plain caption (KEY.txt) has it for every type. Raises MissingCaption if no
    caption remains.
    """
    present = {name: text.strip() for name, text in captions.items() if text.strip()}
    if any(has_unknown_words(name, text) for name, text in present.items()):
        present = _without_unknown(present)
    if not any(name in present for name in CAPTION_FILES):
        if PLAIN_TYPE in present:
            return dict.fromkeys((*CAPTION_FILES, PLAIN_TYPE), present[PLAIN_TYPE])
        raise MissingCaption("the sample has no caption")
    taxon = taxon_from_captions(present) or Taxon()
    common = taxon.common_name or _common_name(present)
    taxonomic = taxon.taxonomic_name or _photo_name(present, "taxonomic_name", "taxon", "taxon_com")
    scientific = _photo_name(present, "scientific_name", "sci", "sci_com") or taxon.scientific_name
    if not scientific:
        words = taxonomic.split()
        scientific = " ".join(words[-2:]) if len(words) == len(RANKS) else taxonomic
    scientific = scientific or common
    return _all_captions(scientific, taxonomic or scientific, common, taxon.tagged_name) | present


def has_unknown_words(kind: str, text: str) -> bool:
    """Return True if a caption may be empty or contain a word for "unknown"; fast, for training."""
    if kind == PLAIN_TYPE:
        return False
    # The toolbox writes "a photo of ." if it knows no rank.
    empty = len(text) <= len(PREFIX) + 1 and not text.removeprefix(PREFIX).strip(" .")
    return empty or has_missing_word(text)


def taxon_from_captions(captions: Mapping[str, str]) -> Taxon | None:
    """Return the taxon of a sample's tagged captions; None if there are none, or none has a rank.

    Of several epithets the tagged captions have the last, and the scientific name has all.
    """
    for name in ("taxonTag_com", "taxonTag"):
        try:
            taxon = Taxon.from_tagged(captions.get(name, ""))
        except ValueError:
            continue
        common = taxon.common_name or known_text(_common_name(captions))
        scientific = _photo_name(captions, "scientific_name", "sci", "sci_com")
        # Shards repeat the scientific name if there is no common name.
        common = "" if common in (taxon.scientific_name, scientific) else common
        genus = f"{taxon.genus} " if taxon.genus else ""
        epithets = scientific.removeprefix(genus)
        whole = scientific.startswith(genus) and " " in epithets and last_epithet(epithets) == taxon.species
        return replace(taxon, species=epithets if whole else taxon.species, common_name=common)
    return None


def _all_captions(scientific: str, taxonomic: str, common: str, tagged: str) -> dict[str, str]:
    if not scientific:
        raise MissingCaption("neither a rank nor a common name is known")
    common = common or scientific
    tagged = tagged or taxonomic
    return {
        "scientific_name": scientific,
        "taxonomic_name": taxonomic,
        "common_name": common,
        "sci": f"{PREFIX}{scientific}.",
        "com": f"{PREFIX}{common}.",
        "taxon": f"{PREFIX}{taxonomic}.",
        "sci_com": f"{PREFIX}{scientific}{COMMON_SEPARATOR}{common}.",
        "taxon_com": f"{PREFIX}{taxonomic}{COMMON_SEPARATOR}{common}.",
        "taxonTag": f"{PREFIX}{tagged}.",
        "taxonTag_com": f"{PREFIX}{tagged}{COMMON_SEPARATOR}{common}.",
    }


def _without_unknown(captions: Mapping[str, str]) -> dict[str, str]:
    """Remove words for "unknown" from captions, and captions that contain no other name."""
    known: dict[str, str] = {}
    for kind, text in captions.items():
        if not has_unknown_words(kind, text):
            known[kind] = text
            continue
        is_photo = text.startswith("a photo of")
        name, separator, common = text.removeprefix("a photo of").strip().partition(COMMON_SEPARATOR)
        name, common = (
            (name, common.removesuffix(".")) if separator else (name.removesuffix("." * is_photo), "")
        )
        if kind.startswith("taxonTag"):
            try:
                name = Taxon.from_tagged(name).tagged_name
            except ValueError:
                name = without_missing_words(name)
                name = "" if set(name.split()) <= set(RANKS) else name
        else:
            # Common names may contain these words, so only whole names are unknown.
            name = known_text(name) if kind in ("common_name", "com") else without_missing_words(name)
        common = known_text(common)
        if not name:
            continue
        # Without its common name, the caption belongs to another type.
        kind = kind if common else kind.removesuffix("_com")
        name = COMMON_SEPARATOR.join((name, common)) if common else name
        known.setdefault(kind, f"{PREFIX}{name}." if is_photo else name)
    return known


def _common_name(captions: Mapping[str, str]) -> str:
    if name := _photo_name(captions, "common_name", "com"):
        return name
    for kind in ("sci_com", "taxon_com", "taxonTag_com"):
        _, separator, name = captions.get(kind, "").partition(COMMON_SEPARATOR)
        if separator:
            return name.removesuffix(".")
    return ""


def _photo_name(captions: Mapping[str, str], bare: str, *captioned: str) -> str:
    """Return the name in the caption `bare`, else the one in the first available of `captioned`."""
    if captions.get(bare):
        return captions[bare]
    for kind in captioned:
        if text := captions.get(kind):
            return text.removeprefix(PREFIX).partition(COMMON_SEPARATOR)[0].removesuffix(".")
    return ""
