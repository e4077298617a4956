"""Frame encoders from files that `intraclip export` wrote, and from runs by way of such a file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch

from intraclip.embed.encoders.base import FrameEncoder
from intraclip.embed.encoders.torch_encoder import CPU_FRAMES
from intraclip.errors import CheckpointError, ConfigError, OutputError
from intraclip.export.compare import check_frames
from intraclip.export.description import Description, description_of
from intraclip.export.networks import Network, open_network
from intraclip.export.write import write_network
from intraclip.models.checkpoint import load_model, model_file, read_checkpoint
from intraclip.models.fingerprint import encoder_fingerprint
from intraclip.models.zoo import shipped_name
from intraclip.models.zoo.cache import cache_folder as user_cache

CACHE = "exported"
"""Folder of frame encoders for other engines, in a run or in the user's cache; it may be deleted at any time."""


class ExportedEncoder(FrameEncoder):
    """A frame network that `intraclip export` wrote; see `FrameEncoder`."""

    def __init__(self, network: Network, description: Description) -> None:
        self._network = network
        self.name = f"{description.backbone} {description.precision} ({network.engine})"
        self.fingerprint = description.fingerprint
        self.height = description.height
        self.width = description.width
        self.num_features = description.size

    def encode(self, frames: torch.Tensor) -> torch.Tensor:
        """See `FrameEncoder.encode`."""

        def run(piece: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(self._network.run([np.ascontiguousarray(piece.numpy())]))

        return self._in_pieces(frames, CPU_FRAMES, run)


def open_exported(path: Path, *, engine: str = "auto") -> ExportedEncoder:
    """Open an exported frame network.

    Raises:
        CheckpointError: no network, or one that `intraclip export` did not write.
        ConfigError: it holds the clip part, or the engine cannot run it.
    """
    network = open_network(path, engine=engine)
    description = description_of(network.metadata, source=str(path))
    if description is None:
        raise CheckpointError(
            f"{path} does not say how its frames are to be prepared: `intraclip export` did not write it; describe "
            "it in a small TOML file and give that instead (docs/export.md, Other people's networks)"
        )
    if description.part != "frame":
        raise ConfigError(
            f"{path} holds a whole network, clips in and embeddings out; a frame encoder is written by "
            "intraclip export RUN --part frame"
        )
    return ExportedEncoder(network, description)


def cached_export(run: Path, *, engine: str) -> ExportedEncoder:
    """The frame encoder of a run on another engine: exported and checked once, then read from a file.

    The file is named after the fingerprint of the weights, so that other weights make another file, and
    `cache_folder` says where it is. Several processes
    may do this at once: each writes its own, and the last one stays.

    Raises:
        OutputError: the run folder cannot be written to, or the exported network disagrees.
    """
    checkpoint = read_checkpoint(model_file(run))
    model = load_model(checkpoint, device=torch.device("cpu"))
    fingerprint = encoder_fingerprint(model)
    path = cache_folder(run) / f"frame-{fingerprint[:16]}.onnx"
    if path.is_file():
        try:
            encoder = open_exported(path, engine=engine)
        except CheckpointError:
            pass  # damaged, or of an older version: written again below
        else:
            if encoder.fingerprint == fingerprint:
                return encoder
    config = checkpoint.recipe.input
    try:
        write_network(
            model,
            checkpoint.recipe,
            path,
            format="onnx",
            part="frame",
            frames=check_frames(height=config.height, width=config.width),
        )
    except OutputError as error:
        raise OutputError(f"{error}; --engine torch needs no exported file") from None
    return open_exported(path, engine=engine)


def cache_folder(run: Path) -> Path:
    """Where the exported files of a run folder, or of a checkpoint inside one, are kept.

    For a network that comes with the package, and for a run that cannot be written to, it is the user's cache.
    """
    folder = run if run.is_dir() else run.parent
    if folder.name == "checkpoints":
        folder = folder.parent
    if shipped_name(run) or not os.access(folder, os.W_OK):
        return user_cache() / CACHE
    return folder / CACHE
