"""Finished parts of an extraction, kept beside its output until that is written.

::

    FILE.parts/
      job.json       what is extracted: model, data, settings, and how it is divided
      00000.npz      a finished part: rows, features, failures, unreadable frames

Every file appears whole or not at all, so that whatever is there after a crash can be used.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from intraclip.core.files import whole_file
from intraclip.core.jobs import Job
from intraclip.embed.embeddings_writer import DIGEST, content_digest
from intraclip.errors import OutputError


@dataclass(frozen=True, kw_only=True)
class Part:
    """What was made of some tracklets.

    Attributes:
        rows: int64 ``[n]``, numbers of the tracklets that have an embedding.
        features: float32 ``[n, D]``.
        failures: tracklet number -> why it has none.
        unreadable: messages about frames that were left out.
    """

    rows: npt.NDArray[np.int64]
    features: npt.NDArray[np.float32]
    failures: Mapping[int, str]
    unreadable: tuple[str, ...]


class PartStore:
    """The folder of parts of one output file."""

    def __init__(self, out: Path) -> None:
        self.folder = out.with_name(out.name + ".parts")

    def begin(
        self, job: Mapping[str, Any], parts: list[range], *, resume: bool, force: bool = False
    ) -> list[range]:
        """Make the folder, or check that what is in it belongs to the same job.

        Args:
            job: what decides the embeddings, as JSON can hold it.
            parts: how to divide a new job.
            resume: take up the parts that are there.
            force: delete them instead.

        Returns:
            How the job is divided: an older division is kept.

        Raises:
            OutputError: there are parts already and neither `resume` nor `force` is said; or they are of another
                job: what differs is named.
        """
        anew = "add --force without --resume to begin anew"
        now = Job(self.folder / "job.json", job, out=self.folder, anew=anew)
        if force and not resume:
            self.remove()
        if not now.begun or (not resume and not any(self.folder.glob("*.npz"))):  # none is finished
            self.remove()  # parts without their job, of a removal that was interrupted, belong to nobody
            now.begin({"job": job, "parts": [[p.start, p.stop] for p in parts]})
            return parts
        if not resume:
            raise OutputError(
                f"{self.folder} holds parts of an interrupted extraction; add --resume to go on with it, or --force "
                "to begin anew"
            )
        found = now.read()
        try:
            before, divided = dict(found["job"]), [range(*pair) for pair in found["parts"]]
        except (KeyError, ValueError, TypeError) as error:
            raise OutputError(f"{now.file} is damaged: {error}; {anew}") from None
        now.require_same(before)
        return divided

    def finished(self, number: int) -> bool:
        """Whether a part is there and whole."""
        return self._read_if_whole(number) is not None

    def write(self, number: int, part: Part) -> None:
        """Keep a finished part."""
        path = self._path(number)
        notes = json.dumps({"failures": list(part.failures.items()), "unreadable": part.unreadable})
        arrays: dict[str, npt.NDArray[Any]] = {"rows": part.rows, "features": part.features}
        arrays |= {"notes": np.array(notes), DIGEST: np.array(content_digest(arrays, notes))}
        with whole_file(path, kept="finished parts are kept") as partial, partial.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    def read(self, number: int) -> Part:
        """Read a finished part."""
        part = self._read_if_whole(number)
        if part is None:
            raise OutputError(
                f"{self._path(number)} is missing or damaged; run the same command again with --resume"
            )
        return part

    def remove(self) -> None:
        """Delete the folder."""
        try:
            shutil.rmtree(self.folder)
        except FileNotFoundError:
            return
        except OSError as error:
            raise OutputError(f"{self.folder} cannot be deleted: {error}") from None

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:05d}.npz"

    def _read_if_whole(self, number: int) -> Part | None:
        try:
            with self._path(number).open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                text, arrays = str(file["notes"]), {key: file[key] for key in ("rows", "features")}
                if str(file[DIGEST]) != content_digest(arrays, text):
                    return None
                notes = json.loads(text)
                return Part(
                    **arrays,
                    failures=dict(notes["failures"]),
                    unreadable=tuple(notes["unreadable"]),
                )
        except Exception:  # zipfile, zlib and numpy raise many kinds for a damaged file; it is made again
            return None
