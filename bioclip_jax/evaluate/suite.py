"""Evaluation suites: a YAML file of entries, each a protocol and the data that it scores."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bioclip_jax.errors import DataMissing, UserError, did_you_mean
from bioclip_jax.pipeline.sources import Source

from .protocols import ANY_DATA, PROTOCOLS, Protocol, make_protocol
from .reference_scores import REFERENCE_SCORES

_SUITE_KEYS = ("data", "entries")
_ENTRY_KEYS = ("protocol", "data", "images", "labels", "published", "group")
# Options built from other data, which a file cannot hold.
_NOT_IN_A_FILE = ("candidates",)
# An entry's name becomes part of file names.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SPLIT_IN_NAME = re.compile(r"[\w-]+(/[\w-]+)?:[\w+]+")


@dataclass(frozen=True)
class Location:
    """Location of an entry's data: a name or path, or a folder of images and the table of their labels.

    protocol: protocol whose publisher's folder `data` may be, "" for none. root: parent of the publishers'
    folders, None for the default.
    """

    data: str | None = None
    images: Path | None = None
    labels: Path | None = None
    protocol: str = ""
    root: Path | None = None

    def __str__(self) -> str:
        return self.data if self.data is not None else f"{self.images} with {self.labels}"


# Opens the source of a location and split; raises DataMissing for absent data.
OpenData = Callable[[Location, str], Source]


@dataclass(frozen=True)
class Entry:
    """One named entry of a suite.

    sources: by the protocol's splits. published: key in REFERENCE_SCORES of the scores to compare with, or
    None. group: entries of one group are reported as one row, their mean.
    """

    name: str
    protocol: Protocol
    sources: Mapping[str, Source]
    location: Location = Location()
    published: str | None = None
    group: str | None = None

    def keys(self) -> dict[str, Hashable]:
        """Return a key for each split, equal for entries that read the same images."""
        return {split: (self.location, split) for split in self.sources}


@dataclass(frozen=True)
class Skipped:
    """An entry skipped for absent data, and the reason."""

    name: str
    reason: str


@dataclass(frozen=True)
class Suite:
    """Entries with data, entries skipped for absent data, and by group the names of all its entries."""

    entries: list[Entry]
    skipped: list[Skipped] = field(default_factory=list)
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def single_entry_suite(protocol: Protocol, location: Location, open_data: OpenData) -> Suite:
    """Return a suite of one entry named after its protocol. Raises DataMissing for absent data."""
    if protocol.name in ANY_DATA:
        location = dataclasses.replace(location, protocol="")
    _check_split(protocol, location, protocol.name)
    sources = {split: open_data(location, split) for split in protocol.splits}
    return Suite([Entry(protocol.name, protocol, sources, location)])


def read_suite(path: Path, open_data: OpenData, *, data_root: Path | None = None) -> Suite:
    """Read a suite from the YAML file at `path`.

        data: /data/evaluation            # parent of publishers' folders, base of relative paths
        entries:
          nabirds: {protocol: zero-shot, data: "nabirds:train+test", text_type: asis}
          finches: {protocol: few-shot, images: finches, labels: finches/labels.csv, shots: [1, 5]}

    `data_root` overrides `data`; without either, relative paths start from the file's folder. `published` of
    an entry names the row of the paper to compare it with (by default the entry's name, or its group's);
    entries of one `group` are reported as one row, their mean.
    Errors: UserError, before anything is scored, for a mistake in the file or its data, and if no entry has
      its data.
    """
    path = Path(path)
    content = _read_yaml(path)
    if not isinstance(content, dict):
        raise UserError(f"{path} is not a suite; it needs a mapping with the key entries")
    for key in content:
        if key not in _SUITE_KEYS:
            raise UserError(f"{path}: unknown key {key}{did_you_mean(key, _SUITE_KEYS)}")
    listed = content.get("entries")
    if not isinstance(listed, dict) or not listed:
        raise UserError(
            f"{path} has no entries; give it at least one, as NAME: {{protocol: zero-shot, data: ...}}"
        )
    root = data_root if data_root is not None else _text(content, "data", str(path))
    root = None if root is None else path.parent / Path(root).expanduser()

    planned = [_plan(name, options, path, root) for name, options in listed.items()]
    groups = _groups(planned, path)
    opened: dict[Hashable, Source | DataMissing] = {}
    entries, skipped = [], []
    for entry in planned:
        try:
            sources = {split: _open(entry, split, open_data, opened, path) for split in entry.protocol.splits}
            entries.append(dataclasses.replace(entry, sources=sources))
        except DataMissing as problem:
            # A builder's message begins with its name, which is often the entry's.
            skipped.append(Skipped(entry.name, str(problem).removeprefix(f"{entry.name}: ")))
    if not entries:
        raise UserError(f"no entry of {path} has its data ({skipped[0].name}: {skipped[0].reason})")
    return Suite(entries, skipped, groups)


def _plan(name: Any, options: Any, path: Path, root: Path | None) -> Entry:
    """Return an entry without its sources."""
    where = f"{path}: {name}"
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UserError(
            f"{where}: an entry's name is made of letters, digits, dots and dashes; rename or quote it"
        )
    if not isinstance(options, dict):
        raise UserError(f"{where} is {options!r}; it must be a mapping with the key protocol")
    for key in options:
        if key in _NOT_IN_A_FILE:
            raise UserError(f"{where}.{key} is not an option of a suite; remove it")
    if "protocol" not in options:
        raise UserError(f"{where} has no protocol; give one of {', '.join(PROTOCOLS)}")
    others = {str(key): value for key, value in options.items() if key not in _ENTRY_KEYS}
    protocol = make_protocol(options["protocol"], others, where=where, keys=_ENTRY_KEYS)
    location = _location(options, where, protocol, path.parent, root)
    _check_split(protocol, location, where)
    published, group = _text(options, "published", where), _text(options, "group", where)
    reference = _reference_key(published, group or name, protocol, where)
    return Entry(name, protocol, {}, location, reference, group)


def _location(
    options: dict[str, Any], where: str, protocol: Protocol, folder: Path, root: Path | None
) -> Location:
    data, images, labels = (_text(options, key, where) for key in ("data", "images", "labels"))
    if (data is None) == (images is None) or (images is None) != (labels is None):
        raise UserError(f"{where}: the data to score are ambiguous; give data, or images with labels")
    publisher = "" if protocol.name in ANY_DATA else protocol.name
    if data is None:
        start = root or folder
        return Location(
            None, start / Path(images).expanduser(), start / Path(labels).expanduser(), publisher, root
        )
    # Data beside the file take precedence over registered data of that name.
    first = re.split("[:/]", data)[0] or "/"
    if (
        root is None
        and not Path(data).is_absolute()
        and ((folder / first).exists() or (folder / data).exists())
    ):
        root = folder
    if root is not None and data.startswith("."):
        data = str(root / data)
    return Location(data, None, None, publisher, root)


def _check_split(protocol: Protocol, location: Location, where: str) -> None:
    data = location.data or ""
    if len(protocol.splits) > 1 and _SPLIT_IN_NAME.fullmatch(data) and not Path(data).exists():
        parts = " and ".join(protocol.splits)
        raise UserError(
            f"{where}: {data} names a split, but {protocol.name} reads both {parts}; remove the split"
        )


def _reference_key(named: str | None, own: str, protocol: Protocol, where: str) -> str | None:
    """Return the key of the published scores to compare an entry with: `named`, or its `own` name."""
    reference = REFERENCE_SCORES.get(own if named is None else named)
    if named is None:
        return own if reference is not None and reference.protocol == protocol.name else None
    if reference is None:
        hint = did_you_mean(named, REFERENCE_SCORES)
        raise UserError(f"{where}.published: there are no published scores of {named!r}{hint}")
    if reference.protocol != protocol.name:
        raise UserError(
            f"{where}.published: the scores of {named} are by the protocol {reference.protocol}; remove it"
        )
    return named


def _groups(entries: list[Entry], path: Path) -> dict[str, tuple[str, ...]]:
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.group is not None:
            groups.setdefault(entry.group, []).append(entry)
    for group, members in groups.items():
        if len({(entry.protocol.name, entry.published) for entry in members}) > 1:
            raise UserError(
                f"{path}: the entries of group {group} differ in protocol or published; split the group"
            )
    return {group: tuple(entry.name for entry in members) for group, members in groups.items()}


def _open(
    entry: Entry, split: str, open_data: OpenData, opened: dict[Hashable, Source | DataMissing], path: Path
) -> Source:
    key = (entry.location, split)
    if key not in opened:
        try:
            opened[key] = open_data(entry.location, split)
        except DataMissing as problem:
            opened[key] = problem
        except UserError as problem:
            raise UserError(f"{path}: {entry.name}: {problem}") from problem
    if isinstance(source := opened[key], DataMissing):
        raise source
    return source


def _text(options: Mapping[str, Any], key: str, where: str) -> str | None:
    value = options.get(key)
    if value is not None and not isinstance(value, str):
        raise UserError(f"{where}.{key} is {value!r}; it must be a string")
    return value


def _read_yaml(path: Path) -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """Rejects duplicate keys: YAML takes the last one, which would silently drop an entry."""

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            seen: set[Any] = set()
            for key_node, _ in node.value:
                key = key_node.value
                if key_node.tag != "tag:yaml.org,2002:merge" and isinstance(key, str):
                    if key in seen:
                        line = key_node.start_mark.line + 1
                        raise UserError(f"{path}: line {line} repeats the key {key}; rename or remove it")
                    seen.add(key)
            return super().construct_mapping(node, deep=deep)

    try:
        return yaml.load(path.read_text("utf-8"), Loader)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UserError(f"the suite {path} cannot be read ({reason}); give a YAML file") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        at = "" if mark is None else f" at line {mark.line + 1}"
        raise UserError(
            f"{path} is not valid YAML{at} ({getattr(error, 'problem', None) or error}); correct it"
        ) from None
