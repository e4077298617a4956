"""Queries from outside a gallery: pictures, a clip, or a box in a video -> one embedding."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from intraclip.config import ClipConfig
from intraclip.core.media import read_picture
from intraclip.data.clips import tracklet_clips
from intraclip.data.frames import resize_frame
from intraclip.embed.extractors import ClipExtractor, Extractor, FrameExtractor
from intraclip.errors import ConfigError, DataError
from intraclip.ingest.config import IngestConfig
from intraclip.ingest.crops import cut
from intraclip.ingest.sources import open_source

Picture = npt.NDArray[np.uint8]
"""uint8 ``[h, w, 3]``, RGB: one person, cut out."""

MAX_FRAMES = 64
"""Frames of a clip that are used, evenly spread."""

KEPT_SIDE = 1_280
"""Frames of a clip are made smaller than this at once: a hundred in 4K take 3 GB, and no network looks at more."""

BATCH = 64


def embed_pictures(
    extractor: Extractor, pictures: Sequence[Picture], clip: ClipConfig
) -> npt.NDArray[np.float32]:
    """The embedding of pictures of one person, taken as the frames of a tracklet.

    Args:
        extractor: the gallery's model.
        pictures: in order of time, any sizes.
        clip: how tracklets are sampled at test; the fingerprint is `extractor.fingerprint(clip)`.

    Returns:
        float32 ``[D]``.

    Raises:
        DataError: no pictures, something else than a picture, or the network gives numbers that are not finite.
        ConfigError: an extractor of another kind.
    """
    if not pictures:
        raise DataError("no pictures to search with; give at least one")
    for picture in pictures:
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
            raise DataError(
                f"a picture is {picture.dtype} {list(picture.shape)}; uint8 [h, w, 3] in RGB is needed"
            )
    if not isinstance(extractor, FrameExtractor | ClipExtractor):
        raise ConfigError(f"{extractor.name}: an extractor of another kind; open it with open_extractor")
    height, width = extractor.encoder.height, extractor.encoder.width
    frames = torch.from_numpy(np.stack([resize_frame(p, height, width) for p in pictures])).permute(
        0, 3, 1, 2
    )
    embeddings = []
    for piece in tracklet_clips(len(pictures), clip):
        if isinstance(extractor, FrameExtractor):
            used = frames[torch.from_numpy(piece.indices[piece.mask])]
            vectors = torch.cat([extractor.encoder.encode(part) for part in torch.split(used, BATCH)])
            embeddings.append(extractor.from_means(vectors.double().mean(dim=0, keepdim=True))[0])
        else:
            whole = frames[torch.from_numpy(piece.indices)][None]
            embeddings.append(extractor.embed_clips(whole, torch.from_numpy(piece.mask)[None], BATCH)[0])
    found: npt.NDArray[np.float32] = torch.stack(embeddings).mean(dim=0).float().numpy()
    if not np.isfinite(found).all():
        raise DataError(
            f"{extractor.name} gives an embedding of the query that is not finite (NaN or infinite); look at the "
            "network's input range and weights"
        )
    return found


def read_images(paths: Sequence[Path]) -> list[Picture]:
    """Read image files, turned upright.

    Raises:
        FrameError: one is missing, damaged, or no image.
    """
    return [read_picture(path) for path in paths]


def read_clip(path: Path) -> list[Picture]:
    """Frames of a video that shows one person, cut out; at most `MAX_FRAMES`, evenly spread.

    Raises:
        DataError: it is no video, or damaged.
    """
    kept: list[Picture] = []
    stride = 1
    for number, frame in enumerate(open_source(path, IngestConfig()).frames()):
        if number % stride:
            continue
        kept.append(_bounded(np.ascontiguousarray(frame.image[..., ::-1])))
        if len(kept) == 2 * MAX_FRAMES:  # how long a video is, its end alone tells
            kept, stride = kept[::2], 2 * stride
    if not kept:
        raise DataError(f"no frame of {path} can be decoded; the file is damaged")
    places = np.linspace(0, len(kept) - 1, min(len(kept), MAX_FRAMES)).round().astype(int)
    return [kept[i] for i in places]


def _bounded(frame: Picture) -> Picture:
    height, width = frame.shape[:2]
    scale = min(1.0, KEPT_SIDE / max(height, width))
    return resize_frame(frame, max(1, round(height * scale)), max(1, round(width * scale)))


def read_box(path: Path, *, frame: int, box: tuple[float, float, float, float]) -> list[Picture]:
    """What is in a box of one frame of a video.

    Args:
        path: the video, or a folder of frames.
        frame: number of the frame, from 0.
        box: left, top, width, height in pixels of the upright frame.

    Raises:
        DataError: it is no video, has no such frame, or the box lies outside.
    """
    left, top, width, height = box
    if frame < 0:
        raise DataError(f"frame {frame}: frames are counted from 0")
    found = next(iter(open_source(path, IngestConfig()).frames(only=frozenset([frame]))), None)
    if found is None:
        raise DataError(f"{path} has no frame {frame}; it is shorter")
    rows, columns = found.image.shape[:2]
    outside = left >= columns or top >= rows or left + width <= 0 or top + height <= 0
    if not np.isfinite(box).all() or width < 1 or height < 1 or outside:
        raise DataError(
            f"the box {left:g},{top:g},{width:g},{height:g} (left, top, width, height) does not lie in the frames of "
            f"{path}, which have {columns} x {rows} pixels"
        )
    edges = np.array([left, top, left + width, top + height], dtype=np.float32)
    return [np.ascontiguousarray(cut(found.image, edges, margin=0.0)[..., ::-1])]
