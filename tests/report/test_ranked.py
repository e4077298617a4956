from __future__ import annotations

import numpy as np

from intraclip.metrics.scores import Outcomes
from intraclip.report.sections.ranked import choose_queries


def made(first_hits: list[int], precisions: list[float] | None = None) -> Outcomes:
    hits = np.array(first_hits)
    return Outcomes(
        rows=np.arange(len(hits)),
        first_hits=hits,
        average_precisions=1 / hits if precisions is None else np.array(precisions),
        inverse_negative_penalties=1 / hits,
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
    assert [row < 25 for row in choice.rows] == [True, True, False, False, False, False]  # successes first
    assert all(row >= 50 for row in choice.rows[4:])


def test_choice_takes_what_there_is() -> None:
    assert len(choose_queries([made([1, 1])], count=6, seed=0).rows) == 2
