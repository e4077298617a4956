"""Times between cameras that are learned without labels."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from intraclip.link import linking
from intraclip.link.evidence import Evidence
from intraclip.link.footage import with_unit
from intraclip.link.learning import learn_times, still_linked, sure_links
from intraclip.link.people import People, link
from intraclip.link.scores import score_people
from intraclip.link.source import kept_apart
from intraclip.link.transit import EDGES, TransitTimes, bins
from intraclip.link.travel import Travel, TravelTimes, read_travel_times
from intraclip.metrics.embeddings import Embeddings
from link.link_world import CAMERAS, walks


def linked(evidence: Evidence) -> People:
    return link(evidence, tuple(f"t{row:04d}" for row in range(len(evidence))))


def learned(evidence: Evidence) -> TransitTimes:
    times, _ = learn_times(linked(evidence))
    assert times is not None
    return times


def of(times: TransitTimes, seconds: float, a: int = 1, b: int = 2) -> float:
    return float(times.of(np.array([seconds]), np.array([a]), np.array([b]))[0])


def by_chance(evidence: Evidence, seed: int) -> Evidence:
    """The same tracklets, each at any time."""
    rng = np.random.default_rng(seed)
    assert evidence.times is not None
    length = evidence.times[:, 1] - evidence.times[:, 0]
    start = rng.uniform(0, 240, size=len(length))
    return replace(evidence, times=np.stack([start, start + length], axis=1))


def test_times_that_people_take_are_found_without_a_label():
    times = learned(walks(0)[0])
    assert of(times, 9) > 0.8
    assert of(times, -2) < -1
    assert of(times, 2) < -1
    assert of(times, 100) < -1


@pytest.mark.parametrize("seed", range(3))
def test_learned_times_find_people_who_look_alike(seed: int):
    evidence, pids = walks(seed, noise=3.5)
    before = score_people(linked(evidence).person, pids)
    after = score_people(linked(with_unit(replace(evidence, transit=learned(evidence)))).person, pids)
    assert after.f1 > before.f1 + 0.1
    assert after.precision > before.precision + 0.05


@pytest.mark.parametrize("seed", range(5))
def test_times_by_chance_teach_nothing(seed: int):
    times, why = learn_times(linked(by_chance(walks(seed)[0], seed)))
    assert times is None
    assert "do not say how long people take" in why


def test_cameras_that_film_one_place_keep_what_is_their_own():
    times = learned(walks(1, people=120, noise=1.0, span=900, beside=True)[0])
    assert (1, 2) in times.own
    assert of(times, -2, 1, 2) > of(times, -2, 3, 4) + 1
    assert of(times, -2, 1, 2) > 0 > of(times, -2, 3, 4)
    assert of(times, -2, 2, 1) == of(times, -2, 1, 2)


def test_cameras_with_few_links_have_nothing_of_their_own():
    times = learned(walks(0)[0])
    assert all(len(times.gaps[pair]) >= 3 for pair in times.own)
    unseen = of(times, 9, 1, 99)
    assert unseen == pytest.approx(times.log_ratio[bins(np.array([9.0]))[0]])


def test_unknown_times_and_one_camera_say_nothing():
    times = learned(walks(0)[0])
    assert of(times, float("nan")) == 0
    assert of(times, 9, 1, 1) == 0


def test_nothing_is_learned_without_times_or_from_one_camera():
    evidence, _ = walks(0)
    assert learn_times(linked(replace(evidence, times=None))) == (None, "")
    assert learn_times(linked(replace(evidence, camids=np.ones(len(evidence), dtype=np.int64)))) == (None, "")


def test_recordings_of_a_camera_that_each_begin_at_0_are_named():
    evidence, _ = walks(0)
    sources = tuple(f"{camera} {row % 2}" for row, camera in enumerate(evidence.camids.tolist()))
    times, why = learn_times(linked(replace(evidence, sources=sources)))
    assert times is None
    assert why.startswith("camera 1 has several recordings")
    assert "--one-clock" in why


def test_unknown_recordings_are_not_called_several():
    evidence, _ = walks(0)
    unknown = replace(evidence, sources=kept_apart([""] * len(evidence)))
    assert learn_times(linked(unknown)) == (None, "")


def test_few_links_teach_nothing():
    times, why = learn_times(linked(walks(0, people=5)[0]))
    assert times is None
    assert "10 are needed" in why


def test_sure_links_are_one_to_one_across_cameras():
    evidence, pids = walks(0)
    links = sure_links(evidence, linked(evidence).person)
    assert len(np.unique(links)) == links.size
    assert (evidence.camids[links[:, 0]] != evidence.camids[links[:, 1]]).all()
    assert (pids[links[:, 0]] == pids[links[:, 1]]).mean() > 0.9


def test_what_is_learned_does_not_depend_on_the_order():
    evidence, _ = walks(0)
    order = np.random.default_rng(0).permutation(len(evidence))
    names = tuple(f"t{row:04d}" for row in range(len(evidence)))
    shuffled = link(evidence.taken(order), tuple(names[row] for row in order))
    times, _ = learn_times(shuffled)
    assert times is not None
    np.testing.assert_allclose(times.log_ratio, learned(evidence).log_ratio, atol=1e-12)


def test_the_table_is_a_file_of_travel_times(tmp_path):
    times = learned(walks(0)[0])
    path = tmp_path / "travel.toml"
    path.write_text(times.text())
    found = read_travel_times(path)
    assert found == times.travel
    assert found.others is not None
    assert 6 < (found.others.usual_s or 0) < 12
    assert 0 < found.others.minimum_s < 6
    told = times.to_json_dict()
    assert sum(row["links"] for row in told["cameras"]) == told["links"] == times.links
    assert len(told["log_ratio"]) == len(EDGES) - 1


def test_what_pairs_of_cameras_did_not_teach_is_not_in_the_table():
    """Where clocks disagree only some pairs foretell themselves; gaps of the others would forbid what is true."""
    gaps = {(1, 2): (8.0, 8.0, 8.0), (1, 3): (3000.0, 4000.0, 5000.0)}
    nothing = np.zeros(len(EDGES) - 1)
    times = TransitTimes(log_ratio=nothing, own={(1, 2): nothing + 1}, gaps=gaps)
    assert times.travel == TravelTimes(travel={(1, 2): Travel(minimum_s=4.0, usual_s=8.0)})
    assert "[1, 3]" not in times.text()


def test_minimum_times_of_all_other_cameras():
    evidence, _ = walks(0)
    travel = TravelTimes(travel={(1, 2): Travel(minimum_s=0)}, others=Travel(minimum_s=5))
    told = replace(evidence, travel=travel)
    rows = np.arange(len(evidence))
    scores = told.scores(rows, rows)
    first, second = np.triu_indices(len(evidence), 1)
    distances = evidence.distances(rows, rows)[first, second]
    np.testing.assert_allclose(told.pair_scores(first, second, distances), scores[first, second], atol=1e-6)
    gaps = evidence.gaps(rows[:, None], rows)
    for a, b in combinations(range(1, CAMERAS + 1), 2):
        here = np.ix_(evidence.camids == a, evidence.camids == b)
        expected = (gaps[here] < 5) & ((a, b) != (1, 2))
        np.testing.assert_array_equal(np.isneginf(scores[here]), expected)


def given(evidence: Evidence) -> Embeddings:
    return Embeddings(
        features=evidence.features,
        pids=np.full(len(evidence), -2),
        camids=evidence.camids,
        is_query=np.zeros(len(evidence), dtype=bool),
        names=tuple(f"t{row:04d}" for row in range(len(evidence))),
    )


def test_nothing_is_learned_where_a_user_says_more(monkeypatch):
    evidence, _ = walks(0)
    source = linking.from_embeddings(given(evidence))
    monkeypatch.setattr(linking, "from_embeddings", lambda e: replace(source, times=evidence.times))

    def transit(**settings: object) -> TransitTimes | None:
        return linking.link(given(evidence), **settings).evidence.transit  # type: ignore[arg-type]

    assert transit() is not None
    assert transit(travel=TravelTimes(clock={1: 0.0})) is not None
    assert transit(no_travel=True) is None
    assert transit(threshold=0.5) is None
    usual = TravelTimes(travel={(1, 2): Travel(minimum_s=1, usual_s=9)})
    assert transit(travel=usual) is not None  # without a calibration usual times do not count
    labelled, pids = walks(9)
    calibration = replace(given(labelled), pids=pids)
    assert transit(calibration=calibration) is not None
    assert transit(calibration=calibration, travel=usual) is None


def test_the_result_says_what_was_learned(monkeypatch):
    evidence, _ = walks(0)
    source = linking.from_embeddings(given(evidence))
    monkeypatch.setattr(linking, "from_embeddings", lambda e: replace(source, times=evidence.times))
    assert any(
        note.startswith("times between cameras were learned from")
        for note in linking.link(given(evidence)).notes
    )
    assert "less what learned times between cameras say" in linking.link(given(evidence)).rule
    chance = by_chance(evidence, 0)
    monkeypatch.setattr(linking, "from_embeddings", lambda e: replace(source, times=chance.times))
    found = linking.link(given(evidence))
    assert found.evidence.transit is None
    assert sum("times between cameras were not used" in note for note in found.notes) == 1


def test_times_that_part_the_surest_links_are_not_used(monkeypatch):
    evidence, _ = walks(0)
    source = linking.from_embeddings(given(evidence))
    monkeypatch.setattr(linking, "from_embeddings", lambda e: replace(source, times=evidence.times))
    by_looks = linking.link(given(evidence), no_travel=True)
    parting = TransitTimes(log_ratio=np.full(len(EDGES) - 1, -50.0), own={}, gaps={(1, 2): (9.0,) * 10})
    monkeypatch.setattr(linking, "learn_times", lambda people: (parting, "learned"))
    found = linking.link(given(evidence))
    np.testing.assert_array_equal(found.person, by_looks.person)
    assert found.evidence.transit is None
    assert sum("came apart" in note for note in found.notes) == 1


def test_how_many_sure_links_another_grouping_has():
    people = linked(walks(0)[0])
    assert still_linked(people, people) == 1
    alone = replace(people, person=np.arange(1, len(people.names) + 1))
    assert still_linked(people, alone) == 0
