"""The zero-shot protocol on images: against plain sums, and with bad images and labels."""

import csv
import io
import json

import jax
import numpy as np
import open_clip
import pytest
from flax import nnx
from PIL import Image

from bioclip_jax.cli import main
from bioclip_jax.convert import ModelBundle, write_model_directory
from bioclip_jax.distributed import MeshConfig, make_mesh, parameter_shardings
from bioclip_jax.errors import UserError
from bioclip_jax.evaluate.cached_images import CachedImages
from bioclip_jax.evaluate.class_names import candidates
from bioclip_jax.evaluate.hook import EvaluationHook
from bioclip_jax.evaluate.protocols.base import ModelOutputs
from bioclip_jax.evaluate.protocols.zero_shot import ZeroShot
from bioclip_jax.models import get_config, graphdef, init_params, normalize_images
from bioclip_jax.pipeline.images import Preprocess
from bioclip_jax.pipeline.sources import FolderSource, open_source
from bioclip_jax.predict import Encoder
from bioclip_jax.text import Tokenizer
from bioclip_jax.train import train_config

CONFIG = get_config("ViT-Test-16")
PREPROCESS = Preprocess(CONFIG.vision.image_size, resize_mode="squash")
# The reference's evaluation prepends one template to open_clip's list.
TEMPLATES = ["a photo of {}.", *(template("{}") for template in open_clip.OPENAI_IMAGENET_TEMPLATES)]
RANKS = ("kingdom", "phylum", "cls", "order", "family", "genus", "species")
ROWS = {
    "apple.jpg": ("Plantae", "T", "M", "Rosales", "Rosaceae", "Malus", "domestica", "apple"),
    "apple2.jpg": ("Plantae", "T", "M", "Rosales", "Rosaceae", "Malus", "domestica", "Apple tree"),
    "apple3.jpg": ("Plantae", "T", "M", "Rosales", "Rosaceae", "Malus", "domestica", "apple"),
    "pear.jpg": ("Plantae", "T", "M", "Rosales", "Rosaceae", "Pyrus", "communis", "pear"),
    "finch.jpg": ("Animalia", "C", "Aves", "Passeriformes", "Thraupidae", "Geospiza", "fortis", ""),
}
LABELS = {
    "apple.jpg": "red",
    "apple2.jpg": "green",
    "apple3.jpg": "red",
    "pear.jpg": "green",
    "finch.jpg": "brown",
}


@pytest.fixture(scope="module")
def params():
    return {**init_params(CONFIG, seed=5), "logit_scale": np.float32(3.0)}


@pytest.fixture(scope="module")
def encoder():
    return Encoder(CONFIG, PREPROCESS, make_mesh(MeshConfig()), batch_size=8)


def write_folder(folder, rows, labels=None):
    """Write noise images and a CSV of annotations, with a class column for labels."""
    for number, name in enumerate(rows):
        pixels = np.random.default_rng(number).integers(0, 256, (30, 40, 3), np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG")
        (folder / name).write_bytes(buffer.getvalue())
    with open(folder / "metadata.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["", "filepath", *RANKS, "common_name", *(["class"] if labels else [])])
        for number, (name, row) in enumerate(rows.items()):
            writer.writerow([number, name, *row, *([labels[name]] if labels else [])])
    return FolderSource(folder, folder / "metadata.csv")


@pytest.fixture
def folder(tmp_path):
    write_folder(tmp_path, ROWS, LABELS)
    return tmp_path


def source_of(folder):
    return FolderSource(folder, folder / "metadata.csv")


def score(images, encoder, params, text_type="taxon_com", templates="openai", candidates=None):
    """Return the figures of a source or of CachedImages."""
    if not isinstance(images, CachedImages):
        images = CachedImages(images, PREPROCESS, encoder)
    outputs = ModelOutputs(lambda texts: encoder.texts(params, texts), float(np.exp(params["logit_scale"])))
    protocol = ZeroShot(text_type, templates, candidates or candidates_of(images, text_type))
    return protocol({"test": images(params)}, outputs).figures


def candidates_of(images, text_type):
    return candidates(images.samples, text_type)


@pytest.mark.shared_data
def test_photographs_score_as_in_plain_loops(encoder, params, shared_data):
    source = open_source(shared_data / "produce" / "tol_shards" / "val")
    source = [source[index] for index in range(0, len(source), 16)]
    result = score(source, encoder, params, "sci_com")

    model = nnx.merge(graphdef(CONFIG), params)
    names = sorted(
        {f"{s.taxon.genus} {s.taxon.species} with common name {s.taxon.common_name}" for s in source}
    )
    tokens = Tokenizer(48)([template.format(name) for name in names for template in TEMPLATES])
    pixels = [np.asarray(Image.open(io.BytesIO(s.image)).convert("RGB").resize((32, 32), 3)) for s in source]
    images, texts, scale = jax.jit(model)(
        normalize_images(np.stack(pixels), PREPROCESS.mean, PREPROCESS.std), tokens
    )
    classes = np.asarray(texts, np.float64).reshape(len(names), 81, -1).mean(axis=1)
    classes /= np.linalg.norm(classes, axis=1, keepdims=True)
    logits = float(scale) * np.asarray(images, np.float64) @ classes.T
    truth = [f"{s.taxon.genus} {s.taxon.species} with common name {s.taxon.common_name}" for s in source]
    by_rank = np.argsort(-logits, axis=1)
    top1 = np.mean([names[order[0]] == name for order, name in zip(by_rank, truth)])
    top3, top5 = (
        np.mean([name in [names[n] for n in order[:k]] for order, name in zip(by_rank, truth)])
        for k in (3, 5)
    )
    family_of = {name: s.taxon.family for name, s in zip(truth, source)}
    hits = []
    for row, sample in zip(np.exp(logits), source):
        sums = {}
        for name, p in zip(names, row):
            sums[family_of[name]] = sums.get(family_of[name], 0) + p
        hits.append(max(sums, key=sums.get) == sample.taxon.family)

    assert [candidate.name for candidate in candidates(source, "sci_com")] == names
    assert (result["n"], result["classes"], result["bad"]) == (len(source), len(names), {})
    assert [result[name] for name in ("top1", "top3", "top5")] == pytest.approx([top1, top3, top5])
    assert result["ranks"]["species"] == pytest.approx(top1)
    assert result["ranks"]["family"] == pytest.approx(np.mean(hits))
    assert result["chance"]["family"] == 1 / len(set(family_of.values()))


def test_classes_are_the_distinct_class_texts(folder):
    def names(text_type):
        return [c.name for c in candidates(source_of(folder), text_type)]

    assert names("sci") == ["Geospiza fortis", "Malus domestica", "Pyrus communis"]
    assert names("com") == ["Apple tree", "Geospiza fortis", "apple", "pear"]
    assert names("sci_com")[1:3] == [
        f"Malus domestica with common name {name}" for name in ("Apple tree", "apple")
    ]
    assert names("asis") == ["brown", "green", "red"], "asis takes the class column, not the lineage"


def test_bad_images_are_counted_and_skipped(folder, encoder, params):
    whole = (folder / "apple.jpg").read_bytes()
    (folder / "apple.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "apple2.jpg").write_text("no picture")
    (folder / "pear.jpg").unlink()
    with open(folder / "metadata.csv", "a") as file:
        file.write("5,finch.jpg,,,,,,,,,\n")
    images = CachedImages(source_of(folder), PREPROCESS, encoder)
    first, again = (score(images, encoder, params, templates="one") for _ in range(2))
    assert first["bad"] == {"truncated": 1, "not_an_image": 1, "no_image": 1, "no_label": 1}
    assert first["n"] == 2
    assert again == first, "a second call differs"


def test_no_readable_image_is_an_error(folder, encoder, params):
    for name in ROWS:
        (folder / name).write_text("no picture")
    with pytest.raises(UserError, match="none of the 5"):
        CachedImages(source_of(folder), PREPROCESS, encoder)(params)


def test_cached_images_are_not_read_again(folder, encoder, params):
    def images(**cached):
        cached_images = CachedImages(source_of(folder), PREPROCESS, encoder, **cached)
        return lambda params: score(cached_images, encoder, params, templates="one")

    kept, unkept, some = images(), images(cache_bytes=0), images(cache_bytes=2 * 32 * 32 * 3)
    first = kept(params)
    assert unkept(params) == first and some(params) == first
    assert unkept(params) == first and some(params) == first, "reading again changes the scores"
    for name in ROWS:
        (folder / name).unlink()
    assert kept(params) == first, "the images are not cached"
    assert some(params)["n"] == 2
    other = jax.tree.map(lambda x: x * 1.5, params)
    assert kept(other)["n"] == 5


def test_unseen_species_are_scored_among_other_candidates(folder, tmp_path_factory, encoder, params):
    other = {"a.jpg": ROWS["pear.jpg"], "b.jpg": ROWS["finch.jpg"]}
    pool = candidates(write_folder(tmp_path_factory.mktemp("candidates"), other), "taxon_com")
    seen = {name: row for name, row in ROWS.items() if name.startswith("apple")}
    unseen = write_folder(tmp_path_factory.mktemp("unseen"), seen)
    result = score(unseen, encoder, params, templates="one", candidates=pool)
    assert result["n"] == 3 and result["classes"] == 2
    assert result["top1"] is None and "species" not in result["ranks"], (
        "no prediction can be correct at species rank"
    )
    assert result["chance"]["family"] == 0.5 and result["n_by_rank"]["family"] == 3
    assert result["ranks"]["family"] in (0, 1 / 3, 2 / 3, 1)
    assert (
        result["hierarchical_distance"]["mean"] is None
        and result["ece"] is None
        and result["interval"] is None
    )


@pytest.mark.parametrize("wrong", [{"text_type": "latin"}, {"templates": "three"}])
def test_unknown_options_are_errors(wrong):
    with pytest.raises(UserError, match="choose from"):
        ZeroShot(**wrong)


def test_asis_with_a_table_of_labels(folder, encoder, params):
    lines = ["filepath,class", *(f"{name},{label}" for name, label in LABELS.items())]
    (folder / "labels.csv").write_text("\n".join(lines))
    source = FolderSource(folder, folder / "labels.csv")
    result = score(source, encoder, params, "asis", "one")
    assert result["classes"] == 3 and result["n"] == 5 and 0 <= result["top1"] <= 1
    assert "ranks" not in result, "labels have no ranks"


def test_asis_without_labels_is_an_error(tmp_path):
    with pytest.raises(UserError, match="class column"):
        candidates(write_folder(tmp_path, ROWS), "asis")


def test_hook_with_sharded_parameters(folder, encoder, params):
    config = train_config(
        {
            "data": {"train": "unused", "val": str(folder)},
            "model": "ViT-Test-16",
            "global_batch_size": 8,
            "learning_rate": 1e-3,
            "total_steps": 1,
            "mesh": {"data": 2, "fsdp": 4},
            "evaluate": {"templates": "one", "text_type": "sci"},
        }
    )
    sharded = jax.device_put(params, parameter_shardings(params, make_mesh(config.mesh)))
    expected = score(source_of(folder), encoder, params, "sci", "one")
    hook = EvaluationHook(config)
    assert hook(sharded) == {name: expected[name] for name in ("top1", "top3", "top5", "n", "ranks")}


def test_command_on_a_folder_and_its_annotations(folder, params, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    # As published: images in one folder, the CSV in another.
    (folder / "images").mkdir()
    for name in ROWS:
        (folder / name).rename(folder / "images" / name)
    bundle = ModelBundle(CONFIG, jax.tree.map(np.asarray, params), PREPROCESS, "ViT-Test-16", "a test")
    write_model_directory(bundle, folder / "model", replay_projector=False)
    where = ["--images", "images", "--labels", "metadata.csv"]
    assert main(["eval", "zero-shot", "--model", "model", *where, "--templates", "one", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["n"] == 5 and result["classes"] == 4 and result["text_type"] == "taxon_com"
    assert list(result["ranks"]) == ["kingdom", "phylum", "class", "order", "family", "genus", "species"]
    assert result["majority"]["kingdom"] == 0.8 and result["chance"]["species"] == 1 / 3

    assert main(["eval", "zero-shot", "--model", "model", *where, "--templates", "one"]) == 0
    text = capsys.readouterr().out
    assert f"{100 * result['top1']:.1f} %" in text and "4 classes" in text, text
    assert not set(text) & set("[]{}") and max(map(len, text.splitlines())) <= 80, text
    assert f"transform {result['transform']} data" in " ".join(text.split()), "eval must report its transform"

    (folder / "pool").mkdir()
    write_folder(folder / "pool", {name: ROWS[name] for name in ("apple.jpg", "finch.jpg")})
    assert main(["eval", "zero-shot", "--model", "model", *where, "--candidates", "pool", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["classes"], result["n"], result["not_candidates"]) == (2, 5, 2), (
        "the pear and the Apple tree"
    )

    for arguments, named in ((where[:2], "--labels"), (["--data", "nothing/here"], "nothing/here")):
        assert main(["eval", "zero-shot", "--model", "model", *arguments]) == 2
        message = capsys.readouterr().err
        assert message.startswith("error: ") and named in message and message.count("\n") == 1, message
