"""Tuesday Lake's webs, the slopes of communities made from masses, and the manipulation's score."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bioclip_jax.errors import UserError
from bioclip_jax.twin.validate.lake_manipulation import Prediction, predict_manipulation, score
from bioclip_jax.twin.validate.lake_slopes import simulate_from_masses
from bioclip_jax.twin.validate.lake_web import LakeWeb, slope
from bioclip_jax.twin.validate.tuesday_lake import read_lake

_NODES = "node,category,M,N\nalga,producer,1e-12,1e9\nflea,invertebrate,1e-8,1e4\nfish,vert.ecto,1e-3,1e-1\n"
_LINKS = "resource,consumer\nalga,flea\nflea,fish\nfish,fish\n"


def _write(folder: Path, nodes: str = _NODES, links: str = _LINKS) -> Path:
    (folder / "food_webs").mkdir()
    for year in (84, 86):
        (folder / f"food_webs/tl{year}_nodes.csv").write_text(nodes)
        (folder / f"food_webs/tl{year}_links.csv").write_text(links)
    return folder


def _chain() -> LakeWeb:
    return LakeWeb(
        ("alga", "flea", "fish", "Micropterus salmoides"),
        ("producer", "invertebrate", "ectotherm", "ectotherm"),
        np.array([1e-12, 1e-8, 1e-3, 0.2]),
        np.array([1e9, 1e5, 1e-1, 1e-2]),
        ((0, 1), (1, 2), (1, 3)),
    )


def _without_bass(web: LakeWeb) -> LakeWeb:
    return LakeWeb(web.names[:3], web.kinds[:3], web.mass_kg[:3], web.per_m3[:3], web.links[:2])


def test_reads_webs_without_cannibalism(tmp_path):
    web = read_lake(_write(tmp_path))[1986]
    assert web.names == ("alga", "flea", "fish") and web.kinds == ("producer", "invertebrate", "ectotherm")
    assert web.links == ((0, 1), (1, 2)), "a cannibal's link is no link"
    np.testing.assert_allclose(web.biomass, [1e-3, 1e-4, 1e-4])
    assert web.species()[2].mass_g == pytest.approx(1.0), "species hold grams"


@pytest.mark.parametrize(
    ("nodes", "links", "message"),
    [
        (_NODES.replace("1e-8", "-1"), _LINKS, "M of flea"),
        (_NODES.replace("1e4", "many"), _LINKS, "N of flea"),
        (_NODES.replace("vert.ecto", "fish"), _LINKS, "category"),
        (_NODES.replace("flea,inv", "alga,inv"), _LINKS, "twice"),
        (_NODES.replace(",N\n", ",X\n"), _LINKS, "no column N"),
        (_NODES, _LINKS.replace("alga,flea", "moss,flea"), "no 'moss'"),
    ],
)
def test_names_what_is_wrong_in_one_line(tmp_path, nodes, links, message):
    with pytest.raises(UserError, match=message) as error:
        read_lake(_write(tmp_path, nodes, links))
    assert "\n" not in str(error.value)


def test_names_a_missing_file(tmp_path):
    _write(tmp_path)
    (tmp_path / "food_webs/tl86_links.csv").unlink()
    with pytest.raises(UserError, match="tl86_links.csv does not exist"):
        read_lake(tmp_path)


def test_slope_of_a_power_law():
    mass = np.array([1e-12, 1e-9, 1e-3])
    assert slope(mass, 5 * mass**-0.75) == pytest.approx(-0.75)


@pytest.mark.shared_data
def test_published_slopes(shared_data):
    for year, web in read_lake(shared_data / "twin").items():
        expected = {1984: -0.827, 1986: -0.741}[year]
        assert slope(web.mass_kg, web.per_m3) == pytest.approx(expected, abs=0.002), year


def test_a_chain_made_from_masses_lives():
    result = simulate_from_masses(_without_bass(_chain()), members=2, years=1)
    assert (result["survivors"] == 3).all(), result
    assert np.all((result["slopes"] < -0.6) & (result["slopes"] > -1.3)), result


def test_the_manipulation_of_a_chain():
    """Without minnows, and with hardly any bass, what the minnows ate is more in all draws."""
    after = _chain()
    few = LakeWeb(after.names, after.kinds, after.mass_kg, after.per_m3 * [1, 1, 1, 1e-6], after.links)
    prediction = predict_manipulation(_without_bass(after), few, members=4, months=12)
    fleas, minnows = prediction.log_ratio[:, 1], prediction.log_ratio[:, 2]
    assert (fleas > 0).all(), f"fleas without predators: {fleas}"
    np.testing.assert_allclose(np.exp(minnows), 1e-3, err_msg="minnows were taken out")


def test_score_against_no_change():
    before, after = _without_bass(_chain()), _chain()
    doubled = LakeWeb(after.names, after.kinds, after.mass_kg, after.per_m3 * [0.5, 2, 1, 1], after.links)
    right = np.log([[0.5, 2.0, 1.0]])
    perfect = score(Prediction(np.repeat(right, 3, axis=0), np.ones((3, 3)), 5), before, doubled)
    assert perfect["shared"] == 2 and perfect["wrong_signs"] == 0, "fish are not scored"
    assert perfect["rmse"] == pytest.approx(0) and perfect["skill"] == pytest.approx(1)
    assert perfect["rmse_no_change"] == pytest.approx(np.log(2))
    assert perfect["wrong_if_all_decline"] == 1 and perfect["covered"] == 2
    assert perfect["aggregate"]["producers"]["covered"]
    wrong = score(Prediction(-right, np.ones((1, 3)), 1), before, doubled)
    assert wrong["wrong_signs"] == 2 and wrong["skill"] == pytest.approx(-3)
