from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from intraclip.errors import OutputError
from intraclip.ingest.detection_log import DetectionLog
from intraclip.ingest.detections import Detections


def people(frame: int) -> Detections:
    rng = np.random.default_rng(frame)
    count = frame % 3
    return Detections(boxes=rng.random((count, 4), np.float32), scores=rng.random(count, np.float32))


def never() -> Detections:
    raise AssertionError("the log knows this frame")


def begun(path: Path, frames: int) -> bytes:
    with DetectionLog(path, lambda: [True, None]) as log:
        for frame in range(frames):
            log(frame, lambda frame=frame: people(frame))  # type: ignore[misc]
    return path.read_bytes()


def test_what_was_logged_comes_back_bit_for_bit(tmp_path: Path) -> None:
    begun(tmp_path / "log", 6)
    with DetectionLog(tmp_path / "log", lambda: "decided anew") as log:
        assert log.decided == [True, None]
        for frame in range(6):
            found = log(frame, never)
            np.testing.assert_array_equal(found.boxes, people(frame).boxes)
            np.testing.assert_array_equal(found.scores, people(frame).scores)
        assert log.replayed == 6


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_any_damage_of_the_end_is_detected_anew_and_the_log_becomes_whole(
    tmp_path: Path, damage: str
) -> None:
    path = tmp_path / "log"
    data = begun(path, 6)
    for place in range(len(data)):
        broken = (
            data[:place] if damage == "cut" else data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        )
        path.write_bytes(broken)
        with DetectionLog(path, lambda: [True, None]) as log:
            for frame in range(6):
                found = log(frame, lambda frame=frame: people(frame))  # type: ignore[misc]
                np.testing.assert_array_equal(found.boxes, people(frame).boxes)
            header_changed = log.decided != [True, None]
        assert path.read_bytes() == data or header_changed
        assert not header_changed or (damage == "changed" and place < data.index(b"\n"))


def test_frames_in_another_order_are_detected_anew(tmp_path: Path) -> None:
    begun(tmp_path / "log", 6)
    with DetectionLog(tmp_path / "log", lambda: None) as log:
        assert len(log(1, lambda: people(5))) == 2
        assert log.replayed == 0


def test_log_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot write .*nowhere/log"):
        DetectionLog(tmp_path / "nowhere" / "log", lambda: None)
