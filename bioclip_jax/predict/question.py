"""What `predict` is asked: which names are possible, and how many of them, how sure, are an answer."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioclip_jax.errors import UserError

from .inputs import ImageFile
from .rank import MIN_PROB, Rank, as_rank
from .resume import Row

if TYPE_CHECKING:
    from bioclip_jax.predict.classifiers import BaseClassifier

    from .model import Model

PathLike = str | os.PathLike[str]

DEFAULT_K = 5


@dataclass(frozen=True, kw_only=True)
class Question:
    """The options of the verb by their names; its docstring says what they mean.

    UserError for options that exclude each other, and for what they cannot be.
    """

    rank: Rank | str | None = None
    labels: str | None = None
    labels_as_given: bool = False
    bins: PathLike | None = None
    subset: PathLike | None = None
    within: str | None = None
    skip_unknown: bool = False
    taxa: PathLike | None = None
    k: int | None = None
    min_confidence: float | None = None
    unknown: float | None = None
    temperature: float | str | None = None
    # What the files say, read before there is a model.
    names: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._check_choice()
        if self.k is not None and self.k < 1:
            raise UserError(f"--k is {self.k}; it must be at least 1")
        for option, value in (("--min-confidence", self.min_confidence), ("--unknown", self.unknown)):
            if value is not None and not 0 < value <= 1:
                raise UserError(f"{option} is {value}; it is a probability, above 0 and at most 1")
        if isinstance(self.rank, str):
            object.__setattr__(self, "rank", as_rank(self.rank))
        object.__setattr__(self, "names", self._read_names())

    @property
    def about_taxa(self) -> bool:
        return self.labels is None and self.bins is None

    def choice(self) -> dict[str, Any]:
        """What is chosen from, as plain values for a log, by pybioclip's names where it has one."""
        names = {"classes": self.labels, "bins_path": self.bins, "subset": self.subset, "within": self.within}
        choice = names | {"taxa_file": self.taxa, "temperature": self.temperature}
        # Options that are off were not given.
        flags = {"labels_as_given": self.labels_as_given or None, "skip_unknown": self.skip_unknown or None}
        return _given(choice | flags)

    def details(self) -> dict[str, Any]:
        """Which answers are given, as plain values for a log, by pybioclip's names where it has one."""
        details: dict[str, Any] = {"min_confidence": self.min_confidence, "unknown": self.unknown}
        if self.about_taxa:
            details |= {"rank": (self.rank or Rank.SPECIES).get_label(), "min_prob": MIN_PROB}
        if self.min_confidence is None:
            details["k"] = self.k or (DEFAULT_K if self.about_taxa else None)
        return _given(details)

    def classifier(self, model: Model) -> BaseClassifier:
        """The classifier that answers it."""
        if self.labels is not None:
            from bioclip_jax.predict.classifiers import CustomLabelsClassifier

            return CustomLabelsClassifier(self.names, model, labels_as_given=self.labels_as_given)
        if self.bins is not None:
            from bioclip_jax.predict.classifiers import CustomLabelsBinningClassifier

            return CustomLabelsBinningClassifier(self.names, model)
        from bioclip_jax.predict.classifiers import TreeOfLifeClassifier
        from bioclip_jax.predict.taxa import read_temperature

        temperature = (
            1.0 if self.temperature is None else read_temperature(str(self.temperature), model.fingerprint)
        )
        classifier = TreeOfLifeClassifier(model, self.taxa, temperature=temperature)
        if self.subset is not None or self.within is not None:
            classifier.choose(self.names, self.within, skip_unknown=self.skip_unknown)
        return classifier

    def warn(self, classifier: Any) -> None:
        """Say on standard error what about the possible answers makes scores mean little."""
        if not self.about_taxa:
            possible, kind = len(classifier.answers), "label" if self.bins is None else "bin"
        else:
            from bioclip_jax.predict.taxa import WITHOUT_VECTOR

            rank = self.rank or Rank.SPECIES
            possible, kind = len(classifier.names.starts(rank)), rank.get_label()
            if missing := int(classifier.head.about.get(WITHOUT_VECTOR, 0)):
                print(
                    f"note: {missing:,} of the {len(classifier.head):,} taxa of {classifier.head.path} have "
                    f"no text "
                    "vector and cannot be predicted; taxa build --complete makes them",
                    file=sys.stderr,
                )
        if possible == 1:
            print(
                f"warning: there is one {kind} to choose from, so its score is 1 whatever an image shows; "
                "give others to compare with",
                file=sys.stderr,
            )

    def rows(
        self, classifier: Any, images: Iterable[ImageFile], on_bad: Callable[[int, UserError], None]
    ) -> Iterator[Row]:
        """The classifier's rows of answers about images; `on_bad` as in Embedder.stream."""
        if not self.about_taxa:
            return classifier.stream(images, k=self.k, unknown=self.unknown, on_bad=on_bad)
        return classifier.stream(
            images,
            rank=self.rank or Rank.SPECIES,
            k=self.k or DEFAULT_K,
            min_prob=MIN_PROB,
            min_confidence=self.min_confidence,
            unknown=self.unknown,
            on_bad=on_bad,
        )

    def identity(self, classifier: Any) -> dict[str, Any]:
        """What the answers depend on besides the images: another one is another question."""
        model = classifier.model
        pixels = {"transform": model.transform, "reading": repr(model.preprocess.read)}
        found = self.choice() | self.details() | {"model": model.fingerprint, **pixels}
        if not self.about_taxa:
            return found | {"labels": self.names}
        head = classifier.head
        status = head.path.stat()
        found["taxa"] = [str(head.path.absolute()), status.st_size, status.st_mtime_ns]
        found["temperature"] = classifier.temperature
        if self.subset is not None:
            rank, values = self.names
            label = rank if isinstance(rank, str) else rank.get_label()
            found["subset"] = hashlib.sha256("\n".join([label, *values]).encode()).hexdigest()
        return found

    def _check_choice(self) -> None:
        if self.labels is not None and self.bins is not None:
            raise UserError("--cls and --bins both say what to choose from; give one of them")
        if not self.about_taxa:
            other = "--cls" if self.bins is None else "--bins"
            for name in ("rank", "subset", "within", "taxa", "temperature", "min_confidence"):
                if getattr(self, name) is not None:
                    option = "--" + name.replace("_", "-")
                    raise UserError(
                        f"{option} is about taxa, and {other} about labels of your own; leave one of them out"
                    )
        for name, needed in (("labels_as_given", "labels"), ("skip_unknown", "subset")):
            if getattr(self, name) and getattr(self, needed) is None:
                option = {"labels": "--cls", "subset": "--subset"}[needed]
                raise UserError(
                    f"--{name.replace('_', '-')} is about {option}, which is not given; leave it out"
                )
        if self.k is not None and self.min_confidence is not None:
            raise UserError(
                "--min-confidence gives one answer an image, and --k several; leave one of them out"
            )

    def _read_names(self) -> Any:
        from bioclip_jax.predict.classifiers import read_bins, read_labels

        if self.labels is not None:
            return read_labels(self.labels, as_given=self.labels_as_given)
        if self.bins is not None:
            return read_bins(self.bins)
        if self.taxa is not None and not Path(self.taxa).is_file():
            raise UserError(f"the taxa {self.taxa} are not there; make them with `bioclip-jax taxa build`")
        if self.subset is not None:
            from bioclip_jax.predict.taxa import read_subset

            return read_subset(self.subset)
        return None


def _given(values: dict[str, Any]) -> dict[str, Any]:
    plain = {
        name: os.fspath(value) if isinstance(value, os.PathLike) else value for name, value in values.items()
    }
    return {name: value for name, value in plain.items() if value is not None}
