"""What is wrong with shards: the kinds there are, and the findings of one shard."""

from collections import Counter
from typing import NamedTuple

# Those of an image are pipeline.images.CAUSES, by which training counts them too.
ERRORS = {
    "unreadable_file": "the operating system cannot read it",
    "empty_file": "a shard of zero bytes",
    "not_a_tar": "no tar header at its beginning",
    "not_an_array_record": "no ArrayRecord file",
    "compressed_tar": "random access needs it uncompressed",
    "cut_off_tar": "it ends too early",
    "joined_tar": "several tars joined, as by cat; most readers stop at the end mark of the first",
    "damaged_header": "no sound tar header where one must stand",
    "damaged_record": "a record that holds no sample",
    "unsafe_member_name": "it could lead out of a folder",
    "wrong_member_name": "no key, no extension, or no UTF-8",
    "duplicate_member": "twice in one sample",
    "member_too_large": "larger than any image or caption should be",
    "symbolic_link": "a member that is no file",
    "hard_link": "a member that is no file",
    "special_member": "a member that is no file: a device, a pipe, a sparse file",
    "duplicate_key": "two samples of one key",
    "no_image": "a sample without an image",
    "not_an_image": "of no known format",
    "truncated": "cut off or damaged",
    "too_large": "too many pixels to decode",
    "unreadable": "an image that does not become RGB",
    "no_caption": "nothing that captions could be made from",
    "caption_not_utf8": "a caption in another encoding",
    "caption_empty": "a caption of nothing but white space",
    "captions_disagree": "captions of one sample that name different taxa",
    "sizes_disagree": "sizes.json says otherwise",
}
NOTES = {
    "caption_missing": "made from the others when it is drawn",
    "caption_unknown": 'words for "unknown" in a caption, which are left out when it is drawn',
    "progressive_jpeg": "reads more slowly",
    "damaged_jpeg": "libjpeg warns of damage, but there is a picture",
    "cmyk": "converted to RGB when read",
    "grayscale": "converted to RGB when read",
    "sixteen_bit": "scaled to 8 bits when read",
    "animated": "only its first frame is read",
    "wrong_extension": "the image is of another format than its name says",
    "several_images": "only the first is read",
    "unknown_file": "a file of a sample that is neither image, caption nor metadata",
    "metadata_unreadable": "KEY.json is no JSON object",
    "data_after_end": "behind a tar's end mark, and no tar",
    "no_samples": "a shard without samples",
    "linked_file": "not followed",
    "not_a_shard": "passed over",
    "outdated_index": "made again when it is next needed",
}
# Image formats that are not JPEG are notes of their own: "png", "webp", "gif", "tiff", ...

# Errors of one shard that are listed; further ones are only counted.
_LISTED = 100_000


class Finding(NamedTuple):
    """One thing found: the shard's file, where in it (a sample's key or "byte N"), what kind, and in words.

    severity: "error", or "note" for what is readable all the same; a note stands for `count` samples of the
    shard.
    """

    shard: str
    where: str
    kind: str
    severity: str
    count: int
    message: str


class Findings:
    """The findings of one shard: errors one by one, notes by their message with the place of the first."""

    def __init__(self, shard: str):
        self.shard = shard
        self.counts: Counter[str] = Counter()
        self._errors: list[Finding] = []
        self._notes: dict[tuple[str, str], Finding] = {}

    def error(self, kind: str, where: str, message: str) -> None:
        self.counts[kind] += 1
        if len(self._errors) < _LISTED:
            self._errors.append(Finding(self.shard, where, kind, "error", 1, message))

    def note(self, kind: str, where: str, message: str) -> None:
        self.counts[kind] += 1
        known = self._notes.get((kind, message))
        where, count = (known.where, known.count + 1) if known else (where, 1)
        self._notes[kind, message] = Finding(self.shard, where, kind, "note", count, message)

    def listed(self) -> list[Finding]:
        """Errors in the order they were found, then notes."""
        return self._errors + list(self._notes.values())
