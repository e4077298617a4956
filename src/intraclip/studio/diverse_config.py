"""Settings of the diverse preset: people to learn from, not to measure on."""

from __future__ import annotations

from dataclasses import dataclass, field

from intraclip.errors import ConfigError


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

    identities: int = 3000
    visits: int = 4
    frames: int = 10
    cameras: int = 240
    seed: int = 0
    height: int = 256
    width: int = 128
    test: int = 0
    diverse: Diverse = field(default_factory=Diverse)

    def __post_init__(self) -> None:
        found = self.problems()
        if found:
            raise ConfigError("this set cannot be made:\n" + "\n".join(f"  {line}" for line in found))

    def problems(self) -> list[str]:
        """One sentence for each setting that is out of range."""
        found = []
        for name, least, most in (
            ("identities", 1, 99_999),
            ("visits", 1, 99),
            ("frames", 2, 999),
            ("cameras", 1, 9_999),
            ("height", 64, 1024),
            ("width", 32, 1024),
        ):
            value = getattr(self, name)
            if not least <= value <= most:
                found.append(f"{name} is {value}; it lies between {least} and {most}")
        if self.cameras < self.visits:
            found.append(f"cameras is {self.cameras}; {self.visits} visits, each to another, need as many")
        if self.seed < 0:
            found.append(f"seed is {self.seed}; it is 0 or more")
        if not 0 <= self.test <= self.identities:
            found.append(f"test is {self.test}; it lies between 0 and identities, {self.identities}")
        return found
