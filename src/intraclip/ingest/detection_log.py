"""What the detector answered, frame by frame, so that an interrupted video need not be searched twice.

The detector takes nine tenths of the time, and its answers decide all that follows: tracking is done again from the
first frame, on the same detections, and so comes to the same tracks. One line of JSON (what was decided before the
first frame), then a record a frame: frame number, number of people, CRC-32, boxes, scores. A record that was cut off
by a crash ends the log; the detector takes over there.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from intraclip.errors import OutputError
from intraclip.ingest.detections import Detections

_RECORD = struct.Struct("<qII")


class DetectionLog:
    """The log of one video, replayed up to its end and then continued; made if absent.

    A new log asks `decide` what is to be remembered beside the detections, as JSON can hold it.

    Attributes:
        decided: what `decide` said when the log was begun.
        replayed: frames answered from the log.

    Raises:
        OutputError: the file cannot be written.
    """

    def __init__(self, path: Path, decide: Callable[[], Any]) -> None:
        self.path = path
        self.replayed = 0
        try:
            path.touch()
            # Unbuffered: what is written survives the death of the process.
            self._file = path.open("r+b", buffering=0)
            line = self._file.readline()
            try:
                if not line.endswith(b"\n"):
                    raise ValueError
                self.decided = json.loads(line)
                self._replaying = True
            except ValueError:
                self.decided = decide()
                self._replaying = False
                self._file.seek(0)
                self._file.truncate()
                self._write(json.dumps(self.decided).encode() + b"\n")
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror}") from error

    def __call__(self, frame: int, detect: Callable[[], Detections]) -> Detections:
        """People in a frame: from the log as far as it goes, then from the detector.

        Frames come with the same numbers in the same order, whenever the log is read.

        Raises:
            OutputError: the log cannot be written.
        """
        try:
            if self._replaying and (known := self._read(frame)) is not None:
                self.replayed += 1
                return known
            found = detect()
            data = np.ascontiguousarray(found.boxes, "<f4").tobytes() + found.scores.astype("<f4").tobytes()
            self._write(_RECORD.pack(frame, len(found), zlib.crc32(data)) + data)
        except OSError as error:
            raise OutputError(
                f"cannot write {self.path}: {error.strerror}; what was finished is kept"
            ) from error
        return found

    def close(self) -> None:
        """Close the file; it stays."""
        self._file.close()

    def __enter__(self) -> DetectionLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self, frame: int) -> Detections | None:
        """The next record, or None where the log ends; what comes after is cut off."""
        start = self._file.tell()
        head = self._file.read(_RECORD.size)
        if len(head) == _RECORD.size:
            number, count, checksum = _RECORD.unpack(head)
            data = self._file.read(20 * count)
            if number == frame and len(data) == 20 * count and zlib.crc32(data) == checksum:
                values = np.frombuffer(data, "<f4").astype(np.float32)
                return Detections(boxes=values[: 4 * count].reshape(-1, 4), scores=values[4 * count :])
        self._replaying = False
        self._file.seek(start)
        self._file.truncate()
        return None

    def _write(self, data: bytes) -> None:
        # A raw file may take a part only: on a disk that is nearly full, the rest then fails with the reason.
        while data:
            data = data[self._file.write(data) :]
