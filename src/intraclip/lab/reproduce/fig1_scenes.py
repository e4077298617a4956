"""The clips that Fig. 1 looks at, and the maps of a network on them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from intraclip.config import ClipConfig
from intraclip.data.clips import Clip
from intraclip.data.normalise import normalise
from intraclip.data.test_clips import tracklet_clips
from intraclip.errors import DataError
from intraclip.lab.reproduce.figures import SEED, Kinds
from intraclip.models.checkpoint import Checkpoint, load_model
from intraclip.models.embedder import ClipEmbedder
from intraclip.report import gradcam, strips
from intraclip.report.sections.tiles import short_clip
from intraclip.types import Split, Tracklet

GRID = (8, 4)
"""Rows and columns of the maps of the paper's network: ResNet50 at 256 x 128."""
REFERENCES = 4
"""Other tracklets of a person that its mean embedding is made of, at most."""
AT_ONCE = 16
"""Clips in memory at a time."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Clips that are looked at, one tracklet each.

    Attributes:
        people: ``test`` or ``train``.
        tracklets: in random order, people in turn.
        outlines: silhouettes ``[T, H, W]`` of those frames, or None.
        others: name of a tracklet -> other tracklets of that person; empty for people of training.
    """

    people: str
    tracklets: tuple[Tracklet, ...]
    clips: tuple[Clip, ...]
    outlines: tuple[npt.NDArray[np.bool_] | None, ...]
    others: Mapping[str, tuple[Tracklet, ...]]
    config: ClipConfig

    def outline(self, number: int, height: int, width: int) -> npt.NDArray[np.bool_] | None:
        """Silhouettes of a clip's valid frames ``[T, height, width]``, or None."""
        outline = self.outlines[number]
        if outline is None:
            return None
        return gradcam.resize_masks(outline[self.clips[number].mask], height, width)


def make_scenes(kinds: Kinds, split: Split, *, measured: int) -> list[Scene]:
    """Clips of people of test, then of people of training that every run knows (none where there are none)."""
    config = replace(short_clip(next(iter(kinds.values()))[0].recipe.clip), test_sampling="dense")
    by_pid: dict[int, list[Tracklet]] = defaultdict(list)
    for tracklet in split.test:
        if tracklet.pid > 0:
            by_pid[tracklet.pid].append(tracklet)
    candidates = [t for found in by_pid.values() if len(found) > 1 for t in found]
    if not candidates:
        raise DataError(
            f"no person of test in {split.root} has two tracklets; Grad-CAM of people without a class compares a clip "
            "with the person's other tracklets"
        )
    test = _in_turn(candidates, measured, np.random.default_rng([SEED, 21]))
    others = {}
    for tracklet in test:
        rest = [t for t in by_pid[tracklet.pid] if t is not tracklet]
        others[tracklet.name] = tuple(sorted(rest, key=lambda t: t.camid == tracklet.camid)[:REFERENCES])
    scenes = [_scene("test", test, others, split, config)]
    known = set.intersection(*(set(run.pids) for seeds in kinds.values() for run in seeds))
    train = [t for t in split.train if t.pid in known]
    if train:
        chosen = _in_turn(train, measured, np.random.default_rng([SEED, 22]))
        scenes.append(_scene("train", chosen, {}, split, config))
    return scenes


def _in_turn(tracklets: Sequence[Tracklet], count: int, rng: np.random.Generator) -> list[Tracklet]:
    """Tracklets in random order, but everybody's first before anybody's second."""
    seen: dict[int, int] = defaultdict(int)
    turns = []
    for index in rng.permutation(len(tracklets)).tolist():
        turns.append((seen[tracklets[index].pid], tracklets[index]))
        seen[tracklets[index].pid] += 1
    return [tracklet for _, tracklet in sorted(turns, key=lambda turn: turn[0])][:count]


def _scene(
    people: str,
    tracklets: Sequence[Tracklet],
    others: Mapping[str, tuple[Tracklet, ...]],
    split: Split,
    config: ClipConfig,
) -> Scene:
    clips = tuple(_middle(len(t), config) for t in tracklets)
    outlines = []
    for tracklet, clip in zip(tracklets, clips, strict=True):
        masks = gradcam.silhouettes_of(split.root, tracklet)
        outlines.append(None if masks is None else masks[clip.indices])
    return Scene(
        people=people,
        tracklets=tuple(tracklets),
        clips=clips,
        outlines=tuple(outlines),
        others=others,
        config=config,
    )


def _middle(length: int, config: ClipConfig) -> Clip:
    """T consecutive frames, as the networks were trained on, from the middle of a tracklet."""
    clips = tracklet_clips(length, config)
    whole = [clip for clip in clips if clip.mask.all()] or clips
    return whole[(len(whole) - 1) // 2]


def pictured(scene: Scene, count: int) -> list[int]:
    """The first clips whose person is to be seen; the first of all where nobody is."""
    seen = [i for i, outline in enumerate(scene.outlines) if gradcam.is_visible(outline)]
    rest = [i for i in range(len(scene.clips)) if i not in seen]
    return (seen + rest)[:count]


def layers(run: Checkpoint) -> dict[str, tuple[int, int]]:
    """Layers to explain and the grids of their maps ``(h, w)``, the one that is judged first; "" is the last maps.

    The one to judge by is the last stage whose maps have at least `GRID` positions.
    """
    size, model = run.recipe.input, load_model(run, device=torch.device("cpu"))
    last = gradcam.grid(model, size.height, size.width)
    if _fine(last):
        return {"": last}
    names = {id(module): name for name, module in model.backbone.named_modules()}
    for stage in reversed(model.backbone.stages()[:-1]):
        name = names[id(stage[-1])]
        found = gradcam.grid(model, size.height, size.width, layer=name)
        if _fine(found):
            return {name: found, "": last}
    return {"": last}


def _fine(grid: tuple[int, int]) -> bool:
    return grid[0] >= GRID[0] and grid[1] >= GRID[1]


def _batch(
    run: Checkpoint, tracklets: Sequence[Tracklet], clips: Sequence[Clip]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Normalised frames ``[B, T, 3, H, W]`` and mask ``[B, T]``."""
    size = run.recipe.input
    pictures = np.stack(
        [
            strips.load_frames(t, clip.indices.tolist(), height=size.height, width=size.width)
            for t, clip in zip(tracklets, clips, strict=True)
        ]
    )
    frames = torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 1, 4, 2, 3)))
    masks = torch.from_numpy(np.stack([clip.mask for clip in clips]))
    return normalise(frames, mean=size.mean, std=size.std), masks


@torch.inference_mode()
def explained(model: ClipEmbedder, run: Checkpoint, scene: Scene) -> torch.Tensor:
    """What the maps explain: classes ``[B]`` in training, directions ``[B, D]`` in embedding space at test."""
    if scene.people == "train":
        return torch.tensor([run.pids.index(t.pid) for t in scene.tracklets])
    needed = list({t.name: t for group in scene.others.values() for t in group}.values())
    device = next(model.parameters()).device
    embeddings: dict[str, torch.Tensor] = {}
    for start in range(0, len(needed), AT_ONCE):
        part = needed[start : start + AT_ONCE]
        frames, mask = _batch(run, part, [_middle(len(t), scene.config) for t in part])
        rows = model.embed(frames.to(device), mask.to(device)).float().cpu()
        embeddings.update(zip((t.name for t in part), rows, strict=True))
    own = torch.stack(
        [torch.stack([embeddings[o.name] for o in scene.others[t.name]]).mean(dim=0) for t in scene.tracklets]
    )
    pids = [t.pid for t in scene.tracklets]
    average = torch.stack([own[pids.index(pid)] for pid in sorted(set(pids))]).mean(dim=0)
    return own - average


def maps_of(
    model: ClipEmbedder, run: Checkpoint, scene: Scene, targets: torch.Tensor, layer: str
) -> list[npt.NDArray[np.float32]]:
    """Maps ``[T, H, W]`` of every clip; frames that only fill it up are left out."""
    maps: list[npt.NDArray[np.float32]] = []
    for start in range(0, len(scene.clips), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        frames, mask = _batch(run, scene.tracklets[part], scene.clips[part])
        # Made under inference_mode, a tensor cannot take part in a backward pass; its copy can.
        found = gradcam.activation_maps(model, frames, mask, targets[part].clone(), layer=layer)
        maps += [clip[valid] for clip, valid in zip(found, mask.numpy(), strict=True)]
    return maps
