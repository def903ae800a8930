"""Coverage of the intervals of occupancy and relative abundance in simulated surveys."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bioclip_jax.twin.estimate import Confusion, fit_occupancy, relative_abundance

# Makes a visit with an event that a person labeled certain.
CERTAIN = 1e6


@dataclass
class Survey:
    """Events of a simulated survey, by class; a person has labeled a random part of them.

    `detected` and `events` are of the machine's labels of the rest, `certain` and `certain_events` of the
    person's; `labeled` are the machine's labels of all. `confusion` counts the person's (true, machine)
    pairs. Planted: matrix of P(machine | true), occupancy, events per 100 days.
    """

    effort: np.ndarray  # sites, days
    detected: np.ndarray  # classes, sites, days
    certain: np.ndarray
    labeled: np.ndarray
    events: np.ndarray  # sites, classes
    certain_events: np.ndarray
    confusion: Confusion
    matrix: np.ndarray
    occupancy: np.ndarray
    per_100_days: np.ndarray


def draw_confusion(rng, classes, errors):
    """Each class has its own error rate, and its own few classes that it is taken for."""
    matrix = np.zeros((classes, classes))
    for j in range(classes):
        others = np.arange(classes) != j
        share = errors * rng.uniform(0.5, 1.5)
        matrix[j, others] = share * rng.dirichlet(np.full(classes - 1, 0.7))
        matrix[j, j] = 1 - share
    return matrix


def simulate(rng, *, sites, days, errors, verified, shape, classes=8):
    """Simulate a survey; the last class is false triggers.

    verified: number of labeled events, or a share of all. shape: of the gamma distribution of rates over
    occupied sites.
    """
    matrix = draw_confusion(rng, classes, errors)
    occupancy = np.append(rng.uniform(0.15, 0.85, classes - 1), 1.0)
    rate = np.append(np.exp(rng.uniform(np.log(0.05), np.log(0.5), classes - 1)), 0.5)
    effort = np.ones((sites, days))
    effort[:, 0], effort[:, -1] = rng.random((2, sites))
    # One camera never worked, one in ten broke down.
    effort[0] = 0
    broken = np.flatnonzero(rng.random(sites) < 0.1)
    effort[broken, days // 2 :] = 0
    site_rate = (rng.random((sites, classes)) < occupancy) * rate
    if np.isfinite(shape):
        site_rate = site_rate * rng.gamma(shape, 1 / shape, (sites, classes))
    true = rng.poisson(site_rate[:, None, :] * effort[:, :, None])
    site, day, kind = (np.repeat(index, true[true > 0]) for index in np.nonzero(true))
    machine = (rng.random(len(kind))[:, None] > matrix.cumsum(axis=1)[kind]).sum(axis=1)
    machine = np.minimum(machine, classes - 1)
    count = round(verified * len(kind)) if verified < 1 else verified
    person = np.zeros(len(kind), bool)
    person[rng.permutation(len(kind))[:count]] = True

    def tally(label, chosen):
        seen, events = np.zeros((classes, sites, days), bool), np.zeros((sites, classes))
        seen[label[chosen], site[chosen], day[chosen]] = True
        np.add.at(events, (site[chosen], label[chosen]), 1)
        return seen, events

    names = [str(k) for k in range(classes)]
    pairs = ([names[k] for k in label[person]] for label in (kind, machine))
    (detected, events), (certain, certain_events) = tally(machine, ~person), tally(kind, person)
    return Survey(
        effort=effort,
        detected=detected,
        certain=certain,
        labeled=tally(machine, np.ones(len(kind), bool))[0],
        events=events,
        certain_events=certain_events,
        confusion=Confusion.from_pairs(*pairs, names),
        matrix=matrix,
        occupancy=occupancy,
        per_100_days=100 * occupancy * rate,
    )


def study(worlds, seed=0, **world):
    """Estimate worlds with and without correction; rows of (lower, estimate, upper, truth), by estimate."""
    rows = {name: [] for name in ("occupancy", "naive occupancy", "abundance", "naive abundance")}
    for number in range(worlds):
        survey = simulate(np.random.default_rng([seed, number]), **world)
        days = survey.effort.sum(axis=1)
        false_positives = survey.confusion.false_positives(survey.events, days)
        abundance = relative_abundance(
            survey.events, days, survey.confusion, certain=survey.certain_events, seed=number
        )
        # Of true detections this share is certain, so that the others are less likely at an occupied site.
        checked = survey.certain_events.sum() / (survey.certain_events.sum() + survey.events.sum())
        for k in range(len(survey.occupancy) - 1):
            corrected = fit_occupancy(
                survey.detected[k] | survey.certain[k],
                survey.effort,
                false_positives=false_positives[k],
                score_ratio=np.where(survey.certain[k], CERTAIN, 1 - checked),
            )
            naive = fit_occupancy(survey.labeled[k], survey.effort)
            rows["occupancy"].append((corrected.mean, survey.occupancy[k]))
            rows["naive occupancy"].append((naive.mean, survey.occupancy[k]))
            rows["abundance"].append((abundance[k].corrected, survey.per_100_days[k]))
            rows["naive abundance"].append((abundance[k].naive, survey.per_100_days[k]))
    return {
        name: np.array([(one.lower, one.mean, one.upper, truth) for one, truth in values])
        for name, values in rows.items()
    }


def coverage(rows):
    lower, _, upper, truth = rows.T
    return float(((lower <= truth) & (truth <= upper)).mean())


def test_intervals_cover_the_truth_and_naive_ones_do_not():
    """At 20 % confusion and 200 verified events; of 21 intervals of 90 %, 13 or fewer hold once in 1,600."""
    result = study(3, sites=40, days=40, errors=0.2, verified=200, shape=6.0)
    figures = {name: coverage(rows) for name, rows in result.items()}
    assert min(figures["occupancy"], figures["abundance"]) >= 14 / 21, figures
    assert figures["naive occupancy"] < 0.5, figures
    assert figures["naive abundance"] < figures["abundance"], figures
    corrected, naive = (
        (result[name][:, 1] / result[name][:, 3]).mean() for name in ("abundance", "naive abundance")
    )
    assert abs(corrected - 1) < 0.2 < naive - 1, (corrected, naive)


def test_labeled_images_from_elsewhere_inform_intervals():
    """Five images a class, 40 % confusion: at 88 % coverage, 64 or fewer of 84 hold once in 600."""
    rows, naive = [], []
    for number in range(12):
        rng = np.random.default_rng([1, number])
        survey = simulate(rng, sites=40, days=40, errors=0.4, verified=0, shape=6.0)
        counts = np.array([rng.multinomial(5, row) for row in survey.matrix])
        elsewhere = Confusion(survey.confusion.classes, counts, same_survey=False)
        abundance = relative_abundance(survey.events, survey.effort.sum(axis=1), elsewhere, seed=number)
        for one, truth in zip(abundance[:-1], survey.per_100_days):
            rows.append((one.corrected.lower, one.corrected.mean, one.corrected.upper, truth))
            naive.append((one.naive.lower, one.naive.mean, one.naive.upper, truth))
    rows, naive = np.array(rows), np.array(naive)
    assert coverage(rows) >= 65 / 84 and coverage(naive) < 0.5, (coverage(rows), coverage(naive))
    # An estimate near 0 has a small error, and no limit beyond all that was seen.
    assert (rows[:, 2] / rows[:, 3]).max() < 30, rows
