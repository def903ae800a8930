"""The verb `taxa learn`: labeled photographs to a head for the user's own classes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32, Int

from bioclip_jax import __version__
from bioclip_jax.convert import model_files
from bioclip_jax.errors import UserError, did_you_mean, listing
from bioclip_jax.files import check_folder, replaced_folder
from bioclip_jax.intervals import bootstrap_interval, wilson_interval
from bioclip_jax.pipeline.sources import data_files
from bioclip_jax.predict.taxa import TaxonEmbeddings, calibration_error, open_taxa, reliability_bins
from bioclip_jax.predict.vector_cache import VectorCache
from bioclip_jax.predict.zero_shot import label_embeddings, softmax

from .choose import Choice, choose_head
from .familiarity import fit_familiarity
from .folds import NEVER, assign_folds, photograph_groups
from .head import HEAD_FILES, REPORT_FILE, REVIEW_FILE, LearnedHead
from .labels import Labels, class_texts, label_photographs
from .linear import Linear
from .photographs import Photographs, read_photographs
from .second_look import find_suspects, write_suspects

if TYPE_CHECKING:
    from bioclip_jax.predict.model import Model

# Held-out photographs below which nothing can be chosen, and a number from which figures mean something.
_MIN_HELD, _FEW = 10, 100
_EVENT = "event"


def learn_head(
    data: str | os.PathLike[str],
    model: Model | str | None = None,
    output: str | os.PathLike[str] | None = None,
    *,
    label: str | None = None,
    group: str | None = None,
    taxa: str | os.PathLike[str] | None = None,
    cache: bool = True,
) -> dict[str, Any]:
    """Learn the classes of labeled photographs, and write the head into the folder `output`.

    data: a folder with metadata.csv, a folder with one folder for each class, a table such as the corrections
    of a review, tars, or a TFDS name. label: a rank or another column (default: the species, else the column
    "label" or the classes' folders). group: a column whose photographs belong together, such as the place or
    the burst: photographs of one group are never on both sides of a held-out comparison. taxa: taxon
    embeddings whose vectors of the names are used (default: the model's own). cache: keep image vectors on
    disk.

    Returns head.json's content with "output", "skipped" (unreadable photographs) and "notes".
    Raises UserError for an output that is not a head's folder, and for too few classes or photographs.
    """
    from bioclip_jax.predict.model import Model, load_model

    if output is None:
        raise UserError("the head needs a folder to be written to; name it with --output")
    output, data = Path(output), os.fspath(data)
    check_learning(data, output, model.directory if isinstance(model, Model) else model)
    model = model if isinstance(model, Model) else load_model(model)
    embeddings = _open_taxa(model, taxa)
    photographs = read_photographs(data, model, VectorCache() if cache else None)
    labels = label_photographs(photographs.samples, label, None if embeddings is None else embeddings.names)
    notes = [*filter(None, [photographs.caution]), *labels.notes]
    groups_given = _group_names(photographs, labels.kept, group)
    vectors = photographs.vectors[labels.kept]
    groups, folds = group_photographs(vectors, labels, groups_given)
    notes += _check_enough(labels, folds)
    texts = text_vectors(model, labels, embeddings, cache=cache)
    choice = choose_head(vectors, labels.labels, len(labels.names), folds, texts, model.logit_scale)
    familiarity, distances, calibrated = fit_familiarity(vectors, groups)
    probabilities = softmax(choice.chosen.logits)
    about = _about(model, labels, choice, probabilities, groups, folds)
    about |= {"data": data, "label_column": label, "group_column": group, "neighbors": familiarity.neighbors}
    linear = Linear(*(part.astype(np.float32) for part in choice.head))
    suspects = find_suspects(vectors, labels.labels, choice.held, probabilities, calibrated, distances)
    head = LearnedHead(output, labels.names, labels.taxa, labels.rank, linear, familiarity, about)
    with replaced_folder(output) as folder:
        head.write(folder)
        paths = [photographs.paths[index] for index in labels.kept.tolist()]
        write_suspects(folder / REVIEW_FILE, suspects, paths, labels.labels, labels.names)
        from .report import write_report

        images = [photographs.images[index] for index in labels.kept.tolist()]
        write_report(
            folder / REPORT_FILE, about, labels, choice, probabilities, suspects, images, paths, notes
        )
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    return about | {
        "output": str(output),
        "skipped": photographs.skipped,
        "review": len(suspects),
        "notes": notes,
    }


def check_learning(data: str | os.PathLike[str], output: str | os.PathLike[str], model: Any = None) -> None:
    """Raise UserError if the head cannot be written into the folder `output`, or if it holds data or a model.

    model: a MODEL, whose files are then not replaced.
    """
    output = Path(output)
    check_folder(output, "the folder of --output")
    if not output.is_dir():
        return
    others = sorted({path.name for path in output.iterdir()} - set(HEAD_FILES))
    if others:
        raise UserError(
            f"the folder {output} holds other files ({listing(others, 3)}), which would be lost; name a new "
            "one"
        )
    inside = output.resolve()
    for path in (*data_files(data), *model_files(model)):
        if inside in path.resolve().parents:
            raise UserError(f"{path} is in {output}, which would be replaced; name another --output")


def group_photographs(
    vectors: Float32[np.ndarray, "n dim"], labels: Labels, given: Sequence[str] | None = None
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """Return the group of each photograph, as photograph_groups, and its fold, as assign_folds."""
    groups = photograph_groups(vectors, labels.labels, given)
    return groups, assign_folds(labels.labels, groups)


def _open_taxa(model: Model, taxa: str | os.PathLike[str] | None) -> TaxonEmbeddings | None:
    """Return the taxa given or the model's own, None if it has none."""
    if taxa is not None:
        return open_taxa(model, taxa)
    try:
        return open_taxa(model)
    except UserError:
        return None


def _group_names(
    photographs: Photographs, kept: Int[np.ndarray, " n"], column: str | None
) -> Sequence[str] | None:
    """Return the group of each photograph; by default the event of a table of corrections."""
    samples = [photographs.samples[index] for index in kept.tolist()]
    columns = sorted({name for sample in samples for name in sample.metadata})
    if column is None:
        if _EVENT not in columns:
            return None
        column = _EVENT
    elif column not in columns:
        hint = did_you_mean(column, columns, f"there is {listing(columns, 10) or 'none'}")
        raise UserError(f"the photographs have no column {column!r} for --group{hint}")
    return [str(sample.metadata.get(column, "") or "").strip() for sample in samples]


def _check_enough(labels: Labels, folds: Int[np.ndarray, " n"]) -> list[str]:
    """Return notes about classes with few photographs. Raises UserError for too few to choose a head."""
    if len(labels.names) < 2:
        raise UserError(
            f"all {len(labels.labels):,} photographs are of one class, {labels.names[0]}; give at least two "
            "classes"
        )
    counts = np.bincount(labels.labels)
    held = folds != NEVER
    if held.sum() < _MIN_HELD or len(np.unique(labels.labels[held])) < 2:
        raise UserError(
            f"{held.sum()} of {len(folds):,} photographs can be held out, since the others are the only ones "
            f"of their class or belong together; give at least {_MIN_HELD}, of two or more classes"
        )
    notes = []
    single = [labels.names[index] for index in np.flatnonzero(counts == 1)]
    if single:
        notes.append(f"classes with one photograph, on which nothing can be measured: {listing(single, 5)}")
    alone = set(np.unique(labels.labels[~held]).tolist()) - set(np.flatnonzero(counts == 1).tolist())
    if alone:
        shown = listing([labels.names[index] for index in sorted(alone)], 5)
        notes.append(
            f"classes whose photographs all belong together, on which nothing can be measured: {shown}"
        )
    if held.sum() < _FEW:
        notes.append(f"only {held.sum()} photographs were held out; the accuracy is known roughly")
    return notes


def text_vectors(
    model: Model, labels: Labels, embeddings: TaxonEmbeddings | None = None, *, cache: bool = True
) -> Float32[np.ndarray, "classes dim"] | None:
    """Return the unit vectors of the classes' names; None if they are numbers or signs.

    Vectors of species that `embeddings` has are taken from there. cache: keep the others on disk.
    """
    texts = class_texts(labels.names, labels.taxa)
    if not any(any(character.isalpha() for character in text) for text in texts):
        return None
    vectors = np.zeros((len(texts), model.config.embed_dim), np.float32)
    if embeddings is not None and labels.taxa is not None and labels.rank.get_label() == "species":
        rows = {lineage: row for row, lineage in _rows_of(embeddings, labels)}
        for index, taxon in enumerate(labels.taxa):
            if taxon.lineage() in rows:
                vectors[index] = embeddings.rows(np.array([rows[taxon.lineage()]]))[0]
    lengths = np.linalg.norm(vectors, axis=1)
    missing = np.flatnonzero(lengths == 0)
    vectors[lengths > 0] /= lengths[lengths > 0, None]
    if len(missing):
        vectors[missing] = label_embeddings(model, [texts[index] for index in missing], cache=cache)
    return vectors


def _rows_of(embeddings: TaxonEmbeddings, labels: Labels) -> list[tuple[int, tuple[str, ...]]]:
    """Return the rows of the labels' taxa in the embeddings, with their lineages."""
    names = embeddings.names
    epithets = names.dictionary("species")
    wanted = np.zeros(len(epithets), bool)
    for taxon in labels.taxa or ():
        if (code := epithets.index(taxon.species).as_py()) >= 0:
            wanted[code] = True
    rows = np.flatnonzero(wanted[names.codes("species")]).tolist()
    return [(row, names.taxon(row).lineage()) for row in rows]


def _about(
    model: Model,
    labels: Labels,
    choice: Choice,
    probabilities: Float32[np.ndarray, "held classes"],
    groups: Int[np.ndarray, " n"],
    folds: Int[np.ndarray, " n"],
) -> dict[str, Any]:
    """Return the description of a head, but for the data and the reference of the familiarity."""
    counts = np.bincount(labels.labels, minlength=len(labels.names))
    held_labels = labels.labels[choice.held]
    correct = choice.chosen.correct
    confidence = probabilities.max(axis=1)
    hits, tested = (np.bincount(held_labels, weights, len(labels.names)) for weights in (correct, None))
    classes = []
    for index, name in enumerate(labels.names):
        one: dict[str, Any] = {"label": name}
        if labels.taxa is not None:
            taxon = labels.taxa[index]
            one |= {rank: value for rank, value in _ranks(taxon).items() if value}
        one |= {"photographs": int(counts[index]), "held_out": int(tested[index])}
        if tested[index]:
            one["accuracy"] = float(hits[index] / tested[index])
            one["interval"] = wilson_interval(int(hits[index]), int(tested[index]))
        classes.append(one)
    bins = reliability_bins(confidence, correct)
    return {
        "model": model.source,
        "fingerprint": model.fingerprint,
        "transform": model.transform_note,
        "precision": model.precision,
        "rank": None if labels.rank is None else labels.rank.get_label(),
        "labels": classes,
        "photographs": len(labels.labels),
        "groups": int(groups.max()) + 1,
        "held_out": int((folds != NEVER).sum()),
        "chosen": choice.name,
        "accuracy": float(correct.mean()),
        "interval": accuracy_interval(correct, groups[choice.held]),
        "ece": calibration_error(bins),
        "reliability": bins,
        "candidates": [
            {
                "name": candidate.name,
                "accuracy": float(candidate.correct.mean()),
                "interval": accuracy_interval(candidate.correct, groups[choice.held]),
                "log_likelihood": float(candidate.log_likelihood.mean()),
                "settings": dict(candidate.settings),
            }
            for candidate in choice.candidates
        ],
        "without": dict(choice.without),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "bioclip_jax_version": __version__,
    }


def _ranks(taxon: Any) -> dict[str, str]:
    from bioclip_jax.text import RANKS

    return {rank: taxon.rank(rank) for rank in RANKS} | {"common_name": taxon.common_name}


def accuracy_interval(correct: np.ndarray, groups: Int[np.ndarray, " n"]) -> list[float] | None:
    """Return the 95 % interval of an accuracy: Wilson's, or a bootstrap of the groups if any has several."""
    numbers, members = np.unique(groups, return_inverse=True)
    if len(numbers) == len(groups):
        return wilson_interval(int(correct.sum()), len(correct))
    hits, sizes = np.bincount(members, correct), np.bincount(members)
    return bootstrap_interval(lambda drawn: float((drawn * hits).sum() / (drawn * sizes).sum()), len(numbers))
