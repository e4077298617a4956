"""Settings of the diverse preset: people to learn from, not to measure on."""

from __future__ import annotations

from dataclasses import dataclass, field

from intraclip.core.settings import bounded
from intraclip.studio.config import require_bounds


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
        require_bounds(self, "this set", found)
