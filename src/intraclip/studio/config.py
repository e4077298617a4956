"""What rendered data are made of: the benchmark, its videos, and the diverse preset; how hard they are."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from intraclip.core.settings import bounded, require_bounds, share

Layout = Literal["mars", "ilids-vid", "prid2011"]

MAX_CAMERAS = 6
"""MARS has six cameras, and its file names one digit for them."""

MAX_IDENTITIES = 9999
"""The file names of MARS and PRID-2011 hold four digits; 0000 belongs to the distractors."""

MAX_VIDEO_CAMERAS = 32


@dataclass(frozen=True, kw_only=True)
class Difficulty:
    """How hard the pictures are. Shares are probabilities in 0..1; strengths are at least 0, and 0 is off.

    Attributes:
        alike: share of identities that come in groups of three with the same clothes; the members differ in
            build, skin, hair, bag, shoes, logo and gait.
        muted: share of clothes in black, white, grey, navy and the like. More muted clothes make colour say
            less.
        viewpoint: how far headings spread around a camera's walkway: 0 everyone walks along it, 1 any way.
        colour_cast: strength of a camera's white balance, saturation and tint.
        exposure: strength of a camera's exposure and contrast.
        low_resolution: share of cameras that see people 64 to 104 pixels tall; the others see 110 to 240.
        noise: strength of sensor noise.
        compression: strength of a camera's video compression.
        occluder: share of tracklets in which something stands in, or passes through, the line of sight.
        occluder_size: width and height of what occludes, relative to the usual.
        second_person: share of tracklets with a second person partly in the box.
        loose_box: how loose boxes are: mean extra margin is 0.1 of the box height times this.
        drift: how far a box wanders off the person, slowly: 0.025 of the box height times this.
        jitter: how much a box shakes from frame to frame: 0.01 of the box height times this.
        motion_blur: share of tracklets with motion blur.
        motion_blur_length: length of the blur, relative to one camera's exposure of about 1/30 s.
        lighting_change: share of tracklets in which the light changes while they last.
        lighting_strength: how much it changes: 1 is up to about one stop.
        short: share of test tracklets with only two or three frames.
    """

    alike: float = share(0.4)
    muted: float = share(0.6)
    viewpoint: float = share(0.5)
    colour_cast: float = bounded(1.0, 0, 10)
    exposure: float = bounded(1.0, 0, 10)
    low_resolution: float = share(0.3)
    noise: float = bounded(1.0, 0, 10)
    compression: float = bounded(1.0, 0, 10)
    occluder: float = share(0.25)
    occluder_size: float = bounded(1.0, 0, 10)
    second_person: float = share(0.2)
    loose_box: float = bounded(1.0, 0, 10)
    drift: float = bounded(1.0, 0, 10)
    jitter: float = bounded(1.0, 0, 10)
    motion_blur: float = share(0.3)
    motion_blur_length: float = bounded(1.0, 0, 10)
    lighting_change: float = share(0.25)
    lighting_strength: float = bounded(1.0, 0, 10)
    short: float = share(0.02)


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig:
    """One benchmark: what to render, and in which layout to write it.

    Attributes:
        identities: people with a pid. In the MARS layout the first half trains and the other half tests; in
            the other two each of them is seen by both cameras, and the ten splits decide.
        cameras: 2 to 6 for MARS, exactly 2 for the others.
        seed: the same seed and settings give the same bytes.
        layout: whose folders and tables are imitated.
        tracklets_per_camera: fewest and most tracklets of one person in one camera (MARS only).
        frames: fewest and most frames of a tracklet.
        distractors: tracklets of people without a pid (pid 0; MARS only). None: a tenth of the test tracklets.
        junk: tracklets of useless boxes (pid -1; MARS only). None: a twentieth of the test tracklets.

    Raises:
        ConfigError: values out of range, all of them at once.
    """

    identities: int = 100
    cameras: int = 4
    seed: int = bounded(0, 0)
    layout: Layout = "mars"
    tracklets_per_camera: tuple[int, int] = bounded((1, 3), 1, 99, pair=True)
    frames: tuple[int, int] = bounded((12, 24), 2, 999, pair=True)
    distractors: int | None = None
    junk: int | None = None
    height: int = bounded(256, 64, 1024)
    width: int = bounded(128, 32, 1024)
    difficulty: Difficulty = field(default_factory=Difficulty)

    def __post_init__(self) -> None:
        found = []
        fewest = 4 if self.layout == "mars" else 2
        if not fewest <= self.identities <= MAX_IDENTITIES:
            found.append(f"identities is {self.identities}; it lies between {fewest} and {MAX_IDENTITIES}")
        if self.layout == "mars" and not 2 <= self.cameras <= MAX_CAMERAS:
            found.append(f"cameras is {self.cameras}; the mars layout has 2 to {MAX_CAMERAS}")
        if self.layout in ("ilids-vid", "prid2011") and self.cameras != 2:
            found.append(f"cameras is {self.cameras}; the {self.layout} layout has exactly 2")
        for name, count in (("distractors", self.distractors), ("junk", self.junk)):
            if count is not None and not 0 <= count <= 9999:
                found.append(f"{name} is {count}; it lies between 0 and 9999")
        require_bounds(self, "this benchmark cannot be made", found)


@dataclass(frozen=True, kw_only=True)
class BenchmarkSummary:
    """What `make_benchmark` wrote.

    Attributes:
        layout: whose layout it has; ``folder`` for the diverse preset.
        tracklets: tracklets in all, distractors and junk included.
        queries: query tracklets (0 where the splits decide).
        sha256: over the bytes of all frames, in the order of `ground_truth/tracklets.csv`.
    """

    root: Path
    layout: Layout | Literal["folder"]
    identities: int
    tracklets: int
    frames: int
    queries: int
    sha256: str
    seconds: float


# -- videos --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class VideosConfig:
    """Several cameras that film the same people at the same time.

    How crowded it is follows from the numbers: a person spends 10 to 30 seconds in a view, so with the defaults about
    four people are in each picture, and more where ways cross. People and cameras are those of the tracklets with the
    same seed and difficulty, of which what it says of boxes, occluders, motion blur and light that changes is not used:
    here boxes are the truth, and people and places hide people.

    Raises:
        ConfigError: values out of range, all of them at once.
    """

    people: int = bounded(24, 2, MAX_IDENTITIES)
    """People; each comes through two cameras or more. More people in the same time make the videos more crowded."""
    cameras: int = bounded(4, 2, MAX_VIDEO_CAMERAS)
    """Cameras, one video each."""
    seconds: float = bounded(60.0, 2, 24 * 3600)
    """Length of every video."""
    fps: float = bounded(10.0, 5, 60)
    """Frames a second."""
    seed: int = bounded(0, 0)
    """Seed of people, cameras and paths."""
    width: int = bounded(960, 320, 1280)
    """Width of the picture in pixels, a multiple of 32; the height is 9/16 of it. Smaller ones show smaller people."""
    together: float = share(0.3)
    """Share of people who walk beside somebody else."""
    travel: tuple[float, float] = bounded((3.0, 8.0), 0.001, 3600, pair=True)
    """Shortest and longest usual time between two cameras, seconds."""
    difficulty: Difficulty = field(default_factory=Difficulty)

    def __post_init__(self) -> None:
        multiple = f"width: {self.width} is no multiple of 32, such as 640, 960 or 1280"
        require_bounds(self, "these videos cannot be made", [multiple] if self.width % 32 else ())

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


# -- the diverse preset: people to learn from, not to measure on --------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Diverse:
    """Groups of settings. Each can be switched off by itself: what it draws then comes as in the default preset.

    Attributes:
        cameras: lenses, heights from eye level to drones, tilt, resolution, tone, blur, compression, and boxes cut
            as detectors cut them.
        light: sun, shade, dusk, night, indoor and coloured light.
        places: grounds, walls and clutter behind people, and people and things in front of them.
        outfits: bodies and clothes with the colours of real streets.
    """

    cameras: bool = True
    light: bool = True
    places: bool = True
    outfits: bool = True


@dataclass(frozen=True, kw_only=True)
class DiverseConfig:
    """What the diverse preset renders.

    Attributes:
        identities: people; their pids are 1 to `identities`.
        visits: tracklets of each person, each in another camera.
        frames: frames of each tracklet.
        cameras: how many there are, each in its own place; all are used equally often.
        seed: the same seed and settings give the same bytes.
        test: how many of the people, the last ones, are kept for tests (folders only).

    Raises:
        ConfigError: values out of range, all of them at once.
    """

    identities: int = bounded(3000, 1, 99_999)
    visits: int = bounded(4, 1, 99)
    frames: int = bounded(10, 2, 999)
    cameras: int = bounded(240, 1, 9_999)
    seed: int = bounded(0, 0)
    height: int = bounded(256, 64, 1024)
    width: int = bounded(128, 32, 1024)
    test: int = bounded(0, 0)
    diverse: Diverse = field(default_factory=Diverse)

    def __post_init__(self) -> None:
        found = []
        if self.cameras < self.visits:
            found.append(f"cameras: {self.cameras} are fewer than {self.visits} visits, each to another one")
        if self.test > self.identities:
            found.append(f"test: {self.test} are more than all {self.identities} identities")
        require_bounds(self, "this set cannot be made", found)
