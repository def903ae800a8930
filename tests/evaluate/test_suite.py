"""The file of a suite."""

from collections import Counter
from pathlib import Path

import pytest

from bioclip_jax.errors import DataMissing, UserError
from bioclip_jax.evaluate.reference_scores import REFERENCE_SCORES
from bioclip_jax.evaluate.suite import Location, Skipped, read_suite

SUITE_FILE = Path(__file__).resolve().parents[2] / "configs" / "bioclip2.yaml"


def suite_file(tmp_path, text):
    path = tmp_path / "suite.yaml"
    path.write_text(text)
    return path


def no_data(location, split):
    raise DataMissing(f"{location} does not exist")


def any_data(location, split):
    return (str(location), split)


def test_read_suite(tmp_path):
    opened = []

    def open_data(location, split):
        opened.append((location, split))
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
    assert [entry.name for entry in suite.entries] == ["fish", "herbs"]
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


def test_shared_data_are_opened_once(tmp_path):
    opened = Counter()

    def open_data(location, split):
        opened[(location.data, split)] += 1
        return object()

    lines = [f"  fish{seed}: {{protocol: fishnet, data: fishnet, seeds: [{seed}]}}" for seed in range(3)]
    suite = read_suite(suite_file(tmp_path, "entries:\n" + "\n".join(lines)), open_data)
    assert opened == {("fishnet", "train"): 1, ("fishnet", "test"): 1}
    assert len({entry.keys()["test"] for entry in suite.entries}) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("entries: {a: {protocol: fishnet", "is not valid YAML at line 1"),
        (
            "entries:\n  a: {protocol: fishnet, data: x}\n  a: {protocol: awa2, data: y}",
            "line 3 repeats the key a",
        ),
        ("- a\n- b", "is not a suite; it needs a mapping with the key entries"),
        ("entries: {}", "has no entries"),
        ("data: x", "has no entries"),
        ("entrys: {}", "unknown key entrys; did you mean entries"),
        ("entries: {a: fishnet}", "a is 'fishnet'; it must be a mapping"),
        ("entries: {a: {data: x}}", "a has no protocol"),
        (
            "entries: {a: {protocol: fishnt, data: x}}",
            "a: there is no protocol 'fishnt'; did you mean fishnet",
        ),
        (
            "entries: {a: {protocol: fishnet, data: x, sedes: [1]}}",
            "fishnet has no option sedes; did you mean seeds",
        ),
        ("entries: {a: {protocol: fishnet, images: x, lables: y}}", "no option lables; did you mean labels"),
        ("entries: {a: {protocol: fishnet, data: x, seeds: 3}}", "fishnet.seeds is 3; it must be a list"),
        (
            "entries: {a: {protocol: fishnet, data: x, epochs: many}}",
            "fishnet.epochs is 'many'; it must be an int",
        ),
        ("entries: {a: {protocol: fishnet}}", "a: the data to score are ambiguous"),
        ("entries: {a: {protocol: fishnet, images: x}}", "a: the data to score are ambiguous"),
        ("entries: {a: {protocol: fishnet, data: x, labels: y}}", "a: the data to score are ambiguous"),
        ("entries: {a: {protocol: fishnet, data: 3}}", "a.data is 3; it must be a string"),
        (
            "entries: {a: {protocol: fishnet, data: 'fishnet:test'}}",
            "names a split, but fishnet reads both train and test",
        ),
        ("entries: {a: {protocol: fishnet, data: x, published: fishent}}", "'fishent'; did you mean fishnet"),
        (
            "entries: {a: {protocol: fishnet, data: x, published: awa2}}",
            "the scores of awa2 are by the protocol awa2",
        ),
        ("entries: {a/b: {protocol: fishnet, data: x}}", "a/b: an entry's name is made of letters"),
        ("entries: {on: {protocol: fishnet, data: x}}", "rename or quote it"),
        (
            "entries: {a: {protocol: fishnet, data: x, group: g}, b: {protocol: awa2, data: y, group: g}}",
            "the entries of group g differ",
        ),
    ],
)
def test_mistakes_in_the_file_are_errors(tmp_path, text, message):
    with pytest.raises(UserError, match="suite.yaml") as problem:
        read_suite(suite_file(tmp_path, text), any_data)
    assert message in str(problem.value)
    assert "\n" not in str(problem.value)


def test_errors_of_data_name_the_entry(tmp_path):
    def open_data(location, split):
        raise UserError("metadata.csv has no column filepath")

    with pytest.raises(UserError, match=r"suite.yaml: fish: metadata.csv has no column filepath"):
        read_suite(suite_file(tmp_path, "entries: {fish: {protocol: fishnet, data: x}}"), open_data)


def test_suite_without_any_data_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"no entry of .*suite.yaml has its data \(fish: x does not exist\)"):
        read_suite(suite_file(tmp_path, "entries: {fish: {protocol: fishnet, data: x}}"), no_data)
    with pytest.raises(UserError, match="nowhere.yaml cannot be read"):
        read_suite(tmp_path / "nowhere.yaml", no_data)


def test_suite_of_the_paper_has_each_of_its_rows():
    suite = read_suite(SUITE_FILE, any_data)
    published = Counter(entry.published for entry in suite.entries if entry.published)
    assert published == {name: row.sets for name, row in REFERENCE_SCORES.items()}
    taxa = {entry.name for entry in suite.entries if getattr(entry.protocol, "text_type", "") == "taxon_com"}
    assert all(name.startswith(("camera-trap", "rare-species")) for name in taxa), taxa
    assert len(taxa) == 6, "few-shot classes are those of the class column"
    zero_shot = {entry.keys()["test"] for entry in suite.entries if entry.protocol.name == "zero-shot"}
    few_shot = {entry.keys()["test"] for entry in suite.entries if entry.protocol.name == "few-shot"}
    assert zero_shot == few_shot, "few-shot should reuse the embeddings of zero-shot"
