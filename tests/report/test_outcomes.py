from __future__ import annotations

import numpy as np
import pytest

from intraclip.metrics.ranking import Outcomes
from intraclip.report.outcomes import choose_queries, difference_interval


def made(first_hits: list[int], precisions: list[float] | None = None) -> Outcomes:
    hits = np.array(first_hits)
    return Outcomes(
        rows=np.arange(len(hits)),
        first_hits=hits,
        average_precisions=1 / hits if precisions is None else np.array(precisions),
    )


def test_choice_shows_failures_and_successes() -> None:
    right = made([1] * 90 + [3] * 10)
    choice = choose_queries([right], count=6, seed=0)
    assert (choice.by_all, choice.by_some, choice.by_none) == (90, 0, 10)
    assert len(choice.rows) == 6
    assert sum(row >= 90 for row in choice.rows) == 3
    assert choice == choose_queries([right], count=6, seed=0)
    assert choice != choose_queries([right], count=6, seed=1)


def test_choice_of_two_runs_takes_from_all_three_groups() -> None:
    choice = choose_queries([made([1] * 50 + [2] * 50), made([1] * 25 + [2] * 75)], count=6, seed=0)
    groups = [sum(low <= row < high for row in choice.rows) for low, high in ((0, 25), (25, 50), (50, 100))]
    assert groups == [2, 2, 2]


def test_choice_takes_what_there_is() -> None:
    assert len(choose_queries([made([1, 1])], count=6, seed=0).rows) == 2


def test_interval_holds_the_difference_and_shrinks_with_people() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for count in (20, 2000):
        first = made([1] * count, rng.uniform(0.2, 0.8, count).tolist())
        second = made([1] * count, (first.average_precisions + rng.normal(0.05, 0.1, count)).tolist())
        low, high = difference_interval(first, second, np.arange(count), seed=0)
        assert low < 0.05 < high
        widths.append(high - low)
    # The deviation of a mean of n draws of deviation 0.1 is 0.1 / sqrt(n); 95 % lie within 1.96 of it either way.
    assert widths[1] == pytest.approx(2 * 1.96 * 0.1 / np.sqrt(2000), rel=0.1)
    assert widths[0] > 5 * widths[1]


def test_queries_of_one_person_are_drawn_together() -> None:
    first = made([1] * 40, [0.5] * 40)
    second = made([1] * 40, np.repeat([0.4, 0.6] * 4, 5).tolist())
    alone = difference_interval(first, second, np.arange(40), seed=0)
    together = difference_interval(first, second, np.repeat(np.arange(8), 5), seed=0)
    assert together[1] - together[0] > 1.5 * (alone[1] - alone[0])
