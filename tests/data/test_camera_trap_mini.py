"""The embedded world: determinism, planted rates, clocks, down-time, boxes, and the truth that it states."""

import csv
import hashlib
import json
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bioclip_jax.datasets import camera_trap_mini
from bioclip_jax.datasets.camera_trap_mini import (
    BLANK,
    PERSON,
    SPECIES,
    World,
    draw_burst,
    draw_world,
    expected_rates,
    solar_hour,
    sun_elevation,
    truth,
    write_world,
)
from bioclip_jax.datasets.tree_of_life_mini import builder
from bioclip_jax.errors import UserError

SMALL = {"sites": 6, "days": 7}


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> tuple[Path, World]:
    folder = tmp_path_factory.mktemp("world")
    return folder, write_world(folder, seed=3, **SMALL)


@pytest.fixture(scope="module")
def worlds() -> list[World]:
    return [draw_world(seed) for seed in range(120)]


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_seed_gives_the_same_bytes_and_another_seed_others(written, tmp_path):
    first = digests(written[0])
    write_world(tmp_path / "again", seed=3, threads=3, **SMALL)
    again = digests(tmp_path / "again")
    assert first == again, (
        f"differing files: {[name for name in first if first[name] != again.get(name)][:5]}"
    )
    other = draw_world(4, **SMALL)
    assert not np.array_equal(other.occupancy, written[1].occupancy)
    assert len(other.events) != len(written[1].events) or not np.array_equal(
        other.events.time, written[1].events.time
    )


def test_occupied_sites_are_as_many_as_planted(worlds):
    planted = np.array([world.occupancy for world in worlds])
    occupied = np.array([world.occupied.sum(1) for world in worlds])
    sites = len(worlds[0].deployments)
    z = (occupied - sites * planted).sum(0) / np.sqrt((sites * planted * (1 - planted)).sum(0))
    assert np.abs(z).max() < 4, f"occupied sites per species, in standard deviations from planted: {z}"
    assert 0.2 <= planted.min() and planted.max() <= 0.9


def test_events_are_as_many_as_planted(worlds):
    """Given the sites' rates the events are Poisson, but for 130 s of sleep after each burst."""
    effort = np.array([world.effort_days for world in worlds])
    counts = np.array([world.event_counts() for world in worlds])
    rates = np.array([[t.detection * r for t, r in zip(w.species, w.site_rates)] for w in worlds])
    expected = (rates * effort[:, None]).sum((0, 2))
    ratio = counts.sum((0, 2)) / expected
    limit = 0.01 + 4 / np.sqrt(expected)  # partial days at both ends are worth as much as 1 %
    assert (np.abs(ratio - 1) < limit).all(), f"recorded over planted events, by species: {ratio}"
    z = (counts - rates * effort[:, None])[rates > 0] / np.sqrt((rates * effort[:, None])[rates > 0] + 1e-9)
    assert 0.85 < z[np.isfinite(z)].var() < 1.15, f"variance over mean {z.var()}: not Poisson"
    assert not counts[rates == 0].any(), "events at unoccupied sites"


def test_site_rates_average_to_the_planted_rate(worlds):
    planted = np.array([world.passages_per_day for world in worlds])[..., None]
    relative = np.array([world.site_rates for world in worlds]) / planted
    relative = relative[relative > 0]
    assert abs(relative.mean() - 1) < 4 * 0.41 / np.sqrt(len(relative))
    assert abs(relative.std() - 6**-0.5) < 0.02


def test_activity_follows_the_solar_day(worlds):
    for index, traits in enumerate(SPECIES):
        hours = np.concatenate([w.solar_hours[w.events.species == index] for w in worlds])
        counts = np.bincount(hours.astype(int), minlength=24)
        activity = traits.activity_by_hour()
        assert abs(activity.sum() - 1) < 1e-9 and activity.min() > 0
        expected = activity * len(hours)
        chi2 = ((counts - expected) ** 2 / expected)[expected > 5]
        # The ends of the deployments, all by day, distort a few hours a little.
        assert chi2.sum() < 4 * len(chi2), f"{traits.name}: {counts} events by hour, expected {expected}"


def test_solar_time_and_elevation_at_known_moments():
    """An equinox, a solstice, and Greenwich on 3 November, when the equation of time is 16 min 26 s."""
    noon = np.datetime64("2025-03-20T12:07:30")
    assert sun_elevation(noon, 0.0, 0.0) > 89.3
    assert abs(sun_elevation(np.datetime64("2025-06-21T12:02"), 51.5, 0.0) - (90 - 51.5 + 23.44)) < 0.1
    assert abs(solar_hour(np.datetime64("2025-11-03T12:00"), 0.0) - 12.274) < 0.01
    assert abs(solar_hour(np.datetime64("2025-11-03T12:00"), -30.0) - 10.274) < 0.01


def test_density_satisfies_the_random_encounter_model(worlds):
    world = worlds[0]
    stated = truth(world)
    for index, traits in enumerate(world.species):
        one = stated["species"][traits.name]
        passages = one["passages_per_day_if_occupied"] * one["occupancy"] / (24 * 3600)
        groups_per_m2 = passages * np.pi / (traits.speed * traits.radius * (2 + traits.angle))
        expected = groups_per_m2 * 1e6 * one["mean_group"]
        assert abs(one["density_per_km2"] / expected - 1) < 1e-9, traits.name
        # The same from what is recorded, with the effective radius.
        recorded = one["events_per_100_days"] / 100 / 86_400
        zone = one["speed_m_per_s"] * one["radius_m"] * (2 + one["angle_rad"])
        assert abs(recorded * np.pi / zone * 1e6 * one["mean_group"] / expected - 1) < 1e-9, traits.name
        assert sum(one["events"].values()) == world.event_counts()[index].sum()
    assert abs(stated["effort_days"] - sum(stated["effort_days_by_deployment"].values())) < 1e-9
    assert np.allclose(
        [one["events_per_100_days"] for one in stated["species"].values()],
        100 * expected_rates(world)["planted"],
    )


def test_the_faults_of_the_cameras(worlds):
    for world in worlds[:20]:
        effort = world.effort_days
        assert (effort == 0).sum() == 1, "one camera never worked"
        assert sum(bool(one.down) for one in world.deployments) == 3
        wrong = [one.clock_offset for one in world.deployments if one.clock_offset]
        assert len(wrong) == 2 and min(wrong) < timedelta(hours=8) and max(wrong) > timedelta(days=365)
        assert not world.events.site.tolist().count(int(np.flatnonzero(effort == 0)[0]))
        for site, one in enumerate(world.deployments):
            times = world.events.time[world.events.site == site].astype("datetime64[s]").tolist()
            zone = one.start.tzinfo
            moments = [(time + zone.utcoffset(None)).replace(tzinfo=zone) for time in times]
            assert all(one.start <= moment <= one.end for moment in moments)
            assert not [m for m in moments for start, end in one.down if start <= m < end], one.deployment_id
            gaps = np.diff(world.events.time[world.events.site == site].astype(np.int64))
            assert (gaps - 2 > 120).all(), "two bursts would be one event"


def test_exif_times_and_clock_offsets_give_the_true_times(written):
    folder, world = written
    deployments = {row["deploymentID"]: row for row in rows(folder / "deployments.csv")}
    serials, positions = 0, 0
    for site, one in enumerate(world.deployments):
        row = deployments[one.deployment_id]
        sign, text = (
            (-1, row["clockOffset"][1:])
            if row["clockOffset"][:1] == "-"
            else (1, row["clockOffset"].lstrip("+"))
        )
        hours, minutes, seconds = map(int, text.split(":")) if text else (0, 0, 0)
        offset = sign * timedelta(hours=hours, minutes=minutes, seconds=seconds)
        zone = datetime.fromisoformat(row["deploymentStart"]).utcoffset()
        files = sorted((folder / "photos" / one.deployment_id).iterdir())
        times = world.events.time[world.events.site == site].astype("datetime64[s]").tolist()
        assert len(files) == 3 * len(times)
        for index, file in enumerate(files):
            exif = Image.open(file).getexif()
            details = exif.get_ifd(0x8769)
            shown = datetime.strptime(details[0x9003], "%Y:%m:%d %H:%M:%S")
            assert shown + offset - zone == times[index // 3] + timedelta(seconds=index % 3), file
            serials += details[0xA431] == one.camera_id
            if gps := exif.get_ifd(0x8825):
                degrees = sum(float(part) / 60**power for power, part in enumerate(gps[2]))
                assert gps[1] == "S" and abs(degrees + one.latitude) < 1e-5
                positions += 1
    assert serials == 3 * len(world.events) and 0 < positions < serials


def test_tables_agree_with_the_world(written):
    folder, world = written
    photographs = {str(path.relative_to(folder / "photos")) for path in folder.glob("photos/*/*")}
    detections = json.loads((folder / "detections.json").read_text())
    assert {image["file"] for image in detections["images"]} == photographs
    assert "simulated" in detections["info"]["detector"]
    for image in detections["images"]:
        for found in image["detections"]:
            x, y, width, height = found["bbox"]
            assert 0 <= x and 0 <= y and width > 0 and height > 0, image
            assert x + width <= 1.0001 and y + height <= 1.0001, image
            assert 0 < found["conf"] <= 1 and found["category"] in ("1", "2")
    assert [row["scientificName"] for row in rows(folder / "species.csv")] == [one.name for one in SPECIES]
    assert json.loads((folder / "truth.json").read_text()) == json.loads(json.dumps(truth(world)))

    bursts = {}
    for site, one in enumerate(world.deployments):
        for number, event in enumerate(np.flatnonzero(world.events.site == site)):
            for frame in range(3):
                bursts[f"{one.deployment_id}/IMG_{3 * number + frame + 1:04d}.JPG"] = event
    verified = rows(folder / "verified.csv")
    events = Counter(bursts[row["filepath"]] for row in verified)
    assert set(events.values()) == {3}, "whole bursts are verified"
    for row in verified:
        kind = world.events.species[bursts[row["filepath"]]]
        assert kind != PERSON
        assert row["scientificName"] == ("blank" if kind == BLANK else SPECIES[kind].name)
        assert row["count"] == ("" if kind == BLANK else str(world.events.count[bursts[row["filepath"]]]))
    n = (world.events.species != PERSON).sum()
    assert abs(len(events) - 0.25 * n) < 4 * np.sqrt(n * 0.25 * 0.75)

    for row, traits in zip(rows(folder / "movement.csv"), SPECIES):
        for column, value in {"speed_m_per_s": traits.speed, "radius_m": traits.effective_radius}.items():
            error = float(row[f"{column.partition('_')[0]}_se"])
            assert abs(float(row[column]) - value) < 4 * error and 0 < error < 0.2 * value, row


def test_no_export_is_a_file_name():
    """Importing a file would put the module in the place of the function."""
    folder = Path(camera_trap_mini.__file__).parent
    assert not [name for name in camera_trap_mini.__all__ if (folder / f"{name}.py").exists()]


def test_photos_are_never_overwritten(written):
    with pytest.raises(UserError, match="photos exists"):
        write_world(written[0], seed=3, **SMALL)


def test_held_out_bursts_are_reproducible_and_bounded():
    for name in ("Periparus ater", "Rana temporaria", ""):
        first, again, other = draw_burst(name, 5), draw_burst(name, 5), draw_burst(name, 6)
        assert np.array_equal(first.frames, again.frames) and not np.array_equal(first.frames, other.frames)
        assert [len(boxes) for boxes in first.boxes] == 3 * [len(first.passage.numbers)]
        splits = max(builder._FIRST_NUMBER.values()) + 2000
        assert all(number > splits for number in first.passage.numbers), "an individual of a split"
        for x, y, width, height in (box for boxes in first.boxes for box in boxes):
            assert 0 <= x < x + width <= 1 and 0 <= y < y + height <= 1
    frame = np.array(draw_burst("Periparus ater", 5).frames[1], float)
    assert frame[:200].std() > 10, "an empty picture"


def test_night_is_gray_and_day_is_in_color():
    """The beetle passes by night, the tit by day."""
    spread = {
        name: [
            np.ptp(draw_burst(name, number).frames[0][:200].astype(int), axis=2).mean() for number in range(8)
        ]
        for name in ("Anoplophora glabripennis", "Periparus ater")
    }
    assert np.median(spread["Anoplophora glabripennis"]) == 0
    assert np.median(spread["Periparus ater"]) > 10
