"""The walking cycle: joint angles over time, and where every bone is.

The body frame has x to the person's right, y forward and z up, in metres, with the ground at z = 0. In the
rest pose the person stands straight with hanging arms.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from intraclip.studio.arrays import Array, Floats
from intraclip.studio.identity import Build, Extras, Gait


class Bone(IntEnum):
    """Rigid pieces that carry the surface. `ROOT` stays upright at ground level; `BAG` hangs from a hand."""

    ROOT = 0
    PELVIS = 1
    CHEST = 2
    HEAD = 3
    UPPER_ARM_L = 4
    FOREARM_L = 5
    UPPER_ARM_R = 6
    FOREARM_R = 7
    THIGH_L = 8
    SHIN_L = 9
    FOOT_L = 10
    THIGH_R = 11
    SHIN_R = 12
    FOOT_R = 13
    BAG = 14


# Degrees at 0, 10, ... 90 % of a cycle that begins with the heel strike: typical curves of level walking.
_HIP = np.array([29, 27, 19, 9, -1, -9, -8, 6, 22, 29], dtype=np.float64)
_KNEE = np.array([5, 16, 17, 11, 6, 12, 38, 60, 51, 20], dtype=np.float64)
_ANKLE = np.array([0, -5, 4, 8, 11, 6, -16, -5, 1, 2], dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class Skeleton:
    """Joint positions in the rest pose, metres.

    Attributes:
        scale: body height relative to 1.75 m; surface tables are written for 1.75 m.
        leg: extra factor on heights below the hip.
        shoulder_x: half the distance between the shoulder joints.
        hip_x: half the distance between the hip joints.
    """

    scale: float
    leg: float
    shoulder_x: float
    hip_x: float

    def z(self, height: float) -> float:
        """Height above ground of a point that is at `height` in a 1.75 m body."""
        hip = 0.92
        if height <= hip:
            return height * self.scale * self.leg
        top = 1.75
        return self.scale * (hip * self.leg + (height - hip) * (top - hip * self.leg) / (top - hip))

    def joint(self, bone: Bone) -> Array:
        """Where a bone turns, ``[3]``."""
        side = -1.0 if bone.name.endswith("_L") else 1.0
        table = {
            "ROOT": (0.0, 0.0, 0.0),
            "PELVIS": (0.0, 0.0, self.z(0.95)),
            "CHEST": (0.0, 0.0, self.z(1.10)),
            "HEAD": (0.0, 0.01, self.z(1.52)),
            "UPPER_ARM": (side * self.shoulder_x, 0.0, self.z(1.415)),
            "FOREARM": (side * self.shoulder_x, 0.0, self.z(1.125)),
            "THIGH": (side * self.hip_x, 0.0, self.z(0.92)),
            "SHIN": (side * self.hip_x, 0.0, self.z(0.49)),
            "FOOT": (side * self.hip_x, 0.0, self.z(0.085)),
            "BAG": (0.0, 0.0, 0.0),
        }
        return np.asarray(table[bone.name.removesuffix("_L").removesuffix("_R")], dtype=np.float32)


def skeleton_of(build: Build) -> Skeleton:
    """The rest pose of one build."""
    scale = build.height / 1.75
    girth = 0.5 + 0.5 * build.girth
    return Skeleton(
        scale=scale,
        leg=build.legs,
        shoulder_x=scale * girth * (0.192 - 0.03 * build.figure),
        hip_x=scale * girth * (0.084 + 0.008 * build.figure),
    )


def walking_speed(build: Build, gait: Gait) -> float:
    """Metres a second, from leg length, leg swing and cadence, so that feet do not slide much."""
    leg = 0.92 * build.height / 1.75 * build.legs
    swing = np.deg2rad((_HIP.max() - _HIP.min()) * gait.stride)
    roll_over = 1.12  # the foot rolls from heel to toe, which adds to the step
    return float(4.0 * leg * np.sin(swing / 2) * gait.cadence * roll_over)


def looks(rng: np.random.Generator, time: Floats) -> Floats:
    """Turn and nod of a head that looks around, ``[n, 2]`` radians, at times ``[n]`` in seconds."""
    return np.stack(
        [
            rng.normal(0, 0.3) + 0.2 * np.sin(time * rng.uniform(0.5, 2) + rng.uniform(0, 6)),
            rng.normal(-0.08, 0.1) + 0.04 * np.sin(time * 2 + rng.uniform(0, 6)),
        ],
        axis=1,
    )


def pose_bones(build: Build, gait: Gait, extras: Extras, phase: Floats, look: Floats) -> Array:
    """Bone transforms in the body frame, at `phase` ``[n]`` cycles; the right heel strikes at whole numbers.

    A carried bag stills the arm that carries it; `look` ``[n, 2]`` is turn and nod of the head, radians.

    Returns:
        float32 ``[n, bones, 3, 4]``: rest position to posed position, ``posed = M[:, :3] @ rest + M[:, 3]``.
    """
    bones = skeleton_of(build)
    n = len(phase)
    turn = np.deg2rad(gait.sway)
    wave = np.sin(2 * np.pi * (phase + 0.25))  # 1 when the right leg is in front
    lean = np.deg2rad(gait.lean)
    rotation: dict[Bone, Floats] = {Bone.ROOT: np.broadcast_to(np.eye(3), (n, 3, 3))}
    roll = 0.35 * turn * np.sin(2 * np.pi * phase)
    rotation[Bone.PELVIS] = _about_z(0.8 * turn * wave) @ _about_y(roll) @ _about_x(np.full(n, -0.3 * lean))
    rotation[Bone.CHEST] = _about_z(-turn * wave) @ _about_y(-0.6 * roll) @ _about_x(np.full(n, -lean))
    rotation[Bone.HEAD] = _about_z(look[:, 0]) @ _about_x(look[:, 1] - 0.4 * lean)
    for side, suffix in ((-1, "L"), (1, "R")):
        cycle = phase if side > 0 else phase + 0.5
        even = 1 + side * gait.uneven
        hip = np.deg2rad(10 + (_cyclic(_HIP, cycle) - 10) * gait.stride * even)
        knee = np.deg2rad(_cyclic(_KNEE, cycle) * (0.55 + 0.45 * gait.stride * even))
        ankle = np.deg2rad(_cyclic(_ANKLE, cycle))
        out = np.full(n, -side * np.deg2rad(gait.toe_out))
        thigh = rotation[Bone.PELVIS] @ _about_z(0.5 * out - 0.6 * turn * wave) @ _about_x(hip)
        rotation[Bone[f"THIGH_{suffix}"]] = thigh
        rotation[Bone[f"SHIN_{suffix}"]] = shin = thigh @ _about_x(-knee)
        rotation[Bone[f"FOOT_{suffix}"]] = shin @ _about_z(0.5 * out) @ _about_x(ankle)
        swing, elbow, spread = _arm(gait, extras, side, cycle, even)
        arm = rotation[Bone.CHEST] @ _about_y(np.full(n, -side * spread)) @ _about_x(swing)
        inward = np.where(elbow > 1.2, side * 0.55, side * 0.1)
        rotation[Bone[f"UPPER_ARM_{suffix}"]] = arm
        rotation[Bone[f"FOREARM_{suffix}"]] = arm @ _about_z(inward) @ _about_x(elbow)
    rotation[Bone.BAG] = rotation[Bone.ROOT]

    chain = {
        Bone.CHEST: Bone.PELVIS,
        Bone.HEAD: Bone.CHEST,
        Bone.UPPER_ARM_L: Bone.CHEST,
        Bone.FOREARM_L: Bone.UPPER_ARM_L,
        Bone.UPPER_ARM_R: Bone.CHEST,
        Bone.FOREARM_R: Bone.UPPER_ARM_R,
        Bone.THIGH_L: Bone.PELVIS,
        Bone.SHIN_L: Bone.THIGH_L,
        Bone.FOOT_L: Bone.SHIN_L,
        Bone.THIGH_R: Bone.PELVIS,
        Bone.SHIN_R: Bone.THIGH_R,
        Bone.FOOT_R: Bone.SHIN_R,
    }
    joint = {bone: bones.joint(bone).astype(np.float64) for bone in Bone}
    place = {Bone.ROOT: np.zeros((n, 3)), Bone.PELVIS: np.broadcast_to(joint[Bone.PELVIS], (n, 3))}
    for bone, parent in chain.items():
        place[bone] = place[parent] + rotation[parent] @ (joint[bone] - joint[parent])
    hand = Bone.FOREARM_L if extras.bag_side < 0 else Bone.FOREARM_R
    grip = joint[hand] + np.array([0.0, 0.0, -0.36 * bones.scale])
    place[Bone.BAG] = place[hand] + rotation[hand] @ (grip - joint[hand])

    matrix = np.zeros((n, len(Bone), 3, 4))
    for bone in Bone:
        matrix[:, bone, :, :3] = rotation[bone]
        matrix[:, bone, :, 3] = place[bone] - rotation[bone] @ joint[bone]
    # The lower foot stands on the ground: this gives the bounce of walking, and no floating.
    lowest = np.full(n, np.inf)
    for bone in (Bone.FOOT_L, Bone.FOOT_R):
        for forward in (-0.07, 0.13):
            sole = joint[bone] * [1, 0, 0] + [0, forward * bones.scale, 0]
            lowest = np.minimum(lowest, (matrix[:, bone, :, :3] @ sole + matrix[:, bone, :, 3])[:, 2])
    matrix[:, 1:, 2, 3] -= lowest[:, None]
    return matrix.astype(np.float32)


def _arm(gait: Gait, extras: Extras, side: int, cycle: Floats, even: float) -> tuple[Floats, Floats, float]:
    """Swing forward, elbow bend and sideways spread of one arm, radians."""
    wave = np.cos(2 * np.pi * (cycle + 0.47))  # against the leg of the same side
    swing = np.deg2rad(3 + gait.arm_swing * even * wave)
    elbow = np.deg2rad(gait.elbow + 0.45 * gait.arm_swing * (1 + wave))
    busy = side == extras.bag_side
    if extras.bag == "trolley" and busy:
        return np.full_like(wave, -0.42) + 0.03 * wave, np.full_like(wave, 0.1), 0.16
    if extras.bag == "handbag" and busy:
        return 0.3 * swing, 0.4 * elbow, 0.13
    if gait.arms == "phone" and busy:
        return np.full_like(wave, 0.45) + 0.04 * wave, np.full_like(wave, 1.75), 0.05
    if gait.arms == "pockets" or (gait.arms == "pocket" and busy):
        return np.full_like(wave, -0.25) + 0.05 * wave, np.full_like(wave, 0.62), 0.16
    if gait.arms == "crossed":
        return np.full_like(wave, 0.42) + 0.03 * wave, np.full_like(wave, 1.65), 0.02
    return swing, elbow, 0.09


def _cyclic(table: Floats, cycle: Floats) -> Floats:
    """Read a table of one cycle with smooth (Catmull-Rom) interpolation."""
    at = (cycle % 1.0) * len(table)
    i, f = np.floor(at).astype(np.int64), at % 1.0
    a, b, c, d = (table[(i + k) % len(table)] for k in (-1, 0, 1, 2))
    return np.asarray(
        b + 0.5 * f * (c - a + f * (2 * a - 5 * b + 4 * c - d + f * (3 * (b - c) + d - a))), dtype=np.float64
    )


def _about(first: int, second: int, angle: Floats) -> Floats:
    matrix = np.broadcast_to(np.eye(3), (len(angle), 3, 3)).copy()
    cos, sin = np.cos(angle), np.sin(angle)
    matrix[:, first, first] = matrix[:, second, second] = cos
    matrix[:, first, second], matrix[:, second, first] = -sin, sin
    return matrix


def _about_x(angle: Floats) -> Floats:
    """Turn hanging limbs forward."""
    return _about(1, 2, angle)


def _about_y(angle: Floats) -> Floats:
    """Tilt the top of the body to the right."""
    return _about(2, 0, angle)


def _about_z(angle: Floats) -> Floats:
    """Turn to the left."""
    return _about(0, 1, angle)
