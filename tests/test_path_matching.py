"""Files matched by paths that other programs wrote."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bioclip_jax.path_matching import AMBIGUOUS, NO_MATCH, match_paths

FILES = ["/data/cam1/IMG_1.JPG", "/data/cam1/IMG_2.JPG", "/data/cam2/IMG_1.JPG", "/data/cam2/only.jpg"]


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (FILES, [0, 1, 2, 3]),
        (["cam1/IMG_1.JPG", "cam2/IMG_1.JPG", "cam2/only.jpg"], [0, 2, 3]),
        (["D:\\survey\\cam2\\IMG_1.JPG", ".\\cam1\\IMG_1.JPG", " ./cam1/IMG_2.JPG "], [2, 0, 1]),
        # A name alone: unique, shared by two files, unknown.
        (["only.jpg", "IMG_1.JPG", "none.jpg", ""], [3, AMBIGUOUS, NO_MATCH, NO_MATCH]),
        # Two paths that end as one file.
        (["a/cam1/IMG_2.JPG", "b/cam1/IMG_2.JPG"], [AMBIGUOUS, AMBIGUOUS]),
        # A photograph of another camera has the name of one of these.
        (["cam1/IMG_1.JPG", "cam3/only.jpg"], [0, NO_MATCH]),
        (["cam1/IMG_2.JPG", "IMG_2.JPG"], [1, NO_MATCH]),
        # The folder was renamed, so that no path agrees in it.
        (["trip/only.jpg", "trip/IMG_2.JPG"], [3, 1]),
        (["cam1/IMG_1.JPG"] * 2, [0, 0]),
    ],
)
def test_paths(paths, expected):
    assert match_paths(paths, FILES).tolist() == expected


def test_alternative_paths_come_first():
    assert match_paths(["media/7.jpg"], ["https://host/x/1.jpg"], ["media/7.jpg"]).tolist() == [0]


def test_decomposed_names_match():
    assert match_paths(["cam/Mu\u0308cke.jpg"], ["/data/cam/M\u00fccke.jpg"]).tolist() == [0]


NAMES = st.sampled_from(["a", "b", "c"])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)


@given(st.lists(PATHS, unique=True, min_size=1, max_size=8), st.lists(PATHS, max_size=8))
def test_matches_are_unique_and_agree_in_the_name(files, paths):
    files = [f"/data/{file}" for file in files]
    result = match_paths(paths, files)
    owners = {}
    for path, index in zip(paths, result.tolist()):
        if index >= 0:
            assert files[index].rpartition("/")[2] == path.rpartition("/")[2]
            assert owners.setdefault(index, path) == path, "two paths are matched with one file"


@given(st.lists(PATHS, unique=True, min_size=1, max_size=8), st.randoms())
def test_paths_relative_to_the_root_match_all_files(files, random):
    known = [f"/data/{file}" for file in files]
    shuffled = random.sample(range(len(files)), len(files))
    paths = [f"C:\\data\\{files[index]}".replace("/", "\\") for index in shuffled]
    result = match_paths(paths, known).tolist()
    assert [index if index >= 0 else None for index in result] == shuffled
