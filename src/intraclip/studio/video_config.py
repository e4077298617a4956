"""What the benchmark's videos are made of: people, cameras, length and picture size."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from intraclip.errors import ConfigError
from intraclip.studio.config import MAX_IDENTITIES, Difficulty

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

    people: int = 24
    cameras: int = 4
    seconds: float = 60.0
    fps: float = 10.0
    seed: int = 0
    width: int = 960
    together: float = 0.3
    travel: tuple[float, float] = (3.0, 8.0)
    difficulty: Difficulty = field(default_factory=Difficulty)

    def __post_init__(self) -> None:
        found = self.problems()
        if found:
            raise ConfigError("these videos cannot be made:\n" + "\n".join(f"  {line}" for line in found))

    @property
    def height(self) -> int:
        """Of the picture, pixels."""
        return self.width * 9 // 16

    @property
    def frames(self) -> int:
        """Of every video."""
        return round(self.seconds * self.fps)

    def problems(self) -> list[str]:
        """One sentence for each setting that is out of range."""
        found = []
        ranges: tuple[tuple[str, float, float, float], ...] = (
            ("people", self.people, 2, MAX_IDENTITIES),
            ("cameras", self.cameras, 2, MAX_VIDEO_CAMERAS),
            ("seconds", self.seconds, 2, 24 * 3600),
            ("fps", self.fps, 5, 60),
            ("width", self.width, 320, 1280),
            ("together", self.together, 0, 1),
        )
        for name, value, low, high in ranges:
            if not low <= value <= high:
                found.append(f"{name} is {value}; it lies between {low} and {high}")
        if self.width % 32:
            found.append(f"width is {self.width}; it is a multiple of 32, such as 640, 960 or 1280")
        if self.seed < 0:
            found.append(f"seed is {self.seed}; it is 0 or more")
        if not 0 < self.travel[0] <= self.travel[1] <= 3600:
            found.append(
                f"travel is {self.travel[0]:g} to {self.travel[1]:g}; it wants 0 < shortest <= longest <= 3600"
            )
        return found + self.difficulty.problems()


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
