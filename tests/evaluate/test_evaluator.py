"""Scoring suites and protocols: shared embeddings, failures, and resuming."""

import json
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
from evaluation_parts import CountingSource, NearestOther, Refuses, entry
from PIL import Image

from bioclip_jax.convert import resolve
from bioclip_jax.distributed import MeshConfig, make_mesh
from bioclip_jax.errors import UserError
from bioclip_jax.evaluate.evaluator import Evaluator, evaluate_protocol, evaluate_suite
from bioclip_jax.evaluate.suite import Entry, Location, Skipped, Suite
from bioclip_jax.pipeline.sources import FolderSource
from bioclip_jax.predict import Encoder, VectorCache, load_pixels


def test_embeddings_use_the_models_transform_unnormalized(evaluator, model_directory, folder):
    bundle = resolve(str(model_directory))
    pixels = [load_pixels(folder / f"{number}.png", bundle.preprocess) for number in range(6)]
    encoder = Encoder(bundle.config, bundle.preprocess, make_mesh(MeshConfig()), batch_size=8)
    expected = np.concatenate(list(encoder.images(bundle.params, iter(pixels), normalize=False)))
    embeddings = evaluator.vectors(FolderSource(folder, folder / "metadata.csv"))
    np.testing.assert_allclose(embeddings.features, expected, atol=1e-5)


def test_shared_images_are_encoded_once_and_then_freed(evaluator, source, tmp_path):
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
    # A freed set is read again.
    evaluator.vectors(source, entries[0].keys()["test"])
    assert set(source.reads.values()) == {2}
    evaluator.forget(entries[0].keys()["test"])


def test_cached_embeddings_are_identical(model_directory, source, tmp_path):
    cache = VectorCache(tmp_path / "cache")
    first = Evaluator(str(model_directory), batch_size=8, cache=cache).vectors(source)
    again = Evaluator(str(model_directory), batch_size=4, cache=cache).vectors(source)
    np.testing.assert_array_equal(first.features, again.features)


def test_failed_entry_does_not_stop_the_others(evaluator, source, tmp_path, capsys):
    suite = Suite(
        [entry("bad", source, Refuses()), entry("good", source)], [Skipped("gone", "no folder | here")]
    )
    result = evaluate_suite(evaluator, suite, tmp_path / "out")
    assert result["failed"] == {"bad": "unsuitable labels; give others"}
    assert result["skipped"] == {"gone": "no folder | here"}
    good = result["entries"]["good"]
    assert good["figures"]["spread"] is None, "NaN should be null"
    written = json.loads((tmp_path / "out" / "results.json").read_text())
    assert written == result
    assert written["fingerprint"] == evaluator.fingerprint
    assert {"model", "date", "versions", "device"} <= set(written)
    table = (tmp_path / "out" / "good_images.csv").read_text().splitlines()
    assert table[0] == "key,right" and len(table) == 7
    page = (tmp_path / "out" / "results.md").read_text()
    assert f"| good | nearest-other | 6 | {100 * good['figures']['top1']:.1f} |" in page
    assert "- gone: no folder \\| here" in page and "- bad: unsuitable labels" in page
    assert Image.open(tmp_path / "out" / "results.png").width >= 1000
    report = capsys.readouterr().err
    assert (
        "gone: skipped (no folder | here)" in report
        and "bad: failed (unsuitable" in report
        and "good: top1" in report
    )
    assert not [path for path in (tmp_path / "out").iterdir() if "partial" in path.name]


def test_interrupted_run_resumes(evaluator, source, tmp_path):
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
    assert not source.reads, "scored entries are scored again"
    result = evaluate_suite(evaluator, suite, out, resume=True)
    assert result["entries"]["first"] == left["entries"]["first"]
    assert result["entries"]["stops"]["figures"]["n"] == 5

    # Results of other options are not reused.
    suite = Suite([entry("first", source, NearestOther(among=3))])
    assert evaluate_suite(evaluator, suite, out, resume=True)["entries"]["first"]["figures"]["n"] == 3
    evaluate_suite(evaluator, suite, out)
    assert source.reads, "without resume everything is scored"


def test_resume_ignores_results_of_another_model(evaluator, source, tmp_path):
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


def test_resume_ignores_results_of_an_earlier_revision(evaluator, source, tmp_path):
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


def test_evaluate_protocol(model_directory, folder, tmp_path):
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
