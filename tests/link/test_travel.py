"""What travel times say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import quad

from intraclip.errors import ConfigError
from intraclip.link.travel import Travel, TravelTimes, log_ratio, read_travel_times, travel_text

ELSEWHERE = np.full(1, 1), np.full(1, 2)
"""Two cameras."""


def test_a_gap_below_the_minimum_is_impossible():
    gaps = np.array([-5.0, 0.0, 19.9, 20.0, 500.0])
    found = TravelTimes(others=Travel(minimum_s=20)).too_fast(gaps, *ELSEWHERE)
    np.testing.assert_array_equal(found, [True, True, True, False, False])


def test_overlapping_views_forbid_nothing():
    gaps = np.array([-5.0, 0.0, 3.0])
    assert not TravelTimes(others=Travel(minimum_s=0)).too_fast(gaps, *ELSEWHERE).any()
    np.testing.assert_array_equal(
        TravelTimes(others=Travel(minimum_s=0)).log_ratio(gaps, *ELSEWHERE, 3600), [0, 0, 0]
    )
    found = TravelTimes(others=Travel(minimum_s=0, usual_s=3.0)).log_ratio(gaps, *ELSEWHERE, 3600)
    np.testing.assert_array_equal(found[:2], [0, 0])
    assert found[2] > 0


def test_the_usual_time_speaks_for_one_person_and_others_hardly_against():
    span = 3600.0
    found = log_ratio(np.array([60.0, 40.0, 90.0, 1000.0, 3000.0]), 60, span)
    assert found[0] > 2
    assert found[1] > 1
    assert found[2] > 1
    np.testing.assert_allclose(found[3:], np.log(0.5), atol=1e-3)
    # The ratio times the flat density is a density, so odds stay honest on the whole.
    mass, _ = quad(
        lambda g: float(np.exp(log_ratio(np.array([g]), 60, span)[0])) / span,
        1e-9,
        span,
    )
    assert mass == pytest.approx(1, abs=1e-3)


def test_clocks_are_brought_together():
    times = np.array([[0.0, 1.0], [0.0, np.nan]])
    found = TravelTimes(clock={2: 12.5}).on_one_clock(times, np.array([1, 2]))
    np.testing.assert_array_equal(found, [[0, 1], [12.5, np.nan]])


def test_a_file_is_read(tmp_path: Path):
    path = tmp_path / "travel.toml"
    path.write_text(
        "[clock]\n2 = 12.5\n[[travel]]\ncameras = [2, 1]\nminimum_s = 20\nusual_s = 60\n"
        "[[travel]]\ncameras = [1, 3]\nminimum_s = 0\n"
    )
    found = read_travel_times(path)
    assert found.clock == {2: 12.5}
    assert found.travel == {(1, 2): Travel(minimum_s=20, usual_s=60), (1, 3): Travel(minimum_s=0)}
    assert found.cameras == {1, 2, 3}


def test_cameras_may_have_any_whole_number_as_in_embeddings(tmp_path: Path):
    path = tmp_path / "travel.toml"
    times = TravelTimes(travel={(-5, -2): Travel(minimum_s=3.0, usual_s=8.0)}, clock={-2: 1.5, 0: 2.0})
    path.write_text(travel_text(times, {}))
    assert read_travel_times(path) == times


def test_all_problems_are_named_at_once(tmp_path: Path):
    path = tmp_path / "travel.toml"
    path.write_text(
        "speed = 1\n[clock]\nlobby = 2\n3 = 'late'\n"
        "[[travel]]\ncameras = [1, 1]\nminimum_s = 1\n"
        "[[travel]]\ncameras = [1, 2]\nminimum_s = -1\n"
        "[[travel]]\ncameras = [1, 3]\nminimum_s = 9\nusual_s = 9\nmaximum_s = 3\n"
        "[[travel]]\ncameras = [1, 4]\nminimum_s = 9\n"
        "[[travel]]\ncameras = [4, 1]\nminimum_s = 9\n"
    )
    with pytest.raises(ConfigError) as caught:
        read_travel_times(path)
    for words in (
        "speed: unknown key",
        "clock.lobby",
        "clock.3: 'late'",
        "travel 1.cameras: [1, 1]",
        "travel 2.minimum_s: -1",
        "travel 3.maximum_s: unknown key",
        "travel 3.usual_s: 9",
        "travel 5: cameras 1 and 4 are listed twice",
    ):
        assert words in str(caught.value)


def test_files_that_are_none(tmp_path: Path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_travel_times(tmp_path / "no.toml")
    (tmp_path / "x.toml").write_text("travel = [")
    with pytest.raises(ConfigError, match="is no valid TOML"):
        read_travel_times(tmp_path / "x.toml")
    (tmp_path / "y.toml").write_text("clock = 3\n[travel]\ncameras = [1, 2]\n")
    with pytest.raises(ConfigError, match=r"clock: wants a table .*; travel: wants \[\[travel\]\]"):
        read_travel_times(tmp_path / "y.toml")
