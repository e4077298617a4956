"""Who walks: build, skin, hair, clothes, bags and gait of one person, in plain words and numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from intraclip.studio.config import Difficulty
from intraclip.studio.randomness import Kind, generator

Colour = tuple[float, float, float]
"""sRGB in 0..1, red first."""

MUTED: dict[str, Colour] = {
    "black": (0.10, 0.10, 0.11),
    "charcoal": (0.22, 0.22, 0.24),
    "grey": (0.45, 0.45, 0.46),
    "light grey": (0.68, 0.68, 0.68),
    "white": (0.90, 0.90, 0.88),
    "navy": (0.12, 0.15, 0.29),
    "denim": (0.25, 0.34, 0.48),
    "khaki": (0.52, 0.47, 0.34),
    "beige": (0.76, 0.69, 0.57),
    "dark brown": (0.26, 0.18, 0.13),
}
VIVID: dict[str, Colour] = {
    "red": (0.74, 0.12, 0.13),
    "burgundy": (0.42, 0.09, 0.15),
    "orange": (0.88, 0.45, 0.12),
    "yellow": (0.90, 0.77, 0.20),
    "lime": (0.58, 0.74, 0.22),
    "green": (0.14, 0.46, 0.24),
    "olive": (0.36, 0.38, 0.18),
    "teal": (0.10, 0.48, 0.50),
    "sky blue": (0.44, 0.66, 0.86),
    "blue": (0.13, 0.29, 0.68),
    "purple": (0.38, 0.20, 0.52),
    "pink": (0.88, 0.52, 0.62),
    "rust": (0.62, 0.28, 0.14),
}
SKIN: dict[str, Colour] = {
    "very light": (0.91, 0.75, 0.66),
    "light": (0.86, 0.67, 0.55),
    "medium": (0.77, 0.56, 0.42),
    "olive": (0.68, 0.50, 0.36),
    "brown": (0.51, 0.35, 0.25),
    "dark": (0.33, 0.22, 0.16),
}
HAIR: dict[str, Colour] = {
    "black": (0.07, 0.06, 0.06),
    "dark brown": (0.17, 0.11, 0.08),
    "brown": (0.30, 0.20, 0.13),
    "dark blond": (0.48, 0.37, 0.24),
    "blond": (0.74, 0.61, 0.40),
    "red": (0.48, 0.20, 0.10),
    "grey": (0.58, 0.57, 0.56),
}


@dataclass(frozen=True, kw_only=True)
class Paint:
    """A colour with its name.

    Attributes:
        name: nearest palette name.
        rgb: the exact colour, sRGB in 0..1.
    """

    name: str
    rgb: Colour


@dataclass(frozen=True, kw_only=True)
class Build:
    """The body.

    Attributes:
        height: metres, without shoes.
        girth: 1 is average; limbs and trunk grow with it.
        belly: 0 flat to 1 round.
        figure: 0 broad shoulders and narrow hips, 1 narrow shoulders and wide hips.
        legs: leg length relative to the average for the height.
    """

    height: float
    girth: float
    belly: float
    figure: float
    legs: float


@dataclass(frozen=True, kw_only=True)
class Head:
    """Skin, hair and what is on the head.

    Attributes:
        style: ``bald``, ``short``, ``full``, ``bob``, ``long``, ``ponytail`` or ``bun``.
        headwear: ``none``, ``cap``, ``beanie``, ``hood``, ``scarf`` or ``hat``.
    """

    skin: Paint
    hair: Paint
    style: str
    beard: bool
    glasses: bool
    headwear: str
    headwear_paint: Paint


@dataclass(frozen=True, kw_only=True)
class Outfit:
    """Clothes; identities dressed alike share this.

    Attributes:
        top: ``t-shirt``, ``tank top``, ``shirt``, ``sweater``, ``hoodie``, ``jacket``, ``open jacket``,
            ``puffer``, ``coat``, ``tunic`` or ``dress``.
        pattern: ``plain``, ``stripes``, ``wide stripes``, ``pinstripes``, ``checks``, ``block``, ``sleeves``,
            ``band``, ``dots``, ``heather``, ``floral`` or ``blotches``.
        first: main colour of the top.
        second: colour of the pattern, and of what an open jacket shows.
        sleeve: length of the sleeves, 0 none to 1 wrist.
        ease: how far the top stands off the body, metres.
        hem: where the top ends, as a share of body height.
        bottom_paint: its colour.
        bottom_pattern: ``plain``, ``side stripe`` or ``faded``.
        bottom_end: where it ends, as a share of body height.
        crease: depth of the folds relative to the usual.
    """

    top: str
    pattern: str
    first: Paint
    second: Paint
    sleeve: float
    ease: float
    hem: float
    bottom: str
    bottom_paint: Paint
    bottom_pattern: str
    bottom_end: float
    crease: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Extras:
    """Shoes, logo and bag.

    Attributes:
        logo: ``none``, ``disc``, ``square``, ``bar``, ``letters`` or ``badge``; on the chest only.
        bag: ``none``, ``backpack``, ``shoulder bag``, ``handbag``, ``trolley`` or ``parcel`` (held before the chest).
        bag_trim: colour of straps and pocket.
        bag_side: -1 on the person's left, 1 on the right.
    """

    shoes: Paint
    sole: Paint
    logo: str
    logo_paint: Paint
    bag: str
    bag_paint: Paint
    bag_trim: Paint
    bag_side: int


@dataclass(frozen=True, kw_only=True)
class Gait:
    """How they walk.

    Attributes:
        cadence: whole cycles (two steps) a second.
        stride: leg swing relative to the average.
        arm_swing: degrees.
        elbow: degrees of bend.
        lean: degrees forward.
        sway: degrees of hip and shoulder turn.
        toe_out: degrees.
        uneven: left against right, -0.2..0.2.
        arms: ``swing``, ``phone`` (one hand up), ``pocket`` (one hand in), ``pockets`` or ``crossed``.
    """

    cadence: float
    stride: float
    arm_swing: float
    elbow: float
    lean: float
    sway: float
    toe_out: float
    uneven: float
    arms: str


@dataclass(frozen=True, kw_only=True)
class Identity:
    """One person.

    Attributes:
        number: the true identity; equals the pid where there is one.
        alike: number of the group that is dressed alike, -1 for none.
    """

    number: int
    alike: int
    build: Build
    head: Head
    outfit: Outfit
    extras: Extras
    gait: Gait

    def in_words(self) -> str:
        """One line a person would say."""
        build, head, outfit, extras = self.build, self.head, self.outfit, self.extras
        size = "tall" if build.height > 1.8 else "short" if build.height < 1.63 else "medium"
        shape = "heavy" if build.girth > 1.12 else "slim" if build.girth < 0.93 else "average"
        hair = "bald" if head.style == "bald" else f"{head.style} {head.hair.name} hair"
        cover = "" if head.headwear == "none" else f", {head.headwear_paint.name} {head.headwear}"
        pattern = "" if outfit.pattern == "plain" else f" with {outfit.second.name} {outfit.pattern}"
        words = {"slim": "slim trousers", "wide": "wide trousers"}.get(outfit.bottom, outfit.bottom)
        bottom = "" if outfit.top == "dress" else f", {outfit.bottom_paint.name} {words}"
        bag = "no bag" if extras.bag == "none" else f"{extras.bag_paint.name} {extras.bag}"
        logo = "" if extras.logo == "none" else f", {extras.logo_paint.name} {extras.logo} on the chest"
        return (
            f"{size}, {shape}; {head.skin.name} skin, {hair}{cover}; {outfit.first.name} {outfit.top}{pattern}{logo}"
            f"{bottom}; {extras.shoes.name} shoes; {bag}"
        )


def draw_identity(seed: int, number: int, difficulty: Difficulty) -> Identity:
    """Draw one person.

    People come in groups of three by number; with probability `difficulty.alike` a group wears one outfit.
    """
    group = number // 3
    shared = generator(seed, Kind.GROUP, group)
    rng = generator(seed, Kind.IDENTITY, number)
    alike = bool(shared.random() < difficulty.alike)
    source = shared if alike else rng
    # shoulders; a group shares this too, as one outfit must suit them all
    narrow = bool(source.random() < 0.5)
    outfit = _outfit(source, difficulty.muted, skirts=narrow)
    figure = float(np.clip((0.85 if narrow else 0.15) + rng.normal(0, 0.15), 0, 1))
    build = Build(
        height=_round(np.clip(rng.normal(1.79 - 0.13 * figure, 0.075), 1.48, 2.02)),
        girth=_round(np.clip(rng.normal(1.0, 0.11), 0.82, 1.32)),
        belly=_round(np.clip(rng.normal(0.15, 0.3), 0, 1)),
        figure=_round(figure),
        legs=_round(rng.normal(1.0, 0.02)),
    )
    extras = _extras(rng, outfit)
    return Identity(
        number=number,
        alike=group if alike else -1,
        build=build,
        head=_head(rng, figure, outfit),
        outfit=outfit,
        extras=extras,
        gait=_gait(rng, extras.bag, tight=outfit.bottom == "long skirt" and outfit.top != "dress"),
    )


def _outfit(rng: np.random.Generator, muted: float, *, skirts: bool) -> Outfit:
    kinds = {
        "t-shirt": 0.24,
        "tank top": 0.03,
        "shirt": 0.14,
        "sweater": 0.12,
        "hoodie": 0.11,
        "jacket": 0.11,
        "open jacket": 0.09,
        "puffer": 0.06,
        "coat": 0.05,
        "dress": 0.1 if skirts else 0.0,
    }
    top = _pick(rng, kinds)
    patterns = {
        "plain": 0.46,
        "stripes": 0.10,
        "wide stripes": 0.07,
        "pinstripes": 0.05,
        "checks": 0.09,
        "block": 0.08,
        "sleeves": 0.07,
        "band": 0.05,
        "dots": 0.03,
    }
    pattern = _pick(rng, patterns)
    first, second = _cloth(rng, muted), _cloth(rng, muted * 0.8)
    while np.abs(np.subtract(first.rgb, second.rgb)).sum() < 0.5:
        second = _cloth(rng, muted * 0.8)
    sleeve = {"t-shirt": 0.36, "tank top": 0.0, "dress": rng.choice([0.0, 0.3, 0.55])}.get(top, 1.0)
    if top == "shirt" and rng.random() < 0.3:
        sleeve = 0.48
    ease = {"tank top": 0.006, "puffer": 0.045, "coat": 0.032, "jacket": 0.026, "hoodie": 0.026}.get(
        top, 0.014
    )
    hem = {"coat": rng.uniform(0.30, 0.40), "dress": rng.uniform(0.26, 0.36), "puffer": 0.49}.get(
        top, rng.choice([0.485, 0.50, 0.515, 0.56])
    )
    bottoms = {"trousers": 0.40, "slim": 0.25, "wide": 0.10, "shorts": 0.11}
    if top == "coat":
        bottoms["shorts"] = 0.0
    elif skirts:
        bottoms |= {"skirt": 0.18, "long skirt": 0.10}
    bottom = "slim" if top == "dress" else _pick(rng, bottoms)
    end = {
        "shorts": rng.uniform(0.27, 0.36),
        "skirt": rng.uniform(0.27, 0.37),
        "long skirt": rng.uniform(0.09, 0.16),
    }
    return Outfit(
        top=top,
        pattern=pattern,
        first=first,
        second=second,
        sleeve=_round(sleeve + (0.04 * rng.normal() if 0 < sleeve < 1 else 0)),
        ease=_round(ease + 0.004 * rng.normal()),
        hem=_round(hem),
        bottom=bottom,
        bottom_paint=_cloth(rng, 0.5 + 0.5 * muted, dark=True),
        bottom_pattern=_pick(rng, {"plain": 0.7, "side stripe": 0.12, "faded": 0.18}),
        bottom_end=_round(end.get(bottom, rng.choice([0.025, 0.03, 0.05]))),
    )


def _head(rng: np.random.Generator, figure: float, outfit: Outfit) -> Head:
    skin = _pick(rng, dict(zip(SKIN, (0.16, 0.27, 0.2, 0.14, 0.13, 0.10), strict=True)))
    shades = (0.28, 0.27, 0.18, 0.08, 0.08, 0.04, 0.07) if skin in ("very light", "light", "medium") else (
        0.66, 0.24, 0.04, 0.0, 0.0, 0.0, 0.06)  # fmt: skip
    hair = _pick(rng, dict(zip(HAIR, shades, strict=True)))
    if figure > 0.5:
        style = _pick(
            rng, {"short": 0.1, "full": 0.08, "bob": 0.22, "long": 0.32, "ponytail": 0.18, "bun": 0.1}
        )
    else:
        style = _pick(rng, {"bald": 0.12, "short": 0.55, "full": 0.24, "bob": 0.05, "long": 0.04})
    headwear = _pick(
        rng,
        {"none": 0.76, "cap": 0.1, "beanie": 0.06, "hood": 0.04, "scarf": 0.02 + 0.02 * figure, "hat": 0.02},
    )
    if headwear == "hood" and outfit.top not in ("hoodie", "puffer", "jacket"):
        headwear = "none"
    return Head(
        skin=_jitter(rng, skin, SKIN[skin], 0.02),
        hair=_jitter(rng, hair, HAIR[hair], 0.02),
        style=style,
        beard=bool(figure < 0.5 and rng.random() < 0.3),
        glasses=bool(rng.random() < 0.2),
        headwear=headwear,
        headwear_paint=outfit.first if headwear == "hood" else _cloth(rng, 0.5),
    )


def _extras(rng: np.random.Generator, outfit: Outfit) -> Extras:
    logo = _pick(rng, {"none": 0.5, "disc": 0.1, "square": 0.1, "bar": 0.1, "letters": 0.13, "badge": 0.07})
    if outfit.top in ("open jacket", "coat"):
        logo = "none"
    paint = _cloth(rng, 0.35)
    while np.abs(np.subtract(paint.rgb, outfit.first.rgb)).sum() < 0.6:
        paint = _cloth(rng, 0.35)
    bag = _pick(rng, {"none": 0.44, "backpack": 0.26, "shoulder bag": 0.15, "handbag": 0.1, "trolley": 0.05})
    return Extras(
        shoes=_cloth(rng, 0.75),
        sole=_jitter(rng, "white", MUTED["white"], 0.03)
        if rng.random() < 0.5
        else _cloth(rng, 1.0, dark=True),
        logo=logo,
        logo_paint=paint,
        bag=bag,
        bag_paint=_cloth(rng, 0.55),
        bag_trim=_cloth(rng, 0.6),
        bag_side=int(rng.choice([-1, 1])),
    )


def _gait(rng: np.random.Generator, bag: str, *, tight: bool) -> Gait:
    arms = _pick(rng, {"swing": 0.72, "phone": 0.1, "pocket": 0.09, "pockets": 0.06, "crossed": 0.03})
    return Gait(
        cadence=_round(np.clip(rng.normal(0.93, 0.07), 0.75, 1.15)),
        stride=_round(np.clip(rng.normal(1.0, 0.12), 0.7, 1.3) * (0.72 if tight else 1.0)),
        arm_swing=_round(np.clip(rng.normal(21, 7), 6, 40)),
        elbow=_round(np.clip(rng.normal(18, 9), 4, 50)),
        lean=_round(rng.normal(3, 2.5)),
        sway=_round(np.clip(rng.normal(6, 2.5), 1, 13)),
        toe_out=_round(np.clip(rng.normal(7, 4), -2, 18)),
        uneven=_round(np.clip(rng.normal(0, 0.07), -0.2, 0.2)),
        arms="swing" if bag in ("handbag", "trolley") else arms,
    )


def _pick(rng: np.random.Generator, weights: dict[str, float]) -> str:
    share = np.array(list(weights.values()), dtype=np.float64)
    return list(weights)[int(rng.choice(len(share), p=share / share.sum()))]


def _cloth(rng: np.random.Generator, muted: float, *, dark: bool = False) -> Paint:
    palette = MUTED if rng.random() < muted else VIVID
    weights = {name: 1.0 + (1.6 if dark and sum(rgb) < 1.1 else 0.0) for name, rgb in palette.items()}
    name = _pick(rng, weights)
    return _jitter(rng, name, palette[name], 0.025)


def _jitter(rng: np.random.Generator, name: str, rgb: Colour, spread: float) -> Paint:
    red, green, blue = np.clip(
        np.asarray(rgb) * (1 + rng.normal(0, 2 * spread)) + rng.normal(0, spread, 3), 0.03, 0.96
    )
    return Paint(name=name, rgb=(_round(red), _round(green), _round(blue)))


def _round(value: float) -> float:
    # Ground truth is read by people: four decimals are plenty, and the renderer uses the same number.
    return round(float(value), 4)
