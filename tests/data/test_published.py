"""Evaluations read publishers' folders directly, with the same samples as the prepared sets."""

import made_layouts
import pytest

import bioclip_jax.datasets  # noqa: F401  registers the builders
from bioclip_jax.datasets.published import open_evaluation
from bioclip_jax.errors import DataMissing, UserError
from bioclip_jax.pipeline.sources import open_source

LAYOUTS = [
    ("rare_species", made_layouts.rare_species, "test"),
    ("nabirds", made_layouts.nabirds, "train+test"),
    ("plantdoc", made_layouts.plantdoc, "train"),
    ("newt", made_layouts.newt, "test"),
    ("fishnet", made_layouts.fishnet, "train"),
    ("awa2", made_layouts.awa2, "test"),
    ("herbarium19", made_layouts.herbarium19, "train"),
    ("meta_album/PLK", made_layouts.meta_album, "test"),
]


@pytest.mark.parametrize("name,layout,split", LAYOUTS, ids=[name for name, _, _ in LAYOUTS])
def test_the_folder_gives_the_samples_of_the_prepared_set(tmp_path, name, layout, split):
    root = tmp_path / "downloads" / "manual"
    folder = root / name.partition("/")[0]
    folder.mkdir(parents=True)
    layout(folder)
    direct = open_evaluation(f"{name}:{split}", "test", root=root)
    prepared = open_source(name, split=split, tfds_dir=tmp_path)
    assert len(direct) == len(prepared) > 0
    for index in range(len(prepared)):
        one, other = direct[index], prepared[index]
        assert (one.key, one.image, one.taxon) == (other.key, other.image, other.taxon)
        assert one.metadata == other.metadata, f"labels of {one.key} differ"


def test_a_folder_by_path_is_read_by_the_protocol(tmp_path):
    made_layouts.awa2(tmp_path / "anywhere")
    assert len(open_evaluation(str(tmp_path / "anywhere"), "train", protocol="awa2")) > 0


def test_missing_data_differs_from_invalid_data(tmp_path):
    with pytest.raises(DataMissing, match=r"newt does not exist; newt needs newt2021_labels.csv"):
        open_evaluation("newt", "test", root=tmp_path)
    with pytest.raises(DataMissing, match="nowhere does not exist"):
        open_evaluation(str(tmp_path / "nowhere"), "test")
    made_layouts.newt(tmp_path / "newt")
    with pytest.raises(UserError, match="newt has no split 'tset'; it has train, test") as caught:
        open_evaluation("newt:tset", "test", root=tmp_path)
    assert not isinstance(caught.value, DataMissing)
    next((tmp_path / "newt" / "newt2021_images").iterdir()).unlink()
    with pytest.raises(UserError, match="1 of the .* are missing: .*jpg; complete the download"):
        for split in ("train", "test"):
            open_evaluation("newt", split, root=tmp_path)


def test_a_table_is_filtered_by_its_column_split(tmp_path):
    columns = ("filepath", "class", "split")
    rows = [
        ("a.jpg", "oak", "train"),
        ("b.jpg", "elm", "val"),
        ("c.jpg", "elm", "test"),
        ("d.jpg", "oak", "train"),
    ]
    for number, row in enumerate(rows):
        made_layouts.put(tmp_path / "images" / row[0], number)
    made_layouts.write_table(tmp_path / "labels.csv", columns, rows)
    where = {"images": tmp_path / "images", "labels": tmp_path / "labels.csv"}
    assert [sample.key for sample in _all(open_evaluation(None, "train", **where))] == ["a.jpg", "d.jpg"]
    assert [sample.key for sample in _all(open_evaluation(None, "validation+test", **where))] == [
        "b.jpg",
        "c.jpg",
    ]
    with pytest.raises(DataMissing, match="no row whose split is unseen; it has test, train, val"):
        open_evaluation(None, "unseen", **where)
    made_layouts.write_table(tmp_path / "plain.csv", ("filepath", "class"), [row[:2] for row in rows])
    where["labels"] = tmp_path / "plain.csv"
    assert len(open_evaluation(None, "test", **where)) == 4
    with pytest.raises(DataMissing, match="plain.csv has no column 'split', and train images are needed"):
        open_evaluation(None, "train", **where)


def _all(source):
    return [source[index] for index in range(len(source))]
