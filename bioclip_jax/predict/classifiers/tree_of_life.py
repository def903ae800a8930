"""The classifier over the tree of life: taxa at any rank, with probabilities summed up the tree."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float32, Int

from bioclip_jax.errors import InvalidValue, UserError
from bioclip_jax.predict.embedder import OnBad
from bioclip_jax.predict.model import Model, as_images
from bioclip_jax.predict.preprocess import ImageLike
from bioclip_jax.predict.rank import MIN_PROB, Rank, as_rank
from bioclip_jax.predict.selection import DEFAULT_K, UNKNOWN, Selection
from bioclip_jax.predict.taxa import (
    Checklist,
    Prior,
    Resolution,
    Synonyms,
    TaxaNames,
    TaxaScorer,
    TaxonEmbeddings,
    open_taxa,
    read_subset,
    resolve_checklist,
    resolve_prior,
    rows_named,
    rows_within,
    top_k_indices,
)

from .base import BaseClassifier, Callback, NamedVectors, Row
from .explanation import (
    Explanation,
    RankPrediction,
    build_tree,
    lineage_through,
    lowest_reaching,
)

if TYPE_CHECKING:
    import pandas

# Taxa whose logits `forward` computes together.
_BLOCK = 8192


class TreeOfLifeClassifier(BaseClassifier):
    """Probabilities over taxa, as pybioclip's class of the same name.

    Scores are softmax(exp(logit_scale) * cosine / temperature) over the selected species; a taxon of a higher
    rank has the sum over its species. names: the selected taxa. subset, prior: as `choose` resolved them, or
    None.
    """

    def __init__(
        self,
        model: Model | str | os.PathLike[str] | None = None,
        taxa: TaxonEmbeddings | str | os.PathLike[str] | None = None,
        *,
        temperature: float = 1.0,
        **options: Any,
    ) -> None:
        """Open taxa embeddings: `taxa` or its file, by default the model's own, or those on the Hub.

        temperature: values above 1 lower the confidence, see `taxa calibrate`. options: as BaseClassifier.
        Raises UserError for embeddings that do not exist or belong to another model.
        """
        super().__init__(model, **options)
        if not 0 < temperature < math.inf:
            raise UserError(f"the temperature is {temperature}; it must be above 0")
        self.head = open_taxa(self.model, taxa)
        self.temperature = temperature
        self.subset: Resolution | None = None
        self.prior: Prior | None = None
        self._choose(None)

    @property
    def names(self) -> TaxaNames:
        """The names of the selected taxa."""
        return self._scorer.names

    def get_label_data(self) -> pandas.DataFrame:
        """Return all taxa in source order: the ranks, "species_epithet", "species" and "common_name"."""
        return self.head.names.label_table().to_pandas()

    @property
    def txt_embeddings(self) -> Float32[np.ndarray, "dim taxa"]:
        """The vectors of all taxa, filtered or not, one column each in the order of get_label_data."""
        return self.head.rows(np.argsort(self.head.names.source_index)).T

    def get_txt_embeddings(self) -> Float32[np.ndarray, "dim taxa"]:
        """Return the vectors of the selected taxa, one column each in the order of get_label_data."""
        if self._selected is None:
            return self.txt_embeddings
        return self.head.rows(self._selected[np.argsort(self.names.source_index)]).T

    def _logits(self, features: Float32[np.ndarray, "n dim"]) -> Float32[np.ndarray, "n taxa"]:
        # Over all taxa, filtered or not and without a prior, as pybioclip's forward.
        order, scale = self.head.names.source_index, self.model.logit_scale / self.temperature
        logits = np.empty((len(features), len(order)), np.float32)
        for start in range(0, len(order), _BLOCK):
            rows = np.arange(start, min(start + _BLOCK, len(order)))
            logits[:, order[rows]] = scale * (features @ self.head.rows(rows).T)
        return logits

    def create_taxa_filter(self, rank: Rank | str, user_values: Sequence[str]) -> Bool[np.ndarray, " taxa"]:
        """Return a mask of the taxa below the named ones, in the order of get_label_data.

        Raises UserError for unknown names.
        """
        if isinstance(user_values, str):
            raise InvalidValue(
                f"the names are {user_values!r}; give a list of texts, such as [{user_values!r}]"
            )
        keep = np.zeros(len(self.head.names), bool)
        keep[self.head.names.source_index[rows_named(self.head.names, rank, list(user_values))]] = True
        return keep

    def create_taxa_filter_from_csv(self, csv_path: str | os.PathLike[str]) -> Bool[np.ndarray, " taxa"]:
        """Return create_taxa_filter of a table, read by read_subset."""
        return self.create_taxa_filter(*read_subset(csv_path))

    def apply_filter(self, keep_labels_ary: Sequence[bool]) -> None:
        """Select the taxa of a mask in the order of get_label_data.

        Raises UserError if its length is not the number of taxa, or it selects none.
        """
        keep = np.asarray(keep_labels_ary, bool)
        if keep.shape != (len(self.head.names),):
            raise InvalidValue(
                f"the filter has {keep.size} values for {len(self.head.names)} taxa; give one for each"
            )
        self._choose(np.flatnonzero(keep[self.head.names.source_index]))

    def choose(
        self,
        subset: Checklist | tuple[Rank | str, Sequence[str]] | None = None,
        within_taxon: str | None = None,
        *,
        skip_unknown: bool = False,
        prior: Checklist | None = None,
        synonyms: Synonyms | None = None,
    ) -> None:
        """Select the taxa of a checklist, those within a taxon of any rank, both, or all, and set the prior.

        subset: of read_checklist, or names at one rank. prior: of read_prior; each probability is multiplied
        by its species' weight and normalized again, and species of weight 0 are not selected; None removes
        it. synonyms: of a backbone, for both tables. skip_unknown: count unknown names instead of raising.
        Raises UserError for unknown names, and if no taxon is left.
        """
        rows, resolution, weights = None, None, None
        names, looked_up = self.head.names, {"synonyms": synonyms, "skip_unknown": skip_unknown}
        if isinstance(subset, Checklist):
            resolution = resolve_checklist(names, subset, **looked_up)
            rows = np.flatnonzero(resolution.mask(names)).astype(np.int32)
        elif subset is not None:
            rows = rows_named(names, subset[0], list(subset[1]), skip_unknown=skip_unknown)
        if within_taxon is not None:
            below = rows_within(names, within_taxon)
            rows = below if rows is None else np.intersect1d(rows, below, assume_unique=True)
            if not len(rows):
                raise UserError(f"no taxon of the subset is within {within_taxon}; change one of them")
        if prior is not None:
            weights = resolve_prior(names, prior, **looked_up)
            if not weights.allowed.all():
                rows = np.arange(len(names), dtype=np.int32) if rows is None else rows
                rows = rows[weights.allowed[rows]]
                if not len(rows):
                    raise UserError(
                        f"every selected taxon has a weight of 0 in {prior.path}; change one of them"
                    )
        self.subset, self.prior = resolution, weights
        self._choose(rows)

    def _choose(self, rows: Int[np.ndarray, " taxa"] | None) -> None:
        if rows is not None and not len(rows):
            raise UserError("no taxon is selected; select at least one")
        self._selected = rows
        self._scorer = self.scorer(self.temperature)

    def scorer(self, temperature: float) -> TaxaScorer:
        """Return a scorer of the selected taxa at another temperature."""
        bias = None if self.prior is None else self.prior.log_weights(self._selected)
        scale = self.model.logit_scale / temperature
        return TaxaScorer(self.head, scale, self.model.embedder.mesh, self._selected, bias)

    def predict(
        self,
        images: ImageLike | Sequence[ImageLike],
        rank: Rank | str = Rank.SPECIES,
        min_prob: float = MIN_PROB,
        k: int | None = DEFAULT_K,
        batch_size: int | None = None,
        callback: Callback | None = None,
    ) -> list[Row]:
        """Return the k most probable taxa of a rank for each image, best first; k=None is DEFAULT_K.

        Arguments are pybioclip's; batch_size is recorded only, since the model has its own.
        Rows have "file_name", the names from kingdom to `rank` (at species also "species_epithet" and
        "common_name") and "score". Raises UserError for an unreadable image.
        """
        selection = _selection(k, rank=as_rank(rank), min_prob=min_prob)
        details = {"rank": selection.rank.get_label(), "min_prob": min_prob, "k": selection.k}
        return self._predict(images, selection, callback, **details, batch_size=batch_size)

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
        """Yield the rows of `predict` as images are finished; on_bad as in Embedder.stream_indexed.

        min_confidence: one row per image instead of k, at the lowest rank, down to `rank`, whose best taxon
        reaches it; "rank" names it, and lower ranks are empty. unknown: an image whose best score is lower
        is not identified.

        An unidentified image, also one without a rank that reaches min_confidence, has one row: "unknown" in
        the column of `rank` (and in "rank"), and the score of the best taxon at `rank`.
        """
        thresholds = {"min_prob": min_prob, "min_confidence": min_confidence, "unknown": unknown}
        return self._stream(images, _selection(k, rank=as_rank(rank), **thresholds), on_bad)

    def explain(
        self, images: ImageLike | Sequence[ImageLike], k: int = 5, share: float = 0.01
    ) -> list[Explanation]:
        """Explain each image: its k best species, the best taxon of every rank with its lineage, and a tree.

        share: the least probability of a taxon in the tree.
        """
        Selection(k=k)
        explained = []
        # At most this many species can each have the share.
        most = max(k, math.ceil(1 / share))
        for batch, features in self.features(enumerate(as_images(images))):
            scorer = self._scorer
            totals = scorer.totals(features)
            rows, scores = scorer.best_species(features, totals, most)
            sums = scorer.all_rank_sums(features, totals)
            for image, (_, name) in enumerate(batch):
                species = [
                    {"file_name": name, **scorer.names.row(row, Rank.SPECIES), "score": score}
                    for row, score in zip(rows[image, :k].tolist(), scores[image, :k].tolist())
                ]
                image_sums = {rank: part[:, image] for rank, part in sums.items()}
                ranks = _best_of_ranks(scorer.names, image_sums, int(rows[image, 0]), float(scores[image, 0]))

                species_scores = _species_scorer(
                    scorer, features[image], totals.largest[image], totals.sum[image]
                )
                lineages = {
                    best.rank: lineage_through(scorer.names, image_sums, best, species_scores)
                    for best in ranks
                }
                tree = build_tree(scorer.names, image_sums, rows[image], scores[image], share)
                explained.append(Explanation(name, species, ranks, lineages, tree))
        return explained

    @property
    def group_size(self) -> int:
        """Number of images that share a pass over the taxa, a multiple of the batch size."""
        batch = super().group_size
        return -(-self._scorer.group_size // batch) * batch

    def features(
        self, images: Iterable[tuple[int, ImageLike]], on_bad: OnBad | None = None
    ) -> Iterator[NamedVectors]:
        """Embed (index, image) pairs as BaseClassifier, in groups that share a pass over the taxa."""
        named: list[tuple[int, str]] = []
        parts: list[np.ndarray] = []
        for batch, features in super().features(images, on_bad):
            named += batch
            parts.append(features)
            if len(named) >= self._scorer.group_size:
                yield named, np.concatenate(parts)
                named, parts = [], []
        if named:
            yield named, np.concatenate(parts)

    def _rows(self, features: Float32[np.ndarray, "n dim"], selection: Selection) -> Iterator[list[Row]]:
        if selection.min_confidence is not None:
            yield from self._confident_rows(features, selection)
            return
        # Another call may change the selected taxa meanwhile.
        scorer, rank = self._scorer, selection.rank
        totals = scorer.totals(features)
        if rank is Rank.SPECIES:
            rows, scores = scorer.best_species(features, totals, selection.k)
        else:
            sums = scorer.rank_sums(features, totals, rank, selection.min_prob)
            best = [top_k_indices(sums[:, image], selection.k) for image in range(len(features))]
            rows = [scorer.names.starts(rank)[groups] for groups in best]
            scores = [sums[groups, image] for image, groups in enumerate(best)]
        for image_rows, image_scores in zip(rows, scores):
            if selection.unknown is not None and not image_scores[0] >= selection.unknown:
                empty = dict.fromkeys(scorer.names.row(0, rank), "") | {rank.get_label(): UNKNOWN}
                yield [{**empty, "score": float(image_scores[0])}]
                continue
            yield [
                {**scorer.names.row(int(row), rank), "score": float(score)}
                for row, score in zip(image_rows, image_scores)
                # A higher taxon scores 0 if all its species are below min_prob.
                if score > 0 or rank is Rank.SPECIES
            ]

    def _confident_rows(
        self, features: Float32[np.ndarray, "n dim"], selection: Selection
    ) -> Iterator[list[Row]]:
        """Yield one row per image, at the lowest rank that reaches min_confidence."""
        scorer, rank = self._scorer, selection.rank
        totals = scorer.totals(features)
        rows, scores = scorer.best_species(features, totals, 1)
        sums = scorer.all_rank_sums(features, totals, selection.min_prob)
        columns = list(scorer.names.row(0, Rank.SPECIES))
        for image in range(len(features)):
            image_sums = {rank: part[:, image] for rank, part in sums.items()}
            ranks = _best_of_ranks(scorer.names, image_sums, int(rows[image, 0]), float(scores[image, 0]))
            best = lowest_reaching(ranks[: rank.value + 1], selection.min_confidence)
            names = dict.fromkeys(columns, "")
            if best is None or best.score < (selection.unknown or 0.0):
                names[rank.get_label()] = UNKNOWN
                yield [{"rank": UNKNOWN, **names, "score": ranks[rank.value].score}]
            else:
                names |= scorer.names.row(best.row, best.rank)
                yield [{"rank": best.rank.get_label(), **names, "score": best.score}]


def _selection(k: int | None, **selection: Any) -> Selection:
    return Selection(k=DEFAULT_K if k is None else k, **selection)


def _species_scorer(
    scorer: TaxaScorer, vector: Float32[np.ndarray, " dim"], largest: float, total: float
) -> Callable[[Int[np.ndarray, " rows"]], Float32[np.ndarray, " rows"]]:
    """Return a function from rows of species to one image's probabilities."""
    return lambda rows: np.minimum(np.exp(scorer.logits(rows, vector) - largest) / total, 1)


def _best_of_ranks(
    names: TaxaNames, sums: dict[Rank, Float32[np.ndarray, " groups"]], species_row: int, species_score: float
) -> list[RankPrediction]:
    """Return the best taxon of every rank, from kingdom to species."""
    best = {}
    for rank in list(Rank)[: Rank.SPECIES.value]:
        group = int(sums[rank].argmax())
        best[rank] = (int(names.starts(rank)[group]), float(sums[rank][group]))
    best[Rank.SPECIES] = (species_row, species_score)
    return [
        RankPrediction(rank, row, score, names.row(row, rank)[rank.get_label()])
        for rank, (row, score) in best.items()
    ]


def predict_classification(
    img: ImageLike,
    rank: Rank | str,
    device: Any = None,
    min_prob: float = MIN_PROB,
    k: int | None = DEFAULT_K,
) -> list[Row]:
    """Return TreeOfLifeClassifier.predict of one image and the default model, as pybioclip's function."""
    return TreeOfLifeClassifier(device=device).predict(img, rank, min_prob, k)
