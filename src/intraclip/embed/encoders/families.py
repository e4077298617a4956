"""Models of timm and open_clip as frame encoders, when those packages are installed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import nn

from intraclip.core.devices import Arriving, choose_device
from intraclip.core.extras import require_extra
from intraclip.core.tensor_digest import digest
from intraclip.embed.encoders.base import FrameEncoder
from intraclip.embed.encoders.foreign import NetworkConfig, preparation, prepare
from intraclip.embed.encoders.torch_encoder import CPU_FRAMES
from intraclip.errors import CheckpointError, ConfigError, IntraclipError, did_you_mean, first_line
from intraclip.models.backbones.timm import create
from intraclip.models.packaged import packaged_weights
from intraclip.models.state_dicts import load_matching, read_state_dict


class FamilyEncoder(FrameEncoder):
    """A model of timm or open_clip; see `FrameEncoder`. It runs in PyTorch.

    Raises:
        ConfigError: there is no such model.
        CheckpointError: the weights do not fit, or it gives no finite vectors.
    """

    def __init__(
        self, config: NetworkConfig, family: str, name: str, *, folder: Path, device: str | None = None
    ) -> None:
        self.config = config
        self.name = f"{config.network} (torch)"
        self.height, self.width = config.height, config.width
        self._device = choose_device(device or "cpu")
        network = FAMILIES[family](name, config, folder)
        self._network = network.to(self._device).to(memory_format=torch.channels_last).eval()
        self.num_features = self._try_out()
        self.fingerprint = digest({"model": config.network, **preparation(config)}, network.state_dict())

    @property
    def on_gpu(self) -> bool:
        """See `FrameEncoder`."""
        return self._device.type == "cuda"

    @torch.inference_mode()
    def start(self, frames: torch.Tensor) -> Arriving:
        """See `FrameEncoder.start`."""
        step = max(1, len(frames)) if self.on_gpu else CPU_FRAMES
        return Arriving(self._in_pieces(frames, step, self._run))

    def _run(self, frames: torch.Tensor) -> torch.Tensor:
        pixels = prepare(frames.to(self._device, non_blocking=True), self.config)
        found: torch.Tensor = self._network(pixels.contiguous(memory_format=torch.channels_last))
        return found.float()

    def _try_out(self) -> int:
        generator = torch.Generator().manual_seed(0)
        noise = torch.randint(0, 256, (2, 3, self.height, self.width), generator=generator, dtype=torch.uint8)
        try:
            found = self.encode(noise)
        except (RuntimeError, AssertionError, ValueError) as error:
            raise ConfigError(
                f"{self.config.network} does not take frames of {self.height} x {self.width}: {first_line(error)}"
            ) from None
        if found.ndim != 2 or len(found) != 2:
            raise CheckpointError(f"{self.config.network}: two frames give {list(found.shape)}, not [2, F]")
        if not bool(torch.isfinite(found).all()):
            raise CheckpointError(f"{self.config.network} answers NaN or infinity on frames of noise")
        return int(found.shape[1])


def _timm(name: str, config: NetworkConfig, folder: Path) -> nn.Module:
    packaged = packaged_weights(name) if config.weights == "pretrained" else None
    download = config.weights == "pretrained" and packaged is None
    network = _built(lambda: create(name, (config.height, config.width), pretrained=download), config)
    if packaged is not None:
        _fill(network, packaged.read(network), str(packaged), config)
    else:
        _load(network, config, folder, prefix="")
    return network


def _open_clip(name: str, config: NetworkConfig, folder: Path) -> nn.Module:
    open_clip = require_extra("open_clip", extra="open-clip", purpose=config.network)
    if name not in open_clip.list_models():
        raise ConfigError(
            f"network: open_clip has no model {name!r}{did_you_mean(name, open_clip.list_models())}"
        )
    pretrained = None
    if config.weights == "pretrained":
        tags = open_clip.list_pretrained_tags_by_model(name)
        if not tags:
            raise ConfigError(f"weights: open_clip has none for {name}; give a file")
        pretrained = tags[0]
    # Its ResNets take a square size only, as one number; its transformers take any.
    square = config.height == config.width
    size = config.height if square else (config.height, config.width)
    network: nn.Module = _built(
        lambda: open_clip.create_model(name, pretrained=pretrained, force_image_size=size).visual, config
    )
    _load(network, config, folder, prefix="visual.")
    return network


FAMILIES: dict[str, Callable[[str, NetworkConfig, Path], nn.Module]] = {
    "timm": _timm,
    "open_clip": _open_clip,
}


def _built(build: Callable[[], nn.Module], config: NetworkConfig) -> nn.Module:
    """Build a model from a fixed seed, leaving the global random state as it was."""
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            return build()
    except IntraclipError:
        raise
    except Exception as error:  # each family raises its own kinds: no network, no such size, no such file
        remedy = (
            "; its weights come from the internet: download them elsewhere and set weights to the file"
            if config.weights == "pretrained"
            else ""
        )
        raise CheckpointError(f"{config.network} cannot be built: {first_line(error)}{remedy}") from None


def _load(network: nn.Module, config: NetworkConfig, folder: Path, *, prefix: str) -> None:
    """Fill a model from a local file; the classifier's keys in it are left out."""
    if config.weights in ("pretrained", "random"):
        return
    path = folder / config.weights
    state: Mapping[str, torch.Tensor] = read_state_dict(path)
    if any(key.startswith(prefix) for key in state) and prefix:
        state = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    _fill(network, state, str(path), config)


def _fill(network: nn.Module, state: Mapping[str, torch.Tensor], source: str, config: NetworkConfig) -> None:
    own = {key: state[key] for key in network.state_dict() if key in state}
    load_matching(network, own, source=f"{source}, as {config.network},")
