"""A suite: what its file may say, one encoding of each set of images, and runs that fail or stop half-way."""

import json
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import jax
import numpy as np
import pytest
from PIL import Image

from bioclip_jax.checkpoint import Checkpoints, TrainingDirectory
from bioclip_jax.convert import ModelBundle, resolve, write_model_directory
from bioclip_jax.distributed import MeshConfig, make_mesh
from bioclip_jax.errors import DataMissing, UserError
from bioclip_jax.evaluate.checkpoints import evaluate_checkpoints
from bioclip_jax.evaluate.evaluator import Evaluator, evaluate_protocol, evaluate_suite
from bioclip_jax.evaluate.protocols.base import ModelOutputs, Score
from bioclip_jax.evaluate.reference_scores import REFERENCE_SCORES
from bioclip_jax.evaluate.suite import Entry, Location, Skipped, Suite, read_suite
from bioclip_jax.models import get_config, init_params
from bioclip_jax.pipeline.images import Preprocess
from bioclip_jax.pipeline.sources import FolderSource, Sample
from bioclip_jax.predict import Encoder, VectorCache, load_pixels
from bioclip_jax.predict.embedding import LabeledEmbeddings

CONFIG = get_config("ViT-Test-16")
SUITE_FILE = Path(__file__).resolve().parents[2] / "configs" / "bioclip2.yaml"


@dataclass(frozen=True)
class NearestOther:
    """The class of the nearest other image."""

    name: ClassVar[str] = "nearest-other"
    score: ClassVar[str] = "top1"
    splits: ClassVar[tuple[str, ...]] = ("test",)

    among: int = 100

    def __call__(self, sets: Mapping[str, LabeledEmbeddings], towers: ModelOutputs) -> Score:
        found = sets["test"]
        labels = found.column("color")[: self.among]
        cosines = found.unit[: self.among] @ found.unit[: self.among].T - 2 * np.eye(len(labels))
        right = [labels[place] == label for place, label in zip(cosines.argmax(axis=1), labels)]
        rows = [{"key": sample.key, "right": hit} for sample, hit in zip(found.samples, right)]
        return Score({"top1": np.mean(right), "n": len(right), "spread": np.nan}, {"images": rows})


@dataclass(frozen=True)
class Refuses:
    name: ClassVar[str] = "refuses"
    score: ClassVar[str] = "top1"
    splits: ClassVar[tuple[str, ...]] = ("test",)

    stops: bool = False

    def __call__(self, sets: Mapping[str, LabeledEmbeddings], towers: ModelOutputs) -> Score:
        if self.stops:
            raise KeyboardInterrupt
        raise UserError("the labels do not do; give others")


class CountingSource:
    """A folder that notes which of its images are read."""

    def __init__(self, source: FolderSource) -> None:
        self.skipped_shards: list[str] = []
        self.reads: Counter[int] = Counter()
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Sample:
        self.reads[index] += 1
        return self._source[index]


@pytest.fixture(scope="module")
def model_directory(tmp_path_factory):
    params = jax.tree.map(np.array, init_params(CONFIG, seed=4))
    # Its own transform crops, where predictions would squash.
    preprocess = Preprocess(CONFIG.vision.image_size, resize_mode="shortest")
    bundle = ModelBundle(CONFIG, params, preprocess, "ViT-Test-16", "a test")
    return write_model_directory(bundle, tmp_path_factory.mktemp("models") / "small", replay_projector=False)


@pytest.fixture(scope="module")
def evaluator(model_directory):
    return Evaluator(str(model_directory), batch_size=8, cache=False)


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "photos")


@pytest.fixture
def source(folder):
    return CountingSource(FolderSource(folder, folder / "metadata.csv"))


def write_folder(folder, seed=0):
    folder.mkdir()
    random = np.random.default_rng(seed)
    lines = ["filepath,color"]
    for number in range(6):
        pixels = np.full((30, 50, 3), random.integers(0, 255, 3), np.uint8) + random.integers(
            0, 9, (30, 50, 3), np.uint8
        )
        Image.fromarray(pixels).save(folder / f"{number}.png")
        lines.append(f"{number}.png,{'ab'[number % 2]}")
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n")
    return folder


def entry(name, source, protocol=None, **more):
    return Entry(name, protocol or NearestOther(), {"test": source}, Location(data="photos"), **more)


def suite_file(tmp_path, text):
    path = tmp_path / "suite.yaml"
    path.write_text(text)
    return path


def no_data(location, split):
    raise DataMissing(f"{location} does not exist")


def any_data(location, split):
    return (str(location), split)


# What a file may say.


def test_a_file_is_read_into_protocols_places_and_what_stands_beside_them(tmp_path):
    asked = []

    def open_data(location, split):
        asked.append((location, split))
        if location.data == "awa2":
            raise DataMissing("the folder awa2 does not exist")
        return f"{location.data} {split}"

    path = suite_file(
        tmp_path,
        """
        data: sets
        entries:
          fish: {protocol: fishnet, data: fishnet, seeds: [3, 4], published: fishnet}
          awa2: {protocol: awa2, data: awa2}
          herbs: {protocol: herbarium19, images: herbs/images, labels: herbs.csv}
        """,
    )
    suite = read_suite(path, open_data)
    assert [found.name for found in suite.entries] == ["fish", "herbs"]
    assert suite.skipped == [Skipped("awa2", "the folder awa2 does not exist")]
    fish, herbs = suite.entries
    assert fish.protocol.seeds == (3, 4)
    assert fish.sources == {"train": "fishnet train", "test": "fishnet test"}
    assert (fish.published, herbs.published) == ("fishnet", None)
    root = tmp_path / "sets"
    assert fish.location == Location("fishnet", protocol="fishnet", root=root)
    assert (herbs.location.images, herbs.location.labels) == (root / "herbs/images", root / "herbs.csv")
    elsewhere = read_suite(path, open_data, data_root=tmp_path / "other").entries[1].location
    assert elsewhere.images == tmp_path / "other" / "herbs/images"


def test_data_of_two_entries_are_opened_once(tmp_path):
    opened = Counter()

    def open_data(location, split):
        opened[(location.data, split)] += 1
        return object()

    lines = [f"  fish{seed}: {{protocol: fishnet, data: fishnet, seeds: [{seed}]}}" for seed in range(3)]
    suite = read_suite(suite_file(tmp_path, "entries:\n" + "\n".join(lines)), open_data)
    assert opened == {("fishnet", "train"): 1, ("fishnet", "test"): 1}
    assert len({found.keys()["test"] for found in suite.entries}) == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("entries: {a: {protocol: fishnet", "is not valid YAML at line 1"),
        ("entries:\n  a: {protocol: fishnet, data: x}\n  a: {protocol: awa2, data: y}", "line 3 repeats the key a"),
        ("- a\n- b", "is not a suite; it needs a mapping with the key entries"),
        ("entries: {}", "has no entries"),
        ("data: x", "has no entries"),
        ("entrys: {}", "unknown key entrys; did you mean entries"),
        ("entries: {a: fishnet}", "a is 'fishnet'; it must be a mapping"),
        ("entries: {a: {data: x}}", "a has no protocol"),
        ("entries: {a: {protocol: fishnt, data: x}}", "a: there is no protocol 'fishnt'; did you mean fishnet"),
        ("entries: {a: {protocol: fishnet, data: x, sedes: [1]}}", "fishnet has no option sedes; did you " "mean seeds"),
        ("entries: {a: {protocol: fishnet, images: x, lables: y}}", "no option lables; did you mean labels"),
        ("entries: {a: {protocol: fishnet, data: x, seeds: 3}}", "fishnet.seeds is 3; it must be a list"),
        ("entries: {a: {protocol: fishnet, data: x, epochs: many}}", "fishnet.epochs is 'many'; it must be " "an int"),
        ("entries: {a: {protocol: fishnet}}", "a: the data to score are ambiguous"),
        ("entries: {a: {protocol: fishnet, images: x}}", "a: the data to score are ambiguous"),
        ("entries: {a: {protocol: fishnet, data: x, labels: y}}", "a: the data to score are ambiguous"),
        ("entries: {a: {protocol: fishnet, data: 3}}", "a.data is 3; it must be a string"),
        ("entries: {a: {protocol: fishnet, data: 'fishnet:test'}}", "names a split, but fishnet reads both train and test"),
        ("entries: {a: {protocol: fishnet, data: x, published: fishent}}", "'fishent'; did you mean fishnet"),
        ("entries: {a: {protocol: fishnet, data: x, published: awa2}}", "the scores of awa2 are by the protocol awa2"),
        ("entries: {a/b: {protocol: fishnet, data: x}}", "a/b: an entry's name is made of letters"),
        ("entries: {on: {protocol: fishnet, data: x}}", "rename or quote it"),
        (
            "entries: {a: {protocol: fishnet, data: x, group: g}, b: {protocol: awa2, data: y, group: g}}",
            "the entries of group g differ",
        ),
    ],
)  # fmt: skip
def test_a_mistake_in_the_file_is_told_before_anything_runs(tmp_path, text, told):
    with pytest.raises(UserError, match="suite.yaml") as problem:
        read_suite(suite_file(tmp_path, text), any_data)
    assert told in str(problem.value)
    assert "\n" not in str(problem.value)


def test_what_is_wrong_with_data_that_are_there_is_told_with_the_entry(tmp_path):
    def open_data(location, split):
        raise UserError("metadata.csv has no column filepath")

    with pytest.raises(UserError, match=r"suite.yaml: fish: metadata.csv has no column filepath"):
        read_suite(suite_file(tmp_path, "entries: {fish: {protocol: fishnet, data: x}}"), open_data)


def test_a_suite_of_which_no_data_are_there_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"no entry of .*suite.yaml has its data \(fish: x does not exist\)"):
        read_suite(suite_file(tmp_path, "entries: {fish: {protocol: fishnet, data: x}}"), no_data)
    with pytest.raises(UserError, match="nowhere.yaml cannot be read"):
        read_suite(tmp_path / "nowhere.yaml", no_data)


def test_the_papers_suite_has_each_row_of_the_paper():
    suite = read_suite(SUITE_FILE, any_data)
    published = Counter(found.published for found in suite.entries if found.published)
    assert published == {name: row.sets for name, row in REFERENCE_SCORES.items()}
    taxa = {found.name for found in suite.entries if getattr(found.protocol, "text_type", "") == "taxon_com"}
    assert all(name.startswith(("camera-trap", "rare-species")) for name in taxa), taxa
    assert len(taxa) == 6, "few-shot classes are those of the class column"
    zero_shot = {found.keys()["test"] for found in suite.entries if found.protocol.name == "zero-shot"}
    few_shot = {found.keys()["test"] for found in suite.entries if found.protocol.name == "few-shot"}
    assert zero_shot == few_shot, "few-shot should find the vectors of zero-shot"


# Running one.


def test_vectors_are_of_the_models_own_transform_and_not_normalised(evaluator, model_directory, folder):
    bundle = resolve(str(model_directory))
    pixels = [load_pixels(folder / f"{number}.png", bundle.preprocess) for number in range(6)]
    encoder = Encoder(bundle.config, bundle.preprocess, make_mesh(MeshConfig()), batch_size=8)
    expected = np.concatenate(list(encoder.images(bundle.params, iter(pixels), normalize=False)))
    found = evaluator.vectors(FolderSource(folder, folder / "metadata.csv"))
    np.testing.assert_allclose(found.features, expected, atol=1e-5)


def test_images_that_several_entries_read_are_encoded_once_and_then_freed(evaluator, source, tmp_path):
    other = CountingSource(source._source)
    entries = [
        entry("first", source),
        Entry("other", NearestOther(), {"test": other}, Location(data="elsewhere")),
        entry("second", source, NearestOther(among=4)),
    ]
    result = evaluate_suite(evaluator, Suite(entries), tmp_path / "out")
    assert list(result["entries"]) == ["first", "other", "second"]
    assert set(source.reads.values()) == {1}, f"images were read {source.reads}"
    assert result["entries"]["second"]["figures"]["n"] == 4
    # Of a set that was freed, the next use reads the images again.
    evaluator.vectors(source, entries[0].keys()["test"])
    assert set(source.reads.values()) == {2}
    evaluator.forget(entries[0].keys()["test"])


def test_the_cache_makes_a_second_run_the_same(model_directory, source, tmp_path):
    cache = VectorCache(tmp_path / "cache")
    first = Evaluator(str(model_directory), batch_size=8, cache=cache).vectors(source)
    again = Evaluator(str(model_directory), batch_size=4, cache=cache).vectors(source)
    np.testing.assert_array_equal(first.features, again.features)


def test_an_entry_that_fails_is_named_and_does_not_stop_the_others(evaluator, source, tmp_path, capsys):
    suite = Suite(
        [entry("bad", source, Refuses()), entry("good", source)], [Skipped("gone", "no folder | here")]
    )
    result = evaluate_suite(evaluator, suite, tmp_path / "out")
    assert result["failed"] == {"bad": "the labels do not do; give others"}
    assert result["skipped"] == {"gone": "no folder | here"}
    good = result["entries"]["good"]
    assert good["figures"]["spread"] is None, "a figure that is no number should be null"
    written = json.loads((tmp_path / "out" / "results.json").read_text())
    assert written == result
    assert written["fingerprint"] == evaluator.fingerprint
    assert {"model", "date", "versions", "device"} <= set(written)
    table = (tmp_path / "out" / "good_images.csv").read_text().splitlines()
    assert table[0] == "key,right" and len(table) == 7
    page = (tmp_path / "out" / "results.md").read_text()
    assert f"| good | nearest-other | 6 | {100 * good['figures']['top1']:.1f} |" in page
    assert "- gone: no folder \\| here" in page and "- bad: the labels do not do" in page
    assert Image.open(tmp_path / "out" / "results.png").width >= 1000
    told = capsys.readouterr().err
    assert (
        "gone: skipped (no folder | here)" in told
        and "bad: failed (the labels" in told
        and "good: top1" in told
    )
    assert not [path for path in (tmp_path / "out").iterdir() if "partial" in path.name]


def test_a_run_that_stops_leaves_what_it_found_and_resume_goes_on(evaluator, source, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        evaluate_suite(
            evaluator, Suite([entry("first", source), entry("stops", source, Refuses(stops=True))]), out
        )
    evaluator.forget(entry("first", source).keys()["test"])
    left = json.loads((out / "results.json").read_text())
    assert list(left["entries"]) == ["first"]

    suite = Suite([entry("first", source), entry("stops", source, NearestOther(among=5))])
    source.reads.clear()
    result = evaluate_suite(evaluator, replace(suite, entries=suite.entries[:1]), out, resume=True)
    assert result["entries"]["first"] == left["entries"]["first"]
    assert not source.reads, "what was scored is scored again"
    result = evaluate_suite(evaluator, suite, out, resume=True)
    assert result["entries"]["first"] == left["entries"]["first"]
    assert result["entries"]["stops"]["figures"]["n"] == 5

    # Other options, or other data at the place, are another figure.
    suite = Suite([entry("first", source, NearestOther(among=3))])
    assert evaluate_suite(evaluator, suite, out, resume=True)["entries"]["first"]["figures"]["n"] == 3
    evaluate_suite(evaluator, suite, out)
    assert source.reads, "without resume everything is scored"


def test_resume_does_not_take_what_another_model_found(evaluator, source, tmp_path):
    out = tmp_path / "out"
    evaluate_suite(evaluator, Suite([entry("first", source)]), out)
    content = json.loads((out / "results.json").read_text())
    content["fingerprint"] = "another"
    (out / "results.json").write_text(json.dumps(content))
    source.reads.clear()
    evaluate_suite(evaluator, Suite([entry("first", source)]), out, resume=True)
    assert set(source.reads.values()) == {1}
    (out / "results.json").write_text("{")
    with pytest.raises(UserError, match="the earlier results .* cannot be read"):
        evaluate_suite(evaluator, Suite([entry("first", source)]), out, resume=True)


def test_resume_does_not_take_the_figures_of_an_earlier_revision(evaluator, source, tmp_path):
    @dataclass(frozen=True)
    class Revised(NearestOther):
        revision: ClassVar[int] = 2

    out = tmp_path / "out"
    evaluate_suite(evaluator, Suite([entry("first", source)]), out)
    for reads in (1, 0):
        evaluator.forget(entry("first", source).keys()["test"])
        source.reads.clear()
        result = evaluate_suite(evaluator, Suite([entry("first", source, Revised())]), out, resume=True)
        assert sum(source.reads.values()) == 6 * reads, "only figures of the same revision are kept"
        assert result["entries"]["first"]["revision"] == 2


def test_one_protocol_alone(model_directory, folder, tmp_path):
    def open_data(location, split):
        assert split == "test"
        return FolderSource(location.images, location.labels)

    location = Location(None, folder, folder / "metadata.csv", "nearest-other")
    result = evaluate_protocol(
        str(model_directory),
        NearestOther(),
        location,
        open_data,
        output=tmp_path / "out",
        batch_size=8,
        cache=False,
    )
    assert {"protocol": "nearest-other", "among": 100, "n": 6}.items() <= result.items()
    assert result["fingerprint"] and set(result["seconds"]) == {"vectors", "scoring"}
    written = json.loads((tmp_path / "out" / "results.json").read_text())
    assert result.items() <= written.items()
    assert (tmp_path / "out" / "nearest-other_images.csv").is_file()


# All checkpoints.


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    directory = TrainingDirectory(tmp_path_factory.mktemp("runs") / "run")
    directory.write_config({"model": "ViT-Test-16"})
    checkpoints = Checkpoints(directory, keep=None)
    for step in (10, 20):
        checkpoints.save(step, {"params": init_params(CONFIG, seed=step)}, {})
    checkpoints.wait()
    checkpoints.close()
    return directory


@pytest.fixture
def run(trained, tmp_path):
    return TrainingDirectory(shutil.copytree(trained.path, tmp_path / "run"))


def test_every_checkpoint_is_scored_once_and_stays_when_it_is_removed(run, source, tmp_path):
    suite = Suite([entry("photos", source)])
    out = tmp_path / "out"
    result = evaluate_checkpoints(run.path, suite, out, batch_size=8, cache=False)
    assert [found["step"] for found in result["steps"]] == [10, 20]
    assert set(source.reads.values()) == {2}, "each image should be read once a checkpoint"
    for found in result["steps"]:
        alone = Evaluator(str(run.checkpoints / str(found["step"])), batch_size=8, cache=False)
        expected = NearestOther()(alone.sets({"test": source}), alone.outputs).figures["top1"]
        assert found["scores"] == {"photos": expected}
        assert found["fingerprint"] == alone.fingerprint
    lines = (out / "results.csv").read_text().splitlines()
    assert lines[0] == "step,entry,score,low,high"
    assert [line.split(",")[:2] for line in lines[1:]] == [["10", "photos"], ["20", "photos"]]
    assert Image.open(out / "results.png").width > 300

    source.reads.clear()
    (run.checkpoints / "10").rename(tmp_path / "gone")
    again = evaluate_checkpoints(run.path, suite, out, batch_size=8, cache=False)
    assert again["steps"] == result["steps"]
    assert not source.reads, "a step that was scored is scored again"
    changed = Suite([entry("photos", source, NearestOther(among=4))])
    other = evaluate_checkpoints(run.path, changed, out, batch_size=8, cache=False)
    assert [found["step"] for found in other["steps"]] == [20], "a step by other options should not be kept"


def test_a_second_run_that_stops_keeps_what_the_first_has_found(run, source, tmp_path):
    out = tmp_path / "out"
    first = evaluate_checkpoints(run.path, Suite([entry("photos", source)]), out, batch_size=8, cache=False)
    suite = Suite([entry("photos", source), entry("stops", source, Refuses(stops=True))])
    with pytest.raises(KeyboardInterrupt):
        evaluate_checkpoints(run.path, suite, out, batch_size=8, cache=False)
    source.reads.clear()
    again = evaluate_checkpoints(run.path, Suite([entry("photos", source)]), out, batch_size=8, cache=False)
    assert again["steps"] == first["steps"] and not source.reads


def test_an_entry_that_fails_at_a_step_is_named(run, source, tmp_path):
    suite = Suite([entry("good", source), entry("bad", source, Refuses())])
    result = evaluate_checkpoints(run.path, suite, tmp_path / "out", batch_size=8, cache=False)
    assert set(result["failed"]) == {"step 10, bad", "step 20, bad"}
    assert [list(found["entries"]) for found in result["steps"]] == [["good"], ["good"]]


def test_checkpoints_of_what_is_no_training_directory(tmp_path, source, model_directory):
    with pytest.raises(UserError, match="is not a training directory"):
        evaluate_checkpoints(model_directory, Suite([entry("a", source)]), tmp_path / "out")
    directory = TrainingDirectory(tmp_path / "new")
    directory.write_config({"model": "ViT-Test-16"})
    directory.checkpoints.mkdir()
    with pytest.raises(UserError, match="has no checkpoint yet"):
        evaluate_checkpoints(directory.path, Suite([entry("a", source)]), tmp_path / "out")
    assert not (tmp_path / "out").exists()
