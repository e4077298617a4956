"""Search a gallery with a clip; the gallery opens its own network."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import intraclip as ic
from intraclip.gallery.gallery import create_gallery
from intraclip.gallery.records import TrackletRecord


def person(shade: int, *, seed: int) -> np.ndarray:
    """A clip of somebody in these clothes, drawn from blocks: uint8 [T, H, W, 3]."""
    frame = np.full((128, 64, 3), 120.0)
    frame[24:68, 18:46], frame[68:122, 21:43] = (shade, 255 - shade, 60), (255 - shade, 60, shade)
    noise = np.random.default_rng(seed).normal(0, 10, (8, *frame.shape))
    return np.clip(frame + noise, 0, 255).astype(np.uint8)


def fill(folder: Path) -> None:
    """As `intraclip gallery add` does it from a folder of tracklets."""
    net = ic.load("base")
    e = net.embed([person(shade, seed=shade) for shade in (0, 60, 120, 180, 240)])
    records = [TrackletRecord(id=f"lobby_t{n:04d}", camera="lobby", camid=1) for n in range(5)]
    with create_gallery(folder, fingerprint=e.fingerprint, dimension=net.embedding_size) as gallery:
        gallery.add(records, e.features, fingerprint=e.fingerprint)


with TemporaryDirectory() as root:
    people = Path(root) / "people"
    fill(people)
    clip = person(180, seed=1)

    # All of it:
    with ic.Gallery.open(people) as gallery:
        found = gallery.search(clip, k=3)

    for match in found.matches:
        print(match.rank, match.record.id, match.record.camera, f"{match.distance:.3f}")
    assert found.matches[0].record.id == "lobby_t0003"
