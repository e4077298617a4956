"""The plain loop that extraction must agree with, and small networks and tracklets to try it on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from intraclip.config import ClipConfig, InputConfig, ModelConfig, Recipe
from intraclip.data.frame_loader import FrameLoader
from intraclip.data.normalise import normalise
from intraclip.data.test_clips import tracklet_clips
from intraclip.embed.extract import extractor_of
from intraclip.embed.extractors import Extractor, ExtractSettings
from intraclip.embed.network import Network
from intraclip.models.embedder import ClipEmbedder, build_embedder
from intraclip.models.heads.base import Head, HeadOutput
from intraclip.types import Tracklet

SIZE = InputConfig(height=32, width=16)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small lose more to waiting threads than they gain, above all beside other work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class ReadsMaps(Head):
    """A head that needs maps and the order of frames: weights grow with the place in the clip, then the largest."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.embedding_size = num_features

    def forward(self, maps: torch.Tensor, mask: torch.Tensor) -> HeadOutput:
        weights = torch.arange(1, mask.shape[1] + 1, device=maps.device) * mask
        summed = (maps * weights[:, :, None, None, None]).sum(dim=1) / weights.sum(dim=1)[:, None, None, None]
        found = summed.amax(dim=(2, 3))
        return HeadOutput(found, found)


def opened(model: ClipEmbedder | Extractor, recipe: Recipe, *, clip: ClipConfig | None = None) -> Network:
    """A model as `load` would open it."""
    extractor = extractor_of(model.eval()) if isinstance(model, ClipEmbedder) else model
    return Network(extractor, ExtractSettings.of(recipe, clip=clip))


def network(head: str, *, input_config: InputConfig = SIZE) -> ClipEmbedder:
    """A small network with random weights and batch statistics that matter, in evaluation mode."""
    config = ModelConfig(
        backbone="small", head="ica" if head == "ica" else "tap", weights="", backbone_settings={"width": 0.5}
    )
    if head == "clips":
        config = replace(config, backbone="amoc", backbone_settings={"width": 0.25})
    model = build_embedder(config, input_config, num_classes=3, seed=0)
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean += 0.1 * torch.randn(module.running_mean.shape, generator=generator)
            module.running_var *= 0.5 + torch.rand(module.running_var.shape, generator=generator)
    if head == "maps":
        model.head = ReadsMaps(model.num_features)
    return model.eval()


@torch.inference_mode()
def clip_by_clip(
    model: ClipEmbedder, tracklets: Sequence[Tracklet], clip: ClipConfig, *, skip: bool = False
) -> npt.NDArray[np.float32]:
    """One clip at a time through the whole network, then the mean of a tracklet's clips."""
    loader = FrameLoader(model.input_config, skip_unreadable=skip)
    mean, std = model.input_config.mean, model.input_config.std
    rows = []
    for tracklet in tracklets:
        embeddings = []
        for one in tracklet_clips(len(tracklet), clip):
            frames, mask, _ = loader.load(tracklet, one)
            pixels = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)[None]
            embeddings.append(
                model.embed(normalise(pixels, mean=mean, std=std), torch.from_numpy(mask)[None])[0]
            )
        rows.append(torch.stack(embeddings).mean(dim=0))
    return torch.stack(rows).numpy()
