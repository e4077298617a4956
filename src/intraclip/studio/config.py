"""What a benchmark is made of: sizes, layout, and how hard it is."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal, get_args

from intraclip.errors import ConfigError

Layout = Literal["mars", "ilids-vid", "prid2011"]

MAX_CAMERAS = 6
"""MARS has six cameras, and its file names one digit for them."""

MAX_IDENTITIES = 9999
"""The file names of MARS and PRID-2011 hold four digits; 0000 belongs to the distractors."""


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

    alike: float = 0.4
    muted: float = 0.6
    viewpoint: float = 0.5
    colour_cast: float = 1.0
    exposure: float = 1.0
    low_resolution: float = 0.3
    noise: float = 1.0
    compression: float = 1.0
    occluder: float = 0.25
    occluder_size: float = 1.0
    second_person: float = 0.2
    loose_box: float = 1.0
    drift: float = 1.0
    jitter: float = 1.0
    motion_blur: float = 0.3
    motion_blur_length: float = 1.0
    lighting_change: float = 0.25
    lighting_strength: float = 1.0
    short: float = 0.02

    def problems(self) -> list[str]:
        """One sentence for each value that is out of range."""
        shares = {
            "alike",
            "muted",
            "viewpoint",
            "low_resolution",
            "occluder",
            "second_person",
            "motion_blur",
            "lighting_change",
            "short",
        }
        found = []
        for knob in fields(self):
            value = getattr(self, knob.name)
            high = 1.0 if knob.name in shares else 10.0
            if not 0.0 <= value <= high:
                found.append(f"difficulty.{knob.name} is {value}; it lies between 0 and {high:g}")
        return found


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
    seed: int = 0
    layout: Layout = "mars"
    tracklets_per_camera: tuple[int, int] = (1, 3)
    frames: tuple[int, int] = (12, 24)
    distractors: int | None = None
    junk: int | None = None
    height: int = 256
    width: int = 128
    difficulty: Difficulty = field(default_factory=Difficulty)

    def __post_init__(self) -> None:
        found = self.problems()
        if found:
            raise ConfigError("this benchmark cannot be made:\n" + "\n".join(f"  {line}" for line in found))

    def problems(self) -> list[str]:
        """One sentence for each setting that is out of range."""
        found = []
        if self.layout not in get_args(Layout):
            found.append(f"layout is {self.layout!r}; it is one of {', '.join(get_args(Layout))}")
        fewest = 4 if self.layout == "mars" else 2
        if not fewest <= self.identities <= MAX_IDENTITIES:
            found.append(f"identities is {self.identities}; it lies between {fewest} and {MAX_IDENTITIES}")
        if self.layout == "mars" and not 2 <= self.cameras <= MAX_CAMERAS:
            found.append(f"cameras is {self.cameras}; the mars layout has 2 to {MAX_CAMERAS}")
        if self.layout in ("ilids-vid", "prid2011") and self.cameras != 2:
            found.append(f"cameras is {self.cameras}; the {self.layout} layout has exactly 2")
        if self.seed < 0:
            found.append(f"seed is {self.seed}; it is 0 or more")
        ranges = (
            ("tracklets_per_camera", self.tracklets_per_camera, 1, 99),
            ("frames", self.frames, 2, 999),
        )
        for name, (low, high), least, most in ranges:
            if not least <= low <= high <= most:
                found.append(f"{name} is {low} to {high}; it wants {least} <= fewest <= most <= {most}")
        for name, count in (("distractors", self.distractors), ("junk", self.junk)):
            if count is not None and not 0 <= count <= 9999:
                found.append(f"{name} is {count}; it lies between 0 and 9999")
        for name, size, least in (("height", self.height, 64), ("width", self.width, 32)):
            if not least <= size <= 1024:
                found.append(f"{name} is {size}; it lies between {least} and 1024 pixels")
        return found + self.difficulty.problems()


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
