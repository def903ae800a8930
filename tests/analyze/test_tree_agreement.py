"""Agreement of the embedding with the taxonomy: reference implementations, and known trees."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import cut_tree
from scipy.spatial.distance import pdist
from scipy.stats import binom, pearsonr
from sklearn.metrics import adjusted_rand_score

from bioclip_jax.analyze.dendrogram import average_linkage, cut, tree_of_lineages, tree_of_linkage, untangle
from bioclip_jax.analyze.tree_agreement import cosine_distances, taxonomy, tree_agreement
from bioclip_jax.text import RANKS, Taxon


def random_taxa(rng, number):
    """Taxa of a tree that branches at every rank, in random order."""
    lineages = [[] for _ in range(number)]
    for width in (2, 2, 2, 2, 2, 2):
        for lineage in lineages:
            lineage.append(f"{'.'.join(lineage)}-{rng.integers(width)}")
    return [Taxon(*lineage, f"species{row}") for row, lineage in enumerate(lineages)]


def means_like(rng, taxa, dim=12, noise=1.0):
    """Vectors that are sums of one random vector for each of their taxa."""
    parts = {}
    rows = []
    for taxon in taxa:
        row = noise * rng.normal(size=dim)
        for rank in RANKS[:-1]:
            row = row + parts.setdefault(taxon.lineage(rank), rng.normal(size=dim))
        rows.append(row)
    return np.array(rows)


def plain_distance(one, other):
    """Ranks from the species up to the lowest common ancestor."""
    shared = 0
    for rank in RANKS[:-1]:
        if one.rank(rank) != other.rank(rank):
            break
        shared += 1
    return 7 - shared


@settings(max_examples=25)
@given(st.integers(6, 24), st.integers(0, 2**31))
def test_cophenetic_correlation_equals_a_loop_over_pairs(number, seed):
    rng = np.random.default_rng(seed)
    taxa = random_taxa(rng, number)
    means = means_like(rng, taxa)
    result = tree_agreement(means, taxa, permutations=9)
    embedding, tree = [], []
    for row in range(number):
        for other in range(row):
            a, b = means[row], means[other]
            embedding.append(1 - a @ b / np.sqrt((a @ a) * (b @ b)))
            tree.append(plain_distance(taxa[row], taxa[other]))
    assert result["cophenetic"] == pytest.approx(pearsonr(embedding, tree)[0], abs=1e-6)
    from scipy.cluster.hierarchy import average, cophenet

    distances = pdist(means, "cosine")
    assert result["dendrogram_fit"] == pytest.approx(cophenet(average(distances), distances)[0], abs=1e-6)


def test_more_than_a_thousand_species_have_the_same_correlation_in_single_precision():
    rng = np.random.default_rng(0)
    taxa = random_taxa(rng, 1_050)
    means = means_like(rng, taxa)
    result = tree_agreement(means, taxa, permutations=9)
    lineages = taxonomy(taxa)
    rows, columns = np.triu_indices(len(taxa), 1)
    tree = 7 - (lineages[rows] == lineages[columns]).sum(axis=1)
    assert result["cophenetic"] == pytest.approx(pearsonr(pdist(means, "cosine"), tree)[0], abs=1e-6)
    assert result["p"] == 0.1


def test_mantel_p_equals_permuting_the_matrix():
    rng = np.random.default_rng(4)
    taxa = random_taxa(rng, 10)
    means = means_like(rng, taxa, noise=9.0)
    result = tree_agreement(means, taxa, permutations=1_500, seed=1)
    square = np.array(
        [[plain_distance(one, other) if one is not other else 0 for one in taxa] for other in taxa]
    )
    rows, columns = np.triu_indices(10, 1)
    embedding = pdist(means, "cosine")
    shuffled = []
    for _ in range(1_500):
        order = rng.permutation(10)
        shuffled.append(pearsonr(embedding, square[order][:, order][rows, columns])[0])
    expected = np.mean(np.array(shuffled) >= result["cophenetic"] - 1e-9)
    assert result["p"] == pytest.approx(expected, abs=5 * np.sqrt(2 * 0.25 / 1_500)), "p is not Mantel's"


def test_p_values_of_noise_are_calibrated():
    rng = np.random.default_rng(5)
    number = 200
    hits = 0
    for seed in range(number):
        taxa = random_taxa(rng, 12)
        result = tree_agreement(rng.normal(size=(12, 8)), taxa, permutations=39, seed=seed)
        hits += result["p"] <= 0.05
    low, high = binom.ppf([0.001, 0.999], number, 0.05)
    assert low <= hits <= high, f"{hits} of {number} made data sets have p <= 0.05, not {low:g} to {high:g}"


@settings(max_examples=20)
@given(st.integers(8, 24), st.integers(0, 2**31))
def test_rank_agreement_equals_loops_and_scikit_learn(number, seed):
    rng = np.random.default_rng(seed)
    taxa = random_taxa(rng, number)
    means = means_like(rng, taxa)
    result = tree_agreement(means, taxa, permutations=9)["ranks"]
    linkage = average_linkage(pdist(means, "cosine"))
    unit = means / np.linalg.norm(means, axis=1, keepdims=True)
    for rank in RANKS[:-1]:
        labels = [taxon.rank(rank) for taxon in taxa]
        sizes = {label: labels.count(label) for label in labels}
        if sum(size >= 2 for size in sizes.values()) < 2:
            assert rank not in result, f"{rank} has no two taxa of two species: {sizes}"
            continue
        clusters = cut_tree(linkage, len(sizes))[:, 0]
        pure = 0
        for cluster in set(clusters):
            members = [label for label, of in zip(labels, clusters) if of == cluster]
            pure += max(members.count(label) for label in members)
        assert result[rank]["purity"] == pytest.approx(pure / number, abs=1e-9), rank
        assert result[rank]["adjusted_rand"] == pytest.approx(
            adjusted_rand_score(labels, clusters), abs=1e-9
        ), rank
        right, company = 0, [row for row in range(number) if sizes[labels[row]] > 1]
        for row in company:
            others = [other for other in range(number) if other != row]
            nearest = max(others, key=lambda other: unit[row] @ unit[other])
            right += labels[nearest] == labels[row]
        assert result[rank]["nearest_neighbor"] == pytest.approx(right / len(company), abs=1e-9), rank


def test_a_space_that_is_the_tree_agrees_with_it_at_every_rank():
    rng = np.random.default_rng(0)
    taxa = random_taxa(rng, 120)
    means = means_like(rng, taxa, dim=400, noise=0.01)
    result = tree_agreement(means, taxa, permutations=99)
    assert result["cophenetic"] > 0.9 and result["p"] == 0.01, result
    for rank, figures in result["ranks"].items():
        assert figures["purity"] > 0.99 and figures["nearest_neighbor"] == 1, (rank, figures)
        assert figures["purity_null"] < 0.9 and figures["nearest_neighbor_null"] < 0.6, (rank, figures)


def test_unknown_ranks_are_inferred_within_a_genus_and_never_shared_beyond():
    taxa = [
        Taxon("Animalia", "", "", "", "Thraupidae", "Geospiza", "fortis"),
        Taxon("Animalia", "", "", "", "", "Geospiza", "magnirostris"),
        Taxon("Animalia", "", "", "", "", "Certhidea", "olivacea"),
        Taxon("Animalia", "", "", "", "", "Pinaroloxias", "inornata"),
    ]
    lineages = taxonomy(taxa)
    shared = [[int((one == other).sum()) for one in lineages] for other in lineages]
    assert shared[0][1] == 6, "two species of a genus share all its ranks"
    assert shared[2][3] == 1, "two genera of unknown families share their kingdom alone"
    assert shared[0][2] == 1


def test_ranks_without_differences_give_no_agreement():
    means = np.random.default_rng(0).normal(size=(6, 4))
    assert tree_agreement(means, [Taxon(genus="Geospiza", species=f"s{n}") for n in range(6)]) is None
    assert tree_agreement(means[:3], random_taxa(np.random.default_rng(0), 3)) is None


def test_of_too_many_species_a_sample_is_compared():
    rng = np.random.default_rng(0)
    taxa = random_taxa(rng, 3_100)
    assert tree_agreement(rng.normal(size=(3_100, 3)), taxa, permutations=3)["species"] == 3_000


@settings(max_examples=30)
@given(st.integers(2, 30), st.integers(0, 2**31))
def test_cut_gives_the_clusters_of_scipy(number, seed):
    rng = np.random.default_rng(seed)
    linkage = average_linkage(cosine_distances(rng.normal(size=(number, 5))))
    for clusters in {1, 2, number // 2 + 1, number}:
        result, expected = cut(linkage, clusters), cut_tree(linkage, clusters)[:, 0]
        assert len(set(result)) == clusters
        assert adjusted_rand_score(result, expected) == 1, f"{clusters} clusters of {number}"


def test_cut_of_equal_heights_gives_the_exact_number_of_clusters():
    linkage = average_linkage(np.ones(10))
    assert [len(set(cut(linkage, number))) for number in range(1, 6)] == [1, 2, 3, 4, 5]


@settings(max_examples=15)
@given(st.integers(4, 16), st.integers(0, 2**31))
def test_untangling_rotates_branches_without_changing_the_tree(number, seed):
    rng = np.random.default_rng(seed)
    taxa = random_taxa(rng, number)
    left = tree_of_linkage(average_linkage(cosine_distances(means_like(rng, taxa))))
    right = tree_of_lineages(taxonomy(taxa))

    def clades(node):
        return {frozenset(node.leaves()), *(clade for child in node.children for clade in clades(child))}

    def difference(one, other):
        rows = {leaf: row for row, leaf in enumerate(one.leaves())}
        return sum(abs(rows[leaf] - row) for row, leaf in enumerate(other.leaves()))

    turned = untangle(left, right)
    assert clades(turned[0]) == clades(left) and clades(turned[1]) == clades(right)
    assert sorted(turned[0].leaves()) == list(range(number))
    # The same tree twice can be drawn without a crossing.
    same = untangle(right, tree_of_lineages(taxonomy(taxa)))
    assert difference(*same) == 0, "two equal trees are drawn with crossings"
