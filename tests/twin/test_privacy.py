"""Privacy: the grid, the table of sensitive species, public labels, and images without metadata."""

from __future__ import annotations

import io
import math
import struct
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from bioclip_jax.errors import UserError
from bioclip_jax.twin.observe.camtrap_dp import Package
from bioclip_jax.twin.observe.privacy import (
    Sensitivity,
    coarsen,
    coarsen_deployments,
    package_category,
    public_deployments,
    read_sensitivity,
    strip_metadata,
    withheld_names,
)

RADII = st.sampled_from(["", "1", "187", "7900", "30000"])
GRID = {2: (1, 15_700), 3: (2, 1_570), 4: (3, 157)}
# Corners of cells, poles, the antimeridian and values next to them.
LATITUDES = st.one_of(
    st.floats(-90, 90), st.sampled_from([-90.0, 90.0, 0.05, -0.05, 89.95, 51.25, -51.2500001, -0.0, 1e-9])
)
LONGITUDES = st.one_of(
    st.floats(-180, 180), st.sampled_from([-180.0, 180.0, 179.95, 179.9500001, -179.95, 0.15, -0.0005])
)


def great_circle_m(latitude_1, longitude_1, latitude_2, longitude_2):
    """Haversine distance on a sphere of the Earth's mean radius."""
    north, south = math.radians(latitude_1), math.radians(latitude_2)
    east = math.radians(longitude_2 - longitude_1)
    half = math.sin((south - north) / 2) ** 2 + math.cos(north) * math.cos(south) * math.sin(east / 2) ** 2
    return 2 * 6_371_008.8 * math.asin(min(1.0, math.sqrt(half)))


def deployments(*rows: tuple[str, ...], **columns: list[str]) -> pl.DataFrame:
    names = ("deploymentID", "locationID", "latitude", "longitude", "coordinateUncertainty")
    frame = pl.DataFrame([dict(zip(names, row, strict=True)) for row in rows])
    return frame.with_columns(pl.Series(name, values) for name, values in columns.items())


def package(names: list[str], taxonomic: list[dict] | None = None) -> Package:
    observations = pl.DataFrame(
        {"observationType": ["animal"] * len(names), "scientificName": names},
        schema={"observationType": pl.String, "scientificName": pl.String},
    )
    return Package({"taxonomic": taxonomic or []}, pl.DataFrame(), pl.DataFrame(), observations)


@given(LATITUDES, LONGITUDES, st.sampled_from([2, 3, 4]), RADII)
def test_cells_hold_their_places_and_are_no_finer_than_the_category(
    latitude, longitude, category, given_radius
):
    decimals, figure = GRID[category]
    row = ("a", "", repr(latitude), repr(longitude), given_radius)
    shown = coarsen_deployments(deployments(row), category).row(0, named=True)
    for name, most in (("latitude", 90), ("longitude", 180)):
        value = Decimal(shown[name])
        assert value.as_tuple().exponent == -decimals, shown
        assert abs(value) <= most and shown[name] not in ("-0.0", "-0.00", "-0.000", f"180.{'0' * decimals}")
    radius = int(shown["coordinateUncertainty"])
    assert radius >= figure
    moved = great_circle_m(latitude, longitude, float(shown["latitude"]), float(shown["longitude"]))
    assert moved + int(given_radius or 0) <= radius + 1e-6, (moved, shown)
    again = coarsen_deployments(deployments(tuple(shown.values())), category).row(0, named=True)
    assert again == shown, "a generalized package is shared again"
    both = coarsen(np.array([latitude]), np.array([longitude]), category)
    assert [float(value[0]) for value in both] == [float(shown["latitude"]), float(shown["longitude"])]


def test_coarsen_by_hand():
    latitude, longitude = coarsen(np.array([51.496, -0.04, np.nan]), np.array([4.774, 179.96, np.nan]), 2)
    np.testing.assert_array_equal(latitude, [51.5, 0.0, np.nan])
    np.testing.assert_array_equal(longitude, [4.8, -180.0, np.nan])
    with pytest.raises(UserError, match="category 1 has no grid"):
        coarsen(latitude, longitude, 1)


def test_uncertainty_adds_half_a_cell_to_what_is_given():
    # 0.001 degrees / sqrt(2) x 111.7 km = 78.98 m
    shown = coarsen_deployments(deployments(("a", "", "1.23456", "2", "200"), ("b", "", "", "", "")), 4)
    assert shown["coordinateUncertainty"].to_list() == ["279", ""]
    assert shown["latitude"].to_list() == ["1.235", ""] and shown["longitude"].to_list() == ["2.000", ""]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("a", "", "91", "0", ""), r"row 2: latitude is '91'; give a number from -90 to 90"),
        (("a", "", "51,4", "0", ""), r"latitude is '51,4'"),
        (("a", "", "", "3", ""), r"latitude is '' and longitude '3'; give both"),
        (("a", "", "1", "3", "wide"), r"coordinateUncertainty is 'wide'"),
    ],
)
def test_bad_positions_are_one_line(row, message):
    with pytest.raises(UserError, match=message) as caught:
        coarsen_deployments(deployments(row), 2)
    assert "\n" not in str(caught.value)


def test_public_deployments_have_labels_that_tell_no_names():
    frame = deployments(
        *((f"cam{row}", f"place{row % 5}", f"{50 + row * 0.01:.5f}", "4.12345", "10") for row in range(20)),
        ("none", "place9", "", "", ""),
    )
    public = public_deployments(frame, 3)
    assert public.columns == ["number", "site", "latitude", "longitude", "uncertainty_m"]
    assert public.height == frame.height and public["number"].n_unique() == 6
    assert public["site"].to_list() == [f"site {number}" for number in public["number"]]
    assert public["number"].to_list() != sorted(public["number"].to_list()), "the order of names shows"
    assert public["latitude"].to_list()[:20] == [round(50 + row * 0.01, 2) for row in range(20)]
    assert public["latitude"][20] is None and set(public["uncertainty_m"][:20]) == {1_570}
    assert public.equals(public_deployments(frame, 3)), "labels change from run to run"
    assert public_deployments(frame, 3, precise=True)["longitude"][0] == 4.12345


def test_sensitivity_of_taxa_and_of_what_is_below_them(tmp_path):
    table = tmp_path / "sensitive.csv"
    table.write_text(
        "category;scientificName;reason\n1;Diceros bicornis (Linnaeus, 1758);poached\n3;Panthera;\n"
        "none;Panthera  PARDUS;\n4;Canidae;\n0;Vulpes vulpes;\n",
        encoding="utf-8",
    )
    sensitivity = read_sensitivity(table)
    expected = {
        "Diceros bicornis": 1, "diceros bicornis michaeli": 1, "Diceros": 2, "Panthera leo": 3, "Panthera": 3,
        "Panthera pardus": 0, "Vulpes vulpes (Linnaeus, 1758)": 0, "Lynx lynx": 2,
    }  # fmt: skip
    assert {name: sensitivity.category(name) for name in expected} == expected
    assert sensitivity.category("Lycaon pictus", ["Lycaon", "Canidae"]) == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scientificName,category\nA b,5\n", r"row 2: category is '5'; write 1"),
        ("scientificName,category\nA b,\n", r"row 2: category is ''"),
        ("scientificName,category\nA b,1\na  B,2\n", r"row 3: a  B is in row 2 too"),
        ("scientificName,category\n,1\nA b,1\n", r"row 2: scientificName is empty"),
        ("scientificName,sensitivity\nA b,1\n", r"no column category"),
        ("species_name,category\nA b,1\n", r"scientificName"),
    ],
)
def test_bad_tables_are_one_line(tmp_path, text, message):
    table = tmp_path / "sensitive.csv"
    table.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message) as caught:
        read_sensitivity(table)
    assert "\n" not in str(caught.value)


def test_the_strictest_species_decides_on_the_package():
    sensitivity = Sensitivity({"a a": 4, "b b": 3, "c c": 1, "d d": 0, "felidae": 2})
    assert package_category(package(["A a", "D d"]), sensitivity) == 4
    assert package_category(package(["A a", "B b", "C c"]), sensitivity) == 3
    assert package_category(package(["A a", "Unknown sp."]), sensitivity) == 2
    assert package_category(package(["D d", "Homo sapiens", ""]), sensitivity) == 4
    felid = [{"scientificName": "E e", "family": "Felidae"}]
    assert package_category(package(["A a", "E e"], felid), sensitivity) == 2
    assert package_category(package([]), Sensitivity()) == 4


def test_taxa_that_would_give_a_withheld_one_away_are_withheld_too():
    taxonomic = [{"scientificName": "Diceros bicornis", "family": "Rhinocerotidae"}]
    names = ["Diceros bicornis", "Diceros", "Rhinocerotidae", "Panthera leo", "Ceratotherium simum"]
    sensitivity = Sensitivity({"diceros bicornis": 1})
    assert withheld_names(package(names, taxonomic), sensitivity) == {*names[:3]}
    listed = Sensitivity({"diceros bicornis": 1, "rhinocerotidae": 2})
    assert withheld_names(package(names, taxonomic), listed) == {*names[:2]}


PIXELS = np.random.default_rng(0).integers(0, 255, (32, 48, 3), np.uint8)
SECRET = b"Processiepark"


def jpeg(**options) -> bytes:
    """A JPEG with EXIF (GPS, a MakerNote, a thumbnail), XMP, IPTC, a comment and a trailer."""
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "Processiepark", options.pop("orientation", 1)
    exif[0x8825] = {1: "N", 2: (51.0, 29.0, 45.6), 3: "E", 4: (4.0, 46.0, 26.4)}
    exif[0x8769] = {0x927C: b"Reconyx" + SECRET + struct.pack("<d", 51.496)}
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "JPEG", exif=exif.tobytes() + SECRET, comment=SECRET, **options)
    iptc = b"Photoshop 3.0\x008BIM" + SECRET
    xmp = b"http://ns.adobe.com/xap/1.0/\0<x>" + SECRET
    segments = b"".join(
        bytes((0xFF, marker)) + struct.pack(">H", 2 + len(data)) + data
        for marker, data in ((0xE1, xmp), (0xED, iptc), (0xE0, b"JFXX\0" + SECRET), (0xFE, SECRET))
    )
    image = file.getvalue()
    return image[:2] + segments + image[2:] + b"trailer" + SECRET + image


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0, "restart_marker_rows": 1}])
def test_a_stripped_jpeg_has_the_same_pixels_and_nothing_else(options):
    image = jpeg(**options)
    stripped = strip_metadata(image)
    assert SECRET in image and SECRET not in stripped and b"Exif" not in stripped
    assert struct.pack("<d", 51.496) not in stripped and stripped.count(b"\xff\xd8\xff") == 1
    with Image.open(io.BytesIO(stripped)) as after, Image.open(io.BytesIO(image)) as before:
        np.testing.assert_array_equal(np.asarray(after), np.asarray(before))
        assert not after.getexif() and "comment" not in after.info
    assert strip_metadata(stripped) == stripped


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_orientation_is_the_only_exif_that_stays(orientation):
    stripped = strip_metadata(jpeg(orientation=orientation))
    with Image.open(io.BytesIO(stripped)) as after:
        assert dict(after.getexif()) == {0x0112: orientation}
    assert SECRET not in stripped


def test_png_text_and_exif_go():
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "Processiepark")
    text.add_itxt("Place", "Processiepark", zip=True)
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "PNG", pnginfo=text, exif=Image.Exif().tobytes(), dpi=(300, 300))
    stripped = strip_metadata(file.getvalue() + SECRET)
    assert SECRET not in stripped and not {b"tEXt", b"iTXt", b"eXIf", b"pHYs"} & {
        stripped[index : index + 4] for index in range(len(stripped))
    }
    with Image.open(io.BytesIO(stripped)) as after:
        np.testing.assert_array_equal(np.asarray(after), PIXELS)


def test_other_formats_become_jpeg_and_damaged_ones_too(tmp_path):
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x010E] = "Processiepark"
    Image.fromarray(PIXELS).save(file, "WEBP", exif=exif, lossless=True)
    stripped = strip_metadata(file.getvalue())
    assert stripped.startswith(b"\xff\xd8") and SECRET not in stripped
    with pytest.raises(UserError, match="cannot be read"):
        strip_metadata(b"not an image")


@pytest.mark.shared_data
def test_real_photographs_lose_their_metadata_and_keep_their_pixels(shared_data: Path):
    photographs = sorted((shared_data / "twin" / "camtrap_dp" / "media").iterdir())[:2]
    assert photographs
    for path in photographs:
        image = path.read_bytes()
        stripped = strip_metadata(image)
        with Image.open(io.BytesIO(stripped)) as after, Image.open(io.BytesIO(image)) as before:
            np.testing.assert_array_equal(np.asarray(after), np.asarray(before))
            assert not set(dict(after.getexif())) - {0x0112}
        assert b"RECONYX" not in stripped.upper()
