"""Simulated walks past cameras with a planted density, to test the random encounter model.

Animals (or groups, as points) walk on a torus without regard to cameras: correlated random walks in square
home ranges, with steps of ten minutes, speeds that vary between steps (gamma) and between individuals
(log-normal), and a daily rest. Cameras stand at random with random headings. An encounter is an entry into a
camera's sector, solved exactly along each straight step, not at its ends. A camera in many home ranges sees
more than one in few, and one animal passes it again and again: encounters are unequal by the walks
themselves, with a variance of two to four times their mean at the default.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from bioclip_jax.twin.estimate import Measured, Movement, estimate_density, group_size, relative_abundance

from .cases import Settings

_STEP_SECONDS = 600.0
_STEPS_PER_DAY = 144


@dataclass(frozen=True)
class WalkWorld:
    """A world of walking animals and cameras.

    side_m: side of the torus. density_per_km2: animals, all told. mean_group_size: groups of 1 + Poisson
    animals. home_range_m: side of each home range, of which borders turn walks back. speed_m_per_s: mean over
    24 hours, before borders shorten steps. share_active: of the day, the same for all. speed_cv_steps,
    speed_cv_individuals: coefficients of variation. persistence: mean cosine of the turn between steps, 0 to
    1. radius_m, angle_rad: the cameras' sector, angle below π. parameter_cv: relative standard error with
    which speed, radius and angle are known.
    """

    side_m: float = 2000.0
    density_per_km2: float = 10.0
    mean_group_size: float = 1.0
    home_range_m: float = 700.0
    speed_m_per_s: float = 0.05
    share_active: float = 0.5
    speed_cv_steps: float = 0.7
    speed_cv_individuals: float = 0.2
    persistence: float = 0.8
    radius_m: float = 10.0
    angle_rad: float = 0.7
    cameras: int = 40
    days: int = 30
    parameter_cv: float = 0.0


@dataclass(frozen=True)
class WalkSurvey:
    """Camera and number of animals of each encounter, and the truth that the world came to have.

    density_per_km2: of animals. speed_m_per_s: mean over the paths of all animals and 24 hours.
    """

    camera: Int[np.ndarray, " encounters"]
    animals: Int[np.ndarray, " encounters"]
    density_per_km2: float
    speed_m_per_s: float


def simulate_walks(world: WalkWorld, random: np.random.Generator) -> WalkSurvey:
    """Simulate animals and cameras."""
    area_km2 = (world.side_m / 1000) ** 2
    n = max(round(world.density_per_km2 * area_km2 / world.mean_group_size), 1)
    group_sizes = 1 + random.poisson(world.mean_group_size - 1, n)
    start, step = _walk(world, n, random)
    camera = random.uniform(0, world.side_m, (world.cameras, 2))
    heading = random.uniform(0, 2 * np.pi, world.cameras)
    walker, which, offset, move = _candidates(world, start, step, camera)
    entered = enters_sector(offset, move, heading[which], world.radius_m, world.angle_rad)
    path_m = np.hypot(step[..., 0], step[..., 1]).sum()
    return WalkSurvey(
        which[entered],
        group_sizes[walker[entered]],
        float(group_sizes.sum() / area_km2),
        float(path_m / (n * world.days * 86_400)),
    )


def enters_sector(
    offset: Float[np.ndarray, "n 2"],
    move: Float[np.ndarray, "n 2"],
    heading_rad: Float[np.ndarray, " n"],
    radius_m: float,
    angle_rad: float,
) -> Bool[np.ndarray, " n"]:
    """True for straight moves that enter a circular sector (angle below π) from outside.

    offset: start of the move relative to the sector's apex. The sector is convex, so that the part of a move
    inside it is one interval of 0 <= s <= 1: the intersection of those of the disc and two half-planes.
    """
    squared, along = (move**2).sum(axis=1), (offset * move).sum(axis=1)
    discriminant = along**2 - squared * ((offset**2).sum(axis=1) - radius_m**2)
    root = np.sqrt(np.maximum(discriminant, 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        first, last = (-along - root) / squared, (-along + root) / squared
        hits = (discriminant > 0) & (squared > 0)
        for sign in (1, -1):
            edge = heading_rad + sign * angle_rad / 2
            # Inside is on the heading's side of the edge: inward · (offset + s move) >= 0.
            inward = np.stack([np.sin(edge), -np.cos(edge)], axis=1) * sign
            level, rate = (inward * offset).sum(axis=1), (inward * move).sum(axis=1)
            crossing = -level / rate
            first = np.where(rate > 0, np.maximum(first, crossing), first)
            last = np.where(rate < 0, np.minimum(last, crossing), last)
            hits &= (rate != 0) | (level >= 0)
    # An animal that begins the move inside has entered before.
    return hits & (first > 0) & (first <= 1) & (first < last)


def encounter_study(
    runs: int = 400, seed: int = 0, world: WalkWorld | None = None, *, level: float = 0.95
) -> dict[str, float]:
    """Estimate the planted density in `runs` simulated surveys, as `twin estimate` does.

    By default speed, radius and angle are known with standard errors of 10 %: each run draws them anew, as a
    study that measured them would.

    Returns mean_bias (relative to the planted density), coverage of the intervals, mean_width (mean of upper
    / lower), mean_encounters, runs.
    """
    world = world or WalkWorld(parameter_cv=0.1)
    random = np.random.default_rng(seed)
    effort_days = np.full(world.cameras, float(world.days))
    errors, covered, widths, encounters = [], 0, [], []
    for _ in range(runs):
        survey = simulate_walks(world, random)
        planted = survey.density_per_km2
        counts = np.bincount(survey.camera, minlength=world.cameras).astype(float)
        [abundance] = relative_abundance(counts[:, None], effort_days, level=level)
        size = group_size(survey.animals, survey.camera, level=level)
        movement = _measured_movement(world, survey.speed_m_per_s, random)
        density = estimate_density(abundance, size, movement, level=level).per_km2
        errors.append(density.mean / planted - 1)
        covered += density.lower <= planted <= density.upper
        widths.append(density.upper / density.lower if density.lower else np.inf)
        encounters.append(len(survey.camera))
    return {
        "mean_bias": float(np.mean(errors)),
        "coverage": float(covered / runs),
        "mean_width": float(np.mean(widths)),
        "mean_encounters": float(np.mean(encounters)),
        "runs": runs,
    }


def encounter_case(settings: Settings) -> dict[str, Any]:
    """Return case 6."""
    study = encounter_study(runs=settings.runs, seed=settings.seed)
    bias, coverage = study["mean_bias"], study["coverage"]
    return {
        "ours": f"mean bias {bias:+.1%}, coverage {coverage:.1%} of {settings.runs} runs",
        "holds": bool(abs(bias) <= 0.05 and 0.92 <= coverage <= 0.98),
        "study": study,
    }


def _walk(
    world: WalkWorld, n: int, random: np.random.Generator
) -> tuple[Float[np.ndarray, "steps n 2"], Float[np.ndarray, "steps n 2"]]:
    """Start, within the torus, and displacement of each active step of n walkers."""
    steps = world.days * max(round(_STEPS_PER_DAY * world.share_active), 1)
    shape = 1 / world.speed_cv_steps**2
    spread = np.sqrt(np.log1p(world.speed_cv_individuals**2))
    individual = np.exp(random.normal(0, spread, n))
    individual /= individual.mean()  # speed_m_per_s is this population's mean
    active_steps = steps / world.days / _STEPS_PER_DAY
    length = random.gamma(shape, 1 / shape, (steps, n))
    length *= individual * world.speed_m_per_s / active_steps * _STEP_SECONDS
    turn = random.normal(0, np.sqrt(-2 * np.log(world.persistence)), (steps, n))
    turn[0] = random.uniform(0, 2 * np.pi, n)
    direction = np.cumsum(turn, axis=0)
    path = np.empty((steps + 1, n, 2))
    path[0] = random.uniform(0, world.home_range_m, (n, 2))
    np.cumsum(length * np.cos(direction), axis=0, out=path[1:, :, 0])
    np.cumsum(length * np.sin(direction), axis=0, out=path[1:, :, 1])
    path[1:] += path[0]
    # Borders of the home range are mirrors, which keep a walker's places uniform in it.
    path = np.abs((path + world.home_range_m) % (2 * world.home_range_m) - world.home_range_m)
    step = np.diff(path, axis=0)
    return (path[:-1] + random.uniform(0, world.side_m, (n, 2))) % world.side_m, step


def _candidates(
    world: WalkWorld,
    start: Float[np.ndarray, "steps n 2"],
    step: Float[np.ndarray, "steps n 2"],
    camera: Float[np.ndarray, "cameras 2"],
) -> tuple[
    Int[np.ndarray, " pairs"],
    Int[np.ndarray, " pairs"],
    Float[np.ndarray, "pairs 2"],
    Float[np.ndarray, "pairs 2"],
]:
    """Walker, camera, offset and displacement of the steps that might reach a camera."""
    n = start.shape[1]
    start, step = start.reshape(-1, 2), step.reshape(-1, 2)
    # One camera at a time and in float32, so that what is compared stays in the processor's cache.
    middle = ((start + step / 2) % world.side_m).astype(np.float32).T.copy()
    reach = np.hypot(*step.T).astype(np.float32) / 2 + np.float32(world.radius_m + 0.01)
    square = reach**2
    near = []
    for position in camera.astype(np.float32):
        x, y = (_torus_distance(middle[axis], position[axis], world.side_m) for axis in (0, 1))
        near.append(np.flatnonzero(x * x + y * y < square))
    index = np.concatenate(near)
    owner = np.repeat(np.arange(len(camera)), [len(steps) for steps in near])
    # The image of the camera that is nearest to the middle of the step.
    to_middle = start[index] + step[index] / 2 - camera[owner]
    to_middle -= world.side_m * np.round(to_middle / world.side_m)
    return index % n, owner, to_middle - step[index] / 2, step[index]


def _torus_distance(x: Float[np.ndarray, " n"], origin: np.float32, side_m: float) -> Float[np.ndarray, " n"]:
    distance = np.abs(x - origin)
    return np.minimum(distance, np.float32(side_m) - distance)


def _measured_movement(world: WalkWorld, speed_m_per_s: float, random: np.random.Generator) -> Movement:
    """Speed, radius and angle as a study would know them: the truth and an error of the stated size."""

    def measure(true: float) -> Measured:
        if not world.parameter_cv:
            return Measured(true, 0.0)
        se = true * world.parameter_cv
        return Measured(max(true + se * random.standard_normal(), 0.1 * true), se)

    return Movement(measure(speed_m_per_s), measure(world.radius_m), measure(world.angle_rad))
