"""People of the diverse preset: bodies, clothes and colours as streets have them."""

from __future__ import annotations

import numpy as np

from intraclip.studio.config import Difficulty, Diverse
from intraclip.studio.identity import (
    HAIR,
    SKIN,
    Build,
    Colour,
    Extras,
    Gait,
    Head,
    Identity,
    Outfit,
    Paint,
    _pick,
    _round,
    draw_identity,
)
from intraclip.studio.randomness import Kind, generator

# Name, sRGB, and how often it is worn above and below the belt.
_CLOTH: tuple[tuple[str, Colour, float, float], ...] = (
    ("black", (0.05, 0.05, 0.06), 24, 22),
    ("charcoal", (0.17, 0.17, 0.19), 8, 8),
    ("grey", (0.42, 0.42, 0.43), 8, 6),
    ("light grey", (0.66, 0.66, 0.67), 5, 2),
    ("white", (0.92, 0.92, 0.91), 12, 2),
    ("navy", (0.09, 0.11, 0.22), 9, 6),
    ("dark denim", (0.15, 0.20, 0.32), 2, 17),
    ("denim", (0.28, 0.38, 0.54), 3, 14),
    ("light denim", (0.50, 0.60, 0.72), 2, 6),
    ("blue", (0.16, 0.27, 0.56), 4, 1),
    ("light blue", (0.58, 0.72, 0.88), 4, 0.4),
    ("khaki", (0.50, 0.45, 0.33), 3, 6),
    ("beige", (0.76, 0.68, 0.55), 3, 4),
    ("brown", (0.30, 0.20, 0.14), 3, 3),
    ("olive", (0.30, 0.32, 0.18), 2.5, 1.5),
    ("green", (0.16, 0.38, 0.22), 2, 0.4),
    ("teal", (0.10, 0.44, 0.46), 1.5, 0.3),
    ("red", (0.66, 0.12, 0.14), 5, 0.7),
    ("burgundy", (0.38, 0.08, 0.14), 2.5, 0.7),
    ("rust", (0.60, 0.28, 0.14), 1, 0.4),
    ("orange", (0.80, 0.42, 0.18), 1, 0.2),
    ("yellow", (0.84, 0.74, 0.32), 1.3, 0.2),
    ("pink", (0.88, 0.52, 0.62), 2, 0.5),
    ("purple", (0.34, 0.21, 0.45), 1.5, 0.4),
)


def draw_diverse_identity(seed: int, number: int, diverse: Diverse) -> Identity:
    """Draw one person; with the group `outfits` off, as `draw_identity` does.

    Pairs of people by number wear the same clothes now and then, so that clothes alone do not tell everybody apart.
    """
    if not diverse.outfits:
        return draw_identity(seed, number, Difficulty())
    group = number // 2
    shared = generator(seed, Kind.DIVERSE_GROUP, group)
    rng = generator(seed, Kind.DIVERSE_PERSON, number)
    alike = bool(shared.random() < 0.12)
    source = shared if alike else rng
    narrow = bool(source.random() < 0.48)
    outfit = _outfit(source, skirts=narrow)
    figure = float(np.clip((0.8 if narrow else 0.18) + rng.normal(0, 0.16), 0, 1))
    age = str(rng.choice(["child", "adult", "old"], p=[0.04, 0.84, 0.12]))
    tall = rng.normal(1.78 - 0.13 * figure, 0.07) - (0.03 if age == "old" else 0)
    if age == "child":
        tall = rng.uniform(1.15, 1.5)
    build = Build(
        height=_round(np.clip(tall, 1.1, 2.02)),
        girth=_round(np.clip(rng.normal(1.1, 0.13) * (1.1 if age == "child" else 1.0), 0.84, 1.55)),
        belly=_round(np.clip(rng.normal(0.3 if age != "old" else 0.5, 0.35), 0, 1.2)),
        figure=_round(figure),
        legs=_round(rng.normal(0.985, 0.025)),
    )
    extras = _extras(rng, outfit)
    return Identity(
        number=number,
        alike=group if alike else -1,
        build=build,
        head=_head(rng, figure, outfit, age),
        outfit=outfit,
        extras=extras,
        gait=_gait(rng, extras.bag, age, tight=outfit.bottom == "long skirt" and outfit.top != "dress"),
    )


def _outfit(rng: np.random.Generator, *, skirts: bool) -> Outfit:
    kinds = {
        "t-shirt": 0.25,
        "tank top": 0.03,
        "shirt": 0.13,
        "sweater": 0.12,
        "hoodie": 0.10,
        "jacket": 0.12,
        "open jacket": 0.08,
        "puffer": 0.035,
        "coat": 0.05,
        "tunic": 0.06 if skirts else 0.02,
        "dress": 0.07 if skirts else 0.0,
    }
    top = _pick(rng, kinds)
    pattern = _pick(
        rng,
        {
            "plain": 0.64,
            "heather": 0.05,
            "stripes": 0.06,
            "wide stripes": 0.03,
            "pinstripes": 0.03,
            "checks": 0.05,
            "block": 0.04,
            "sleeves": 0.03,
            "band": 0.03,
            "dots": 0.02,
            "floral": 0.04,
            "blotches": 0.02,
        },
    )
    first, second = _cloth(rng, above=True), _cloth(rng, above=True)
    while pattern != "heather" and np.abs(np.subtract(first.rgb, second.rgb)).sum() < 0.4:
        second = _cloth(rng, above=True)
    if pattern == "heather":
        shade = float(rng.uniform(0.75, 1.3))
        second = Paint(name=first.name, rgb=_clipped(np.asarray(first.rgb) * shade + 0.03))
    sleeve = {
        "t-shirt": rng.uniform(0.3, 0.5),
        "tank top": 0.0,
        "dress": rng.choice([0.0, 0.3, 0.6, 1.0]),
    }.get(top, 1.0)
    if top in ("shirt", "sweater", "tunic", "hoodie") and rng.random() < 0.3:
        sleeve = rng.uniform(0.45, 0.85)
    ease = {
        "tank top": 0.008,
        "puffer": 0.05,
        "coat": 0.034,
        "jacket": 0.03,
        "hoodie": 0.03,
        "tunic": 0.02,
    }.get(top, 0.018)
    hem = {
        "coat": rng.uniform(0.22, 0.42),
        "tunic": rng.uniform(0.24, 0.43),
        "dress": rng.uniform(0.08, 0.36),
        "puffer": rng.uniform(0.44, 0.5),
    }.get(top, rng.uniform(0.46, 0.53) if rng.random() < 0.88 else 0.56)
    bottoms = {"trousers": 0.44, "slim": 0.26, "wide": 0.10, "shorts": 0.12}
    if top in ("coat", "tunic", "puffer"):
        bottoms["shorts"] = 0.0
    elif skirts:
        bottoms |= {"skirt": 0.10, "long skirt": 0.07}
    bottom = "slim" if top == "dress" else _pick(rng, bottoms)
    end = {
        "shorts": rng.uniform(0.25, 0.38),
        "skirt": rng.uniform(0.25, 0.40),
        "long skirt": rng.uniform(0.05, 0.18),
    }
    return Outfit(
        top=top,
        pattern=pattern,
        first=first,
        second=second,
        sleeve=_round(sleeve),
        ease=_round(max(0.004, ease * rng.uniform(0.6, 1.6))),
        hem=_round(hem),
        bottom=bottom,
        bottom_paint=_cloth(rng, above=False),
        bottom_pattern=_pick(rng, {"plain": 0.72, "side stripe": 0.05, "faded": 0.23}),
        bottom_end=_round(end.get(bottom, rng.uniform(0.02, 0.07))),
        crease=_round(rng.uniform(0.5, 1.3) * (0.5 if top == "puffer" else 1.0)),
    )


def _head(rng: np.random.Generator, figure: float, outfit: Outfit, age: str) -> Head:
    skin = _pick(rng, dict(zip(SKIN, (0.16, 0.27, 0.2, 0.15, 0.13, 0.09), strict=True)))
    shades = (0.34, 0.28, 0.16, 0.07, 0.07, 0.03, 0.05) if skin in ("very light", "light", "medium") else (
        0.74, 0.19, 0.03, 0.0, 0.0, 0.0, 0.04)  # fmt: skip
    hair = _pick(rng, dict(zip(HAIR, shades, strict=True)))
    if age == "old" and rng.random() < 0.75:
        hair = "grey"
    if figure > 0.5:
        styles = {"short": 0.1, "full": 0.08, "bob": 0.2, "long": 0.34, "ponytail": 0.18, "bun": 0.1}
    else:
        styles = {"bald": 0.08, "short": 0.56, "full": 0.27, "bob": 0.05, "long": 0.04}
    headwear = _pick(
        rng,
        {"none": 0.78, "cap": 0.09, "beanie": 0.04, "hood": 0.04, "scarf": 0.01 + 0.03 * figure, "hat": 0.02},
    )
    if headwear == "hood" and outfit.top not in ("hoodie", "puffer", "jacket"):
        headwear = "none"
    return Head(
        skin=Paint(name=skin, rgb=_varied(rng, SKIN[skin], 0.08, 0.02)),
        hair=Paint(name=hair, rgb=_varied(rng, HAIR[hair], 0.15, 0.02)),
        style=_pick(rng, styles),
        beard=bool(figure < 0.5 and age != "child" and rng.random() < 0.3),
        glasses=bool(rng.random() < 0.2),
        headwear=headwear,
        headwear_paint=outfit.first if headwear == "hood" else _cloth(rng, above=True),
    )


def _extras(rng: np.random.Generator, outfit: Outfit) -> Extras:
    logo = _pick(
        rng, {"none": 0.62, "disc": 0.07, "square": 0.08, "bar": 0.07, "letters": 0.1, "badge": 0.06}
    )
    if outfit.top in ("open jacket", "coat", "tunic"):
        logo = "none"
    paint = _cloth(rng, above=True)
    while np.abs(np.subtract(paint.rgb, outfit.first.rgb)).sum() < 0.5:
        paint = _cloth(rng, above=True)
    bags = {
        "none": 0.43,
        "backpack": 0.25,
        "shoulder bag": 0.15,
        "handbag": 0.1,
        "trolley": 0.03,
        "parcel": 0.04,
    }
    bag = _pick(rng, bags)
    return Extras(
        shoes=_shoes(rng),
        sole=Paint(name="white", rgb=_varied(rng, (0.88, 0.88, 0.86), 0.05, 0.03))
        if rng.random() < 0.45
        else Paint(name="black", rgb=_varied(rng, (0.1, 0.1, 0.1), 0.3, 0.02)),
        logo=logo,
        logo_paint=paint,
        bag=bag,
        bag_paint=_cloth(rng, above=True) if bag != "parcel" else _paper(rng),
        bag_trim=_cloth(rng, above=True),
        bag_side=int(rng.choice([-1, 1])),
    )


def _gait(rng: np.random.Generator, bag: str, age: str, *, tight: bool) -> Gait:
    arms = _pick(rng, {"swing": 0.68, "phone": 0.12, "pocket": 0.09, "pockets": 0.06, "crossed": 0.05})
    slow = 0.75 if age == "old" else 1.0
    return Gait(
        cadence=_round(np.clip(rng.normal(0.93, 0.09), 0.7, 1.2)),
        stride=_round(np.clip(rng.normal(1.0, 0.15) * slow, 0.55, 1.4) * (0.72 if tight else 1.0)),
        arm_swing=_round(np.clip(rng.normal(17, 8), 3, 40)),
        elbow=_round(np.clip(rng.normal(17, 9), 4, 60)),
        lean=_round(rng.normal(3, 3) + (5 if age == "old" else 0)),
        sway=_round(np.clip(rng.normal(6, 3), 1, 14)),
        toe_out=_round(np.clip(rng.normal(7, 5), -3, 20)),
        uneven=_round(np.clip(rng.normal(0, 0.07), -0.2, 0.2)),
        arms="crossed" if bag == "parcel" else "swing" if bag in ("handbag", "trolley") else arms,
    )


def _cloth(rng: np.random.Generator, *, above: bool) -> Paint:
    share = np.array([row[2] if above else row[3] for row in _CLOTH])
    name, rgb, *_ = _CLOTH[int(rng.choice(len(_CLOTH), p=share / share.sum()))]
    return Paint(name=name, rgb=_varied(rng, rgb, 0.16, 0.025))


def _paper(rng: np.random.Generator) -> Paint:
    name, rgb = (("white", (0.9, 0.9, 0.88)), ("brown", (0.6, 0.46, 0.32)))[int(rng.integers(0, 2))]
    return Paint(name=name, rgb=_varied(rng, rgb, 0.1, 0.02))


def _shoes(rng: np.random.Generator) -> Paint:
    kinds = {"black": 0.42, "white": 0.2, "grey": 0.1, "brown": 0.14}
    name = _pick(rng, kinds | {"other": 0.14})
    if name == "other":
        return _cloth(rng, above=True)
    return Paint(name=name, rgb=_varied(rng, next(row[1] for row in _CLOTH if row[0] == name), 0.2, 0.02))


def _varied(rng: np.random.Generator, rgb: Colour, shade: float, tint: float) -> Colour:
    return _clipped(np.asarray(rgb) * np.exp(rng.normal(0, shade)) + rng.normal(0, tint, 3))


def _clipped(rgb: np.ndarray) -> Colour:
    red, green, blue = np.clip(rgb, 0.02, 0.97)
    return _round(red), _round(green), _round(blue)
