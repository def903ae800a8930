"""The classifier over all taxa of a head: names at any rank, and how sure they are."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float32, Int

from bioclip_jax.errors import InvalidValue, UserError
from bioclip_jax.predict.embedder import OnBad
from bioclip_jax.predict.model import Model, as_images
from bioclip_jax.predict.preprocess import ImageLike
from bioclip_jax.predict.rank import MIN_PROB, Rank, as_rank
from bioclip_jax.predict.taxa import (
    TaxaNames,
    TaxaScorer,
    TaxonEmbeddings,
    open_taxa,
    read_subset,
    rows_named,
    rows_within,
    top_k_indices,
)

from .base import (
    UNKNOWN,
    BaseClassifier,
    Callback,
    Row,
    check_answers,
)
from .explanation import (
    Explained,
    RankAnswer,
    backed_off,
    build_tree,
    lineage_through,
)

if TYPE_CHECKING:
    import pandas

# Rows of a head whose logits are computed together by `forward`.
_BLOCK = 8192
DEFAULT_K = 5


class TreeOfLifeClassifier(BaseClassifier):
    """Probabilities over the taxa of a head, as pybioclip's class of that name gives them.

    Scores are softmax(exp(logit_scale) * cosine / temperature) over all species that are chosen; a taxon of a
    higher rank has the sum over its species. names: the taxa that are chosen.
    """

    def __init__(
        self,
        model: Model | str | os.PathLike[str] | None = None,
        taxa: TaxonEmbeddings | str | os.PathLike[str] | None = None,
        *,
        temperature: float = 1.0,
        **options: Any,
    ) -> None:
        """`taxa`: a head or its file; None takes the one beside the model, or that the Hub has for it.

        `temperature`: above 1 makes scores less sure, as `taxa calibrate` finds it. `options`: those of
        BaseClassifier.
        Errors: UserError for a head that is not there or was made with another model.
        """
        super().__init__(model, **options)
        if not 0 < temperature < math.inf:
            raise UserError(f"the temperature is {temperature}; it must be above 0")
        self.head = open_taxa(self.model, taxa)
        self.temperature = temperature
        self._choose(None)

    @property
    def names(self) -> TaxaNames:
        return self._scorer.names

    def get_label_data(self) -> pandas.DataFrame:
        """All taxa in the order of their source, a row each: the ranks, "species_epithet", "species", "common_name"."""
        return self.head.names.label_table().to_pandas()

    @property
    def txt_embeddings(self) -> Float32[np.ndarray, "dim taxa"]:
        """The vectors of all taxa, a column each in the order of get_label_data, whatever filter is applied."""
        return self.head.rows(np.argsort(self.head.names.source_index)).T

    def get_txt_embeddings(self) -> Float32[np.ndarray, "dim taxa"]:
        """The vectors of the taxa that are chosen, a column each in the order of get_label_data."""
        if self._rows is None:
            return self.txt_embeddings
        return self.head.rows(self._rows[np.argsort(self.names.source_index)]).T

    def _logits(self, features: Float32[np.ndarray, "n dim"]) -> Float32[np.ndarray, "n taxa"]:
        # Over all taxa, whatever filter is applied: so does pybioclip's forward.
        place, scale = self.head.names.source_index, self.model.logit_scale / self.temperature
        logits = np.empty((len(features), len(place)), np.float32)
        for start in range(0, len(place), _BLOCK):
            rows = np.arange(start, min(start + _BLOCK, len(place)))
            logits[:, place[rows]] = scale * (features @ self.head.rows(rows).T)
        return logits

    def create_taxa_filter(self, rank: Rank | str, user_values: Sequence[str]) -> Bool[np.ndarray, " taxa"]:
        """Which taxa, in the order of get_label_data, are below those named of a rank; UserError names unknown ones."""
        if isinstance(user_values, str):
            raise InvalidValue(
                f"the names are {user_values!r}; give a list of texts, such as [{user_values!r}]"
            )
        keep = np.zeros(len(self.head.names), bool)
        keep[self.head.names.source_index[rows_named(self.head.names, rank, list(user_values))]] = True
        return keep

    def create_taxa_filter_from_csv(self, csv_path: str | os.PathLike[str]) -> Bool[np.ndarray, " taxa"]:
        """As create_taxa_filter, from a table that read_subset can read."""
        return self.create_taxa_filter(*read_subset(csv_path))

    def apply_filter(self, keep_labels_ary: Sequence[bool]) -> None:
        """From now on only the taxa that are marked, in the order of get_label_data, are possible.

        UserError where there are not as many marks as taxa, or none is set.
        """
        keep = np.asarray(keep_labels_ary, bool)
        if keep.shape != (len(self.head.names),):
            raise InvalidValue(
                f"the filter has {keep.size} values for {len(self.head.names)} taxa; give one for each"
            )
        self._choose(np.flatnonzero(keep[self.head.names.source_index]))

    def choose(
        self,
        subset: tuple[Rank | str, Sequence[str]] | None = None,
        within_taxon: str | None = None,
        *,
        skip_unknown: bool = False,
    ) -> None:
        """From now on only the taxa of a rank that `subset` names, or that lie below a taxon of any rank, are possible;
        with both, those of both; with neither, all.

        skip_unknown: pass over names of the subset that the head lacks, and count them on standard error.
        UserError names what is unknown otherwise, and where nothing is left.
        """
        rows = None
        if subset is not None:
            rows = rows_named(self.head.names, subset[0], list(subset[1]), skip_unknown=skip_unknown)
        if within_taxon is not None:
            below = rows_within(self.head.names, within_taxon)
            rows = below if rows is None else np.intersect1d(rows, below, assume_unique=True)
            if not len(rows):
                raise UserError(f"no taxon of the subset lies within {within_taxon}; choose another of them")
        self._choose(rows)

    def predict(
        self,
        images: ImageLike | Sequence[ImageLike],
        rank: Rank | str = Rank.SPECIES,
        min_prob: float = MIN_PROB,
        k: int | None = DEFAULT_K,
        batch_size: int | None = None,
        callback: Callback | None = None,
    ) -> list[Row]:
        """The k most probable taxa of a rank for each image, best first; None is DEFAULT_K.

        Args: as pybioclip's: species of a probability up to `min_prob` do not count towards a higher rank.
          `batch_size` is the model's here, and only recorded. `rank`: also by its name.
        Returns: rows with "file_name", the names from kingdom to `rank` (at species also "species_epithet"
          and "common_name") and "score". UserError for an image that cannot be read.
        """
        check_answers(k)
        rank, k = as_rank(rank), k or DEFAULT_K

        def answers(names: list[str], features: Float32[np.ndarray, "n dim"]) -> Iterator[Row]:
            return self._answers(names, features, rank, k, min_prob, None)

        details = {"rank": rank.get_label(), "min_prob": min_prob, "k": k, "batch_size": batch_size}
        return self.predict_all(images, answers, callback, **details)

    def stream(
        self,
        images: Iterable[ImageLike],
        rank: Rank | str = Rank.SPECIES,
        k: int | None = DEFAULT_K,
        *,
        min_prob: float = MIN_PROB,
        min_confidence: float | None = None,
        unknown: float | None = None,
        on_bad: OnBad | None = None,
    ) -> Iterator[Row]:
        """`predict`, row by row as images are done, for any number of them; `on_bad` as in Embedder.stream.

        min_confidence: instead of k rows at `rank`, one row an image at the narrowest rank down to `rank`
          whose best taxon reaches it; "rank" names that, and the columns below it are empty.
        unknown: where the answer's score, or the best of several, is below it, there is one row without an
        answer.

        A row without an answer, also where no rank reaches `min_confidence`, says "unknown" in the column of
        `rank` (and in "rank"), and has the score of the best taxon at `rank`.
        """
        check_answers(k, min_confidence, unknown)
        rank, k = as_rank(rank), k or DEFAULT_K
        for names, features in self.features(images, on_bad):
            if min_confidence is None:
                yield from self._answers(names, features, rank, k, min_prob, unknown)
            else:
                yield from self._backed_off(names, features, rank, min_prob, min_confidence, unknown or 0.0)

    def explain(
        self, images: ImageLike | Sequence[ImageLike], k: int = 5, share: float = 0.01
    ) -> list[Explained]:
        """Everything that a person may want to see of each image: the k best species, the best taxon of every rank with
        its lineage, and the tree of the taxa whose probability is at least `share`.
        """
        check_answers(k)
        found = []
        # No more species than this can have their share.
        most = max(k, math.ceil(1 / share))
        for names, features in self.features(as_images(images)):
            scorer = self._scorer
            totals = scorer.totals(features)
            rows, scores = scorer.best_species(features, totals, most)
            sums = scorer.all_rank_sums(features, totals)
            for place, name in enumerate(names):
                species = [
                    {"file_name": name, **scorer.names.row(row, Rank.SPECIES), "score": score}
                    for row, score in zip(rows[place, :k].tolist(), scores[place, :k].tolist())
                ]
                of_ranks = {rank: part[:, place] for rank, part in sums.items()}
                ranks = _best_of_ranks(scorer.names, of_ranks, int(rows[place, 0]), float(scores[place, 0]))

                def species_scores(
                    rows_: Int[np.ndarray, " rows"], image: int = place
                ) -> Float32[np.ndarray, " rows"]:
                    logits = scorer.logits(rows_, features[image])
                    return np.minimum(np.exp(logits - totals.largest[image]) / totals.sum[image], 1)

                lineages = {
                    best.rank: lineage_through(scorer.names, of_ranks, best, species_scores) for best in ranks
                }
                tree = build_tree(scorer.names, of_ranks, rows[place], scores[place], share)
                found.append(Explained(name, species, ranks, lineages, tree))
        return found

    @property
    def images_together(self) -> int:
        batch = super().images_together
        return -(-self._scorer.group_size // batch) * batch

    def features(
        self, images: Iterable[ImageLike], on_bad: OnBad | None = None
    ) -> Iterator[tuple[list[str], Float32[np.ndarray, "rows embed_dim"]]]:
        """As BaseClassifier's, but so many images at a time that a pass over the head is shared by them."""
        names: list[str] = []
        parts: list[np.ndarray] = []
        for more, features in super().features(images, on_bad):
            names.extend(more)
            parts.append(features)
            if len(names) >= self._scorer.group_size:
                yield names, np.concatenate(parts)
                names, parts = [], []
        if names:
            yield names, np.concatenate(parts)

    def _choose(self, rows: Int[np.ndarray, " taxa"] | None) -> None:
        if rows is not None and not len(rows):
            raise UserError("no taxon is left to choose from; choose at least one")
        self._rows = rows
        self._scorer = self.scorer(self.temperature)

    def scorer(self, temperature: float) -> TaxaScorer:
        """Scores over the chosen taxa at another temperature."""
        return TaxaScorer(
            self.head, self.model.logit_scale / temperature, self.model.embedder.mesh, self._rows
        )

    def _answers(
        self,
        names: list[str],
        features: Float32[np.ndarray, "n dim"],
        rank: Rank,
        k: int,
        min_prob: float,
        unknown: float | None,
    ) -> Iterator[Row]:
        # What is chosen may be changed meanwhile, by this thread or another.
        scorer = self._scorer
        totals = scorer.totals(features)
        if rank is Rank.SPECIES:
            rows, scores = scorer.best_species(features, totals, k)
        else:
            sums = scorer.rank_sums(features, totals, rank, min_prob)
            best = [top_k_indices(sums[:, image], k) for image in range(len(names))]
            rows = [scorer.names.starts(rank)[groups] for groups in best]
            scores = [sums[groups, image] for image, groups in enumerate(best)]
        for name, rows_, scores_ in zip(names, rows, scores):
            if unknown is not None and not scores_[0] >= unknown:
                nothing = dict.fromkeys(scorer.names.row(0, rank), "") | {rank.get_label(): UNKNOWN}
                yield {"file_name": name, **nothing, "score": float(scores_[0])}
                continue
            for row, score in zip(rows_, scores_):
                # Higher taxa of which every species is below min_prob are no answer.
                if score > 0 or rank is Rank.SPECIES:
                    yield {"file_name": name, **scorer.names.row(int(row), rank), "score": float(score)}

    def _backed_off(
        self,
        names: list[str],
        features: Float32[np.ndarray, "n dim"],
        rank: Rank,
        min_prob: float,
        floor: float,
        unknown: float,
    ) -> Iterator[Row]:
        scorer = self._scorer
        totals = scorer.totals(features)
        rows, scores = scorer.best_species(features, totals, 1)
        sums = scorer.all_rank_sums(features, totals, min_prob)
        columns = list(scorer.names.row(0, Rank.SPECIES))
        for place, name in enumerate(names):
            of_ranks = {rank: part[:, place] for rank, part in sums.items()}
            ranks = _best_of_ranks(scorer.names, of_ranks, int(rows[place, 0]), float(scores[place, 0]))
            answer = backed_off(ranks[: rank.value + 1], floor)
            values = dict.fromkeys(columns, "")
            if answer is None or answer.score < unknown:
                values[rank.get_label()] = UNKNOWN
                yield {"file_name": name, "rank": UNKNOWN, **values, "score": ranks[rank.value].score}
            else:
                values |= scorer.names.row(answer.row, answer.rank)
                yield {"file_name": name, "rank": answer.rank.get_label(), **values, "score": answer.score}


def _best_of_ranks(
    names: TaxaNames, sums: dict[Rank, Float32[np.ndarray, " groups"]], species_row: int, species_score: float
) -> list[RankAnswer]:
    """The best taxon of every rank, from kingdom to species."""
    found = {}
    for rank in list(Rank)[: Rank.SPECIES.value]:
        best = int(sums[rank].argmax())
        found[rank] = (int(names.starts(rank)[best]), float(sums[rank][best]))
    found[Rank.SPECIES] = (species_row, species_score)
    return [
        RankAnswer(rank, row, score, names.row(row, rank)[rank.get_label()])
        for rank, (row, score) in found.items()
    ]


def predict_classification(
    img: ImageLike,
    rank: Rank | str,
    device: Any = None,
    min_prob: float = MIN_PROB,
    k: int | None = DEFAULT_K,
) -> list[Row]:
    """The rows of TreeOfLifeClassifier.predict for one image and the default model, as pybioclip's function."""
    return TreeOfLifeClassifier(device=device).predict(img, rank, min_prob, k)
