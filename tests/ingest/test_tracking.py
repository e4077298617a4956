"""Who is taken for the same person in successive searches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from intraclip.ingest.config import IngestConfig, Quality, TrackerName
from intraclip.ingest.detections import Detections
from intraclip.ingest.tracking import PeopleTracker

BLANK = np.zeros((8, 8, 3), np.uint8)


def numbers(places: Sequence[float], *, quality: Quality, tracker: TrackerName = "botsort") -> list[int]:
    """Track number in each of several searches of somebody 40 pixels wide, 0 where nobody counts; two frames apart."""
    config = IngestConfig(quality=quality, tracker=tracker, camera_motion=False, confirm_frames=2)
    people = PeopleTracker(config, fps=10)
    found = []
    for place, x in enumerate(places):
        boxes = np.array([[x, 100, x + 40, 220]], np.float32)
        who, _ = people.update(
            Detections(boxes=boxes, scores=np.array([0.6], np.float32)), time_s=0.2 * place, image=BLANK
        )
        found.append(int(who[0]) if len(who) else 0)
    return found


@pytest.mark.parametrize("quality", ["balanced", "fast"])
def test_who_is_moved_by_two_thirds_of_their_width_between_searches_stays_one_person(
    quality: Quality,
) -> None:
    stands_then_moves = [100, 100, 100, 127, 127, 127]
    assert set(numbers(stands_then_moves, quality=quality)[2:]) == {1}
    assert set(numbers(stands_then_moves, quality="full")[2:]) != {1}  # frame by frame nobody moves so far


def test_who_is_moved_by_more_than_their_width_is_somebody_else() -> None:
    assert 1 not in numbers([100, 100, 100, 160, 160, 160], quality="balanced")[3:]


@pytest.mark.parametrize("tracker", ["bytetrack", "ocsort"])
def test_other_trackers_allow_for_frames_that_are_passed_over_too(tracker: TrackerName) -> None:
    assert set(numbers([100, 100, 100, 130, 130, 130], quality="balanced", tracker=tracker)[2:]) == {1}
