"""What an interrupted ingest leaves behind, and how it is taken up again.

::

    OUT/unfinished/
      job.json              what decides the result: settings, videos, detector, tracks
      cam1.detections       what the detector answered so far in a view; see `detection_log`
      cam1.json             a finished view: its row in the record, and its tracklets

A view is finished when its JSON file is there, which is written after all its other files. `OUT/ingest.json` ends the
whole: it is written last, and then the folder `unfinished` goes.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from intraclip.core import jobs
from intraclip.core.files import write_text
from intraclip.core.folders import make_folder, sweep
from intraclip.errors import OutputError

RECORD = "ingest.json"
KEPT = "what was finished is kept"
FOLDERS = ("tracklets", "tracks", "boxes", "contact_sheets")


def begun_in_full(out: Path) -> bool:
    """Whether a folder holds an ingest from before there was a choice of quality: it searched everything."""
    for file in (out / RECORD, out / "unfinished" / "job.json"):
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            config = content.get("job", content)["config"]
            return isinstance(config, dict) and "quality" not in config
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # absent or damaged: `Job` says so
    return False


def as_now(settings: Any) -> Any:
    """Settings of a job as this version would have written them; see `begun_in_full`."""
    if isinstance(settings, dict) and isinstance(settings.get("config"), dict):
        return {**settings, "config": {"quality": "full", **settings["config"]}}
    return settings


class Job:
    """The output folder of one ingest, held by one process at a time.

    Attributes:
        record: what the finished ingest wrote into `ingest.json`; None while it is unfinished.
    """

    def __init__(self, out: Path, settings: Mapping[str, Any]) -> None:
        self.out = out
        self.folder = out / "unfinished"
        self.record: dict[str, Any] | None = None
        self._job = jobs.Job(
            self.folder / "job.json", settings, out=out, anew="give a new folder, or remove it first"
        )

    def begin(self, *, resume: bool) -> None:
        """Make the folder, or, to `resume`, check that what is there belongs to the same job; an empty one is begun.

        Raises:
            OutputError: there is something already and `resume` is not said; it is no ingest, or one with other
                settings, videos, detector or tracks: what differs is named; another process works on it; or the
                folder cannot be written.
        """
        if self.out.exists() and not self.out.is_dir():
            raise OutputError(f"{self.out} is a file, a folder is needed; give another --out")
        begun, finished = self._job.begun, (self.out / RECORD).is_file()
        if not begun and not finished:
            self._refuse_strangers()
            make_folder(self.folder)
            self._job.hold()
            self._job.begin()
        elif not resume:
            state = "a finished ingest" if finished else "an interrupted ingest"
            remedy = "give a new folder" if finished else "add --resume to go on with it, give a new folder,"
            raise OutputError(
                f"the output folder {self.out} is not empty, it holds {state}; {remedy} or remove it"
            )
        elif finished:
            self.record = self._job.read(self.out / RECORD)
            self._job.require_same(as_now(self.record.get("job")))
            shutil.rmtree(self.folder, ignore_errors=True)  # a crash came between the two
        else:
            self._job.hold()
            self._job.require_same(as_now(self._job.read()))
            sweep(self.out)  # the manifest or the record of whoever was killed
        for name in FOLDERS:
            make_folder(self.out / name)

    def finished(self, view: str) -> dict[str, Any] | None:
        """What was kept of a finished view; None if it is unfinished, or files of it are missing or cut short."""
        path = self.folder / f"{view}.json"
        if not path.is_file():
            return None
        try:
            kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            # A machine that lost its power may have lost pictures that the file system had not written yet.
            if all(_bytes_in(self.out / folder) == size for folder, size in kept["bytes"].items()):
                return kept
        except (OSError, ValueError, KeyError, AttributeError):
            pass
        return None

    def clear(self, view: str) -> None:
        """Remove what an interruption left of a view, but not the log of its detections.

        Raises:
            OutputError: it cannot be removed.
        """
        ours = re.compile(rf"{view}(_t\d+(p\d+)?)?(-\d+)?(\.\w+)?(\.[\d-]+\.partial)?")
        try:
            (self.folder / f"{view}.json").unlink(missing_ok=True)
            for folder in FOLDERS:
                for path in (self.out / folder).iterdir():
                    if ours.fullmatch(path.name):
                        shutil.rmtree(path) if path.is_dir() else path.unlink()
        except OSError as error:
            raise OutputError(f"cannot clear {error.filename}: {error.strerror}") from error

    def log_of(self, view: str) -> Path:
        """Where the detections of a view are logged."""
        return self.folder / f"{view}.detections"

    def finish(self, view: str, kept: Mapping[str, Any], tracklets: list[str]) -> None:
        """Mark a view as finished, whose files are all written; keeps what to remember and its tracklets' names."""
        sizes = {f"tracklets/{name}": _bytes_in(self.out / "tracklets" / name) for name in tracklets}
        write_text(self.folder / f"{view}.json", json.dumps({**kept, "bytes": sizes}), kept=KEPT)
        self.log_of(view).unlink(missing_ok=True)

    def end(self, record: Mapping[str, Any]) -> None:
        """Write `ingest.json` and remove what only an interrupted ingest needs."""
        whole = {**record, "job": self._job.settings}
        write_text(self.out / RECORD, json.dumps(whole, indent=2, ensure_ascii=False) + "\n", kept=KEPT)
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def close(self) -> None:
        """Let another process have the folder."""
        self._job.close()

    def __enter__(self) -> Job:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _refuse_strangers(self) -> None:
        # A crash before job.json leaves the folder `unfinished` alone, with nothing in it that matters.
        inside = [p for p in self.out.iterdir() if p != self.folder] if self.out.is_dir() else []
        if inside:
            raise OutputError(
                f"the output folder {self.out} is not empty and holds {inside[0].name}, no ingest; give a new folder"
            )


def _bytes_in(folder: Path) -> int:
    return sum(f.stat().st_size for f in folder.iterdir()) if folder.is_dir() else -1
