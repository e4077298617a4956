"""Which videos the paths on the command line mean, and which file of tracks belongs to which video."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from intraclip.core.paths import is_hidden
from intraclip.errors import DataError
from intraclip.ingest.config import ALL, IngestConfig
from intraclip.ingest.frame_folder import FrameFolder, is_frame_folder
from intraclip.ingest.frame_source import FrameSource
from intraclip.ingest.video import Video

VIDEO_SUFFIXES = (
    ".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mjpeg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts",
    ".ogv", ".ts", ".webm", ".wmv",
)  # fmt: skip
"""Which files of a folder are videos. A file that is named itself may be called anything."""


def find_videos(paths: Sequence[Path]) -> list[Path]:
    """Replace folders of videos by the videos in them, sorted by name.

    A folder is one video if it holds numbered pictures, or is a MOTChallenge sequence (`seqinfo.ini`, `img1`); else
    its video files and its MOTChallenge sequences are taken. It is not searched deeper, and hidden files are left out.

    Raises:
        DataError: nothing is given, or a folder holds neither, or both.
    """
    if not paths:
        raise DataError("no videos given; give at least one video file or folder")
    found: list[Path] = []
    for path in paths:
        found += _videos_in(path) if path.is_dir() else [path]
    return found


def _videos_in(folder: Path) -> list[Path]:
    try:
        inside = sorted(f for f in folder.iterdir() if not is_hidden(f.name))
        if folder.name == "img1":
            return [folder.parent]  # the sequence's name tells the camera
        files = [f for f in inside if f.is_file() and f.suffix.lower() in VIDEO_SUFFIXES]
        if is_frame_folder(folder):
            if files:
                raise DataError(
                    f"{folder} holds numbered pictures and videos ({files[0].name}); put them into folders of their own"
                )
            return [folder]
        sequences = [
            f for f in inside if f.is_dir() and ((f / "seqinfo.ini").is_file() or (f / "img1").is_dir())
        ]
    except OSError as error:
        raise DataError(f"the folder {folder} cannot be read: {error.strerror}") from None
    if not files and not sequences:
        raise DataError(
            f"{folder} holds no video ({', '.join(VIDEO_SUFFIXES)}), no numbered pictures and no MOTChallenge sequence"
        )
    return sorted(files + sequences)


def open_source(path: Path, config: IngestConfig = ALL) -> FrameSource:
    """Open a video file or a folder of frames.

    Raises:
        DataError: it cannot be used.
    """
    return FrameFolder(path, config) if path.is_dir() else Video(path, config)


def match_tracks(tracks: Sequence[Path], videos: Sequence[Path], views: Sequence[str]) -> list[Path]:
    """The file of tracks, in MOTChallenge format, of every video.

    A file belongs to the video of the same name (`lobby.txt` and `lobby.mp4`), to the view of that name (`cam1.txt`,
    as `ingest` writes them), or to the MOTChallenge sequence whose folder it lies in (`gt/gt.txt`). If no file belongs
    anywhere by these rules, they are taken in the order given.

    Raises:
        DataError: a file belongs to no video or to several, or a video has none or several.
    """
    fits = [
        [i for i, (video, view) in enumerate(zip(videos, views, strict=True)) if _belongs(file, video, view)]
        for file in tracks
    ]
    if not any(fits):
        if len(tracks) != len(videos):
            raise DataError(
                f"{len(tracks)} files of tracks for {len(videos)} videos, and no names that agree; give one file a "
                "video in the same order, or name it like the video"
            )
        return list(tracks)
    problems = []
    chosen: dict[int, Path] = {}
    for file, places in zip(tracks, fits, strict=True):
        if len(places) != 1:
            which = " and ".join(str(videos[i]) for i in places)
            problems.append(f"{file} belongs to {f'both {which}' if places else 'no video by its name'}")
        elif places[0] in chosen:
            problems.append(f"{videos[places[0]]} has two files of tracks, {chosen[places[0]]} and {file}")
        else:
            chosen[places[0]] = file
    problems += [f"{video} has no file of tracks" for i, video in enumerate(videos) if i not in chosen]
    if problems:
        raise DataError(
            "tracks and videos do not fit together: "
            + "; ".join(problems)
            + "; give one file a video, named like it"
        )
    return [chosen[i] for i in range(len(videos))]


def _belongs(file: Path, video: Path, view: str) -> bool:
    if video.is_dir() and video.resolve() in file.resolve().parents:
        return True
    return file.stem in (view, video.name if video.is_dir() else video.stem)
