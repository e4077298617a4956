"""What the benchmark's videos are made of: people, cameras, length and picture size."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from intraclip.core.settings import bounded, share
from intraclip.studio.config import MAX_IDENTITIES, Difficulty, require_bounds

MAX_VIDEO_CAMERAS = 32


@dataclass(frozen=True, kw_only=True)
class VideosConfig:
    """Several cameras that film the same people at the same time.

    How crowded it is follows from the numbers: a person spends 10 to 30 seconds in a view, so with the defaults about
    four people are in each picture, and more where ways cross.

    Attributes:
        people: how many; each of them comes through two cameras or more, if the videos are long enough.
        seconds: length of every video; the videos begin at the same moment.
        seed: the same seed and settings give the same bytes. People and cameras are those of the tracklets with
            the same seed and difficulty.
        width: of the picture, pixels; the height is 9/16 of it. Smaller pictures show smaller people.
        together: share of people who walk beside somebody else, and so hide one another for long.
        travel: shortest and longest usual time between two cameras, seconds; each pair of cameras has its own.
        difficulty: how unlike the cameras are, how coarse their pictures, and how much people look alike. What it
            says of boxes, occluders, motion blur and light that changes is not used: here boxes are the truth, and
            people and places hide people.

    Raises:
        ConfigError: values out of range, all of them at once.
    """

    people: int = bounded(24, 2, MAX_IDENTITIES)
    cameras: int = bounded(4, 2, MAX_VIDEO_CAMERAS)
    seconds: float = bounded(60.0, 2, 24 * 3600)
    fps: float = bounded(10.0, 5, 60)
    seed: int = bounded(0, 0)
    width: int = bounded(960, 320, 1280)
    together: float = share(0.3)
    travel: tuple[float, float] = bounded((3.0, 8.0), 0.001, 3600, pair=True)
    difficulty: Difficulty = field(default_factory=Difficulty)

    def __post_init__(self) -> None:
        multiple = "is no multiple of 32, such as 640, 960 or 1280"
        require_bounds(self, "these videos", [f"width: {self.width} {multiple}"] if self.width % 32 else ())

    @property
    def height(self) -> int:
        """Of the picture, pixels."""
        return self.width * 9 // 16

    @property
    def frames(self) -> int:
        """Of every video."""
        return round(self.seconds * self.fps)


@dataclass(frozen=True, kw_only=True)
class VideosSummary:
    """What `make_videos` wrote.

    Attributes:
        recurring: how many are seen by two cameras or more, and can be searched for.
        visits: times somebody is seen by a camera from entering to leaving.
        boxes: lines of ground truth in all.
        in_view: people in a picture, on average.
        sha256: over the pixels of all frames before they are encoded, camera by camera.
    """

    root: Path
    videos: tuple[Path, ...]
    people: int
    recurring: int
    visits: int
    boxes: int
    frames: int
    in_view: float
    sha256: str
    seconds: float
