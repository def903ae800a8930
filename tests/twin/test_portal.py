"""Portal's counts, the balance of its community, and the likelihood of captures on control plots."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm
from scipy.stats import multivariate_normal

from bioclip_jax.errors import UserError
from bioclip_jax.twin.community import environment, flows, steady_conditions
from bioclip_jax.twin.validate.portal_community import (
    N_PARAMETERS,
    PRIORS,
    RATS,
    RODENTS,
    parameters,
    portal_community,
)
from bioclip_jax.twin.validate.portal_counts import (
    CONTROL,
    EXCLOSURE,
    GRANIVORES,
    GRASSHOPPER_MICE,
    ratio_interval,
    read_counts,
)
from bioclip_jax.twin.validate.portal_fit import (
    QUARTER_DAYS,
    Observations,
    linear_rates,
    log_likelihood,
    noise_of,
    observations,
    transition,
)

_CODES = ("DM", "PF", "RM", "OT")
_OBSERVED = Observations(
    np.log([[4.0, 0.5, 0.3, 0.7], [5.0, 0.4, 0.6, 0.5], [3.0, 0.9, 0.2, 0.6]]),
    np.array([[0.1, 0.2, 0.4, 0.2], [0.1, np.inf, 0.3, 0.2], [0.1, 0.2, 0.5, 0.3]]),
    np.array([4.0, 0.6, 0.4, 0.6]),
    np.array([50.0, 14.0, 16.0, 27.0]),
)


def _portal(folder: Path, *, exclosure_captures: int = 1) -> Path:
    """Two controls and an exclosure, trapped in January and July; each catches one rodent of each code."""
    (folder / "plots.csv").write_text(f"plot_id,plot_type\n1,{CONTROL}\n2,{CONTROL}\n3,{EXCLOSURE}\n")
    trapping, surveys = ["month,year,plot,sampled"], ["month,year,plot_id,species_id,weight"]
    for year in range(1977, 2004):
        for month in (1, 7):
            for plot in (1, 2, 3):
                trapping.append(f"{month},{year},{plot},1")
                for code in _CODES:
                    times = exclosure_captures if plot == 3 else 2 if (plot, code) == (2, "PF") else 1
                    surveys += [f"{month},{year},{plot},{code},20"] * times
    trapping.append("4,1990,1,0")
    surveys.append("4,1990,1,AB,")
    (folder / "Portal_rodent_trapping.csv").write_text("\n".join(trapping) + "\n")
    (folder / "surveys.csv").write_text("\n".join(surveys) + "\n")
    return folder


def test_counts_by_quarter_and_plot(tmp_path):
    counts = read_counts(_portal(tmp_path), CONTROL)
    assert counts.plots == (1, 2) and counts.captures.shape == (4, 2, 100)
    assert counts.censuses[:, :4].tolist() == [[1, 0, 1, 0]] * 2, "plots without traps are no censuses"
    np.testing.assert_allclose(counts.rates(GRANIVORES), [2, 3])
    np.testing.assert_allclose(counts.mass_g, 20)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("plots.csv", EXCLOSURE, "Fence", "no plot of type"),
        ("plots.csv", "plot_type", "kind", "no column plot_type"),
        ("surveys.csv", ",20\n", ",heavy\n", "weight 'heavy'"),
        ("surveys.csv", "PF", "XX", "no pocket mice"),
        ("Portal_rodent_trapping.csv", ",1985,", ",1885,", "no census of plot 3 in 1985"),
    ],
)
def test_names_what_is_wrong_in_one_line(tmp_path, file, old, new, message):
    path = _portal(tmp_path) / file
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(UserError, match=message) as error:
        read_counts(tmp_path, EXCLOSURE)
    assert "\n" not in str(error.value)


def test_names_a_missing_file(tmp_path):
    with pytest.raises(UserError, match=r"plots.csv does not exist"):
        read_counts(tmp_path, CONTROL)


def test_exclosures_do_not_reach_the_calibration(tmp_path):
    """The fitted data are the same, bit by bit, if other numbers of rodents are caught on exclosures."""
    folders = [tmp_path / name for name in ("few", "many")]
    for folder, captures in zip(folders, (1, 50)):
        folder.mkdir()
        _portal(folder, exclosure_captures=captures)
    few, many = (observations(read_counts(folder, CONTROL)) for folder in folders)
    for name, one, other in zip(few._fields, few, many):
        np.testing.assert_array_equal(one, other, err_msg=name)
    ratios = [read_counts(folder, EXCLOSURE).rates(GRANIVORES) for folder in folders]
    assert (ratios[1] == 50 * ratios[0]).all(), "the made data should differ"


@pytest.mark.shared_data
def test_observed_ratios(shared_data):
    """The published ratios and bootstrap intervals, from the raw tables."""
    folder = shared_data / "twin/portal"
    control, exclosure = (read_counts(folder, treatment) for treatment in (CONTROL, EXCLOSURE))
    assert (len(control.plots), len(exclosure.plots)) == (8, 4)
    for groups, published in ((GRANIVORES, (2.22, 1.70, 2.96)), ((GRASSHOPPER_MICE,), (0.66, 0.40, 1.05))):
        ratio = ratio_interval(exclosure.rates(groups), control.rates(groups))
        np.testing.assert_allclose(ratio, published, atol=0.02, err_msg=f"{groups}")


def test_the_community_is_balanced():
    """At any parameters, nothing changes at the equilibrium, and diets and intake are those that were set."""
    random = np.random.default_rng(0)

    @jax.jit
    def balance(standard):
        value = parameters(standard)
        community, biomass = portal_community(value, _OBSERVED.rate, _OBSERVED.mass_g)
        rates = environment(community, steady_conditions(community))
        alive = jnp.ones((1, len(biomass)), bool)
        return value, community, biomass, flows(community, rates, jnp.log(biomass)[None], alive)

    with jax.enable_x64(True):
        value, community, biomass, flow = balance(jnp.asarray(random.standard_normal(N_PARAMETERS)))
        change = flow.production + flow.assimilated - flow.lost_to_consumers - flow.mortality
        change, eaten = np.asarray(change[0] / biomass), np.asarray(flow.eaten[0])
    np.testing.assert_allclose(change, 0, atol=1e-8)
    # The field metabolic rate of a rodent of 50 g (Nagy et al. 1999), in food of 15 kJ/g.
    assert eaten[:3].sum() / float(biomass[RATS]) * 50 == pytest.approx(5.48 * 50**0.712 / 15, rel=1e-6)
    density = np.asarray(biomass)[RODENTS] / np.asarray(community.mass_kg)[RODENTS]
    np.testing.assert_allclose(density * 0.0025 * 0.5, np.asarray(value["level"]) * _OBSERVED.rate, rtol=1e-9)


def test_likelihood_is_that_of_one_large_normal():
    """Against the joint density of three quarters, without a filter; a quarter without census is missing."""
    standard = 0.1 * np.random.default_rng(1).standard_normal(N_PARAMETERS)

    @jax.jit
    def parts(standard):
        value = parameters(standard)
        community = portal_community(value, _OBSERVED.rate, _OBSERVED.mass_g)
        rates = linear_rates(*community)
        return (
            value,
            transition(value, _OBSERVED),
            rates,
            noise_of(value)[1],
            log_likelihood(standard, _OBSERVED),
        )

    with jax.enable_x64(True):
        everything = jax.tree.map(np.asarray, parts(jnp.asarray(standard)))
    value, (step, spread), (by_biomass, by_noise), memory, ours = everything
    n, noisy = by_noise.shape
    drift = np.block([[by_biomass, by_noise], [np.zeros((noisy, n)), -np.diag(1 / memory)]])
    np.testing.assert_allclose(step, expm(drift * QUARTER_DAYS), rtol=1e-6, atol=1e-9)

    stationary = spread
    for _ in range(127):
        stationary = step @ stationary @ step.T + spread
    groups = np.arange(RODENTS.start, RODENTS.stop)
    one = step @ stationary @ step.T + spread
    covariances = [one]
    for _ in range(2):
        covariances.append(step @ covariances[-1] @ step.T + spread)
    joint = np.zeros((12, 12))
    for late in range(3):
        for early in range(late + 1):
            block = (np.linalg.matrix_power(step, late - early) @ covariances[early])[np.ix_(groups, groups)]
            joint[4 * late : 4 * late + 4, 4 * early : 4 * early + 4] = block
            joint[4 * early : 4 * early + 4, 4 * late : 4 * late + 4] = block.T
    variance = float(value["overdispersion"][0]) * _OBSERVED.variance.ravel()
    seen = np.isfinite(variance)
    error = (_OBSERVED.log_rate - np.log(np.asarray(value["level"]) * _OBSERVED.rate)).ravel()
    covariance = joint[np.ix_(seen, seen)] + np.diag(variance[seen])
    expected = multivariate_normal(np.zeros(seen.sum()), covariance).logpdf(error[seen])
    assert ours == pytest.approx(expected, rel=1e-8)


def test_priors_are_written_with_reasons():
    with jax.enable_x64(True):
        medians = parameters(jnp.zeros(N_PARAMETERS))
    for name, prior in PRIORS.items():
        assert prior.reason and prior.spread > 0, name
        np.testing.assert_allclose(medians[name], prior.center, rtol=1e-12, err_msg=name)
