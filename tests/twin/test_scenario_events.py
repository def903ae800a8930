"""Scenario files: what each kind of event does, and one line for each mistake."""

from __future__ import annotations

import datetime

import jax
import numpy as np
import pytest
from made_twin import GRASS, HARE, LION, START, ZEBRA, made_twin

from bioclip_jax.errors import UserError
from bioclip_jax.twin.community import blueprint_of
from bioclip_jax.twin.scenario import Timeline, end_of_run, read_scenario
from bioclip_jax.twin.scenario.interventions import interventions

END = end_of_run(START, 5)
# Between the patches west and middle.
LINE = "points = [[-2.2, 34.85], [-1.8, 34.85]]"


def _read(tmp_path, *events, **keys):
    text = "".join(f'{key} = "{value}"\n' for key, value in keys.items())
    path = tmp_path / "scenario.toml"
    path.write_text(text + "".join(f"\n[[events]]\n{event}\n" for event in events))
    return read_scenario(path, made_twin(), END)


def _changes(tmp_path, *events):
    """Interventions of events, and the timeline, cut at their days."""
    scenario = _read(tmp_path, *events)
    timeline = Timeline.of(START, 5, scenario.dates)
    twin = made_twin()
    with jax.enable_x64(True):
        community = blueprint_of(twin).community
    return interventions(scenario, twin, community, timeline), timeline, community


def _interval(timeline, *day):
    return timeline.edges.index(datetime.date(*day))


def test_months_are_cut_at_events_and_kept_states_are_not():
    plain = Timeline.of(datetime.date(2032, 1, 15), 1)
    cut = Timeline.of(datetime.date(2032, 1, 15), 1, [datetime.date(2032, 3, 10), datetime.date(2040, 1, 1)])
    assert plain.days.sum() == cut.days.sum() == 366
    assert len(cut.days) == len(plain.days) + 1
    assert plain.times == cut.times and len(plain.times) == 14, "start, 12 firsts of months, end"
    assert cut.months.tolist() == [0, 1, 2, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
    assert end_of_run(datetime.date(2032, 2, 29), 1) == datetime.date(2033, 3, 1)


def test_removal_takes_a_share_at_once(tmp_path):
    changes, timeline, _ = _changes(
        tmp_path, 'kind = "remove"\nspecies = "zebra"\npatches = ["west"]\nshare = 0.75\ndate = 2031-06-15'
    )
    at = _interval(timeline, 2031, 6, 15)
    assert changes.keep[at, 0, 2] == 0.25
    assert (changes.keep != 1).sum() == 1


def test_introduction_in_individuals_is_biomass_per_area(tmp_path):
    changes, timeline, _ = _changes(
        tmp_path,
        f'kind = "introduce"\nspecies = "{LION}"\npatch = "East"\nindividuals = 4\ndate = "2030-01-01"',
    )
    assert changes.add[0, 2, 5] == pytest.approx(4 * 150 / 100)
    assert (changes.add != 0).sum() == 1


def test_harvest_by_rate_and_by_individuals(tmp_path):
    changes, timeline, _ = _changes(
        tmp_path,
        f'kind = "harvest"\nspecies = "{HARE}"\nrate_per_year = 0.5\nstart = 2031-02-01\nend = 2031-02-28',
        'kind = "harvest"\nspecies = "zebra"\npatches = "west"\nindividuals_per_year = 80',
    )
    at = _interval(timeline, 2031, 2, 1)
    assert changes.harvest[at, :, 4] == pytest.approx(0.5 / 365.25)
    assert (changes.harvest[:, :, 4] > 0).sum() == 3, "February alone, in three patches"
    # 80 of the 8 per km² on 100 km²: a tenth a year.
    assert changes.harvest[:, 0, 2] == pytest.approx(0.1 / 365.25)
    assert not changes.harvest[:, 1:, 2].any()


def test_a_fence_holds_back_whom_it_does_not_exempt(tmp_path):
    changes, timeline, _ = _changes(
        tmp_path, f'kind = "fence"\n{LINE}\npermeability = 0.2\nexcept = ["{LION}"]\nstart = 2031-03-10'
    )
    before, after = changes.open[0], changes.open[_interval(timeline, 2031, 3, 10)]
    assert (before == 1).all()
    assert after[0, 1, 2] == after[1, 0, 2] == after[0, 2, 2] == 0.2
    assert after[1, 2, 2] == 1 and (after[:, :, 5] == 1).all()


def test_a_road_kills_a_share_of_those_that_cross(tmp_path):
    changes, _, community = _changes(
        tmp_path, f'kind = "road"\n{LINE}\nbarrier = 0.5\nmortality = 0.4\nspecies = "zebra"'
    )
    assert changes.open[0, 0, 1, 2] == pytest.approx(0.5 * 0.6)
    leaving = np.asarray(community.movement)[0, 1:].sum() * 0.01
    assert changes.harvest[0, 0, 2] == pytest.approx(leaving * 0.5 * 0.4)
    crossing = np.asarray(community.movement)[2, 0] * 0.01
    assert changes.harvest[0, 2, 2] == pytest.approx(crossing * 0.5 * 0.4)
    assert not changes.harvest[:, :, [0, 1, 3, 4, 5]].any()


def test_habitat_by_polygon_and_weather(tmp_path):
    (tmp_path / "rain.csv").write_text("month,rain_mm\n2030-05,0\n2030-06,128.333333333\n")
    changes, timeline, _ = _changes(
        tmp_path,
        'kind = "habitat"\ncapacity = 0.5\n'
        "polygon = [[-2.1, 34.75], [-1.9, 34.75], [-1.9, 34.95], [-2.1, 34.95]]",
        'kind = "rain"\nfactor = 0.5\nstart = 2031-01-01\nend = 2032-12-31',
        'kind = "rain"\nseries = "rain.csv"\nstart = 2030-05-01\nend = 2030-06-30\npatches = "east"',
        'kind = "temperature"\nchange_k = 2',
    )
    assert (changes.capacity[:, :2, :2] == 0.5).all() and (changes.capacity[:, 2] == 1).all()
    assert (changes.capacity[:, :, 2:] == 1).all(), "consumers have no capacity"
    dry = timeline.within(datetime.date(2031, 1, 1), datetime.date(2033, 1, 1))
    assert (changes.rain_factor[dry] == 0.5).all() and changes.rain_factor.sum() == 3 * (60 - 12)
    given = changes.rain_given[:, 2]
    # The climate has 770 mm a year, 64.17 a month.
    assert given[4:6] == pytest.approx([0.0, 2.0]) and np.isnan(np.delete(given, [4, 5])).all()
    assert np.isnan(changes.rain_given[:, :2]).all()
    assert (changes.warming == 2).all()


def test_a_water_point_draws_those_that_drink(tmp_path):
    changes, _, _ = _changes(
        tmp_path, 'kind = "water_point"\npatch = "middle"\nspecies = ["zebra"]\nattraction = 4'
    )
    zebra = changes.open[0, :, :, 2]
    assert zebra[0, 1] == zebra[2, 1] == 2 and zebra[1, 0] == zebra[1, 2] == 0.5
    assert zebra[0, 2] == 1 and (changes.open[:, :, :, 0] == 1).all()


REMOVE = f'kind = "remove"\nspecies = "{ZEBRA}"\n'
INTRODUCE = 'kind = "introduce"\nspecies = "zebra"\nindividuals = 3\npatch = '
MISTAKES = {
    "unknown species": (
        ['kind = "remove"\nspecies = "Equus quaga"\ndate = 2031-01-01'],
        "no species 'Equus quaga'; did you mean Equus quagga?",
    ),
    "unknown patch": ([REMOVE + 'patches = "wset"\ndate = 2031-01-01'], "did you mean west?"),
    "unknown kind": (['kind = "fense"'], "event 1: unknown kind 'fense'; did you mean fence?"),
    "a list of kinds": (['kind = ["remove", "fence"]'], "event 1: unknown kind ['remove', 'fence']"),
    "no kind": (["date = 2031-01-01"], "event 1 has no kind"),
    "unknown key": ([REMOVE + "dat = 2031-01-01"], "unknown key dat; did you mean date?"),
    "no date": ([REMOVE], "has no date"),
    "date before": ([REMOVE + "date = 2029-12-31"], "outside the run, 2030-01-01 to 2034-12-31"),
    "date after": ([REMOVE + "date = 2035-01-01"], "date 2035-01-01 is outside the run"),
    "no date of the calendar": ([REMOVE + 'date = "2031-02-30"'], "2031-02-30"),
    "share above 1": ([REMOVE + "share = 75\ndate = 2031-01-01"], "share is 75"),
    "a number beyond all floats": (
        [REMOVE + f"share = {'9' * 400}\ndate = 2031-01-01"],
        "write a number from 0 to 1",
    ),
    "fence to beyond all floats": (
        [f'kind = "fence"\n{LINE.replace("-2.2", "9" * 400)}'],
        "write a line as [[latitude, longitude]",
    ),
    "fence outside": (
        [f'kind = "fence"\n{LINE.replace("-2.2", "-3.2")}'],
        "the point [-3.2, 34.85] of points is outside the map",
    ),
    "fence around nothing": (
        ['kind = "fence"\npoints = [[-2.2, 34.71], [-1.8, 34.71]]'],
        "separates nothing",
    ),
    "fence without effect": ([f'kind = "fence"\n{LINE}\npermeability = 1'], "holds nobody back"),
    "fence that all species cross": (
        [f'kind = "fence"\n{LINE}\nexcept = {[one.name for one in made_twin().species]}'],
        "all species cross such a fence",
    ),
    "road without effect": ([f'kind = "road"\n{LINE}'], "the road does nothing"),
    "latitude and longitude exchanged": (
        ['kind = "fence"\npoints = [[34.85, -2.2], [34.85, -1.8]]'],
        "is outside the map",
    ),
    "polygon around nothing": (
        ['kind = "habitat"\ncapacity = 0.5\npolygon = [[-2.1, 34.71], [-2.1, 34.72], [-2.15, 34.72]]'],
        "no patch has its center in the polygon",
    ),
    "habitat of an animal": (
        ['kind = "habitat"\ncapacity = 0.5\nspecies = "zebra"\npatches = "west"'],
        "Equus quagga is not a producer",
    ),
    "individuals and kg": ([INTRODUCE + '"west"\nkg = 3\ndate = 2031-01-01'], "individuals or kg, not both"),
    "end before start": (
        ['kind = "rain"\nfactor = 0.5\nstart = 2032-01-01\nend = 2031-12-31'],
        "its end 2031-12-31 is before its start 2032-01-01",
    ),
    "series that is not there": (['kind = "rain"\nseries = "dry.csv"'], "dry.csv does not exist"),
    "water that draws grass": (
        [f'kind = "water_point"\npatch = "west"\nspecies = "{GRASS}"\nattraction = 2'],
        "no dispersal_per_day",
    ),
    "remove and introduce at once": (
        [REMOVE + "date = 2031-01-01", INTRODUCE + '"east"\ndate = 2031-01-01'],
        "event 2 (introduce) contradicts event 1 (remove): Equus quagga is removed and introduced in east on",
    ),
    "two series of rain": (
        ['kind = "rain"\nfactor = 0.5\nstart = 2031-05-01', 'kind = "rain"\nfactor = 2\nend = 2031-05-01'],
        "event 2 (rain) contradicts event 1 (rain): both set the rain of west from 2031-05-01 to 2031-05-01",
    ),
    "harvest of what is gone": (
        [
            REMOVE + 'patches = "west"\ndate = 2031-01-01',
            'kind = "harvest"\nspecies = "zebra"\nrate_per_year = 0.1',
            REMOVE + 'patches = ["middle", "east"]\ndate = 2032-01-01',
        ],
        "event 2 (harvest) contradicts event 3 (remove): Equus quagga is removed on 2032-01-01 and harvested",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_one_line(tmp_path, mistake):
    events, message = MISTAKES[mistake]
    with pytest.raises(UserError) as raised:
        _read(tmp_path, *events)
    text = str(raised.value)
    assert message in text and "\n" not in text and text.startswith(str(tmp_path)), text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[events]\n", "is not TOML"),
        ('name = "x"\n', "has no [[events]]"),
        ('nmae = "x"\n[[events]]\n', "unknown key nmae; did you mean name?"),
        ("name = 3\n[[events]]\n", "name"),
    ],
)
def test_files_that_are_no_scenario(tmp_path, text, message):
    path = tmp_path / "scenario.toml"
    path.write_text(text)
    with pytest.raises(UserError) as raised:
        read_scenario(path, made_twin(), END)
    assert message in str(raised.value) and "\n" not in str(raised.value)
    with pytest.raises(UserError, match="none.toml does not exist"):
        read_scenario(tmp_path / "none.toml", made_twin(), END)
    with pytest.raises(UserError, match="folder"):
        read_scenario(tmp_path, made_twin(), END)


def test_a_series_in_kelvin_is_refused(tmp_path):
    rows = "".join(f"{year}-{month:02d},295\n" for year in range(2030, 2035) for month in range(1, 13))
    (tmp_path / "warm.csv").write_text("month,temperature_c\n" + rows)
    with pytest.raises(UserError, match="row 2: write month.* and temperature_c, from -80 to 60"):
        _read(tmp_path, 'kind = "temperature"\nseries = "warm.csv"')


def test_a_byte_order_mark_is_allowed(tmp_path):
    path = tmp_path / "scenario.toml"
    path.write_text(f"[[events]]\n{REMOVE}date = 2031-01-01\n", encoding="utf-8-sig")
    assert read_scenario(path, made_twin(), END).text.startswith("[[events]]")


def test_what_does_not_contradict(tmp_path):
    """Another day, another patch, another quantity, and a harvest that ends before or of what comes back."""
    scenario = _read(
        tmp_path,
        REMOVE + "date = 2031-01-01",
        INTRODUCE + '"east"\ndate = 2031-01-02',
        'kind = "rain"\nfactor = 0.5\npatches = "west"',
        'kind = "rain"\nfactor = 2\npatches = "east"',
        'kind = "temperature"\nchange_k = 1',
        'kind = "harvest"\nspecies = "zebra"\nrate_per_year = 0.1',
        f'kind = "remove"\nspecies = "{HARE}"\ndate = 2032-01-01',
        f'kind = "harvest"\nspecies = "{HARE}"\nrate_per_year = 0.1\nend = 2031-12-31',
        name="many",
        description="text",
    )
    assert scenario.name == "many" and len(scenario.events) == 8
