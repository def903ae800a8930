"""Builders over publishers' downloads, each on a small synthetic copy of the layout."""

import os
import shutil

import made_layouts
import pytest
import tensorflow_datasets as tfds
from hypothesis import given, settings
from hypothesis import strategies as st
from made_layouts import picture

import bioclip_jax.datasets
from bioclip_jax.errors import UserError
from bioclip_jax.evaluate.class_names import class_text
from bioclip_jax.pipeline.sources import open_source
from bioclip_jax.text import Taxon, captions_from_taxon, complete_captions

DEER = Taxon(
    "Animalia",
    "Chordata",
    "Mammalia",
    "Artiodactyla",
    "Cervidae",
    "Odocoileus",
    "virginianus",
    "white-tailed deer",
)


@pytest.fixture
def prepare(tmp_path):
    """Create a set in its manual folder with a function of made_layouts, and read it by TFDS name."""

    def _prepare(name, layout, **options):
        folder = tmp_path / "downloads" / "manual" / name.partition("/")[0].partition(":")[0]
        if layout is not None and not folder.exists():
            folder.mkdir(parents=True)
            layout(folder, **options)
        source = open_source(name, split="test", tfds_dir=tmp_path)
        return [source[number] for number in range(len(source))]

    return _prepare


def labels(samples) -> list[str]:
    return [sample.metadata["class"] for sample in samples]


@pytest.mark.parametrize("parquet", [False, True], ids=["folders", "parquet"])
def test_rare_species_in_the_hubs_layout(prepare, parquet):
    samples = prepare("rare_species", made_layouts.rare_species, parquet=parquet)
    assert labels(samples) == ["Tylototriton shanjing", "Atelopus zeteki", "Tylototriton shanjing"]
    assert [sample.image for sample in samples] == [picture(n) for n in range(3)]
    frog = Taxon(*made_layouts.FROG, "Panamanian Golden Frog")
    assert samples[1].taxon == frog and samples[1].captions == captions_from_taxon(frog)
    assert class_text(samples[1].taxon, "taxon_com").endswith(
        "Atelopus zeteki with common name Panamanian Golden Frog"
    )
    assert samples[1].metadata["rarespecies_id"] == "id-1"
    assert samples[1].key.startswith("dataset/Animalia-Chordata-Amphibia-Anura")


def test_rare_species_with_the_table_of_the_reference(prepare):
    (sample,) = prepare("rare_species", made_layouts.rare_species_as_annotated)
    assert sample.image == picture(1) and sample.taxon.common_name == "Panamanian golden frog"
    assert sample.taxon.class_ == "Amphibia" and sample.metadata["class"] == "Atelopus zeteki"


def test_nabirds(prepare):
    train = prepare("nabirds:train", made_layouts.nabirds)
    assert labels(train) == ["Ovenbird (Adult Male)", "Oak Titmouse"]
    assert [sample.image for sample in train] == [picture(1), picture(3)]
    assert train[0].taxon == Taxon(common_name="Ovenbird")
    assert train[0].metadata["hierarchy"] == "Birds > Perching Birds" and train[0].metadata["class_id"] == 860
    assert train[0].key == "0860/0000139e21dc4d0cbfe14cae3c85c821.jpg"
    assert len(prepare("nabirds:test", None)) == 2
    assert (
        sorted(labels(prepare("nabirds:train+test", None)))
        == ["Oak Titmouse"] * 2 + ["Ovenbird (Adult Male)"] * 2
    )


def test_meta_album(prepare):
    plankton = prepare("meta_album/PLK", made_layouts.meta_album)
    assert labels(plankton) == ["Emiliania_huxleyi", "detritus", "detritus"]
    assert [sample.image for sample in plankton] == [picture(n, "PNG") for n in range(3)]
    assert plankton[0].metadata["super_category"] == ""
    (insect,) = prepare("meta_album/INS", None)
    assert insect.metadata == {"class": "Apidae", "super_category": "insects"} and insect.image == picture(3)
    (fungus,) = prepare("meta_album/FNG", None)
    assert labels([fungus]) == ["Amanita fulva (Schaeff.) Fr."] and fungus.image == picture(4)
    with pytest.raises(
        UserError, match="meta_album: .*PLT_VIL_Mini is missing; it needs the folder of each set"
    ):
        prepare("meta_album/PLT_VIL", None)


def test_camera_traps_balanced_and_whole(prepare):
    balanced = prepare("camera_trap/ENA24", made_layouts.camera_trap)
    assert [sample.taxon for sample in balanced] == [DEER, DEER]
    assert [sample.image for sample in balanced] == [picture(0, "PNG"), picture(1, "PNG")]
    assert labels(balanced) == ["Odocoileus virginianus"] * 2
    whole = prepare("camera_trap/ENA24-lila", None)
    assert labels(whole) == ["White_Tailed_Deer", "empty", "White_Tailed_Deer"]
    assert [sample.taxon for sample in whole] == [DEER, Taxon(), DEER]
    assert [sample.image for sample in whole] == [picture(n) for n in (2, 3, 4)]
    assert whole[0].metadata["location"] == "7"


def test_plantdoc(prepare):
    train = prepare("plantdoc:train", made_layouts.plantdoc)
    assert labels(train) == ["Apple Scab Leaf", "Tomato leaf"]
    assert train[0].key == "train/Apple Scab Leaf/IMG_1629.JPG?1507122477.jpg" and train[0].image == picture(
        1
    )
    assert labels(prepare("plantdoc", None)) == ["Apple Scab Leaf"]


def test_newt(prepare):
    train = prepare("newt:train", made_layouts.newt)
    assert [sample.metadata["task"] for sample in train] == [
        "ml_age_coopers_hawk",
        "ml_bio_raptor_utility_pole",
    ]
    assert [sample.metadata["label"] for sample in train] == [0, 0] and labels(train) == ["not_adult", "neg"]
    (test,) = prepare("newt:test", None)
    assert test.key == "6c3eddb5" and test.metadata["label"] == 1 and test.image == picture(1)
    assert test.metadata["task_cluster"] == "appearance" and test.metadata["task_subcluster"] == "age"


def test_fishnet(prepare):
    full, poor = prepare("fishnet:train", made_layouts.fishnet)
    family = {"class_": "Actinopterygii", "order": "Perciformes", "family": "Sparidae", "genus": "Diplodus"}
    assert full.taxon == Taxon(**family, species="sargus") and poor.taxon == Taxon(**family)
    assert full.metadata["FeedingPath"] == "benthic" and full.metadata["brackish"] == 1
    assert [full.metadata[name] for name in ("Tropical", "Boreal", "freshwater")] == [1, 0, 0]
    assert poor.metadata["FeedingPath"] == "" and poor.metadata["Tropical"] == -1
    assert poor.image == picture(1) and len(prepare("fishnet:test", None)) == 1


def test_awa2(prepare):
    train = prepare("awa2:train", made_layouts.awa2)
    assert labels(train) == ["antelope", "killer+whale"]
    assert [sample.metadata["attributes"] for sample in train] == ["001", "111"]
    (test,) = prepare("awa2:test", None)
    assert test.metadata["class"] == "grizzly+bear" and test.metadata["attributes"] == "101"
    assert test.image == picture(1) and test.metadata["class_id"] == 1


@pytest.mark.parametrize("full_size", [False, True], ids=["small", "full size"])
def test_herbarium19(prepare, full_size):
    def layout(folder):
        made_layouts.herbarium19(folder)
        for split in ("train", "validation", "test"):
            if full_size:
                (folder / f"small-{split}").rename(folder / split)

    train = prepare("herbarium19:train", layout)
    # Sorted as text, as the reference numbers them: "10" before "2".
    assert [sample.metadata["class_index"] for sample in train] == [0, 1, 1]
    assert labels(train) == ["10", "Miconia calvescens", "Miconia calvescens"]
    (validation,) = prepare("herbarium19:validation", None)
    assert validation.metadata["class_index"] == 1 and validation.metadata["category"] == "2"
    (test,) = prepare("herbarium19:test", None)
    assert test.metadata["class_index"] == -1 and test.metadata["class"] == "" and test.image == picture(4)


@pytest.mark.shared_data
def test_tree_of_life(prepare, shared_data, tmp_path):
    shards = shared_data / "produce" / "tol_shards"

    def layout(folder):
        (folder / "val").mkdir()
        os.symlink(next((shards / "val").glob("*.tar")), folder / "val" / "shard.tar")
        shutil.copytree(folder / "val", folder / "train", symlinks=True)

    samples = prepare("tree_of_life:validation", layout)
    original = open_source(tmp_path / "downloads" / "manual" / "tree_of_life" / "val")
    assert len(samples) == len(original) > 100
    for number in (0, 57, len(original) - 1):
        sample, expected = samples[number], original[number]
        assert (sample.key, sample.image, sample.taxon) == (expected.key, expected.image, expected.taxon)
        assert complete_captions(sample.captions) == complete_captions(expected.captions)
    assert len(prepare("tree_of_life:train", None)) == len(original)


NEEDED = [
    ("rare_species", "metadata.csv", "imageomics/rare-species"),
    ("rare_species", "dataset", "imageomics/rare-species"),
    ("nabirds", "train_test_split.txt", "dl.allaboutbirds.org/nabirds"),
    ("meta_album/PLK", "PLK_Mini/labels.csv", "meta-album.github.io"),
    ("camera_trap/ENA24", "ENA24-balanced.csv", "IDLE-OO-Camera-Traps"),
    ("camera_trap/ENA24-lila", "lila", "lila.science"),
    ("plantdoc", "test", "pratikkayal/PlantDoc-Dataset"),
    ("newt", "newt2021_labels.csv", "visipedia/newt"),
    ("fishnet", "anns/test.csv", "faixan-khan/FishNet"),
    ("awa2", "predicate-matrix-binary.txt", "cvml.ista.ac.at/AwA2"),
    ("herbarium19", "small-validation", "kaggle.com/c/herbarium-2019-fgvc6"),
]


@pytest.mark.parametrize(
    ("name", "lost", "where"), NEEDED, ids=[f"{name}-{lost}" for name, lost, _ in NEEDED]
)
def test_missing_files_are_reported_with_their_source(prepare, name, lost, where, tmp_path):
    def layout(folder):
        getattr(made_layouts, folder.name)(folder)
        path = folder / lost
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    with pytest.raises(UserError) as error:
        prepare(name, layout)
    message = str(error.value)
    assert lost in message and "is missing; it needs" in message and where in message and "\n" not in message
    assert not list(tmp_path.rglob("*.array_record*")), "a partial data set was left behind"


def test_missing_manual_folders_are_reported(tmp_path):
    with pytest.raises(
        UserError, match="newt: Manual directory .*manual does not exist or is empty; it needs newt"
    ):
        open_source("newt", tfds_dir=tmp_path)
    (tmp_path / "downloads" / "manual" / "nabirds").mkdir(parents=True)
    with pytest.raises(UserError, match="newt: .*manual/newt is missing; it needs newt2021_labels.csv and"):
        open_source("newt", tfds_dir=tmp_path)
    (tmp_path / "downloads" / "manual" / "tree_of_life").mkdir()
    with pytest.raises(
        UserError, match=r"tree_of_life: .*/tree_of_life/\*.tar is missing; it needs TreeOfLife shards"
    ):
        open_source("tree_of_life", tfds_dir=tmp_path)


def test_missing_images_are_counted_and_listed(prepare, tmp_path):
    def layout(folder):
        made_layouts.newt(folder)
        (folder / "newt2021_images" / "9a12feb3.jpg").unlink()

    with pytest.raises(
        UserError, match=r"newt: 1 of the 2 images for train are missing: \S+9a12feb3.jpg; complete"
    ):
        prepare("newt", layout)
    made_layouts.put(tmp_path / "downloads" / "manual" / "newt" / "newt2021_images" / "9a12feb3.jpg", 2)
    assert len(prepare("newt:train", None)) == 2, "a failed preparation was not repeated"


def test_a_parquet_file_of_another_set_is_an_error(prepare, tmp_path):
    def layout(folder):
        made_layouts.rare_species(folder, parquet=True)
        table = folder / "metadata.csv"
        table.write_text(table.read_text().replace("id-2", "id-3"))

    with pytest.raises(
        UserError, match="metadata.csv does not list rarespecies_id id-2 of .*parquet; download both"
    ):
        prepare("rare_species", layout)
    assert not list(tmp_path.rglob("*.array_record*")), "half a data set was left behind"


@pytest.mark.shared_data
def test_a_damaged_shard_is_reported(prepare, shared_data):
    def layout(folder):
        shard = next((shared_data / "produce" / "tol_shards" / "val").glob("*.tar"))
        (folder / "damaged.tar").write_bytes(shard.read_bytes()[:100_000])

    with pytest.raises(UserError, match="damaged.tar"):
        prepare("tree_of_life:train", layout)


BAD = [
    (
        "newt",
        "newt2021_labels.csv",
        "id,task\n1,2\n",
        "has no column task_cluster, label, text_label, split, only id",
    ),
    (
        "newt",
        "newt2021_labels.csv",
        "id,task,task_cluster,label,text_label,split\n",
        "has no rows; .*, or download it again",
    ),
    (
        "newt",
        "newt2021_labels.csv",
        "id,task,task_cluster,label,text_label,split\n../a,t,c,0,x,train\n",
        "not inside",
    ),
    (
        "newt",
        "newt2021_labels.csv",
        "id,task,task_cluster,label,text_label,split\na,t,c,2,x,train\n",
        "the label '2'",
    ),
    ("nabirds", "classes.txt", "817\n", "line 1 of .*classes.txt is '817', not two values"),
    ("nabirds", "image_class_labels.txt", "x 817\n", "has no label or no split of image 0000139e"),
    ("awa2", "predicate-matrix-binary.txt", "0 1\n", "must have 3 lines of 3 zeros or ones"),
    ("awa2", "testclasses.txt", "unicorn\n", "has no class unicorn"),
    ("fishnet", "anns/train.csv", None, "has 'often' as a habitat of Sparidae/ce230657.jpg"),
    ("herbarium19", "train.json", "[", "train.json is not an annotation file"),
    (
        "camera_trap/ENA24-lila",
        "lila/ENA24/ena24.json",
        '{"images": []}',
        "is not in COCO Camera Traps format",
    ),
    (
        "camera_trap/ENA24-lila",
        "lila/ENA24/more.json",
        "{}",
        "one metadata file, .*; it has ena24.json, more.json",
    ),
    ("meta_album/INS", "INS/info.json", "[]", "info.json is not a JSON object"),
]


@pytest.mark.parametrize(
    ("name", "file", "content", "message"), BAD, ids=[f"{bad[0]}-{bad[3][:20]}" for bad in BAD]
)
def test_invalid_files_are_reported_in_one_line(prepare, name, file, content, message):
    def layout(folder):
        getattr(made_layouts, folder.name)(folder)
        path = folder / file
        path.write_text(path.read_text().replace(",1.0,", ",often,") if content is None else content)

    with pytest.raises(UserError, match=message) as error:
        prepare(name, layout)
    assert "\n" not in str(error.value)


word = st.text(min_size=1).filter(lambda text: text.split() == [text])


@settings(max_examples=50)
@given(
    st.dictionaries(word, st.lists(word, min_size=1, max_size=3).map(" ".join), min_size=1),
    st.sampled_from(" \t"),
)
def test_pairs_round_trip(tmp_path_factory, pairs, between):
    path = tmp_path_factory.mktemp("lines") / "classes.txt"
    path.write_bytes("".join(f"  {key}{between}{value}\r\n" for key, value in pairs.items()).encode())
    assert tfds.builder("nabirds", data_dir=path.parent).pairs(path) == pairs


def test_every_builder_is_registered_and_names_its_source():
    for exported in bioclip_jax.datasets.__all__:
        builder = getattr(bioclip_jax.datasets, exported)
        assert builder.name in tfds.list_builders(with_community_datasets=False)
        assert exported == "TreeOfLifeMini" or "https://" in builder.MANUAL_DOWNLOAD_INSTRUCTIONS


def test_manual_dir_may_be_the_folder_of_the_set(tmp_path):
    made_layouts.newt(tmp_path / "elsewhere")
    builder = tfds.builder("newt", data_dir=tmp_path / "data", file_format="array_record")
    config = tfds.download.DownloadConfig(manual_dir=tmp_path / "elsewhere")
    builder.download_and_prepare(download_config=config, file_format="array_record")
    assert len(builder.as_data_source("train")) == 2
