"""Ingest from Python: videos, a detector, a folder of tracklets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from intraclip.core.progress import Progress
from intraclip.ingest import pipeline
from intraclip.ingest.config import IngestConfig
from intraclip.ingest.summary import IngestSummary

if TYPE_CHECKING:
    from intraclip.ingest.appearance import Encoder


def ingest(
    videos: Sequence[str | Path],
    *,
    out: str | Path,
    detector: str | Path | None = None,
    tracks: Sequence[str | Path] = (),
    encoder: Encoder | None = None,
    settings: IngestConfig | None = None,
    truth: str | Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> IngestSummary:
    """Turn videos into a folder of tracklets without identities: find people, follow them, cut them out.

    Args:
        videos: one a camera: files, folders of numbered pictures, or folders of these.
        out: folder to write; new or empty, unless resuming.
        detector: a YOLOX network (.onnx), weights of a detection model of torchvision (.pth), or a name of
            `intraclip models list`.
        tracks: instead of a detector: one file a video in MOTChallenge format.
        encoder: a re-ID network that divides tracks which change from one person to another, such as
            ``load("base").extractor.encoder``.
        settings: everything else.
        truth: true boxes to score the tracks by: a folder of MOTChallenge files, one a camera, or a file of the AI City
            Challenge. The summary then has `scores`.
        resume: go on with an interrupted ingest.
        progress: called with frames done and frames in all (0 where a video does not say).

    Raises:
        ConfigError: no videos, neither or both of detector and tracks, or cameras that are not there.
        DataError: a video, the detector, a file of tracks or the truth cannot be used.
        MissingExtraError: a package for detection or tracking is not installed.
        OutputError: `out` is not empty, cannot be written, or holds another job.

    >>> ingest(["cam1.mp4"], out="tracklets")
    Traceback (most recent call last):
    ...
    intraclip.errors.ConfigError: give a detector, or tracks in MOTChallenge format instead
    """
    return pipeline.ingest(
        [Path(video) for video in videos],
        None if detector is None else Path(detector),
        Path(out),
        settings or IngestConfig(),
        tracks=[Path(file) for file in tracks],
        encoder=encoder,
        truth=None if truth is None else Path(truth),
        resume=resume,
        progress=progress,
    )
