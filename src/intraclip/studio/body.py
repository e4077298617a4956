"""A dressed person as points that bones carry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from intraclip.studio import cloth
from intraclip.studio.arrays import Array, Floats, f32
from intraclip.studio.gait import Bone, Skeleton, skeleton_of
from intraclip.studio.identity import Identity
from intraclip.studio.surface import Patch, Relief, folds, loft


@dataclass(frozen=True, kw_only=True)
class Carried:
    """Points that the same bones move.

    Attributes:
        bones: their numbers, k of them.
        place: float32 ``[4k, m]``: weight times homogeneous rest position, one block a bone.
        turn: float32 ``[3k, m]``: weight times rest normal.
    """

    bones: tuple[int, ...]
    place: Array
    turn: Array


@dataclass(frozen=True, kw_only=True)
class Body:
    """A person's surface, n points.

    Attributes:
        albedo: float32 ``[3, n]`` linear colour.
        gloss: float32 ``[n]`` strength of highlights.
    """

    groups: tuple[Carried, ...]
    albedo: Array
    gloss: Array

    def __len__(self) -> int:
        return len(self.gloss)


def build_body(identity: Identity, spacing: float, rng: np.random.Generator) -> Body:
    """Lay out the surface of a dressed person."""
    return _Tailor(identity, spacing, rng).body()


@dataclass(frozen=True, kw_only=True)
class _Piece:
    patch: Patch
    albedo: Array
    gloss: Array
    bones: tuple[Bone, ...]
    weights: Array


class _Tailor:
    """Collects the pieces of one person. Heights in the tables are those of a 1.75 m body."""

    def __init__(self, identity: Identity, spacing: float, rng: np.random.Generator) -> None:
        self.identity, self.rng = identity, rng
        self.skeleton: Skeleton = skeleton_of(identity.build)
        self.z, self.loft = self.skeleton.z, partial(loft, spacing=spacing, rng=rng)
        self.scale = self.skeleton.scale
        self.girth = self.scale * identity.build.girth
        self.pieces: list[_Piece] = []
        self._heights = np.linspace(0, 1.8, 181)
        self._posed = np.array([self.z(float(h)) for h in self._heights])
        self.skin = cloth.linear(identity.head.skin.rgb)

    def body(self) -> Body:
        self.trunk()
        self.head()
        for side in (-1, 1):
            self.arm(side)
            self.leg(side)
        outfit = self.identity.outfit
        if outfit.bottom in ("skirt", "long skirt") and outfit.top != "dress":
            self.skirt(outfit.bottom_end * 1.75, top=False)
        if outfit.top in ("coat", "tunic", "dress"):
            self.skirt(outfit.hem * 1.75, top=True)
        self.bag()
        return self.sewn()

    def sewn(self) -> Body:
        """All pieces in one set of arrays, ordered by bones."""
        pieces = sorted(self.pieces, key=lambda piece: tuple(map(int, piece.bones)))
        groups = []
        for bones in sorted({tuple(map(int, piece.bones)) for piece in pieces}):
            same = [piece for piece in pieces if tuple(map(int, piece.bones)) == bones]
            xyz = np.concatenate([piece.patch.xyz for piece in same], axis=1)
            normal = np.concatenate([piece.patch.normal for piece in same], axis=1)
            weights = np.concatenate([piece.weights for piece in same], axis=1)
            home = np.concatenate([xyz, np.ones_like(xyz[:1])])
            m = xyz.shape[1]
            groups.append(
                Carried(
                    bones=bones,
                    place=np.ascontiguousarray((weights[:, None] * home[None]).reshape(-1, m)),
                    turn=np.ascontiguousarray((weights[:, None] * normal[None]).reshape(-1, m)),
                )
            )
        return Body(
            groups=tuple(groups),
            albedo=np.concatenate([piece.albedo for piece in pieces], axis=1).astype(np.float32),
            gloss=np.concatenate([piece.gloss for piece in pieces]),
        )

    # -- helpers ---------------------------------------------------------------------------------------

    def tall(self, z: Array) -> Array:
        """Back from this body's heights to those of a 1.75 m body, in which textures are written."""
        return np.interp(z, self._posed, self._heights).astype(np.float32)

    def rings(self, table: Sequence[tuple[float, ...]], x: float = 0.0) -> Floats:
        """Ring tables of a 1.75 m body, fitted: heights by the skeleton, widths by the girth."""
        fitted = [
            (self.z(z), x + self.scale * cx, self.girth * cy, self.girth * rx, self.girth * ry)
            for z, cx, cy, rx, ry in table
        ]
        return np.asarray(fitted)

    def add(
        self,
        patch: Patch,
        albedo: Array,
        bones: tuple[Bone, ...],
        weights: list[Array] | None = None,
        *,
        gloss: float = 0.02,
        mottle: float = 0.05,
    ) -> None:
        n = len(patch)
        colour = np.broadcast_to(albedo.reshape(3, -1), (3, n)).astype(np.float32)
        # Real cloth and skin are never one flat colour: slow unevenness, which follows the surface.
        x, y, z = patch.xyz
        a, b = self.rng.uniform(0, 6, 2)
        uneven = np.sin(23 * z + 17 * x + np.float32(a)) * np.sin(19 * y - 13 * z + 11 * x + np.float32(b))
        colour = colour * (1 + np.float32(mottle) * uneven)
        share = [np.ones(n, dtype=np.float32)] if weights is None else weights
        self.pieces.append(
            _Piece(
                patch=patch,
                albedo=colour,
                gloss=np.full(n, gloss, dtype=np.float32),
                bones=bones,
                weights=np.stack(share).astype(np.float32),
            )
        )

    # -- trunk -----------------------------------------------------------------------------------------

    def trunk(self) -> None:
        identity, outfit, extras = self.identity, self.identity.outfit, self.identity.extras
        f, belly = identity.build.figure, identity.build.belly

        def mix(broad: float, narrow: float) -> float:
            return broad + (narrow - broad) * f

        rings = self.rings(
            [
                (0.80, 0, -0.005, 0.150, 0.100),
                (0.88, 0, -0.010, mix(0.164, 0.176), 0.120),
                (0.96, 0, -0.004, mix(0.160, 0.166), 0.115),
                (1.06, 0, 0.004 + 0.03 * belly, mix(0.152, 0.136), 0.104 + 0.045 * belly),
                (1.16, 0, 0.004 + 0.03 * belly, mix(0.158, 0.138), 0.108 + 0.040 * belly),
                (1.27, 0, 0.006 + 0.012 * f, mix(0.172, 0.150), 0.118 + 0.010 * f),
                (1.36, 0, -0.002 + 0.004 * f, mix(0.178, 0.155), 0.106),
                (1.42, 0, -0.010, mix(0.172, 0.152), 0.088),
                (1.458, 0, -0.012, mix(0.138, 0.122), 0.074),
                (1.490, 0, -0.008, 0.082, 0.064),
                (1.510, 0, -0.004, 0.060, 0.058),
            ]
        )
        hem = 0.0 if outfit.top in ("coat", "tunic", "dress") else outfit.hem * 1.75
        crease = folds(self.rng, outfit.crease * (0.011 if outfit.top != "puffer" else 0.005))
        quilt = 0.011 if outfit.top == "puffer" else 0.0

        def relief(z: Array, angle: Array) -> Array:
            t = self.tall(z)
            cloth_on = _smooth(t, hem - 0.004, hem + 0.004)
            neck = 1 - 0.75 * _smooth(t, 1.40, 1.49)
            overhang = (0.022 if 0 < hem < 0.93 else 0.004) * _smooth(-t, -1.02, -hem)
            push = self.scale * (0.008 + (outfit.ease - 0.004 + overhang) * cloth_on * neck)
            if quilt:
                push = push + quilt * cloth_on * np.abs(np.sin(np.pi * t / 0.085))
            return f32(push + crease(z, angle) * neck)

        patch = self.loft(rings, power=2.25, caps=(0.05, 0.0), relief=relief)
        if self.covered_from() < 2:
            patch = patch.kept(self.tall(patch.along) > 0.92)
        t = self.tall(patch.along)
        x, y = patch.xyz[0] / self.girth, patch.xyz[1] / self.girth
        around = _centred(patch.angle) * 0.15
        colour = cloth.pattern(outfit, t, around, sleeve=False)
        front = y > 0.02
        if outfit.top == "open jacket":
            inner = front & (np.abs(x) < 0.045 + 0.03 * (1.45 - t))
            colour[:, inner] = cloth.linear(outfit.second.rgb)[:, None]
        elif outfit.top in ("jacket", "coat", "puffer", "shirt"):
            zip_line = front & (np.abs(x) < 0.007)
            colour[:, zip_line] *= 0.45
        if outfit.top in ("shirt", "t-shirt"):
            colour[:, t > 1.485] *= 0.8
        bare = np.zeros(len(patch), dtype=np.bool_)
        if outfit.top in ("t-shirt", "tank top", "dress"):
            bare = (t > 1.47 - 0.05 * np.exp(-((x / 0.05) ** 2))) & front
            if outfit.top == "tank top":
                bare = bare | ((t > 1.40) & (np.abs(x) > 0.135)) | (front & (t > 1.40) & (np.abs(x) < 0.07))
            colour[:, bare] = self.skin[:, None]
        mark = cloth.logo(extras, x, t) & front & ~bare
        colour[:, mark] = cloth.linear(extras.logo_paint.rgb)[:, None]
        strap = cloth.straps(extras, x, y, t) & (t > 0.97)
        colour[:, strap] = cloth.linear(extras.bag_trim.rgb)[:, None]
        below = t < hem
        colour[:, below] = cloth.linear(outfit.bottom_paint.rgb)[:, None]
        if outfit.hem > 0.55:  # tucked in: a belt shows
            colour[:, (t < hem) & (t > hem - 0.03)] *= 0.3
        chest = _smooth(t, 1.02, 1.24)
        # Thighs push the cloth over the hips, or they would come through it.
        thighs = 0.6 * _smooth(-t, -0.97, -0.82)
        right = _smooth(x, -0.09, 0.09)
        self.add(
            patch,
            colour,
            (Bone.PELVIS, Bone.CHEST, Bone.THIGH_L, Bone.THIGH_R),
            [
                (1 - chest) * (1 - thighs),
                chest,
                (1 - chest) * thighs * (1 - right),
                (1 - chest) * thighs * right,
            ],
            mottle=0.08,
        )

        if outfit.top in ("hoodie", "jacket", "open jacket", "puffer", "coat", "shirt"):
            thick = 0.028 if outfit.top in ("hoodie", "puffer") else 0.014
            back = 0.02 if outfit.top == "hoodie" and identity.head.headwear != "hood" else 0.0
            collar = self.loft(
                self.rings(
                    [
                        (1.445, 0, -0.012 - back, 0.088 + thick, 0.080 + thick + back),
                        (1.48, 0, -0.010 - back, 0.066 + thick, 0.066 + thick + back),
                        (1.515, 0, -0.004 - back, 0.058 + thick, 0.060 + thick + 0.5 * back),
                    ]
                ),
                caps=(0.0, 0.02),
            )
            shade = 0.85 * cloth.linear(outfit.first.rgb)
            self.add(collar, shade, (Bone.CHEST,))

    # -- head ------------------------------------------------------------------------------------------

    def head(self) -> None:
        head, scale = self.identity.head, self.scale
        neck = self.loft(
            self.rings(
                [
                    (1.45, 0, -0.008, 0.070, 0.064),
                    (1.50, 0, 0.0, 0.057, 0.059),
                    (1.57, 0, 0.010, 0.056, 0.060),
                ]
            )
        )
        high = _smooth(self.tall(neck.along), 1.47, 1.55)
        self.add(neck, self.skin * 0.9, (Bone.CHEST, Bone.HEAD), [1 - high, high], mottle=0.02)

        wide = scale * (0.9 + 0.1 * self.identity.build.girth)
        table = [
            (1.515, 0.034, 0.034, 0.046),
            (1.545, 0.024, 0.053, 0.068),
            (1.59, 0.012, 0.066, 0.086),
            (1.64, 0.006, 0.073, 0.094),
            (1.69, 0.001, 0.076, 0.098),
            (1.73, -0.002, 0.070, 0.090),
            (1.757, -0.004, 0.058, 0.074),
        ]
        rings = np.asarray([(self.z(z), 0, wide * cy, wide * rx, wide * ry) for z, cy, rx, ry in table])
        volume = {"bald": 0.0, "short": 0.007, "full": 0.022, "bob": 0.019, "long": 0.014}.get(
            head.style, 0.009
        )
        extra = {"hood": 0.030, "scarf": 0.012, "cap": 0.012, "beanie": 0.016, "hat": 0.012}.get(
            head.headwear, 0.0
        )

        def relief(z: Array, angle: Array) -> Array:
            t, front = self.tall(z), np.sin(angle)
            line, hat = cloth.hair_line(head, front), cloth.hat_line(head, front)
            nose = 0.024 * np.exp(-(((t - 1.612) / 0.018) ** 2) - ((angle - np.pi / 2) / 0.15) ** 2)
            hair = volume * _smooth(t, line - 0.006, line + 0.014)
            return np.where(t > hat, np.float32(extra), nose + hair).astype(np.float32) * np.float32(scale)

        patch = self.loft(rings, power=2.1, caps=(0.03, 0.05), relief=relief)
        t, front = self.tall(patch.along), np.sin(patch.angle)
        colour = cloth.face(head, t, patch.angle)
        strand = 1 + 0.22 * np.sin(41 * patch.angle + 9 * np.sin(60 * t)).astype(np.float32)
        grown = t > cloth.hair_line(head, front)
        hair = cloth.linear(head.hair.rgb)[:, None]
        colour[:, grown] = (hair * strand)[:, grown]
        covered = t > cloth.hat_line(head, front)
        hat_colour = cloth.linear(head.headwear_paint.rgb)
        colour[:, covered] = hat_colour[:, None]
        self.add(patch, colour, (Bone.HEAD,), mottle=0.03, gloss=0.04)

        if head.headwear in ("cap", "hat"):
            brim = (
                [(1.680, 0, 0.135, 0.060, 0.055), (1.692, 0, 0.120, 0.072, 0.075)]
                if head.headwear == "cap"
                else [(1.684, 0, 0.0, 0.155, 0.175), (1.700, 0, 0.0, 0.150, 0.170)]
            )
            patch = self.loft(self.rings(brim), caps=(0.004, 0.008))
            self.add(patch, hat_colour * 0.85, (Bone.HEAD,))
        if head.headwear == "scarf":
            drape = self.rings(
                [(1.41, 0, 0.0, 0.165, 0.115), (1.46, 0, 0.01, 0.125, 0.105), (1.53, 0, 0.015, 0.075, 0.085)]
            )
            patch = self.loft(drape, relief=folds(self.rng, 0.012))
            self.add(patch, hat_colour, (Bone.CHEST,))
            return
        if head.headwear == "hood":
            return
        if head.headwear == "none" or head.style in ("long", "ponytail", "bob"):
            self.hair_behind(wide)
        for side in (-1, 1):
            if head.style in ("bob", "long"):
                break
            ear = self.loft(
                np.asarray(
                    [
                        (self.z(1.605), side * wide * 0.076, -0.004, 0.010, 0.014),
                        (self.z(1.662), side * wide * 0.082, -0.010, 0.012, 0.022),
                    ]
                ),
                caps=(0.025, 0.025),
            )
            self.add(ear, self.skin * 0.92, (Bone.HEAD,))

    def hair_behind(self, wide: float) -> None:
        head = self.identity.head
        tables = {
            "long": [
                (1.70, -0.030, 0.075, 0.070),
                (1.60, -0.042, 0.088, 0.062),
                (1.50, -0.066, 0.094, 0.046),
                (1.42, -0.100, 0.090, 0.034),
                (1.32, -0.118, 0.066, 0.026),
            ],
            "bob": [
                (1.70, -0.022, 0.080, 0.080),
                (1.60, -0.026, 0.094, 0.078),
                (1.52, -0.024, 0.092, 0.070),
                (1.49, -0.020, 0.080, 0.060),
            ],
            "ponytail": [
                (1.69, -0.105, 0.018, 0.018),
                (1.64, -0.128, 0.032, 0.028),
                (1.54, -0.132, 0.034, 0.026),
                (1.44, -0.130, 0.022, 0.018),
            ],
            "bun": [
                (1.64, -0.112, 0.036, 0.034),
                (1.675, -0.118, 0.042, 0.042),
                (1.71, -0.112, 0.036, 0.034),
            ],
        }
        if head.style not in tables:
            return
        rings = np.asarray(
            [(self.z(z), 0, wide * cy, wide * rx, wide * ry) for z, cy, rx, ry in tables[head.style]]
        )
        patch = self.loft(rings, caps=(0.03, 0.03), relief=folds(self.rng, 0.006))
        strand = 1 + 0.25 * np.sin(47 * patch.angle + 11 * patch.along).astype(np.float32)
        low = 0.8 * _smooth(-self.tall(patch.along), -1.54, -1.42)
        self.add(
            patch,
            cloth.linear(head.hair.rgb)[:, None] * strand,
            (Bone.CHEST, Bone.HEAD),
            [low, 1 - low],
            gloss=0.05,
        )

    # -- arms and legs ---------------------------------------------------------------------------------

    def arm(self, side: int) -> None:
        outfit, x = self.identity.outfit, side * self.skeleton.shoulder_x
        suffix = "L" if side < 0 else "R"
        upper, fore = Bone[f"UPPER_ARM_{suffix}"], Bone[f"FOREARM_{suffix}"]
        end = 1.425 - outfit.sleeve * 0.565
        crease = folds(self.rng, outfit.crease * 0.009, wave=0.10)
        loose = outfit.ease * (1.25 if outfit.sleeve < 0.9 else 0.85)

        def relief(z: Array, angle: Array) -> Array:
            t = self.tall(z)
            on = _smooth(t, end - 0.004, end + 0.004)
            flare = 1 - 0.6 * _smooth(t, 1.36, 1.44)
            push = self.scale * (loose * on * flare)
            if outfit.top == "puffer":
                push = push + 0.009 * np.abs(np.sin(np.pi * t / 0.085))
            return f32(push + crease(z, angle) * on * flare)

        patch = self.loft(
            self.rings(
                [
                    (1.462, -0.034 * side, -0.006, 0.042, 0.044),
                    (1.425, -0.014 * side, -0.004, 0.051, 0.055),
                    (1.38, -0.003 * side, -0.004, 0.052, 0.057),
                    (1.30, 0, -0.002, 0.047, 0.054),
                    (1.20, 0, 0.000, 0.042, 0.048),
                    (1.125, 0, -0.002, 0.038, 0.041),
                    (1.06, 0, 0.002, 0.040, 0.043),
                    (0.96, 0, 0.003, 0.032, 0.036),
                    (0.86, 0, 0.004, 0.022, 0.029),
                ],
                x,
            ),
            caps=(0.05, 0.0),
            relief=relief,
        )
        t = self.tall(patch.along)
        sleeved = t > end
        colour = np.broadcast_to(self.skin[:, None], (3, len(patch))).copy()
        colour[:, sleeved] = cloth.pattern(outfit, t, _centred(patch.angle) * 0.05, sleeve=True)[:, sleeved]
        chest = 0.65 * _smooth(t, 1.36, 1.47)
        bent = _smooth(-t, -1.175, -1.075)
        weights = [chest, (1 - chest) * (1 - bent), (1 - chest) * bent]
        self.add(patch, colour, (Bone.CHEST, upper, fore), weights, mottle=0.07)

        hand = self.loft(
            self.rings(
                [
                    (0.870, 0, 0.004, 0.023, 0.029),
                    (0.825, 0, 0.008, 0.025, 0.040),
                    (0.77, -0.008 * side, 0.014, 0.024, 0.043),
                    (0.72, -0.016 * side, 0.020, 0.021, 0.036),
                    (0.685, -0.020 * side, 0.024, 0.016, 0.026),
                ],
                x,
            ),
            caps=(0.0, 0.03),
        )
        self.add(hand, self.skin, (fore,), mottle=0.03)

    def leg(self, side: int) -> None:
        outfit, extras, x = self.identity.outfit, self.identity.extras, side * self.skeleton.hip_x
        suffix = "L" if side < 0 else "R"
        thigh, shin, foot = (Bone[f"{name}_{suffix}"] for name in ("THIGH", "SHIN", "FOOT"))
        bare = outfit.top == "dress" or outfit.bottom in ("skirt", "long skirt")
        end = 9.0 if bare else outfit.bottom_end * 1.75
        width = {
            "slim": ([0.05, 0.3, 0.6, 1.0], [0.046, 0.063, 0.080, 0.097]),
            "wide": ([0.05, 0.5, 0.8, 1.0], [0.108, 0.100, 0.100, 0.102]),
            "shorts": ([0.4, 0.6, 0.8, 1.0], [0.098, 0.095, 0.095, 0.100]),
        }.get(outfit.bottom, ([0.05, 0.3, 0.6, 1.0], [0.069, 0.072, 0.085, 0.099]))
        crease = folds(self.rng, outfit.crease * (0.011 if outfit.bottom != "slim" else 0.006), wave=0.13)
        table = [
            (0.945, -0.014 * side, -0.012, 0.060, 0.072),
            (0.90, -0.008 * side, -0.012, 0.074, 0.084),
            (0.82, 0, -0.004, 0.082, 0.090),
            (0.72, 0, 0.002, 0.076, 0.084),
            (0.60, 0, 0.004, 0.063, 0.070),
            (0.50, 0, 0.006, 0.055, 0.060),
            (0.46, 0, 0.002, 0.053, 0.056),
            (0.37, 0, -0.010, 0.055, 0.060),
            (0.28, 0, -0.010, 0.048, 0.053),
            (0.16, 0, -0.004, 0.037, 0.040),
            (0.06, 0, -0.004, 0.036, 0.040),
        ]
        levels, bone_width = [row[0] for row in table[::-1]], [0.5 * (row[3] + row[4]) for row in table[::-1]]

        def relief(z: Array, angle: Array) -> Array:
            t = self.tall(z)
            on = _smooth(t, end - 0.004, end + 0.004)
            room = np.interp(t, *width) - np.interp(t, levels, bone_width)
            push = self.girth * np.maximum(room, 0.006) * on * (1 - _smooth(t, 0.84, 0.92))
            low = 1 + 0.8 * _smooth(-t, -0.3, -0.08)
            return (push + crease(z, angle) * on * low).astype(np.float32)

        patch = self.loft(self.rings(table, x), caps=(0.05, 0.0), relief=relief)
        # What a skirt or coat hides is left out: cheaper, and a swinging thigh cannot come through the cloth.
        patch = patch.kept(self.tall(patch.along) < self.covered_from() + 0.06)
        t = self.tall(patch.along)
        dressed = t > end
        stocking = bare and outfit.bottom_paint.rgb[0] < 0.2
        base = cloth.linear((0.16, 0.14, 0.15)) if stocking else self.skin
        colour = np.broadcast_to(base[:, None], (3, len(patch))).copy()
        colour[:, dressed] = cloth.linear(outfit.bottom_paint.rgb)[:, None]
        if outfit.bottom_pattern == "side stripe":
            stripe = dressed & (np.cos(patch.angle) * side > 0.94)
            colour[:, stripe] = cloth.linear(outfit.second.rgb)[:, None]
        elif outfit.bottom_pattern == "faded":
            fade = np.exp(-(((t - 0.66) / 0.16) ** 2)) * np.clip(np.sin(patch.angle), 0, 1) ** 2
            colour = np.where(dressed, colour + 0.35 * fade * (0.55 - colour), colour)
        sock = ~dressed & (t < 0.14)
        colour[:, sock] = 0.55 * cloth.linear(extras.sole.rgb)[:, None]
        pelvis = 0.8 * _smooth(t, 0.86, 0.95)
        bent = _smooth(-t, -0.56, -0.42)
        weights = [pelvis, (1 - pelvis) * (1 - bent), (1 - pelvis) * bent]
        self.add(patch, colour, (Bone.PELVIS, thigh, shin), weights, mottle=0.09)

        s = self.scale * (0.8 + 0.2 * self.identity.build.girth) * (1.02 - 0.08 * self.identity.build.figure)
        shoe_rings = [
            (-0.085, 0, 0.046, 0.030, 0.046),
            (-0.04, 0, 0.056, 0.038, 0.056),
            (0.02, 0, 0.052, 0.040, 0.052),
            (0.08, 0, 0.042, 0.047, 0.042),
            (0.14, 0, 0.034, 0.047, 0.034),
            (0.185, 0, 0.030, 0.038, 0.028),
        ]
        shoe = self.loft(s * np.asarray(shoe_rings), power=2.6, caps=(0.03, 0.045)).laid_down(x)
        colour = np.broadcast_to(cloth.linear(extras.shoes.rgb)[:, None], (3, len(shoe))).copy()
        colour[:, shoe.xyz[2] < 0.024] = cloth.linear(extras.sole.rgb)[:, None]
        self.add(shoe, colour, (foot,), gloss=0.10, mottle=0.03)

    def covered_from(self) -> float:
        """Height above which a skirt, dress or coat hides the legs."""
        outfit = self.identity.outfit
        if outfit.top in ("coat", "tunic", "dress"):
            return outfit.hem * 1.75
        return outfit.bottom_end * 1.75 if outfit.bottom in ("skirt", "long skirt") else 9.0

    def skirt(self, end: float, *, top: bool) -> None:
        """The part of a skirt, dress or coat that hangs below the waist; legs push it."""
        outfit, f = self.identity.outfit, self.identity.build.figure
        flare = 0.03 if outfit.top == "coat" and top else 0.055 + 0.04 * (end < 0.4)
        ease = outfit.ease if top else 0.012
        hips, depth = 0.172 + 0.010 * f + ease, 0.72
        patch = self.loft(
            self.rings(
                [
                    (0.96, 0, -0.004, 0.97 * hips, depth * hips + 0.006),
                    (0.90, 0, -0.006, hips, depth * hips + 0.010),
                    (0.5 * (0.90 + end), 0, -0.004, hips + 0.5 * flare, depth * (hips + flare)),
                    (end, 0, 0, hips + flare, (depth + 0.05) * (hips + flare)),
                ]
            ),
            relief=self.pleats(end),
        )
        t = self.tall(patch.along)
        if top:
            colour = cloth.pattern(outfit, t, _centred(patch.angle) * 0.17, sleeve=False)
            if outfit.top == "coat":
                colour[:, (np.abs(patch.xyz[0]) < 0.007) & (patch.xyz[1] > 0)] *= 0.4
        else:
            colour = cloth.linear(outfit.bottom_paint.rgb)
        low = _smooth(-t, -0.98, -(end + 0.05))
        right = _smooth(patch.xyz[0] / self.girth, -0.11, 0.11)
        weights = [1 - 0.95 * low, 0.95 * low * (1 - right), 0.95 * low * right]
        self.add(
            patch,
            np.asarray(colour, dtype=np.float32),
            (Bone.PELVIS, Bone.THIGH_L, Bone.THIGH_R),
            weights,
            mottle=0.08,
        )

    def pleats(self, end: float) -> Relief:
        turns, phase = self.rng.integers(4, 9), self.rng.uniform(0, 6)

        def relief(z: Array, angle: Array) -> Array:
            deep = 0.016 * _smooth(-self.tall(z), -0.92, -end)
            return f32(deep * np.sin(np.float32(turns) * angle + np.float32(phase)))

        return relief

    # -- bags ------------------------------------------------------------------------------------------

    def bag(self) -> None:
        extras, scale, side = self.identity.extras, self.scale, self.identity.extras.bag_side
        paint, trim = cloth.linear(extras.bag_paint.rgb), cloth.linear(extras.bag_trim.rgb)
        back = self.girth * (0.118 + 0.3 * self.identity.outfit.ease)
        if extras.bag == "backpack":
            y = -back - 0.075
            patch = self.box(
                [
                    (self.z(1.04), 0, y, 0.150, 0.078),
                    (self.z(1.22), 0, y - 0.012, 0.160, 0.092),
                    (self.z(1.46), 0, y + 0.008, 0.120, 0.065),
                ]
            )
            colour = np.broadcast_to(paint[:, None], (3, len(patch))).copy()
            t = self.tall(patch.along)
            pocket = (patch.normal[1] < -0.4) & (t < 1.23) & (t > 1.08) & (np.abs(patch.xyz[0]) < 0.105)
            colour[:, pocket] = trim[:, None]
            colour[:, (np.abs(t - 1.34) < 0.008) & (patch.normal[1] < 0.3)] *= 0.35
            self.add(patch, colour, (Bone.CHEST,))
        elif extras.bag == "shoulder bag":
            x = side * (self.girth * 0.185 + 0.045)
            patch = self.box(
                [
                    (self.z(0.80), x, -0.02, 0.050, 0.150),
                    (self.z(0.92), x, -0.02, 0.055, 0.155),
                    (self.z(1.02), x, -0.02, 0.040, 0.145),
                ]
            )
            colour = np.broadcast_to(paint[:, None], (3, len(patch))).copy()
            colour[:, self.tall(patch.along) > 0.94] *= 0.7
            self.add(patch, colour, (Bone.PELVIS,), gloss=0.06)
        elif extras.bag == "handbag":
            patch = self.box(
                [(-0.40, 0, 0, 0.050, 0.150), (-0.28, 0, 0, 0.055, 0.155), (-0.16, 0, 0, 0.040, 0.140)]
            )
            self.add(patch, paint, (Bone.BAG,), gloss=0.08)
            for y in (-0.05, 0.05):
                handle = self.loft([(-0.17, 0, y, 0.008, 0.008), (0.0, 0, 0.2 * y, 0.008, 0.008)])
                self.add(handle, trim, (Bone.BAG,))
        elif extras.bag == "trolley":
            x = side * (self.skeleton.shoulder_x + 0.08)
            patch = self.box(
                [
                    (0.05, x, -0.56 * scale, 0.170, 0.110),
                    (0.35, x, -0.52 * scale, 0.175, 0.115),
                    (0.60, x, -0.48 * scale, 0.165, 0.105),
                ]
            )
            colour = np.broadcast_to(paint[:, None], (3, len(patch))).copy()
            colour[:, patch.along % 0.12 < 0.02] *= 0.6
            self.add(patch, colour, (Bone.ROOT,), gloss=0.12)
            handle = self.loft(
                [(0.58, x, -0.48 * scale, 0.011, 0.011), (0.80 * scale, x, -0.28 * scale, 0.011, 0.011)]
            )
            self.add(handle, cloth.linear((0.5, 0.5, 0.5)), (Bone.ROOT,))

        elif extras.bag == "parcel":
            front = self.girth * 0.13 + 0.08
            patch = self.box(
                [
                    (self.z(1.04), 0, front, 0.135, 0.030),
                    (self.z(1.16), 0, front + 0.02, 0.145, 0.040),
                    (self.z(1.30), 0, front + 0.01, 0.135, 0.030),
                ]
            )
            colour = np.broadcast_to(paint[:, None], (3, len(patch))).copy()
            colour[:, np.abs(patch.xyz[0]) < 0.02] = trim[:, None]
            self.add(patch, colour, (Bone.CHEST,), gloss=0.05)

    def box(self, rings: Sequence[tuple[float, ...]]) -> Patch:
        return self.loft(rings, power=4.5, caps=(0.04, 0.04))


def _smooth(value: Array, low: float | Array, high: float | Array) -> Array:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((value - np.asarray(low, dtype=np.float32)) / np.asarray(high - low, dtype=np.float32), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), dtype=np.float32)


def _centred(angle: Array) -> Array:
    """Angle from the front, -pi..pi, so that patterns have their seam at the back."""
    return (angle - np.float32(np.pi / 2) + np.float32(np.pi)) % np.float32(2 * np.pi) - np.float32(np.pi)
