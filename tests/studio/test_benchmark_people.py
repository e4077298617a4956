from dataclasses import replace

import numpy as np
import pytest

from intraclip.studio import BenchmarkConfig, Difficulty
from intraclip.studio.body import Body, build_body
from intraclip.studio.camera import Camera, draw_camera
from intraclip.studio.gait import Bone, pose_bones, skeleton_of, walking_speed
from intraclip.studio.identity import Identity, Paint, draw_identity
from intraclip.studio.randomness import Kind, generator
from intraclip.studio.render import Figure, Window, draw_people, move, stand, visible_points
from intraclip.studio.tracklet import TrackletPlan, render_tracklet

CALM = Difficulty(
    occluder=0,
    second_person=0,
    motion_blur=0,
    lighting_change=0,
    drift=0,
    jitter=0,
    loose_box=0,
    noise=0,
    low_resolution=0,
)


BAG, TRIM, LOGO = (
    Paint(name=name, rgb=rgb)
    for name, rgb in (("magenta", (0.9, 0.0, 0.9)), ("cyan", (0.0, 0.9, 0.9)), ("blue", (0.0, 0.0, 0.9)))
)


def person(**extras) -> Identity:
    who = draw_identity(0, 1, Difficulty())
    outfit = replace(who.outfit, top="t-shirt", hem=0.5, bottom="trousers", bottom_end=0.03)
    paints = {"bag_paint": BAG, "bag_trim": TRIM, "logo_paint": LOGO}
    kept = replace(who.extras, bag="backpack", logo="disc", **paints, **extras)
    head = replace(who.head, style="short", headwear="none")
    return replace(who, outfit=outfit, extras=kept, head=head, gait=replace(who.gait, arms="swing"))


def camera() -> Camera:
    return replace(draw_camera(0, 1, CALM), height=2.5, pitch=0.2, focal=900.0, distance=8.0)


def seen(who: Identity, heading: float, phase: float = 0.25) -> tuple[Body, np.ndarray]:
    """The body, and which of its points the camera sees; heading 0 walks away."""
    body = build_body(who, 0.007, np.random.default_rng(0))
    pose = pose_bones(who.build, who.gait, who.extras, np.array([phase]), np.zeros((1, 2)))
    bones = stand(pose, np.array([[0.0, 8.0]]), np.array([heading]))
    view = camera()
    left, top, _ = view.see(np.array([0.0, 8.0, 0.9])) - [64, 128, 0]
    window = Window(left=left, top=top, width=128, height=256, columns=128, rows=256)
    places, normals = move(Figure(body=body, bones=bones[0]), view)
    return body, visible_points(places, normals, view, window)[0]


def count(who: Identity, heading: float, paint: Paint, *, bone: Bone | None = None) -> int:
    """Seen points of a pure colour, which has channels without light as no other cloth has; of a bone alone."""
    body, index = seen(who, heading)
    found = ((body.albedo > 0) == (np.array(paint.rgb) > 0)[:, None]).all(axis=0) & carried(body, bone)
    return int(found[index].sum())


def carried(body: Body, bone: Bone | None) -> np.ndarray:
    """Which points a bone moves; all where none is named."""
    return np.concatenate(
        [np.full(group.place.shape[1], bone is None or bone in group.bones) for group in body.groups]
    )


def test_backpack_shows_from_behind_and_not_from_the_front():
    assert count(person(), 0.0, BAG) > 1000
    assert count(person(), np.pi, BAG) < 0.1 * count(person(), 0.0, BAG)
    straps = [count(person(), heading, TRIM, bone=Bone.PELVIS) for heading in (np.pi, 0.0)]
    assert straps[0] > straps[1]


def test_logo_shows_from_the_front_and_not_from_behind():
    assert count(person(), np.pi, LOGO) > 100
    assert count(person(), 0.0, LOGO) == 0


def test_far_arm_is_hidden_from_the_side():
    who = person()
    who = replace(who, gait=replace(who.gait, arm_swing=6.0, elbow=4.0, lean=0.0))
    for heading, near, far in (
        (np.pi / 2, Bone.FOREARM_L, Bone.FOREARM_R),
        (-np.pi / 2, Bone.FOREARM_R, Bone.FOREARM_L),
    ):
        body, index = seen(who, heading)
        shown, hidden = (int(carried(body, arm)[index].sum()) for arm in (near, far))
        assert hidden < 0.2 * shown


def test_feet_stand_on_the_ground_and_the_head_is_at_full_height():
    who = person()
    phases = np.linspace(0, 1, 12, endpoint=False)
    bones = pose_bones(who.build, who.gait, who.extras, phases, np.zeros((12, 2)))
    body = build_body(who, 0.02, np.random.default_rng(0))
    view = camera()
    up = view.turn @ [0, 0, 1]
    for i in range(12):
        places, _ = move(Figure(body=body, bones=bones[i]), view)
        heights = up @ places + view.height
        assert -0.06 < heights.min() < 0.03
        assert 0.93 * who.build.height < heights.max() < 1.05 * who.build.height


def test_legs_alternate_and_the_cycle_closes():
    who = replace(person(), gait=replace(person().gait, uneven=0.0))
    bones = pose_bones(who.build, who.gait, who.extras, np.array([0.1, 0.6, 1.1]), np.zeros((3, 2)))
    assert np.allclose(bones[0], bones[2], atol=1e-5)
    knee = {side: np.append(skeleton_of(who.build).joint(Bone[f"SHIN_{side}"]), 1.0) for side in "LR"}
    right = bones[0, Bone.THIGH_R] @ knee["R"]
    left = bones[1, Bone.THIGH_L] @ knee["L"]
    assert np.allclose(right * [-1, 1, 1], left, atol=1e-4)
    assert 0.7 < walking_speed(who.build, who.gait) < 2.2


def test_cover_is_the_target_alone_and_splits_between_two():
    who = person()
    body = build_body(who, 0.012, np.random.default_rng(0))
    view = camera()
    pose = pose_bones(who.build, who.gait, who.extras, np.zeros(2), np.zeros((2, 2)))
    bones = stand(pose, np.array([[0.0, 8.0], [0.25, 7.2]]), np.zeros(2))
    left, top, _ = view.see(np.array([0.0, 8.0, 0.9])) - [64, 128, 0]
    window = Window(left=left, top=top, width=128, height=256, columns=64, rows=128)
    first, second = (Figure(body=body, bones=b) for b in bones)
    alone = draw_people([first], view, window)
    both = draw_people([first, second], view, window)
    assert np.array_equal(alone.cover, alone.target)
    assert both.target.sum() < 0.9 * alone.target.sum()
    assert both.cover.sum() > alone.cover.sum()
    assert alone.shade.max() > 0.1
    # No holes: closing gaps of a pixel changes nothing inside the person.
    assert 0.1 < (alone.cover > 0.5).mean() < 0.5


def plan(frames: int = 4, camid: int = 1) -> TrackletPlan:
    return TrackletPlan(
        name="x", pid=1, identity=1, camid=camid, index=0, frames=frames, files=(), split="train"
    )


def config(**changes) -> BenchmarkConfig:
    return BenchmarkConfig(identities=4, cameras=2, height=128, width=64, difficulty=replace(CALM, **changes))


@pytest.fixture(scope="module")
def calm():
    return render_tracklet(plan(), config())


def test_person_fills_the_box_and_differs_from_the_background(calm):
    masks, frames = calm.silhouettes, calm.frames.astype(np.float32)
    assert 0.12 < masks.mean() < 0.6
    rows = np.flatnonzero(masks[0].any(axis=1))
    assert rows[0] < 20
    assert rows[-1] > 108
    middle = masks[:, :, 20:44].mean()
    assert middle > masks[:, :, :10].mean()
    for frame, mask in zip(frames, masks, strict=True):
        assert np.abs(frame[mask].mean(axis=0) - frame[~mask].mean(axis=0)).max() > 8
    assert calm.nuisances == ()


def test_occluder_takes_from_the_silhouette_and_is_named(calm):
    hidden = render_tracklet(plan(), config(occluder=1.0, occluder_size=2.0))
    assert any(name.startswith("occluder: ") for name in hidden.nuisances)
    assert not (hidden.silhouettes & ~calm.silhouettes).any()
    assert hidden.silhouettes.sum() < 0.97 * calm.silhouettes.sum()


def test_drift_moves_the_person_in_the_box(calm):
    def centres(masks: np.ndarray) -> np.ndarray:
        return np.array([np.argwhere(mask).mean(axis=0) for mask in masks])

    wandering = render_tracklet(plan(), config(drift=4.0))
    assert (
        np.ptp(centres(wandering.silhouettes), axis=0).max() > np.ptp(centres(calm.silhouettes), axis=0).max()
    )


@pytest.mark.parametrize("knob", ["second_person", "motion_blur", "lighting_change"])
def test_nuisance_changes_the_pictures_and_is_named(calm, knob):
    changed = render_tracklet(plan(), config(**{knob: 1.0}))
    assert knob.replace("_", " ") in changed.nuisances
    assert not np.array_equal(changed.frames, calm.frames)


def test_dressed_alike_share_clothes_and_little_else():
    difficulty = Difficulty(alike=1.0)
    trio = [draw_identity(5, number, difficulty) for number in (3, 4, 5)]
    assert {who.alike for who in trio} == {1}
    assert trio[0].outfit == trio[1].outfit == trio[2].outfit
    for part in ("build", "extras", "gait", "head"):
        assert len({str(getattr(who, part)) for who in trio}) == 3
    assert draw_identity(5, 3, Difficulty(alike=0.0)).alike == -1


def test_muted_clothes_follow_the_knob():
    def saturation(muted: float) -> float:
        colours = [draw_identity(0, i, Difficulty(muted=muted, alike=0)).outfit.first.rgb for i in range(60)]
        return float(np.mean([max(c) - min(c) for c in colours]))

    assert saturation(1.0) < 0.6 * saturation(0.0)


def test_generators_are_named_by_what_they_are_for():
    draws = {generator(0, kind, 1).random() for kind in Kind} | {generator(0, Kind.CAMERA, 2).random()}
    assert len(draws) == len(Kind) + 1
