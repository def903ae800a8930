"""Times, places and cameras in EXIF, from bytes built by the standard, and hostile ones."""

from __future__ import annotations

import struct

import pytest
from exif_bytes import (
    DIGITIZED,
    MAKE,
    MODEL,
    OFFSET_ORIGINAL,
    ORIGINAL,
    SERIAL,
    SUBSECOND,
    UNDEFINED,
    byte,
    exif,
    photograph,
    place,
    rationals,
    text,
)
from hypothesis import given
from hypothesis import strategies as st

from bioclip_jax.pipeline.images import Exif, read_exif

WHOLE = exif(
    [text(MAKE, "RECONYX"), text(MODEL, "HF2X")],
    [
        text(ORIGINAL, "2020:05:30 04:57:37"),
        text(SUBSECOND, "25"),
        text(OFFSET_ORIGINAL, "+02:00"),
        text(SERIAL, "H5HX01"),
    ],
    place(-33.8567844, 151.2152967, -12.5),
)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_all_facts_are_read_from_each_format(format: str, tmp_path) -> None:
    content = photograph(WHOLE, format)
    expected = Exif("2020-05-30T04:57:37.25+02:00", -33.8567844, 151.2152967, -12.5, "RECONYX HF2X", "H5HX01")
    facts = read_exif(content)
    assert facts == expected._replace(latitude=facts.latitude, longitude=facts.longitude)
    assert (facts.latitude, facts.longitude) == pytest.approx((-33.8567844, 151.2152967), abs=1e-7)
    (tmp_path / "photo").write_bytes(content)
    assert read_exif(tmp_path / "photo") == facts


def test_the_digitized_time_is_used_without_an_original_one() -> None:
    times = [text(ORIGINAL, "0000:00:00 00:00:00"), text(DIGITIZED, "2021:01:02 03:04:05")]
    assert read_exif(photograph(exif(camera=times))).time == "2021-01-02T03:04:05"


@pytest.mark.parametrize(
    "time",
    [
        "0000:00:00 00:00:00",
        "    :  :     :  :  ",
        "2020:02:30 01:00:00",
        "2020:01:01 24:61:00",
        "",
        b"\xff\xfe",
    ],
)
def test_a_time_that_does_not_exist_is_empty(time: str | bytes) -> None:
    assert read_exif(photograph(exif(camera=[text(ORIGINAL, time)]))).time == ""


def _place(north: tuple, east: tuple = ((5, 1), (0, 1), (0, 1)), signs: tuple = ("N", "E")) -> bytes:
    return photograph(
        exif(gps=[text(1, signs[0]), rationals(2, *north), text(3, signs[1]), rationals(4, *east)])
    )


@pytest.mark.parametrize(
    "content",
    [
        _place(((400, 1), (0, 1), (0, 1))),
        _place(((50, 0), (0, 1), (0, 1))),
        _place(((50, 1), (75, 1), (0, 1))),
        _place(((90, 1), (0, 1), (1, 1))),
        _place(((50, 1), (0, 1))),
        _place(((50, 1), (0, 1), (0, 1)), signs=("", "E")),
        _place(((50, 1), (0, 1), (0, 1)), signs=("N", "Q")),
        _place(((0, 1), (0, 1), (0, 1)), ((0, 1), (0, 1), (0, 1))),
        photograph(exif(gps=[*place(51.0, 4.0), text(9, "V")])),
    ],
    ids="latitude_400 zero_division minutes_75 past_the_pole two_parts no_sign odd_sign zeros no_fix".split(),
)
def test_an_impossible_place_is_empty(content: bytes) -> None:
    facts = read_exif(content)
    assert (facts.latitude, facts.longitude, facts.altitude) == (None, None, None)


def test_names_of_cameras() -> None:
    def camera(make: str | bytes, model: str | bytes) -> str:
        return read_exif(photograph(exif([text(MAKE, make), text(MODEL, model)]))).camera

    assert camera("NIKON CORPORATION", "NIKON D850") == "NIKON D850"
    assert camera("  Browning\0\0junk", "BTC-8A ") == "Browning BTC-8A"
    assert camera("Caméra", "Nº 1") == "Caméra Nº 1"
    assert camera("x" * 60_000, "M") == "M"
    assert camera("a\x07b", "M") == "M"
    untyped = (MAKE, UNDEFINED, 4, b"\xff\x00\xfe\x01")
    assert read_exif(photograph(exif([untyped, text(MODEL, "M")]))).camera == "M"


def test_a_damaged_directory_leaves_the_others() -> None:
    whole = bytearray(exif([text(MODEL, "M")], [text(ORIGINAL, "2020:05:30 04:57:37")], [byte(5, 0)]))
    pointer = whole.index(struct.pack(">HHI", 0x8825, 4, 1)) + 8
    whole[pointer : pointer + 4] = struct.pack(">I", 0xFFFFFFF0)
    assert read_exif(photograph(bytes(whole)))[0::4] == ("2020-05-30T04:57:37", "M")


def test_files_without_exif_have_none(tmp_path) -> None:
    for content in (b"", b"\xff\xd8\xff", b"text", photograph(b"")[:40]):
        assert read_exif(content) == Exif()
    assert read_exif(tmp_path / "missing.jpg") == Exif()
    assert read_exif(tmp_path) == Exif()


entries = st.lists(
    st.tuples(
        st.sampled_from([MAKE, MODEL, ORIGINAL, DIGITIZED, SERIAL, 1, 2, 3, 4, 5, 6, 9, 0x8769, 0x8825]),
        st.integers(0, 14),
        st.integers(0, 2**32 - 1) | st.integers(0, 8),
        st.binary(max_size=40),
    ),
    max_size=6,
    unique_by=lambda entry: entry[0],
)


@given(entries, entries, entries)
def test_no_bytes_raise_and_what_is_read_is_possible(main: list, camera: list, gps: list) -> None:
    jpeg = photograph(b"")
    block = b"Exif\0\0" + exif(main, camera, gps)
    segment = b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block
    facts = read_exif(jpeg[:2] + segment + jpeg[2:])
    assert (facts.latitude is None) == (facts.longitude is None)
    assert facts.latitude is None or abs(facts.latitude) <= 90 and abs(facts.longitude) <= 180
    assert facts.camera.isprintable() and facts.serial.isprintable()
    assert facts.time == "" or facts.time[4] == facts.time[7] == "-"
