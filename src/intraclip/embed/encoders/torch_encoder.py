"""The backbone of a trained network as a frame encoder, in PyTorch."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import suppress

import torch
from torch.fx.experimental.optimization import fuse

from intraclip.core.devices import Arriving
from intraclip.data.normalise import normalise
from intraclip.embed.encoders.base import FrameEncoder
from intraclip.models.embedder import ClipEmbedder
from intraclip.models.fingerprint import encoder_fingerprint
from intraclip.models.network import Stage, StagedNetwork

CPU_PIXELS = 2**18
"""Pixels that a CPU takes at once, about. Much larger pieces fall out of its caches: on two cores ResNet50 makes 36
frames of 256 x 128 a second 8 or 16 at a time, and 21 at 128 at a time."""

CPU_BLOCK = 16
"""Frames come to a CPU in pieces of as many, or a multiple: with one thread oneDNN takes a slower way for others.
ResNet50 then takes 46 ms a frame 8 or 12 at a time and 29 to 38 at 16, `base` 5.4 at 14, 3.5 at 16 and 5.9 at 28."""

CPU_FRAMES = 8
"""Frames that other engines take at once on a CPU. With 16 ONNX Runtime takes a seventh more time for `base`, and
OpenVINO a fifteenth; for ResNet50 the number makes no difference to the one, and 3 % to the other."""


class TorchEncoder(FrameEncoder):
    """Runs the backbone of a network on the device where the network is; see `FrameEncoder`.

    It runs a copy of the backbone: in channels-last memory, each batch normalisation folded into the convolution before
    it, as engines do that read a file. Vectors differ in the seventh digit from those of the network as it is.
    """

    def __init__(self, model: ClipEmbedder) -> None:
        self.model = _folded(model) if model.by_frame else model
        self.name = f"{model.config.backbone} (torch)"
        self.height = model.input_config.height
        self.width = model.input_config.width
        self.num_features = model.vector_size
        self.fingerprint = encoder_fingerprint(model)
        self.model.backbone.to(memory_format=torch.channels_last)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.model.parameters()).device

    @property
    def on_gpu(self) -> bool:
        """See `FrameEncoder`."""
        return self.device.type == "cuda"

    @torch.inference_mode()
    def start(self, frames: torch.Tensor) -> Arriving:
        """See `FrameEncoder.start`."""
        vectors = [self.model.frame_vectors(piece).float() for piece in self._pieces(frames)]
        return Arriving(torch.cat(vectors) if vectors else torch.zeros(0, self.num_features))

    def maps(self, frames: torch.Tensor) -> Iterator[torch.Tensor]:
        """Feature maps ``[n, F, h, w]`` of uint8 frames ``[N, 3, H, W]``, in pieces that the device likes."""
        return map(self.model.frame_maps, self._pieces(frames))

    def _pieces(self, frames: torch.Tensor) -> Iterator[torch.Tensor]:
        """Normalised frames on the device."""
        device = self.device
        mean, std = self.model.input_config.mean, self.model.input_config.std
        on_cpu = max(1, CPU_PIXELS // (self.height * self.width) // CPU_BLOCK) * CPU_BLOCK
        size = on_cpu if device.type == "cpu" else max(1, len(frames))
        for piece in torch.split(frames, size):
            batch = normalise(piece.to(device, non_blocking=True), mean=mean, std=std)
            yield batch.contiguous(memory_format=torch.channels_last)


def _folded(model: ClipEmbedder) -> ClipEmbedder:
    """The network with another backbone, which shares no weights with its own; the head is the same."""
    backbone: StagedNetwork = copy.deepcopy(model.backbone).eval()
    with suppress(Exception):
        # whatever a forward pass does with stand-ins for tensors where it cannot be traced
        backbone = _Folded(backbone)
    folded = copy.copy(model)
    folded._modules = {**model._modules, "backbone": backbone}
    return folded


class _Folded(StagedNetwork):
    """A backbone as one stage, batch normalisation folded."""

    def __init__(self, backbone: StagedNetwork) -> None:
        super().__init__()
        self.num_features = backbone.num_features
        with torch.no_grad():
            self.whole = fuse(backbone, inplace=True).eval()

    def stages(self) -> list[Stage]:
        """All of it."""
        return [(self.whole,)]
