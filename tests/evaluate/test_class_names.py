"""Zero-shot classes against the reference's rule: from a row of a table to its class text."""

import csv
import hashlib

import numpy as np
import open_clip
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_jax.errors import UserError
from bioclip_jax.evaluate.class_names import candidates, class_indices, class_text, sample_class
from bioclip_jax.evaluate.protocols.base import ModelOutputs
from bioclip_jax.evaluate.protocols.few_shot import FewShot
from bioclip_jax.evaluate.protocols.zero_shot import ZeroShot
from bioclip_jax.pipeline.sources import FolderSource, sample_from_row
from bioclip_jax.predict.embedding import LabeledEmbeddings
from bioclip_jax.text import Taxon

COLUMNS = (
    "kingdom",
    "phylum",
    "cls",
    "order",
    "family",
    "genus",
    "species",
    "subspecies",
    "common_name",
    "class",
)
TEXT_TYPES = ("asis", "sci", "taxon", "com", "sci_com", "taxon_com")
TEMPLATES = ["a photo of {}.", *(template("{}") for template in open_clip.OPENAI_IMAGENET_TEMPLATES)]
FINCH = (
    "Animalia",
    "Chordata",
    "Aves",
    "Passeriformes",
    "Thraupidae",
    "Geospiza",
    "fortis",
    "",
    "ground finch",
    "a",
)
DIM = 16


def plain_class(row, text_type):
    """Return the reference's class text of a row, with single spaces (the tokenizer ignores more)."""
    cell = dict(zip(COLUMNS, row))
    if text_type == "asis":
        return cell["class"]
    if text_type == "com":
        return cell["common_name"]
    species = [cell["genus"].capitalize(), cell["species"].lower()]
    if cell["subspecies"]:
        species.append(cell["subspecies"].lower())
    name = species
    if text_type.startswith("taxon") and cell["kingdom"] != "":
        name = [cell[rank].capitalize() for rank in COLUMNS[:5]] + species
    if text_type.endswith("_com") and cell["common_name"] != "":
        name = [*name, "with common name", cell["common_name"]]
    return " ".join(" ".join(name).split())


def samples_of(rows):
    return [sample_from_row(str(number), b"", dict(zip(COLUMNS, row))) for number, row in enumerate(rows)]


def changed(row, **cells):
    return tuple(cells.get(name, value) for name, value in zip(COLUMNS, row))


def encode_texts(texts):
    """Return a unit vector for each text, by its lower-case words only, as CLIP's tokenizer."""
    rows = []
    for text in texts:
        seed = int.from_bytes(hashlib.sha256(" ".join(text.lower().split()).encode()).digest()[:8], "little")
        rows.append(np.random.default_rng(seed).normal(size=DIM))
    return np.array(rows, np.float32) / np.linalg.norm(rows, axis=1, keepdims=True).astype(np.float32)


THREE_ROWS = [FINCH, changed(FINCH, family=""), changed(FINCH, order="passeriformes", genus="geospiza")]


@pytest.mark.parametrize("text_type", ["sci", "sci_com", "com", "asis"])
def test_missing_and_lower_case_ranks_do_not_split_a_species(text_type):
    samples = samples_of(THREE_ROWS)
    assert [candidate.name for candidate in candidates(samples, text_type)] == [plain_class(FINCH, text_type)]
    assert class_indices(samples, candidates(samples, text_type), text_type).tolist() == [0, 0, 0]


def test_missing_rank_splits_classes_of_taxon_texts():
    pool = candidates(samples_of(THREE_ROWS), "taxon")
    assert [candidate.name for candidate in pool] == sorted({plain_class(row, "taxon") for row in THREE_ROWS})
    assert len(pool) == 2, "the row in lower case is the first row's class, the one without a family another"
    assert [candidate.short_name for candidate in pool] == [c.name for c in pool], "both are Geospiza fortis"


def test_two_common_names_of_one_lineage_are_two_classes():
    rows = [
        FINCH,
        changed(FINCH, common_name="medium ground finch"),
        changed(FINCH, common_name="Ground finch"),
    ]
    for text_type in ("com", "sci_com", "taxon_com"):
        pool = candidates(samples_of(rows), text_type)
        assert {candidate.name for candidate in pool} == {plain_class(row, text_type) for row in rows}, (
            text_type
        )
        assert len(pool) == 3, "a common name is taken as it is"
    assert len(candidates(samples_of(rows), "taxon")) == 1
    shown = [candidate.short_name for candidate in candidates(samples_of(rows), "taxon_com")]
    assert shown == [
        f"Geospiza fortis ({name})" for name in ("Ground finch", "ground finch", "medium ground finch")
    ]


@pytest.mark.parametrize("header", ["subspecies", "Subspecies"])
def test_subspecies_column_splits_classes(tmp_path, header):
    lines = [
        f"filepath,genus,species,{header}",
        "a.jpg,Corvus,corone,Cornix",
        "b.jpg,corvus,corone,cornix",
        "c.jpg,Corvus,corone,",
    ]
    (tmp_path / "metadata.csv").write_text("\n".join(lines))
    for name in "abc":
        (tmp_path / f"{name}.jpg").write_bytes(b"")
    source = FolderSource(tmp_path, tmp_path / "metadata.csv")
    samples = [source[number] for number in range(3)]
    pool = candidates(samples, "sci")
    assert [candidate.name for candidate in pool] == ["Corvus corone", "Corvus corone cornix"]
    assert class_indices(samples, pool, "sci").tolist() == [1, 1, 0]


CELLS = st.tuples(
    st.sampled_from(["Animalia", "animalia", "PLANTAE", ""]),
    *(st.sampled_from([f"R{rank}", f"r{rank}", ""]) for rank in range(4)),
    st.sampled_from(["Malus", "malus", "Pyrus"]),
    st.sampled_from(["domestica", "Domestica", "communis", ""]),
    st.sampled_from(["", "", "pumila", "Pumila"]),
    st.sampled_from(["apple", "Apple", "wild apple"]),
    st.sampled_from(["a", "A", "b c"]),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(CELLS, min_size=1, max_size=12), st.sampled_from(TEXT_TYPES))
def test_classes_and_labels_equal_the_references(rows, text_type):
    samples = samples_of(rows)
    pool = candidates(samples, text_type)
    expected = [plain_class(row, text_type) for row in rows]
    assert [candidate.name for candidate in pool] == sorted(set(expected))
    assert [pool[number].name for number in class_indices(samples, pool, text_type)] == expected


def vectors_of(rows, text_type, noise=2.0):
    """Return embeddings near the mean of their class's texts."""
    random = np.random.default_rng(0)
    features = []
    for row in rows:
        towards = encode_texts([template.format(plain_class(row, text_type)) for template in TEMPLATES]).mean(
            axis=0
        )
        features.append(towards / np.linalg.norm(towards) + noise * random.normal(size=DIM) / DIM**0.5)
    return LabeledEmbeddings(np.array(features, np.float32), samples_of(rows), np.arange(len(rows)), {})


def plain_accuracies(vectors, rows, text_type):
    """Return top-1, top-3 and top-5 accuracy as the reference does, with 81 templates."""
    names = list(dict.fromkeys(plain_class(row, text_type) for row in rows))
    columns = []
    for name in names:
        texts = encode_texts([template.format(name) for template in TEMPLATES]).astype(np.float64)
        mean = texts.mean(axis=0)
        columns.append(mean / np.sqrt((mean**2).sum()))
    accuracies = []
    for k in (1, 3, 5):
        hits = 0
        for feature, row in zip(vectors.features.astype(np.float64), rows):
            order = np.argsort([-(feature @ column) for column in columns], kind="stable")
            hits += plain_class(row, text_type) in [names[number] for number in order[:k]]
        accuracies.append(hits / len(rows))
    return accuracies


def many_rows():
    """Seven species in several spellings, with and without ranks, subspecies and second common names."""
    rows = []
    for number, (genus, species) in enumerate(
        [
            ("Malus", "domestica"),
            ("Malus", "sylvestris"),
            ("Pyrus", "communis"),
            ("Corvus", "corone"),
            ("Corvus", "corax"),
            ("Larus", "canus"),
            ("Larus", "fuscus"),
        ]
    ):
        row = (
            "Animalia",
            "P",
            "C",
            "O",
            f"F{number // 2}",
            genus,
            species,
            "",
            f"name {number}",
            str(number),
        )
        rows += [row, row, changed(row, family=""), changed(row, genus=genus.lower(), kingdom="animalia")]
        rows += [changed(row, subspecies="Minor"), changed(row, common_name=f"other name {number}")] * 2
    return rows


@pytest.mark.parametrize("text_type", TEXT_TYPES)
def test_accuracies_equal_the_references(text_type):
    rows = many_rows()
    vectors = vectors_of(rows, text_type)
    figures = ZeroShot(text_type)({"test": vectors}, ModelOutputs(encode_texts, 20.0)).figures
    expected = plain_accuracies(vectors, rows, text_type)
    assert 0.1 < expected[0] < expected[1] < 1, (
        f"{expected}: the made data should be neither hopeless nor trivial"
    )
    assert [figures["top1"], figures["top3"], figures["top5"]] == pytest.approx(expected)
    assert figures["classes"] == len({plain_class(row, text_type) for row in rows})


def test_a_class_gets_81_texts():
    texts = []

    def encode(batch):
        texts.extend(batch)
        return encode_texts(batch)

    ZeroShot("sci")({"test": vectors_of([FINCH], "sci")}, ModelOutputs(encode, 20.0))
    assert texts == [template.format("Geospiza fortis") for template in TEMPLATES] and len(texts) == 81


def test_class_of_several_lineages_counts_at_ranks_where_they_agree():
    """Three images of one class text: one without a family, one of another family."""
    rows = [
        FINCH,
        changed(FINCH, family=""),
        changed(FINCH, family="Emberizidae"),
        changed(FINCH, genus="Certhidea", species="olivacea", common_name="warbler finch"),
    ]
    figures = ZeroShot("sci", "one")(
        {"test": vectors_of(rows, "sci", noise=0)}, ModelOutputs(encode_texts, 20.0)
    ).figures
    assert figures["classes"] == 2
    assert figures["n_by_rank"] == {
        "kingdom": 4,
        "phylum": 4,
        "class": 4,
        "order": 4,
        "family": 3,
        "genus": 3,
        "species": 3,
    }
    score = ZeroShot("sci", "one")(
        {"test": vectors_of(rows, "sci", noise=0)}, ModelOutputs(encode_texts, 20.0)
    )
    finch = next(row for row in score.tables["taxa"] if row["name"] == "Geospiza fortis")
    assert finch["n"] == 3 and finch["family"] in ("Thraupidae", "Emberizidae")


def test_class_has_the_most_common_complete_lineage():
    other = changed(FINCH, family="Emberizidae")
    for rows in (
        [other, FINCH, FINCH],
        [other, changed(FINCH, family=""), changed(FINCH, family=""), FINCH, FINCH],
    ):
        (candidate,) = candidates(samples_of(rows), "sci")
        assert candidate.taxon.family == "Thraupidae"


def test_images_outside_the_candidates_are_counted():
    warbler = changed(FINCH, genus="Certhidea", species="olivacea", common_name="warbler finch")
    renamed = changed(FINCH, common_name="darwin's finch")
    pool = candidates(samples_of([FINCH, warbler]), "taxon_com")
    rows = [FINCH, FINCH, renamed, warbler]
    figures = ZeroShot("taxon_com", "one", pool)(
        {"test": vectors_of(rows, "taxon_com")}, ModelOutputs(encode_texts, 20.0)
    ).figures
    assert (figures["n"], figures["not_candidates"], figures["classes"]) == (4, 1, 2)
    assert figures["n_by_rank"]["species"] == 4, "its lineage is a candidate's"


def test_few_shot_classes_equal_zero_shot_classes():
    rows = many_rows()
    for text_type in ("sci", "taxon_com"):
        figures = FewShot(shots=(1,), text_type=text_type, skip_small=True)(
            {"test": vectors_of(rows, text_type)}, None
        ).figures
        assert figures["classes"] == len({plain_class(row, text_type) for row in rows}), text_type


def test_confusions_use_short_names():
    rows = many_rows()
    tables = ZeroShot("taxon_com")(
        {"test": vectors_of(rows, "taxon_com")}, ModelOutputs(encode_texts, 20.0)
    ).tables
    # Classes that share a short name are listed by class text.
    names = {row[column] for row in tables["confusions"] for column in ("truth", "answer")}
    assert "Malus domestica (other name 0)" in names and "Malus domestica minor (name 0)" in names
    assert not {name for name in names if name.startswith("Animalia") and "other name" in name}, names


def test_class_texts_with_missing_names():
    apple = Taxon(
        "Plantae", "Tracheophyta", "Magnoliopsida", "Rosales", "Rosaceae", "Malus", "domestica", "apple"
    )
    assert class_text(apple, "sci_com") == "Malus domestica with common name apple"
    nameless = Taxon(*apple.lineage())
    assert class_text(nameless, "taxon_com") == apple.taxonomic_name, (
        "without a common name there is no suffix"
    )
    assert class_text(nameless, "com") == "Malus domestica"
    assert class_text(Taxon("", *apple.lineage()[1:]), "taxon") == "Malus domestica", "as the reference"
    family = Taxon(phylum="Tracheophyta", family="Rosaceae")
    assert class_text(family, "sci") == "Rosaceae" and class_text(family, "taxon") == "Tracheophyta Rosaceae"
    assert class_text(Taxon(), "taxon_com") == "" and sample_class(samples_of([("",) * 10])[0], "sci") is None
    with pytest.raises(UserError, match="latin.*taxon_com"):
        class_text(apple, "latin")


def test_lower_case_ranks_of_a_camera_trap_table(tmp_path):
    """Published tables of camera traps have lower-case names."""
    with open(tmp_path / "metadata.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["filepath", *COLUMNS[:7], "common_name"])
        writer.writerow(
            [
                "a.png",
                "animalia",
                "chordata",
                "mammalia",
                "rodentia",
                "sciuridae",
                "tamias",
                "striatus",
                "eastern chipmunk",
            ]
        )
    (tmp_path / "a.png").write_bytes(b"")
    source = FolderSource(tmp_path, tmp_path / "metadata.csv")
    (candidate,) = candidates([source[0]], "taxon_com")
    assert candidate.name == (
        "Animalia Chordata Mammalia Rodentia Sciuridae Tamias striatus with common name eastern chipmunk"
    )
    assert candidate.short_name == "Tamias striatus (eastern chipmunk)"
