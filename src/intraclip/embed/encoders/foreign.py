"""Other people's networks as frame encoders: a small TOML file says where the network is and what it wants.

::

    network = "person-reid.onnx"   # .onnx, OpenVINO .xml, timm:NAME, open_clip:NAME; files relative to this one
    height = 256
    width = 128
    channel_order = "BGR"
    value_range = "0..255"
    mean = [0.0, 0.0, 0.0]         # subtracted, in the network's channel order and range
    std = [1.0, 1.0, 1.0]          # divides after that

How frames are prepared has no defaults: a wrong guess costs accuracy, and nothing would say so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from intraclip.config import InputConfig
from intraclip.config_io import refuse
from intraclip.core.files import file_digest
from intraclip.core.settings import bounded, dataclass_from_table, problems
from intraclip.core.tensor_digest import digest
from intraclip.embed.encoders.base import FrameEncoder
from intraclip.embed.encoders.torch_encoder import CPU_FRAMES
from intraclip.errors import CheckpointError, ConfigError
from intraclip.export.networks import Network, Port, find_output, open_network
from intraclip.recipe_files import read_toml

REQUIRED = ("network", "height", "width", "channel_order", "value_range", "mean", "std")
FAMILIES = ("timm", "open_clip")
MAX_SIDE = 4096
"""Pixels. Frames of people are smaller by far; a larger number is a damaged file, and would take all memory."""
MAX_BATCH = 4096
"""Frames that a network of fixed batch may want at a time."""


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Somebody's image network, as a TOML file describes it."""

    network: str = ""
    """A .onnx or .xml file (relative to the TOML file), `timm:NAME` or `open_clip:NAME`."""
    description: str = ""
    """One sentence for people."""
    height: int = bounded(256, 1, MAX_SIDE)
    """Height of its frames in pixels; they are resized to it, aspect ratio ignored."""
    width: int = bounded(128, 1, MAX_SIDE)
    """Width of its frames in pixels."""
    channel_order: Literal["RGB", "BGR"] = "RGB"
    """Order of the colours."""
    value_range: Literal["0..1", "0..255"] = "0..1"
    """Range of the pixels before mean and deviation."""
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Subtracted; in the network's channel order and value range."""
    std: tuple[float, float, float] = bounded((1.0, 1.0, 1.0), 0, above=True)
    """Divides after the mean is subtracted."""
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    """Order of the axes of its input."""
    output: str = ""
    """Name of the output that holds the vectors; needed when there are several."""
    pool: Literal["none", "mean"] = "none"
    """What is done with feature maps [N, F, h, w]: refuse them, or take their mean over positions."""
    batch: int = bounded(0, 0)
    """Frames that it takes at a time; 0 is what its file says, or any number."""
    weights: str = ""
    """timm and open_clip only: a local .pth or .safetensors file, `pretrained` (their own, downloaded once), or
    `random`, for tests."""


def load_network_config(path: Path) -> NetworkConfig:
    """Read the TOML file of a network."""
    return network_config(read_toml(path, what="the network's description"), source=str(path))


def network_config(table: Mapping[str, Any], *, source: str) -> NetworkConfig:
    """Check a description.

    Raises:
        ConfigError: unknown, missing and wrong values: all of them at once.
    """
    found: list[str] = []
    config = dataclass_from_table(NetworkConfig, table, prefix="", found=found)
    found += [f"{key}: is missing" for key in REQUIRED if key not in table]
    refuse([*found, *problems(config), *_problems(config, table)], source)
    return config


def usual_network(name: str) -> NetworkConfig:
    """The description of ``timm:NAME`` with its usual weights and normalisation, on frames of the usual size."""
    from intraclip.models.backbones.timm import (  # timm takes a second to import
        check_name,
        wanted_normalisation,
    )

    family, _, model = name.partition(":")
    check_name(model)
    mean, std = wanted_normalisation(model)
    size = InputConfig()
    table = {"height": size.height, "width": size.width, "channel_order": "RGB", "value_range": "0..1"}
    return network_config(
        {
            "network": f"{family}:{model}",
            **table,
            "mean": list(mean),
            "std": list(std),
            "weights": "pretrained",
        },
        source=name,
    )


def _problems(config: NetworkConfig, table: Mapping[str, Any]) -> Iterator[str]:
    family, _, name = config.network.partition(":")
    if (
        config.network
        and family not in FAMILIES
        and Path(config.network).suffix.lower() not in (".onnx", ".xml")
    ):
        yield (
            f"network: {config.network!r} is no .onnx file, OpenVINO .xml file, timm:NAME or open_clip:NAME; weights "
            "alone (.pth) do not say what they belong to"
        )
    if family in FAMILIES:
        if not name:
            yield f"network: {config.network!r} names no model; write {family}:NAME"
        if not config.weights:
            yield "weights: is missing; a file, 'pretrained' or 'random'"
        yield from (
            f"{key}: is for network files only" for key in ("output", "layout", "batch") if key in table
        )
    elif config.weights:
        yield "weights: is for timm and open_clip only; a network file brings its own"
    if config.value_range == "0..1" and any(abs(mean) > 1 for mean in config.mean):
        yield f"mean: {list(config.mean)} does not belong to the value range 0..1; is it '0..255'?"


def open_described(
    config: NetworkConfig, folder: Path, *, engine: str = "auto", device: str | None = None
) -> FrameEncoder:
    """Open the network of a description.

    Args:
        config: the description.
        folder: what its files are relative to.
        engine: for network files ``onnxruntime``, ``openvino`` or ``auto``; for timm and open_clip ``torch`` or
            ``auto``.
        device: for timm and open_clip.
    """
    family, _, name = config.network.partition(":")
    if family in FAMILIES:
        if engine not in ("auto", "torch"):
            raise ConfigError(f"{config.network} runs on engine torch, not on {engine}")
        # timm takes a second to import; a network file does without it.
        from intraclip.embed.encoders.families import FamilyEncoder

        return FamilyEncoder(config, family, name, folder=folder, device=device)
    return FileEncoder(config, folder / config.network, engine=engine)


def prepare(frames: torch.Tensor, config: NetworkConfig) -> torch.Tensor:
    """Make of frames, uint8 ``[N, 3, H, W]`` RGB, what a network wants; float32 of the same shape."""
    pixels = frames.flip(1) if config.channel_order == "BGR" else frames
    scale = 255.0 if config.value_range == "0..1" else 1.0
    mean = torch.tensor(config.mean, device=frames.device).view(3, 1, 1)
    std = torch.tensor(config.std, device=frames.device).view(3, 1, 1)
    return (pixels.to(torch.float32) / scale - mean) / std


class FileEncoder(FrameEncoder):
    """An ONNX or OpenVINO file as frame encoder; see `FrameEncoder`.

    It is tried when it is opened: a network that gives other vectors in a batch than one by one (many are exported so)
    is refused, and so is one that answers NaN.

    Raises:
        ConfigError: the description does not fit the network.
        CheckpointError: it is damaged, or does not turn frames into finite vectors.
    """

    def __init__(self, config: NetworkConfig, path: Path, *, engine: str = "auto") -> None:
        self.config = config
        self._network: Network = open_network(path, engine=engine)
        self._output = find_output(self._network, config.output)
        port = self._check_input()
        self._dtype = np.dtype(port.dtype)
        self._batch = config.batch or port.shape[0] or 0
        if not 0 <= self._batch <= MAX_BATCH:
            raise ConfigError(
                f"{path}: its input {port} wants {self._batch} frames at a time, at most {MAX_BATCH}"
            )
        self.name = f"{path.name} ({self._network.engine})"
        self.height, self.width = config.height, config.width
        self.num_features = self._try_out()
        self.fingerprint = digest({"files": _digests(path), **preparation(config)}, {})

    def encode(self, frames: torch.Tensor) -> torch.Tensor:
        """See `FrameEncoder.encode`."""
        return self._in_pieces(frames, self._batch or CPU_FRAMES, self._run)

    def _run(self, frames: torch.Tensor) -> torch.Tensor:
        missing = self._batch - len(frames)
        if missing > 0:  # the last piece for a network of fixed batch: filled up, and the filling forgotten
            frames = torch.cat([frames, frames[-1:].expand(missing, -1, -1, -1)])
        pixels = prepare(frames, self.config)
        if self.config.layout == "NHWC":
            pixels = pixels.permute(0, 2, 3, 1)
        array = np.ascontiguousarray(pixels.numpy(), dtype=self._dtype)
        found = torch.from_numpy(self._network.run([array], output=self._output)).float()
        if found.ndim == 4 and (self.config.pool == "mean" or found.shape[2:] == (1, 1)):
            found = found.mean(dim=(2, 3))
        return found[: len(found) - missing] if missing > 0 else found

    def _check_input(self) -> Port:
        path, config = self._network.path, self.config
        shown = ", ".join(map(str, self._network.inputs))
        if len(self._network.inputs) != 1 or len(self._network.inputs[0].shape) != 4:
            raise ConfigError(
                f"{path}: its inputs are {shown}; a frame encoder has one input of four axes, {config.layout}"
            )
        port = self._network.inputs[0]
        if port.dtype not in ("float32", "float16", "uint8"):
            raise ConfigError(f"{path}: its input is {shown}; float32, float16 or uint8 is wanted")
        axes = dict(zip(config.layout, port.shape, strict=True))
        wanted = {"C": 3, "H": config.height, "W": config.width}
        wrong = [
            f"{axis} is {axes[axis]}, not {n}" for axis, n in wanted.items() if axes[axis] not in (None, n)
        ]
        if wrong:
            hint = ""
            if 3 in port.shape[1:] and axes["C"] != 3:
                hint = f'; layout = "{"NHWC" if config.layout == "NCHW" else "NCHW"}" would fit'
            raise ConfigError(
                f"{path}: its input {shown} does not fit its description with layout {config.layout}: "
                f"{'; '.join(wrong)}{hint}"
            )
        if config.batch and port.shape[0] not in (None, config.batch):
            raise ConfigError(
                f"{path}: its input {shown} takes {port.shape[0]} frames at a time, not batch = {config.batch}"
            )
        if port.dtype == "uint8" and (
            config.value_range != "0..255" or any(config.mean) or set(config.std) != {1.0}
        ):
            raise ConfigError(
                f'{path}: its input {shown} takes bytes, so it normalises by itself: set value_range = "0..255", '
                "mean = [0, 0, 0] and std = [1, 1, 1]"
            )
        return port

    def _try_out(self) -> int:
        """Run three frames together and one by one; the size of a vector."""
        path = self._network.path
        generator = torch.Generator().manual_seed(0)
        frames = torch.randint(
            0, 256, (3, 3, self.height, self.width), generator=generator, dtype=torch.uint8
        )
        try:
            together = self.encode(frames)
            alone = torch.cat([self.encode(frame[None]) for frame in frames])
        except (RuntimeError, ValueError, TypeError) as error:
            reason = str(error).strip().splitlines()[-1]
            raise CheckpointError(f"{path} fails on three frames of noise: {reason[:300]}") from None
        except Exception as error:  # ONNX Runtime's classes derive from Exception alone
            raise CheckpointError(f"{path} fails on three frames of noise: {str(error)[:300]}") from None
        shape = list(together.shape)
        if together.ndim == 4:
            raise ConfigError(
                f'{path}: three frames give maps {shape}, not one vector each; set pool = "mean", or name another of '
                f"{', '.join(port.name for port in self._network.outputs)}"
            )
        if together.ndim != 2 or shape[0] != 3:
            raise CheckpointError(
                f"{path}: three frames give {shape}, not [3, F]"
                + ("" if self._batch else "; if it was made for one frame at a time, set batch = 1")
            )
        if not bool(torch.isfinite(together).all() & torch.isfinite(alone).all()):
            raise CheckpointError(
                f"{path} answers NaN or infinity on frames of noise; its vectors cannot be used"
            )
        alike = torch.nn.functional.cosine_similarity(together, alone, dim=1)
        if float(alike.min()) < 0.999:
            raise CheckpointError(
                f"{path} gives other vectors in a batch than one by one (cosine similarity {float(alike.min()):.3f}): "
                "it was exported wrongly for batches; set batch = 1, or export it again"
            )
        return shape[1]


def preparation(config: NetworkConfig) -> dict[str, Any]:
    """What of a description changes the vectors."""
    without = ("network", "description", "batch", "weights")
    return {key: value for key, value in asdict(config).items() if key not in without}


def _digests(path: Path) -> list[str]:
    files = [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]
    return [file_digest(file) for file in files]
