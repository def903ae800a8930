"""The candidate taxa of a command: subset, taxon, prior and backbone, from its options to its result."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioclip_jax.files import is_stream, write_text

from .checklist import Checklist, read_checklist
from .prior import describe_prior, read_prior
from .synonyms import Synonyms

if TYPE_CHECKING:
    from bioclip_jax.predict.classifiers import TreeOfLifeClassifier

# Unknown names beyond this number are also written to a file.
MOST_UNKNOWN = 20


@dataclass(frozen=True)
class TaxaChoice:
    """Candidates read from the options of a command, before there is a model."""

    subset: Checklist | None = None
    within: str | None = None
    prior: Checklist | None = None
    synonyms: Synonyms | None = None
    skip_unknown: bool = False

    @classmethod
    def read(
        cls,
        *,
        subset: str | os.PathLike[str] | None = None,
        within: str | None = None,
        prior: str | os.PathLike[str] | None = None,
        backbone: str | os.PathLike[str] | None = None,
        skip_unknown: bool = False,
    ) -> TaxaChoice | None:
        """Read the tables; None if no option is given. Raises UserError for an unusable table."""
        if subset is None and within is None and prior is None:
            return None
        return cls(
            None if subset is None else read_checklist(subset),
            within,
            None if prior is None else read_prior(prior),
            None if backbone is None else Synonyms(backbone),
            skip_unknown,
        )

    def apply(self, classifier: TreeOfLifeClassifier) -> None:
        """Select the taxa, and print notes on the names of the tables. Raises UserError for unknown names."""
        classifier.choose(
            self.subset,
            self.within,
            skip_unknown=self.skip_unknown,
            prior=self.prior,
            synonyms=self.synonyms,
        )
        names = classifier.head.names
        if classifier.subset is not None:
            print(f"note: {classifier.subset.describe(names)}", file=sys.stderr)
        if classifier.prior is not None:
            print(f"note: {describe_prior(classifier.prior, names)}", file=sys.stderr)

    def settings(self) -> dict[str, str]:
        """Return hashes of the tables' content, which predictions depend on."""
        settings = {}
        if self.subset is not None:
            settings["subset"] = self.subset.digest
        if self.prior is not None:
            settings["prior"] = self.prior.digest
        if self.synonyms is not None:
            settings["backbone"] = self.synonyms.identity
        return settings


def selection_result(classifier: Any, output: Path | None = None) -> dict[str, Any]:
    """Return the result's part on a classifier's subset and prior: counts, and "unknown_names".

    output: of the command. More than MOST_UNKNOWN names are also written beside it, one a line, to the file
    "unknown_names_file".
    """
    result: dict[str, Any] = {}
    unknown: dict[str, None] = {}
    for kind in ("subset", "prior"):
        chosen = getattr(classifier, kind, None)
        if chosen is None:
            continue
        resolution = chosen if kind == "subset" else chosen.resolution
        result[kind] = resolution.summary(classifier.head.names)
        unknown |= dict.fromkeys(resolution.unknown)
    if result:
        result["unknown_names"] = list(unknown)
    if len(unknown) > MOST_UNKNOWN and output is not None and not is_stream(output):
        path = output.with_name(f"{output.name}.unknown_names.txt")
        write_text(path, "".join(f"{name}\n" for name in unknown))
        result["unknown_names_file"] = str(path)
        print(f"note: the {len(unknown):,} unknown names are in {path}", file=sys.stderr)
    return result
