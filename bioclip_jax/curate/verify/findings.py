"""Kinds of findings about shards, and the findings of one shard."""

from collections import Counter
from typing import NamedTuple

# The kinds of image errors are pipeline.images.CAUSES, as training counts them.
ERRORS = {
    "unreadable_file": "the operating system cannot read it",
    "empty_file": "a shard of zero bytes",
    "not_a_tar": "no tar header at its beginning",
    "not_an_array_record": "not an ArrayRecord file",
    "compressed_tar": "random access needs it uncompressed",
    "cut_off_tar": "truncated",
    "joined_tar": "several tars concatenated; most readers stop at the first one's end marker",
    "damaged_header": "no valid tar header where one is expected",
    "damaged_record": "a record that does not hold a sample",
    "unsafe_member_name": "could write outside the folder",
    "wrong_member_name": "without a key or an extension, or not UTF-8",
    "duplicate_member": "repeated in one sample",
    "member_too_large": "larger than any image or caption should be",
    "symbolic_link": "not a regular file",
    "hard_link": "not a regular file",
    "special_member": "not a regular file: a device, a pipe, a sparse file",
    "duplicate_key": "two samples with the same key",
    "no_image": "a sample without an image",
    "not_an_image": "not a known image format",
    "truncated": "truncated or damaged",
    "too_large": "too many pixels to decode",
    "unreadable": "cannot be converted to RGB",
    "no_caption": "nothing to build captions from",
    "caption_not_utf8": "a caption in another encoding",
    "caption_empty": "a caption of white space only",
    "captions_disagree": "captions of one sample that name different taxa",
    "sizes_disagree": "differs from sizes.json",
}
NOTES = {
    "caption_missing": "built from the others when it is drawn",
    "caption_unknown": 'words for "unknown" in a caption, removed when it is drawn',
    "progressive_jpeg": "slower to decode",
    "damaged_jpeg": "libjpeg warns of damage, but the image decodes",
    "cmyk": "converted to RGB when read",
    "grayscale": "converted to RGB when read",
    "sixteen_bit": "scaled to 8 bits when read",
    "animated": "only its first frame is read",
    "wrong_extension": "the extension does not match the image format",
    "several_images": "only the first is read",
    "unknown_file": "neither image, caption nor metadata",
    "metadata_unreadable": "KEY.json is not a JSON object",
    "data_after_end": "after a tar's end marker, and not a tar",
    "no_samples": "a shard without samples",
    "linked_file": "not followed",
    "not_a_shard": "skipped",
    "outdated_index": "rebuilt on next use",
}
# Other image formats than JPEG are further kinds of notes: "png", "webp", "gif", "tiff", ...

# Maximum number of listed errors per shard; further ones are only counted.
_LISTED = 100_000


class Finding(NamedTuple):
    """One finding. where: a sample's key or "byte N" in the shard.

    severity: "error", or "note" for unusual but readable data; a note covers `count` samples of the shard.
    """

    shard: str
    where: str
    kind: str
    severity: str
    count: int
    message: str


class Findings:
    """Findings of one shard: every error, and notes aggregated by message with the location of the first."""

    def __init__(self, shard: str):
        self.shard = shard
        self.counts: Counter[str] = Counter()
        self._errors: list[Finding] = []
        self._notes: dict[tuple[str, str], Finding] = {}

    def error(self, kind: str, where: str, message: str) -> None:
        """Add an error."""
        self.counts[kind] += 1
        if len(self._errors) < _LISTED:
            self._errors.append(Finding(self.shard, where, kind, "error", 1, message))

    def note(self, kind: str, where: str, message: str) -> None:
        """Add a note, or count a repeated one."""
        self.counts[kind] += 1
        known = self._notes.get((kind, message))
        where, count = (known.where, known.count + 1) if known else (where, 1)
        self._notes[kind, message] = Finding(self.shard, where, kind, "note", count, message)

    def listed(self) -> list[Finding]:
        """Return the errors in file order, then the notes."""
        return self._errors + list(self._notes.values())
