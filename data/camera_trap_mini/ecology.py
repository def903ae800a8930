"""The world itself: sites, cameras, occupancy and the events that a camera records, all from a seed."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from bioclip_jax.datasets.camera_trap_mini.species import SPECIES, SpeciesTraits, draw_false_hours
from bioclip_jax.datasets.camera_trap_mini.sun import equation_of_time, solar_hour

# Events.species of what is no species.
BLANK, PERSON = -1, -2
# A burst takes two seconds; the camera then sleeps, so that no two bursts are within 120 s.
CAMERA_DELAY = 130
BURST = 3  # frames, one a second
# Individuals of tree_of_life_mini's splits are below.
FIRST_NUMBER = 10_000

ZONE = timezone(timedelta(hours=-1))
_FIRST_DAY = datetime(2025, 9, 1, tzinfo=ZONE)
# An island that does not exist, in the open South Atlantic.
CENTER = (-12.4137, -18.7182)
_OCCUPANCY = (0.2, 0.9)
_PASSAGES = (0.08, 0.5)  # a day, at an occupied site
_SITE_SHAPE = 6.0  # of the gamma distribution of a species' rates over occupied sites: their CV is 0.41
_FALSE_TRIGGERS = 0.35  # a day
_FALSE_SHAPE = 2.0
_MODELS = ("Sketch TrailCam 2", "Sketch TrailCam 4", "Plotter Scout")
HABITATS = ("forest", "scrub", "meadow")
_PLACES = (
    ("Hollow", "Larch", "Otter", "Quarry", "Raven", "Sedge", "Tinder", "Umber", "Willow", "Yarrow"),
    ("Bend", "Ford", "Gate", "Knoll", "Ridge", "Spring", "Wash"),
)


@dataclass(frozen=True)
class Deployment:
    """A camera at a site; times are in the site's zone.

    clock_offset: true time minus the camera's. down: intervals in which the camera did not work.
    gps: the camera writes its position into its photographs.
    """

    deployment_id: str
    location_id: str
    location_name: str
    latitude: float
    longitude: float
    camera_id: str
    camera_model: str
    habitat: str
    start: datetime
    end: datetime
    clock_offset: timedelta
    down: tuple[tuple[datetime, datetime], ...]
    gps: bool

    @property
    def effort_days(self) -> float:
        """Days in which the camera worked."""
        down = sum((end - start for start, end in self.down), timedelta())
        return (self.end - self.start - down) / timedelta(days=1)


@dataclass(frozen=True)
class Events:
    """Bursts that the cameras recorded, by deployment and time.

    site: index of the deployment. species: index of the species, BLANK or PERSON. count: individuals.
    time: of the first frame, in UTC, whole seconds.
    """

    site: Int[np.ndarray, " n"]
    species: Int[np.ndarray, " n"]
    count: Int[np.ndarray, " n"]
    time: np.ndarray

    def __len__(self) -> int:
        return len(self.site)


@dataclass(frozen=True)
class World:
    """A world: its planted parameters, by species, and what happened in it.

    occupancy: probability that a site is occupied. passages_per_day: mean rate of passages at occupied sites.
    occupied: of each site. site_rates: passages a day at each site, 0 where it is not occupied.
    """

    seed: int
    species: tuple[SpeciesTraits, ...]
    deployments: tuple[Deployment, ...]
    occupancy: Float[np.ndarray, " species"]
    passages_per_day: Float[np.ndarray, " species"]
    occupied: Bool[np.ndarray, "species site"]
    site_rates: Float[np.ndarray, "species site"]
    events: Events

    @cached_property
    def effort_days(self) -> Float[np.ndarray, " site"]:
        """Days in which each camera worked."""
        return np.array([deployment.effort_days for deployment in self.deployments])

    @cached_property
    def solar_hours(self) -> Float[np.ndarray, " n"]:
        """Apparent solar time of each event, in hours."""
        longitude = np.array([deployment.longitude for deployment in self.deployments])
        return solar_hour(self.events.time, longitude[self.events.site])

    def event_counts(self) -> Int[np.ndarray, "species site"]:
        """Number of events of each species at each site."""
        counts = np.zeros((len(self.species), len(self.deployments)), int)
        known = self.events.species >= 0
        np.add.at(counts, (self.events.species[known], self.events.site[known]), 1)
        return counts


def draw_world(seed: int, *, sites: int = 30, days: int = 30) -> World:
    """Draw a world without photographing it, as a pure function of its arguments.

    A species occupies each site with its occupancy, drawn from 0.2 … 0.9. Its passages at an occupied site
    are a Poisson process whose rate is gamma distributed over sites (mean drawn from 0.08 … 0.5 a day), and
    which follows its activity over the solar day. A passage triggers the camera with the species' detection
    probability, unless the camera is down or sleeps after a burst. Raises ValueError for fewer than 6 sites,
    since several have a fault each, or fewer than 7 days.
    """
    if sites < 6 or sites > len(_PLACES[0]) * len(_PLACES[1]) or days < 7:
        raise ValueError(f"a world has 6 to 70 sites and at least 7 days, not {sites} and {days}")
    rng = np.random.default_rng([seed, sites, days])
    deployments = _deployments(rng, sites, days)
    occupancy = rng.uniform(*_OCCUPANCY, len(SPECIES))
    passages = np.exp(rng.uniform(*np.log(_PASSAGES), len(SPECIES)))
    occupied = rng.random((len(SPECIES), sites)) < occupancy[:, None]
    spread = rng.gamma(_SITE_SHAPE, 1 / _SITE_SHAPE, occupied.shape)
    site_rates = np.where(occupied, passages[:, None] * spread, 0.0)
    events = _events(rng, deployments, site_rates, days)
    return World(seed, SPECIES, deployments, occupancy, passages, occupied, site_rates, events)


def _deployments(rng: np.random.Generator, sites: int, days: int) -> tuple[Deployment, ...]:
    """Cameras of which two have wrong clocks, two broke for some days, and one never worked."""
    names = [f"{first} {second}" for first in _PLACES[0] for second in _PLACES[1]]
    names = rng.permutation(names)[:sites]
    cameras = rng.permutation(9000)[:sites] + 1000
    slow, reset, broken, gone, dead = rng.permutation(sites)[:5].tolist()
    side = int(np.ceil(np.sqrt(sites)))
    deployments = []
    for site in range(sites):
        # About 800 m apart, on a rough grid.
        row, column = np.divmod(site, side) + rng.uniform(-0.3, 0.3, 2)
        start = _FIRST_DAY + timedelta(seconds=int(rng.uniform(9, 15) * 3600 + 86_400 * rng.integers(0, 2)))
        end = start + timedelta(days=days, seconds=int(rng.uniform(-2, 2) * 3600))
        offset, down = timedelta(), ()
        if site == slow:
            offset = timedelta(minutes=int(rng.integers(100, 400)))
        elif site == reset:  # to the factory's date, when its batteries went in
            offset = start - datetime(2019, 1, 1, tzinfo=ZONE)
        elif site == broken:
            first = start + timedelta(seconds=int(86_400 * days * rng.uniform(0.2, 0.4)))
            down = ((first, first + timedelta(days=days // 5)),)
        elif site == gone:
            down = ((start + timedelta(days=int(days * rng.uniform(0.5, 0.8))), end),)
        elif site == dead:
            down = ((start, end),)
        deployments.append(
            Deployment(
                deployment_id=f"CT{site + 1:02d}",
                location_id=f"site-{site + 1:02d}",
                location_name=str(names[site]),
                latitude=round(CENTER[0] + 0.0072 * row, 6),
                longitude=round(CENTER[1] + 0.0074 * column, 6),
                camera_id=f"SN{cameras[site]}",
                camera_model=_MODELS[rng.integers(len(_MODELS))],
                habitat=HABITATS[rng.integers(len(HABITATS))],
                start=start,
                end=end,
                clock_offset=offset,
                down=down,
                gps=bool(rng.random() < 0.4),
            )
        )
    return tuple(deployments)


def _events(rng, deployments: tuple[Deployment, ...], site_rates, days: int) -> Events:
    """Draw the recorded bursts: animals, false triggers and the people who tend the cameras."""
    longitude = np.array([one.longitude for one in deployments])
    padded = days + 4  # whole days around every deployment, so that no passage at its ends is missed
    midnight = np.datetime64(_FIRST_DAY.astimezone(UTC).replace(tzinfo=None), "s") - np.timedelta64(1, "D")

    def passages(rates, draw_hours):
        n = rng.poisson(rates * padded)
        site = np.repeat(np.arange(len(deployments)), n)
        day, hour = rng.integers(0, padded, len(site)), draw_hours(len(site))
        noon = midnight + day * np.timedelta64(1, "D") + np.timedelta64(12, "h")
        # Mean solar midnight at the site, then the apparent hour.
        seconds = (hour - longitude[site] / 15 - equation_of_time(noon) / 60) * 3600
        start = noon.astype("datetime64[D]").astype("datetime64[s]")
        return site, start + seconds.astype("timedelta64[s]")

    parts = []
    for index, (traits, rates) in enumerate(zip(SPECIES, site_rates)):
        site, time = passages(rates, lambda n, traits=traits: traits.draw_hours(rng, n))
        count = rng.choice((1, 2, 3), len(site), p=traits.groups)
        keep = rng.random(len(site)) < traits.detection
        parts.append([value[keep] for value in (site, np.full(len(site), index), count, time)])
    rates = _FALSE_TRIGGERS * rng.gamma(_FALSE_SHAPE, 1 / _FALSE_SHAPE, len(deployments))
    site, time = passages(rates, lambda n: draw_false_hours(rng, n))
    parts.append([site, np.full(len(site), BLANK), np.zeros(len(site), int), time])
    for ends in (
        [one.start + timedelta(seconds=20) for one in deployments],
        [one.end - timedelta(seconds=30) for one in deployments],
    ):
        site = np.arange(len(deployments))
        parts.append([site, np.full(len(site), PERSON), np.ones(len(site), int), _utc(ends)])

    site, species, count, time = (np.concatenate(column) for column in zip(*parts))
    keep = _working(deployments, site, time)
    order = np.lexsort((time, site))
    order = order[keep[order]]
    order = order[_awake(site[order], time[order])]
    return Events(site[order], species[order], count[order], time[order])


def _working(deployments, site, time) -> Bool[np.ndarray, " n"]:
    """True where the camera was out and worked during the whole burst."""
    last = time + np.timedelta64(BURST, "s")
    keep = (time >= _utc([one.start for one in deployments])[site]) & (
        last <= _utc([one.end for one in deployments])[site]
    )
    for index, one in enumerate(deployments):
        for start, end in zip(*(_utc(ends) for ends in zip(*one.down))):
            keep &= (site != index) | (last <= start) | (time >= end)
    return keep


def _awake(site, time) -> Bool[np.ndarray, " n"]:
    """True for bursts at least CAMERA_DELAY seconds after the camera's last one; sorted by site and time."""
    keep = np.ones(len(site), bool)
    seconds = time.astype("datetime64[s]").astype(np.int64)
    last_site, last = -1, 0
    for index, (where, second) in enumerate(zip(site.tolist(), seconds.tolist())):
        if where == last_site and second - last < CAMERA_DELAY:
            keep[index] = False
        else:
            last_site, last = where, second
    return keep


def _utc(times) -> np.ndarray:
    return np.array([time.astimezone(UTC).replace(tzinfo=None) for time in times], "datetime64[s]")
