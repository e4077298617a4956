"""Tracks of `intraclip ingest` against the truth, each camera by itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from intraclip.core.extras import require_extra
from intraclip.errors import DataError
from intraclip.ingest.camera_tracks import CameraTracks, read_tracks
from intraclip.ingest.frame_source import FrameSource
from intraclip.ingest.mot import read_mot
from intraclip.ingest.summary import VideoSummary
from intraclip.ingest.track_scores import CamerasScores, listed, score_tracks


class Truth:
    """True boxes of some of the cameras.

    Raises:
        DataError: it cannot be read, no camera is in both, or one has several recordings.
    """

    def __init__(self, path: Path, camids: Sequence[int]) -> None:
        require_extra("trackers", extra="ingest", purpose="scores of tracks")
        tracks = read_tracks(path)
        if several := sorted({c for c in camids if camids.count(c) > 1} & set(tracks)):
            raise DataError(
                f"camera {several[0]} has several recordings, whose frames all count from the first, and {path} tells "
                "cameras apart alone; ingest one recording of each camera to score it"
            )
        self.tracks = {camid: tracks[camid] for camid in sorted(set(camids) & set(tracks))}
        if not sum(map(len, self.tracks.values())):
            raise DataError(
                f"{path} holds no boxes of the cameras of the videos: it is of {listed(tracks)}, the videos are of "
                f"{listed(camids)}; give both the same numbers (--cameras)"
            )
        self.notes = [
            f"not scored: cameras {listed(those)}, {why}"
            for those, why in (
                (set(camids) - set(tracks), "of which there is no truth"),
                (set(tracks) - set(camids), "of which there is no video"),
            )
            if those
        ]

    def score(
        self, out: Path, videos: Sequence[VideoSummary], sources: Sequence[FrameSource]
    ) -> tuple[CamerasScores, list[str]]:
        """Scores of what stands in the folder of an ingest, in the frames that were used; and notes."""
        truth, found, notes = {}, {}, list(self.notes)
        for video, source in zip(videos, sources, strict=True):
            if video.camid not in self.tracks:
                continue
            ours = CameraTracks.of(read_mot(out / "tracks" / f"{video.view}.txt"))
            true = self.tracks[video.camid]
            beyond = int((true.frame >= video.frames).sum())
            if beyond:
                notes.append(
                    f"the truth of camera {video.camid} has {beyond} boxes after the last of {video.frames} "
                    f"frames that could be read of {video.video.name}; they were left out"
                )
            used = source.sampled_frames()
            truth[video.camid], found[video.camid] = (t[np.isin(t.frame, used)] for t in (true, ours))
        return score_tracks(truth, found, across=False), notes
