"""Camera numbers of video files."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from intraclip.errors import ConfigError, DataError

# The longest word first: in "c4_cam1" the camera is 1. A letter or digit before the word would make it part of
# another one ("pic3"); a digit string ends where the digits end.
_PATTERNS = tuple(
    re.compile(rf"(?<![a-z0-9]){word}[-_ ]?(\d{{1,6}})(?!\d)", re.IGNORECASE)
    for word in ("camera", "cam", "c")
)


def camid_of(path: Path) -> int | None:
    """Camera number in a file name, or None.

    >>> [camid_of(Path(p)) for p in ("cam3.mp4", "site-C3-noon.avi", "camera_12.mkv", "0001C2T0001.avi", "pic3.mp4")]
    [3, 3, 12, None, None]
    """
    for pattern in _PATTERNS:
        if match := pattern.search(path.stem):
            return int(match.group(1))
    return None


def assign_cameras(
    videos: Sequence[Path], *, mapping: Mapping[str, int], same_camera: bool
) -> tuple[list[int], list[str]]:
    """Camera number of every video, in their order, and notes about numbers that were made up.

    A number comes from the mapping of file names, else from the file name, else it is the smallest one still free, in
    the order of the videos. With `same_camera` several videos may share a number.

    Raises:
        ConfigError: the mapping names a file that is not among the videos.
        DataError: a video is given twice, or several have the same number and `same_camera` is False.
    """
    if unknown := sorted(set(mapping) - {v.name for v in videos}):
        raise ConfigError(
            f"cameras: {', '.join(unknown)} is not among the videos; they are {', '.join(v.name for v in videos)}"
        )
    resolved = [v.resolve() for v in videos]
    if twice := sorted({str(v) for v in resolved if resolved.count(v) > 1}):
        raise DataError(f"videos given twice: {', '.join(twice)}; give each once")
    known = [mapping.get(v.name, camid_of(v)) for v in videos]
    groups: dict[int, list[Path]] = defaultdict(list)
    for video, camid in zip(videos, known, strict=True):
        if camid is not None:
            groups[camid].append(video)
    clashes = [f"camera {c}: {', '.join(map(str, vs))}" for c, vs in sorted(groups.items()) if len(vs) > 1]
    if clashes and not same_camera:
        raise DataError(
            f"several videos have the same camera number ({'; '.join(clashes)}); give numbers with the setting "
            "cameras (file name = number), or set same_camera if they really come from one camera"
        )
    taken = set(groups)
    camids, notes = [], []
    for video, camid in zip(videos, known, strict=True):
        if camid is None:
            camid = next(n for n in range(1, len(videos) + len(taken) + 1) if n not in taken)
            taken.add(camid)
            notes.append(f"{video.name} has no camera number in its name; it is taken as camera {camid}")
        camids.append(camid)
    return camids, notes


def view_names(camids: Sequence[int]) -> list[str]:
    """A name for every video: `cam3`, and `cam3v2` for the second video of camera 3.

    >>> view_names([1, 3, 3])
    ['cam1', 'cam3', 'cam3v2']
    """
    seen: dict[int, int] = defaultdict(int)
    names = []
    for camid in camids:
        seen[camid] += 1
        names.append(f"cam{camid}" if seen[camid] == 1 else f"cam{camid}v{seen[camid]}")
    return names
