"""Inferred links: relatives' diets, body-mass windows, and the observed links of the Serengeti."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from bioclip_jax.errors import UserError
from bioclip_jax.twin.validate import Settings, inferred_links_case, read_serengeti
from bioclip_jax.twin.validate.inferred_links import area_under_curve
from bioclip_jax.twin.world import Link, Proximity, Species, infer_links, link_scores, relatives_scores


def animal(name: str, family: str, mass_g: float, diet: dict[str, float] | None = None) -> Species:
    taxonomy = {"kingdom": "Animalia", "class": "Mammalia", "family": family, "genus": name.split()[0]}
    return Species(name, "endotherm", mass_g, taxonomy=taxonomy, diet=diet)


def plant(name: str) -> Species:
    return Species(name, "producer", 1.0, taxonomy={"kingdom": "Plantae", "genus": name.split()[0]})


def gape_web() -> tuple[list[Species], list[Link]]:
    """Ten hunters and 60 prey of one family each; all eat what has about a tenth of their mass."""
    hunters = [animal(f"Felis h{i}", "Felidae", mass) for i, mass in enumerate(np.logspace(2, 5, 10))]
    prey = [animal(f"Mus p{i}", "Muridae", mass) for i, mass in enumerate(np.logspace(0, 6, 60))]
    links = [
        Link(one.name, hunter.name)
        for hunter in hunters
        for one in prey
        if abs(np.log10(one.mass_g / hunter.mass_g) + 1) < 0.5
    ]
    return hunters + prey, links


def test_share_of_relatives_weighs_each_rank_four_times():
    species = [
        animal("Lepus a", "Leporidae", 1.0),
        animal("Lepus b", "Leporidae", 1.0),  # same genus
        animal("Sylvilagus c", "Leporidae", 1.0),  # same family, a rank less
        animal("Ochotona d", "Ochotonidae", 1.0),  # same class, two ranks less (no order given)
        plant("Poa x"),
        plant("Poa y"),
        plant("Carex z"),
    ]
    links = [Link("Poa x", "Lepus b"), Link("Poa y", "Sylvilagus c"), Link("Carex z", "Ochotona d")]
    shares = relatives_scores(species, links)
    # Ranks are numbered from the kingdom: class 3, family 5, genus 6.
    weights = np.array([4.0**6, 4.0**5, 4.0**3])
    np.testing.assert_allclose(shares[0, 4:], weights / weights.sum())
    np.testing.assert_allclose(relatives_scores(species, links, Proximity(nearest=1))[0, 4:], [1, 0, 0])
    assert not shares[4:].any(), "producers eat"
    # A quarter of the weight is elsewhere: Poa x itself 4^7, its congener 4^6, the other genus 4^1.
    own, related = relatives_scores(species, links, Proximity(nearest=1, kin=1.0))[0, 4:6]
    assert own / related == pytest.approx(4), (own, related)


def test_own_and_inferred_links_do_not_count():
    species, links = gape_web()
    without = [link for link in links if link.consumer != "Felis h4"]
    invented = Link("Mus p59", "Felis h3", inferred=True)
    shares = relatives_scores(species, links)[4]
    np.testing.assert_array_equal(relatives_scores(species, without)[4], shares)
    np.testing.assert_array_equal(relatives_scores(species, [*without, invented])[4], shares)


def test_window_finds_the_prey_of_a_hunter_whose_relatives_have_other_masses():
    species, links = gape_web()
    rest = [link for link in links if link.consumer != "Felis h4"]
    scores = link_scores(species, rest)[4, 10:]
    eaten = np.array([Link(one.name, "Felis h4") in links for one in species[10:]])
    assert area_under_curve(scores, eaten) > 0.97
    assert area_under_curve(relatives_scores(species, rest)[4, 10:], eaten) < 0.9
    top = np.log10(species[10 + scores.argmax()].mass_g / species[4].mass_g)
    assert abs(top + 1) < 0.3, f"the window's top is at 10^{top:.2f} of the hunter's mass, not at 10^-1"


def test_infer_links_marks_them_and_leaves_observed_consumers_alone():
    species, links = gape_web()
    rest = [link for link in links if link.consumer not in ("Felis h4", "Felis h7")]
    inferred = infer_links(species, rest)
    assert {link.consumer for link in inferred} >= {"Felis h4", "Felis h7"}
    assert not {link.consumer for link in inferred} & {link.consumer for link in rest}
    assert all(link.inferred and 0 < link.weight <= 1 and "probability" in link.citation for link in inferred)
    # No link is that probable, and each keeps its best one.
    hunters = [
        link.consumer for link in infer_links(species, rest, threshold=1.0) if "Felis" in link.consumer
    ]
    assert sorted(hunters) == ["Felis h4", "Felis h7"]
    once = [*rest, next(link for link in links if link.consumer == "Felis h4")]
    more = infer_links(species, once, fewest=2)
    assert not {(link.resource, link.consumer) for link in more} & {
        (link.resource, link.consumer) for link in once
    }
    assert any(link.consumer == "Felis h4" for link in more)


def test_diet_excludes_kinds_of_food():
    herbivore = {"plants": 1.0, "vertebrates": 0.0, "invertebrates": 0.0}
    species = [
        animal("Panthera a", "Felidae", 1e5, {"plants": 0.0, "vertebrates": 1.0, "invertebrates": 0.0}),
        animal("Gazella b", "Bovidae", 2e4, herbivore),
        animal("Gazella c", "Bovidae", 2e4, herbivore),
        plant("Poa x"),
    ]
    scores = link_scores(species, [Link("Poa x", "Gazella b"), Link("Gazella b", "Panthera a")])
    assert scores[2, 3] > 0.5, "its congener eats it"
    assert not scores[2, :3].any() and scores[0, 3] == 0, "herbivores eat animals, or the carnivore plants"


def test_embeddings_take_the_place_of_the_taxonomy():
    consumers = [animal(f"Genus{i} x", f"Family{i}", 1.0) for i in range(9)]
    species = [*consumers, plant("Poa x"), plant("Carex z")]
    # The even ones look alike and eat the one plant, the odd ones the other; the last one's diet is unknown.
    links = [Link(("Poa x", "Carex z")[i % 2], one.name) for i, one in enumerate(consumers[:8])]
    vectors = [[1, 0, 0, 0.0], [0, 1, 0, 0.0]] * 4 + [[0.2, 1, 0, 0.0], [0, 0, 1, 0.0], [0, 0, 0, 1.0]]
    embeddings = {one.name: np.array(vector) for one, vector in zip(species, vectors)}
    by_taxonomy = relatives_scores(species, links)[8, 9:]
    assert by_taxonomy[0] == by_taxonomy[1] == 0.5
    every = Proximity(nearest=None)
    shares = relatives_scores(species, links, every, embeddings=embeddings)[8, 9:]
    expected = np.exp(np.array([0.2, 1]) / np.sqrt(1.04) / 0.1)
    np.testing.assert_allclose(shares, expected / expected.sum())
    (link,) = infer_links(species, links, embeddings=embeddings)
    assert (link.resource, link.consumer) == ("Carex z", "Genus8 x") and "embedding" in link.citation


def test_no_observed_link_is_one_line():
    with pytest.raises(UserError, match="no observed links"):
        infer_links([animal("Lepus a", "Leporidae", 1.0), plant("Poa x")], [])


def test_area_under_curve_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    scores, labels = rng.integers(0, 8, 200) / 8, rng.random(200) < 0.3
    assert area_under_curve(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


@pytest.mark.shared_data
def test_links_of_a_serengeti_consumer_are_found_from_the_others(shared_data: Path):
    row = inferred_links_case(Settings(), read_serengeti(shared_data / "twin"))
    assert row["holds"], row["ours"]
    study = row["study"]
    assert (study["links"], study["species"], study["consumers"]) == (592, 161, 32)
    ours, baseline = study["ours"], study["baseline"]
    # Measured 0.866 and 0.884; the baseline has 0.834 and 0.842.
    assert ours["all"]["pooled"] > 0.85 and ours["all"]["mean"] > 0.87, ours
    assert baseline["all"]["pooled"] < 0.84 and baseline["all"]["mean"] < 0.85, baseline
    assert ours["carnivores"]["pooled"] > baseline["carnivores"]["pooled"] + 0.03, (ours, baseline)
    assert ours["carnivores"]["mean"] > 0.83 and ours["herbivores"]["mean"] > 0.79, ours
