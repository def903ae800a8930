"""Inferred feeding links against the observed ones of the Serengeti, one consumer left out at a time."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from bioclip_jax.twin.world import Link, Species, link_scores, relatives_scores

from .cases import Settings
from .published_table import read_rows

# A food web: species and observed links.
Web = tuple[list[Species], list[Link]]

# Names of the food web that the table of traits has under others.
_SYNONYMS = {"Damaliscus korrigum": "Damaliscus lunatus", "Taurotragus oryx": "Tragelaphus oryx"}
_RANKS = {"order": "Order.1.2", "family": "Family.1.2", "genus": "Genus.1.2"}
_DIET = {"plants": "Diet.Plant", "vertebrates": "Diet.Vertebrate", "invertebrates": "Diet.Invertebrate"}
# Families of the plants' genera, which the food web does not have; written by this project, in common use.
_FAMILIES = {
    "Acanthaceae": "Blepharis Duosperma Hypoestes",
    "Amaranthaceae": "Achyranthes Pupalia",
    "Anacardiaceae": "Sclerocarya",
    "Asparagaceae": "Albuca Sansevieria",
    "Asphodelaceae": "Aloe",
    "Asteraceae": "Emilia",
    "Bignoniaceae": "Kigelia",
    "Boraginaceae": "Cordia Heliotropium",
    "Burseraceae": "Commiphora",
    "Capparaceae": "Boscia Capparis Maerua",
    "Combretaceae": "Combretum",
    "Commelinaceae": "Commelina",
    "Convolvulaceae": "Ipomoea",
    "Crassulaceae": "Kalanchoe",
    "Cucurbitaceae": "Kedrostis",
    "Cyperaceae": "Cyperus Kyllinga",
    "Euphorbiaceae": "Acalypha Croton Euphorbia",
    "Fabaceae": "Acacia Albizia Crotalaria Indigofera Lonchocarpus Senna",
    "Lamiaceae": "Hoslundia Iboza Ocimum",
    "Malvaceae": "Abutilon Grewia Hibiscus Pavonia Sida",
    "Meliaceae": "Turraea",
    "Moraceae": "Ficus",
    "Olacaceae": "Ximenia",
    "Oleaceae": "Jasminum Olea",
    "Phyllanthaceae": "Phyllanthus",
    "Poaceae": (
        "Andropogon Aristida Bothriochloa Brachiaria Pennisetum Chloris Cymbopogon Cynodon Digitaria "
        "Diheteropogon Dinebra Echinochloa Eragrostis Eriochloa Eustachys Harpachne Heteropogon "
        "Hyperthelia Hyparrhenia Microchloa Panicum Phragmites Psilolemma Sarga Setaria Sporobolus "
        "Themeda Tricholaena"
    ),
    "Pteridaceae": "Pellaea",
    "Rhamnaceae": "Ziziphus",
    "Rubiaceae": "Pavetta",
    "Sapindaceae": "Allophylus Pappea",
    "Solanaceae": "Solanum",
    "Typhaceae": "Typha",
    "Verbenaceae": "Lippia",
    "Vitaceae": "Cissus Cyphostemma Rhoicissus",
    "Zygophyllaceae": "Balanites",
}


def read_serengeti(folder: Path) -> Web:
    """Read the food web of serengeti/ (after Baskerville et al. 2011), and its mammals' traits of traits/."""
    rows = read_rows(folder / "serengeti/species_code.csv", ("code", "species", "type"))
    codes = {row["code"]: row for row in rows}
    columns = ("Binomial.1.2", "Mass.g", *_RANKS.values(), *_DIET.values())
    rows = read_rows(folder / "traits/phylacine_1.2_traits.csv", columns)
    traits = {row["Binomial.1.2"].replace("_", " "): row for row in rows}
    families = {genus: family for family, genera in _FAMILIES.items() for genus in genera.split()}
    species = []
    for row in codes.values():
        name = row["species"]
        if row["type"] == "plant":
            genus = name.split()[0]
            taxonomy = {"kingdom": "Plantae", "family": families[genus], "genus": genus}
            species.append(Species(name, "producer", math.nan, taxonomy=taxonomy))
            continue
        animal = traits[_SYNONYMS.get(name, name)]
        taxonomy = {"kingdom": "Animalia", "class": "Mammalia"}
        taxonomy |= {rank: animal[column] for rank, column in _RANKS.items()}
        diet = {food: float(animal[column]) / 100 for food, column in _DIET.items()}
        species.append(Species(name, "endotherm", float(animal["Mass.g"]), taxonomy=taxonomy, diet=diet))
    links = [
        Link(codes[row["prey_code"]]["species"], codes[row["pred_code"]]["species"])
        for row in read_rows(folder / "serengeti/links_code.csv", ("pred_code", "prey_code"))
    ]
    return species, links


def inferred_links_case(settings: Settings, web: Web) -> dict[str, Any]:
    """Return the row of the links; holds: AUC of all consumers at least 0.8 and above the baseline."""
    study = study_inferred_links(web)
    ours, baseline = study["ours"], study["baseline"]
    texts = [
        f"{group} {ours[group]['mean']:.3f} (pooled {ours[group]['pooled']:.3f}), by taxonomy alone "
        f"{baseline[group]['mean']:.3f} ({baseline[group]['pooled']:.3f})"
        for group in ("all", "carnivores", "herbivores")
    ]
    return {
        "ours": f"mean AUC of {study['consumers']} consumers: {'; '.join(texts)}",
        "holds": all(ours["all"][kind] >= max(0.8, baseline["all"][kind]) for kind in ("mean", "pooled")),
        "study": study,
    }


def study_inferred_links(web: Web) -> dict[str, Any]:
    """Hide all links of each consumer in turn; return the areas under the ROC curve (AUC) of finding them.

    Returns, for "ours" and the "baseline", the share of the five nearest relatives by taxonomy that eat it:
    pooled and per-species mean AUC of "carnivores" among all animals, of "herbivores" among all plants, and
    of "all" consumers among all species, which is easier: a lion eats no grass.
    """
    species, links = web
    names = [one.name for one in species]
    consumers = sorted({link.consumer for link in links}, key=names.index)
    eats = np.zeros((len(consumers), len(names)), bool)
    for link in links:
        eats[consumers.index(link.consumer), names.index(link.resource)] = True
    scores = {"ours": np.zeros(eats.shape), "baseline": np.zeros(eats.shape)}
    for row, consumer in enumerate(consumers):
        rest = [link for link in links if link.consumer != consumer]
        index = names.index(consumer)
        scores["ours"][row] = link_scores(species, rest)[index]
        scores["baseline"][row] = relatives_scores(species, rest)[index]
    plants = np.array([one.kind == "producer" for one in species])
    grazers = eats[:, plants].any(1)
    groups = {
        "carnivores": (~grazers, ~plants),
        "herbivores": (grazers, plants),
        "all": (np.ones(len(consumers), bool), np.ones(len(names), bool)),
    }
    return {
        "species": len(species),
        "links": len(links),
        "consumers": len(consumers),
        **{
            name: {
                group: _areas(score[np.ix_(rows, columns)], eats[np.ix_(rows, columns)])
                for group, (rows, columns) in groups.items()
            }
            for name, score in scores.items()
        },
    }


def area_under_curve(scores: Float[np.ndarray, " n"], positive: Bool[np.ndarray, " n"]) -> float:
    """Probability that a positive scores above a negative, ties counted half."""
    from scipy.stats import rankdata

    n = int(positive.sum())
    ranks = rankdata(scores)[positive].sum() - n * (n + 1) / 2
    return float(ranks / (n * (len(positive) - n)))


def _areas(
    scores: Float[np.ndarray, "consumers resources"], eats: Bool[np.ndarray, "consumers resources"]
) -> dict[str, float]:
    means = [area_under_curve(score, row) for score, row in zip(scores, eats)]
    return {"pooled": area_under_curve(scores.ravel(), eats.ravel()), "mean": float(np.mean(means))}
