"""People found in a frame, and arithmetic on boxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Detections:
    """People found in one frame.

    Attributes:
        boxes: float32 ``[N, 4]``, left, top, right, bottom in pixels of the frame; may reach beyond it.
        scores: float32 ``[N]`` in 0..1.

    Raises:
        ValueError: the shapes disagree.
    """

    boxes: Floats
    scores: Floats

    def __post_init__(self) -> None:
        if self.boxes.shape != (len(self.scores), 4) or self.scores.ndim != 1:
            raise ValueError(
                f"Detections want boxes [N, 4] and scores [N]; got {self.boxes.shape} and {self.scores.shape}"
            )

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, keep: npt.NDArray[Any]) -> Detections:
        return Detections(boxes=self.boxes[keep], scores=self.scores[keep])

    def __repr__(self) -> str:
        return f"Detections({len(self)} people)"

    @staticmethod
    def join(parts: list[Detections]) -> Detections:
        """All detections of several runs, in order."""
        return Detections(
            boxes=np.concatenate([np.zeros((0, 4), np.float32), *(p.boxes for p in parts)]),
            scores=np.concatenate([np.zeros(0, np.float32), *(p.scores for p in parts)]),
        )


def box_iou(a: Floats, b: Floats) -> Floats:
    """Intersection over union of every box of `a` ``[N, 4]`` with every box of `b` ``[M, 4]``: ``[N, M]``."""
    intersection = shared_area(a, b)
    union = box_area(a)[:, None] + box_area(b)[None] - intersection
    return np.asarray(intersection / np.maximum(union, 1e-9), dtype=np.float32)


def shared_area(a: Floats, b: Floats) -> Floats:
    """Square pixels that every box of `a` ``[N, 4]`` shares with every box of `b` ``[M, 4]``: ``[N, M]``."""
    inner = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    return np.asarray(inner.clip(min=0).prod(axis=2))


def box_area(boxes: Floats) -> Floats:
    """Area of boxes ``[N, 4]`` in square pixels: ``[N]``."""
    return np.asarray((boxes[:, 2:] - boxes[:, :2]).clip(min=0).prod(axis=1), dtype=np.float32)


def suppress(detections: Detections, *, iou: float) -> Detections:
    """Non-maximum suppression: of detections that overlap more than `iou` the best-scored stays.

    Ties keep their order, so the result does not depend on the platform's sort. Best first.
    """
    order = np.argsort(-detections.scores, kind="stable")
    boxes = detections.boxes[order]
    overlaps = box_iou(boxes, boxes) > iou
    alive = np.ones(len(order), dtype=bool)
    for i in range(len(order)):
        if alive[i]:
            alive[i + 1 :] &= ~overlaps[i, i + 1 :]
    return detections[order[alive]]
