"""A few synthetic images in each publisher's layout."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

ATTRIBUTES = ("black", "white", "big")


def picture(number: int, kind: str = "JPEG") -> bytes:
    """An encoded image, different for each number."""
    stream = io.BytesIO()
    Image.new("RGB", (24, 16), (number * 37 % 256, number * 91 % 256, 128)).save(stream, kind)
    return stream.getvalue()


def put(path: Path, number: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture(number, "PNG" if path.suffix == ".png" else "JPEG"))
    return path


def write_table(path: Path, columns: Sequence[str], rows: Sequence[Sequence]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


def write_lines(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


RARE_COLUMNS = (
    "file_name", "rarespecies_id", "eol_content_id", "eol_page_id", "kingdom", "phylum", "class", "order",
    "family", "genus", "species", "sciName", "common",
)  # fmt: skip
FROG = ("Animalia", "Chordata", "Amphibia", "Anura", "Bufonidae", "Atelopus", "zeteki")
NEWT = ("Animalia", "Chordata", "Amphibia", "Caudata", "Salamandridae", "Tylototriton", "shanjing")


def _rare_file(taxon: Sequence[str], number: int) -> str:
    return f"dataset/{'-'.join(taxon)}/{number}_330_eol-full-size-copy.jpg"


def rare_species(folder: Path, parquet: bool = False) -> None:
    taxa = [(NEWT, "Yunnan Newt"), (FROG, "Panamanian Golden Frog"), (NEWT, "Yunnan Newt")]
    rows = [
        (_rare_file(taxon, n), f"id-{n}", n, 330, *taxon, f"{taxon[5]} {taxon[6]}", common)
        for n, (taxon, common) in enumerate(taxa)
    ]
    write_table(folder / "metadata.csv", RARE_COLUMNS, rows)
    if parquet:
        (folder / "data").mkdir()
        images = [{"bytes": picture(n), "path": Path(row[0]).name} for n, row in enumerate(rows)]
        table = pa.table({"file_name": images, "rarespecies_id": [row[1] for row in rows]})
        pq.write_table(table, folder / "data" / "train-00000-of-00001.parquet")
        return
    for n, row in enumerate(rows):
        put(folder / row[0], n)


def rare_species_as_annotated(folder: Path) -> None:
    """The publisher's images with BioCLIP 2's table, whose paths differ."""
    rare_species(folder)
    ranks = ("kingdom", "phylum", "cls", "order", "family", "genus", "species")
    path = "2024-03-20/1_330_eol-full-size-copy.jpg"
    row = (0, *FROG, "Panamanian golden frog", path, "Atelopus zeteki")
    write_table(folder / "metadata.csv", ("", *ranks, "common_name", "filepath", "class"), [row])


def nabirds(folder: Path) -> None:
    ids = [f"0000139e-21dc-4d0c-bfe1-4cae3c85c82{n}" for n in range(4)]
    paths = [
        f"{label}/{image.replace('-', '')}.jpg" for image, label in zip(ids, ("0817", "0860", "0860", "0817"))
    ]
    write_lines(folder / "images.txt", *(f"{image} {path}" for image, path in zip(ids, paths)))
    write_lines(
        folder / "classes.txt",
        "0 Birds",
        "22 Perching Birds",
        "817 Oak Titmouse",
        "860 Ovenbird (Adult Male)",
    )
    labels = ("817", "860", "860", "817")
    write_lines(folder / "image_class_labels.txt", *(f"{image} {label}" for image, label in zip(ids, labels)))
    write_lines(folder / "train_test_split.txt", *(f"{image} {n % 2}" for n, image in enumerate(ids)))
    write_lines(folder / "hierarchy.txt", "22 0", "817 22", "860 22")
    for n, path in enumerate(paths):
        put(folder / "images" / path, n)


def meta_album(folder: Path) -> None:
    names = ["a.png", "b.png", "c.png"]
    rows = [(name, label, "NAN") for name, label in zip(names, ("Emiliania_huxleyi", "detritus", "detritus"))]
    write_table(folder / "PLK_Mini" / "labels.csv", ("FILE_NAME", "CATEGORY", "SUPER_CATEGORY"), rows)
    for n, name in enumerate(names):
        put(folder / "PLK_Mini" / "images" / name, n)
    # Other column names, and the images beside the table.
    write_table(folder / "INS" / "labels.csv", ("picture", "kind", "above"), [("d.jpg", "Apidae", "insects")])
    info = {
        "image_column_name": "picture",
        "category_column_name": "kind",
        "super_category_column_name": "above",
    }
    write_lines(folder / "INS" / "info.json", json.dumps(info))
    put(folder / "INS" / "d.jpg", 3)
    # With the reference's table.
    write_table(
        folder / "FNG_Mini" / "labels.csv", ("FILE_NAME", "CATEGORY", "SUPER_CATEGORY"), [("e.jpg", "x", "y")]
    )
    label = "Amanita fulva (Schaeff.) Fr."
    write_table(
        folder / "FNG_Mini" / "metadata.csv", ("", "filepath", "class"), [(0, f"{label}/f.jpg", label)]
    )
    put(folder / "FNG_Mini" / "images" / "f.jpg", 4)


def camera_trap(folder: Path) -> None:
    columns = (
        "",
        "filepath",
        "kingdom",
        "phylum",
        "cls",
        "order",
        "family",
        "genus",
        "species",
        "common_name",
    )
    deer = ("Animalia", "Chordata", "Mammalia", "Artiodactyla", "Cervidae", "Odocoileus", "virginianus")
    rows = [(0, "ENA24/a.png", *deer, "white-tailed deer"), (1, "b.png", *deer, "white-tailed deer")]
    write_table(folder / "ENA24-balanced.csv", columns, rows)
    put(folder / "data" / "test" / "ENA24" / "a.png", 0)
    put(folder / "data" / "test" / "ENA24" / "b.png", 1)
    content = {
        "images": [{"id": n, "file_name": f"{n}.jpg", "location": 7} for n in range(5)],
        "categories": [
            {"id": n, "name": name} for n, name in enumerate(("empty", "White_Tailed_Deer", "Human"))
        ],
        # The fourth image shows two categories, the fifth a person.
        "annotations": [
            {"id": n, "image_id": image, "category_id": category}
            for n, (image, category) in enumerate(((0, 1), (0, 1), (1, 0), (2, 1), (3, 0), (3, 1), (4, 2)))
        ],
    }
    write_lines(folder / "lila" / "ENA24" / "ena24.json", json.dumps(content))
    for n in range(3):
        put(folder / "lila" / "ENA24" / "images" / f"{n}.jpg", n + 2)
    columns = ("dataset_name", "query", "source", "taxonomy_level", "scientific_name", "common_name",
               "kingdom", "phylum", "class", "order", "family", "genus", "species")  # fmt: skip
    ranks = [*(rank.lower() for rank in deer[:6]), "odocoileus virginianus"]
    mapping = ("white tailed deer", "inat", "species", "odocoileus virginianus", "white-tailed deer", *ranks)
    write_table(
        folder / "lila" / "lila-taxonomy-mapping_release.csv",
        columns,
        [("ENA24", *mapping), ("NACTI", *mapping[:4], "another name", *ranks)],
    )


def plantdoc(folder: Path) -> None:
    put(folder / "train" / "Tomato leaf" / "816.JPG", 0)
    put(folder / "train" / "Apple Scab Leaf" / "IMG_1629.JPG?1507122477.jpg", 1)
    put(folder / "test" / "Apple Scab Leaf" / "apple%20scab%20leaf.jpg", 2)
    (folder / "train" / "Apple Scab Leaf" / "Thumbs.db").write_bytes(b"no image")


def newt(folder: Path) -> None:
    columns = (
        "id",
        "task_cluster",
        "task_subcluster",
        "task",
        "label",
        "text_label",
        "split",
        "height",
        "width",
    )
    rows = [
        ("d80eb625", "appearance", "age", "ml_age_coopers_hawk", 0, "not_adult", "train", 16, 24),
        ("6c3eddb5", "appearance", "age", "ml_age_coopers_hawk", 1, "adult", "test", 16, 24),
        ("9a12feb3", "context", "", "ml_bio_raptor_utility_pole", 0, "neg", "train", 16, 24),
    ]
    write_table(folder / "newt2021_labels.csv", columns, rows)
    for n, row in enumerate(rows):
        put(folder / "newt2021_images" / f"{row[0]}.jpg", n)


def fishnet(folder: Path) -> None:
    columns = ("", "Unnamed: 0", "species", "image", "SpecCode", "Genus", "Subfamily", "Family", "Order",
               "Class", "SuperClass", "source", "Folder", "Troph", "FeedingPath", "Tropical", "Temperate",
               "Subtropical", "Boreal", "Polar", "freshwater", "saltwater", "brackish", "NewOrder",
               "Frequency")  # fmt: skip
    sea_bream = ("Diplodus", "", "Sparidae", "Perciformes", "Actinopterygii", "", "inat", "Sparidae", "3.52")
    habitats = (1, 1, 1, 0, 0, 0, 1, "1.0")
    full = (
        7,
        7,
        "Diplodus sargus",
        "ce230657.jpg",
        "",
        *sea_bream,
        "benthic",
        *habitats,
        "Perciformes",
        0.28,
    )
    poor = (5, 5, "", "somewhere/03bbd564.jpg", "", *sea_bream, "", *[""] * 8, "Perciformes", 0.28)
    write_table(folder / "anns" / "train.csv", columns, [full, poor])
    write_table(folder / "anns" / "test.csv", columns, [full])
    put(folder / "Image_Library" / "Sparidae" / "ce230657.jpg", 0)
    put(folder / "Image_Library" / "Sparidae" / "03bbd564.jpg", 1)


def awa2(folder: Path) -> None:
    write_lines(folder / "classes.txt", "     1\tantelope", "     2\tgrizzly+bear", "     3\tkiller+whale")
    write_lines(folder / "predicates.txt", *(f"     {n}\t{name}" for n, name in enumerate(ATTRIBUTES, 1)))
    write_lines(folder / "predicate-matrix-binary.txt", "0 0 1", "1 0 1", "1 1 1")
    write_lines(folder / "trainclasses.txt", "killer+whale", "antelope")
    write_lines(folder / "testclasses.txt", "grizzly+bear")
    for n, name in enumerate(("antelope", "grizzly+bear", "killer+whale")):
        put(folder / "JPEGImages" / name / f"{name}_10001.jpg", n)


def herbarium19(folder: Path) -> None:
    for n, path in enumerate(("10/a.jpg", "2/b.jpg", "2/c.jpg")):
        put(folder / "small-train" / path, n)
    put(folder / "small-validation" / "2" / "d.jpg", 3)
    put(folder / "small-test" / "e.jpg", 4)
    write_lines(folder / "train.json", json.dumps({"categories": [{"id": 2, "name": "Miconia calvescens"}]}))
