"""Cameras, cuts, groups and the guard, on vectors whose answers are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from intraclip.adapt.answers import settle
from intraclip.adapt.clusters import across, cluster, directions
from intraclip.adapt.footage import Footage, piece, read_footage
from intraclip.adapt.guard import guard, held_out
from intraclip.adapt.look import Look, cut_in_two
from intraclip.config import ModelConfig
from intraclip.errors import DataError
from intraclip.gallery.gallery import create_gallery
from intraclip.models.embedder import build_head
from intraclip.models.heads.directions import take_out
from intraclip.types import UNKNOWN_PID, Split, Tracklet

NOBODY = np.zeros((24, 24), dtype=bool)


def unit(x: np.ndarray) -> np.ndarray:
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


def site(
    people: int = 12, cameras: int = 2, shift: float = 0.0, noise: float = 0.1
) -> tuple[np.ndarray, ...]:
    """Vectors, people and cameras: everybody once in each camera."""
    rng = np.random.default_rng(2)
    who = np.repeat(np.arange(people), cameras)
    where = np.tile(np.arange(1, cameras + 1), people)
    person, camera = rng.standard_normal((people, 32)), rng.standard_normal((cameras + 1, 32))
    vectors = person[who] + shift * camera[where] + noise * rng.standard_normal((len(who), 32))
    return unit(vectors), who, where


def look_of(vectors: np.ndarray, noise: float = 0.02) -> Look:
    rng = np.random.default_rng(1)
    segments = tuple(unit(v + noise * rng.standard_normal((4, len(v)))) for v in vectors)
    return Look(segments=segments, starts=((0, 2, 4, 6),) * len(vectors))


def footage_of(camids: np.ndarray, frames: int = 8) -> Footage:
    tracklets = tuple(
        Tracklet(
            name=f"t{i}",
            root=Path("d"),
            frames=tuple(f"{n}.jpg" for n in range(frames)),
            pid=UNKNOWN_PID,
            camid=int(c),
        )
        for i, c in enumerate(camids)
    )
    return Footage(root=Path("d"), tracklets=tracklets, times=None, sources=("",) * len(tracklets))


def test_vectors_without_the_directions_of_cameras_say_nothing_about_them():
    vectors, _, where = site(cameras=3, shift=3.0)
    out = directions(vectors, where)
    assert out.shape == (32, 2)
    assert out.T @ out == pytest.approx(np.eye(2), abs=1e-5)
    rest = vectors - (vectors @ out) @ out.T
    means = np.stack([rest[where == c].mean(axis=0) for c in (1, 2, 3)])
    assert np.ptp(means, axis=0).max() < 1e-5


def test_people_are_found_across_cameras_once_the_cameras_are_out():
    vectors, _, where = site(cameras=2, shift=3.0)
    seen = look_of(vectors)

    def right(v: np.ndarray) -> float:
        d = v[where == 1] @ v[where == 2].T
        return float((d.argmax(axis=1) == np.arange(12)).mean())

    assert right(seen.vectors()) < 1
    assert right(across(seen.vectors(), directions(vectors, where))) == 1


def test_a_camera_of_few_tracklets_has_no_say():
    vectors, _, where = site(cameras=2)
    assert directions(vectors[:14], where[:14]).shape == (32, 0)


@pytest.mark.parametrize("head", ["stripes", "ica"])
def test_a_head_takes_directions_out_of_its_embeddings(head: str):
    torch.manual_seed(0)
    built = build_head(16, ModelConfig(head=head)).eval()
    maps = torch.rand(6, 2, 16, 8, 4)
    if head == "ica":  # statistics that are not those of a new network
        with torch.no_grad():
            built.train()(maps)
            built.eval()
            built.bottleneck[-1].bias.uniform_()
    with torch.no_grad():
        before = built(maps).embedding
        out = torch.linalg.qr(torch.randn(before.shape[1], 3))[0]
        assert take_out(built, out)
        after = built(maps).embedding
    wanted = before - (before @ out) @ out.T
    if head == "stripes":
        wanted = torch.nn.functional.normalize(wanted, dim=1)
    torch.testing.assert_close(after, wanted, rtol=1e-4, atol=1e-5)


def test_a_head_without_a_last_linear_layer_says_so():
    assert not take_out(build_head(16, ModelConfig(head="tap")), torch.zeros(16, 1))


def test_everybody_is_one_group():
    vectors, who, where = site(people=12, cameras=4)
    found = cluster(vectors, where, settle(np.zeros((48, 48), dtype=bool)))
    assert (found.people, found.noise) == (12, 0)
    assert found.person.tolist() == (who + 1).tolist()


def test_who_cannot_be_one_person_is_not():
    vectors, _, where = site(people=12, cameras=4)
    impossible = np.zeros((48, 48), dtype=bool)
    impossible[0, 1] = impossible[1, 0] = True
    person = cluster(vectors, where, settle(impossible)).person
    assert person[0] != person[1] or person[0] == 0
    assert len(set(person[4:8].tolist())) == 1


def test_a_tracklet_of_two_people_is_cut_where_they_change():
    vectors, _, where = site()
    seen = look_of(vectors)
    segments = list(seen.segments)
    segments[3] = np.concatenate([segments[3][:2], segments[8][2:]])
    cuts = cut_in_two(footage_of(where), replace(seen, segments=tuple(segments)))
    assert [c for c in cuts if c[0] == 3] == [(3, 0, 4), (3, 4, 8)]
    assert [c for c in cuts if c[0] != 3] == [(row, 0, 8) for row in range(24) if row != 3]


def test_a_part_of_too_few_frames_is_left_out():
    vectors, _, where = site()
    seen = look_of(vectors)
    segments = list(seen.segments)
    segments[3] = np.concatenate([segments[3][:3], segments[8][3:]])
    cuts = cut_in_two(footage_of(where), replace(seen, segments=tuple(segments)))
    assert [c for c in cuts if c[0] == 3] == [(3, 0, 6)]


def test_a_piece_keeps_its_frames_in_order():
    tracklet = footage_of(np.array([1])).tracklets[0]
    part = piece(tracklet, range(2, 5), name="t0@2")
    assert (part.name, part.frames, part.camid) == ("t0@2", ("2.jpg", "3.jpg", "4.jpg"), 1)


def test_the_guard_prefers_who_tells_people_apart():
    vectors, _, where = site(noise=0.5)
    impossible = NOBODY.copy()
    impossible[0, 2] = impossible[2, 0] = True
    good, bad = look_of(vectors), look_of(vectors, noise=0.6)
    held = held_out(good, seed=0)
    assert len(held) == 5
    better, worse = (guard(seen, held, where, impossible) for seen in (good, bad))
    assert better.find == 1
    assert better.pairs == 1
    assert better.better_than(worse)
    assert not worse.better_than(better)
    assert not better.better_than(better)


def test_a_network_that_gives_everybody_one_vector_never_wins():
    vectors, _, where = site()
    seen = look_of(vectors)
    held = held_out(seen, seed=0)
    flat = Look(segments=tuple(np.ones_like(s) / 32**0.5 for s in seen.segments), starts=seen.starts)
    rng = np.random.default_rng(3)
    almost = Look(
        segments=tuple(unit(np.ones_like(s) + 1e-3 * rng.standard_normal(s.shape)) for s in seen.segments),
        starts=seen.starts,
    )
    impossible = NOBODY.copy()
    impossible[0, 2] = impossible[2, 0] = True
    before = guard(seen, held, where, impossible)
    for other in (flat, almost):
        assert not guard(other, held, where, impossible).better_than(before)


def test_labels_are_not_looked_at(tiny_split: Split):
    found = read_footage([tiny_split])
    assert len(found) == 24
    assert {t.pid for t in found.tracklets} == {UNKNOWN_PID}
    assert found.times is None


def test_two_sources_share_cameras_and_no_names(tiny_split: Split):
    found = read_footage([tiny_split, tiny_split])
    assert len({t.name for t in found.tracklets}) == 48
    assert set(found.camids.tolist()) == {1, 2}
    assert not set(found.sources[:24]) & set(found.sources[24:])


def test_a_gallery_of_another_network_is_refused(tmp_path: Path):
    create_gallery(tmp_path / "people", fingerprint="f00d", dimension=2).close()
    with pytest.raises(
        DataError, match=r"was made with .*\(fingerprint f00d\), not with the network to adapt \(beef\)"
    ):
        read_footage([tmp_path / "people"], fingerprint="beef")
