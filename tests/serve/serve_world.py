"""A gallery of coloured people in three cameras, a service on it, and a model for uploads that knows them by colour."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import simplejpeg
from fastapi.testclient import TestClient
from PIL import Image

from intraclip.gallery.gallery import Gallery, create_gallery
from intraclip.gallery.records import AuditEntry, Pictures, TrackletRecord
from intraclip.metrics.embeddings import Embeddings
from intraclip.metrics.match_fit import fit_calibration
from intraclip.metrics.match_probability import MatchCalibration
from intraclip.serve.app import create_app
from intraclip.serve.settings import ServeSettings
from intraclip.serve.tokens import Token
from intraclip.serve.uploads import Picture

MODEL = "c" * 64
SIZE = 16
PEOPLE = 8
CAMERAS = ("gate", "hall", "yard")
SECRET = "an-example-secret-for-tests-only"
TOKEN = Token.of("alice", SECRET)
HERE = "http://testserver"
ODD = "../../etc/passwd"
"""A tracklet's id; any text may be one."""
CHANGE = {"X-Intraclip": "1"}


def colour(person: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng([3, person]).integers(30, 226, 3).astype(np.uint8)


def frame(person: int, place: int = 0, camera: int = 0, height: int = 64, width: int = 32) -> Picture:
    """A coloured person before the camera's grey, who sways."""
    picture = np.full((height, width, 3), 70 + 30 * camera, np.uint8)
    left = 4 + 2 * (place % 4)
    picture[6:-6, left : left + width // 2] = colour(person)
    return picture


def jpeg(picture: Picture) -> bytes:
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(picture), quality=90, colorspace="RGB"))


def png(picture: Picture) -> bytes:
    data = io.BytesIO()
    Image.fromarray(picture).save(data, "PNG")
    return data.getvalue()


def tracklet_id(person: int, camera: int) -> str:
    return ODD if (person, camera) == (0, 2) else f"p{person}_{CAMERAS[camera]}"


class ColourModel:
    """Embeds pictures as the gallery's vectors were made: of whom, the colour tells."""

    fingerprint = MODEL

    def embed(self, clips: Sequence[Sequence[Picture]]) -> list[npt.NDArray[np.float32]]:
        return [self._person(pictures) for pictures in clips]

    def _person(self, pictures: Sequence[Picture]) -> npt.NDArray[np.float32]:
        seen = np.mean([p[p.shape[0] // 2, p.shape[1] // 2] for p in pictures], axis=0)
        nearest = min(range(PEOPLE), key=lambda person: float(np.abs(colour(person) - seen).sum()))
        return centre(nearest)


def centre(person: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng([5, person]).standard_normal(SIZE).astype(np.float32)


def vector(person: int, camera: int) -> npt.NDArray[np.float32]:
    noise = np.random.default_rng([6, person, camera]).standard_normal(SIZE)
    return (centre(person) + 0.25 * noise).astype(np.float32)


def calibration() -> MatchCalibration:
    people = [(p, c) for p in range(PEOPLE) for c in range(len(CAMERAS))]
    labelled = Embeddings(
        features=np.stack([vector(p, c) for p, c in people]),
        pids=np.array([p + 1 for p, _ in people]),
        camids=np.array([c + 1 for _, c in people]),
        is_query=np.ones(len(people), dtype=np.bool_),
    )
    return fit_calibration(labelled, metric="cosine", fingerprint=MODEL)


def make_gallery(folder: Path, *, calibrated: bool = True) -> Gallery:
    """`PEOPLE` people in every camera; one tracklet has an id that looks like a path."""
    gallery = create_gallery(folder, fingerprint=MODEL, dimension=SIZE, metric="cosine", model="by colour")
    records, vectors, pictures = [], [], []
    for person in range(PEOPLE):
        for camera, name in enumerate(CAMERAS):
            frames = [frame(person, t, camera) for t in range(6)]
            start = 60.0 * person + 20 * camera
            records.append(
                TrackletRecord(
                    id=tracklet_id(person, camera), camera=name, camid=camera + 1, num_frames=6,
                    start_s=start, end_s=start + 6, started_at=1.79e9 + start, source=f"{name}.mp4",
                )
            )  # fmt: skip
            vectors.append(vector(person, camera))
            pictures.append(
                Pictures(strip=jpeg(np.concatenate(frames[:5], axis=1)), crops=tuple(map(jpeg, frames)))
            )
    gallery.add(records, np.stack(vectors), fingerprint=MODEL, pictures=pictures)
    if calibrated:
        gallery.set_calibration(calibration())
    return gallery


SHOWN = ("list", "look", "people", "judgements", "timeline")


def log(gallery: Gallery) -> list[AuditEntry]:
    """The audit log without those lines that say that people were looked at."""
    return [entry for entry in gallery.audit_log() if entry.action not in SHOWN]


def client(gallery: Gallery, *, uploads: bool = True, **settings: object) -> TestClient:
    """A program that talks to the service from this machine; it sends the header that changes ask for."""
    allowed = ServeSettings(**{"allow_hosts": frozenset({"testserver"}), "tokens": (TOKEN,), **settings})  # type: ignore[arg-type]
    app = create_app(gallery, allowed, embedder=ColourModel() if uploads else None)
    return TestClient(
        app, base_url=HERE, follow_redirects=False, headers={"Authorization": f"Bearer {SECRET}"}
    )


def local_client(gallery: Gallery, **settings: object) -> TestClient:
    """Without any token, on loopback, as a browser on this machine reaches it."""
    app = create_app(gallery, ServeSettings(**settings), embedder=ColourModel())  # type: ignore[arg-type]
    return TestClient(app, base_url="http://127.0.0.1:8000", follow_redirects=False)
