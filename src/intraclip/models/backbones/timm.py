"""Networks of timm as backbones: ``timm:NAME`` -> feature maps ``[N, F, h, w]``.

- *Convolutional networks* give the maps of timm's ``forward_features``.
- *Transformers* give their patch tokens, laid out as the patches lie in the frame. Class, distillation and register
  tokens took part in the attention, and are left out of the map: the heads pool over time and space themselves.
- *Normalisation*: frames come as the recipe normalises them (``input.mean``, ``input.std``); the backbone first turns
  them into what the network was trained on, so that weights and input always fit.
- *Last stride 1*: the last layers of stride 2 step by one, without dilation, as re-identification does with ResNets. A
  network whose last stage does not shrink by such layers (transformers, patch-merging stages) refuses.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from intraclip.config import TIMM, InputConfig
from intraclip.core.extras import require_extra
from intraclip.errors import ConfigError, did_you_mean, first_line
from intraclip.models.backbones.settings import BackboneSettings
from intraclip.models.network import Stage, StagedNetwork


class TimmBody(StagedNetwork):
    """A network of timm without its pooling and classifier; see the module.

    Attributes:
        num_features: F.
        size: height and width of the frames.

    Raises:
        ConfigError: there is no such network, or it does not take frames of this size.
        MissingExtraError: timm is not installed.
    """

    Settings = BackboneSettings
    same_weights = ("last_stride", "width")
    normalises = True

    @classmethod
    def build(cls, name: str, input_config: InputConfig, settings: BackboneSettings) -> TimmBody:
        """See `StagedNetwork.build`."""
        return cls(name.removeprefix(TIMM), input_config, last_stride=settings.last_stride)

    def __init__(self, name: str, input_config: InputConfig, *, last_stride: int) -> None:
        super().__init__()
        self.name = f"{TIMM}{name}"
        self.size = input_config.height, input_config.width
        self.network = create(name, self.size)
        mean, std = wanted_normalisation(name)
        self._converts = (mean, std) != (input_config.mean, input_config.std)
        if self._converts:
            # (x * std + mean) is 0..1 again; what the network wants of it is one more scale and shift.
            scale = torch.tensor(input_config.std) / torch.tensor(std)
            shift = (torch.tensor(input_config.mean) - torch.tensor(mean)) / torch.tensor(std)
            self.register_buffer("scale", scale.view(1, 3, 1, 1))
            self.register_buffer("shift", shift.view(1, 3, 1, 1))
        training = self.training
        self.eval()
        maps, leaves_out = self._try_out()
        if last_stride == 1:
            from intraclip.models.backbones.timm_stride import remove_last_stride

            remove_last_stride(self, (2 * maps.shape[2], 2 * maps.shape[3]))
        self._drop(leaves_out)
        self.num_features = int(maps.shape[1])
        self._stages = self._find_stages()
        self.train(training)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Frames ``[N, 3, H, W]`` -> maps ``[N, F, h, w]``."""
        if self.recompute and torch.is_grad_enabled():
            if self._stages:
                return super().forward(self.prepare(frames))
            self._let_timm_recompute()
        return self._maps(self.prepare(frames))

    def stages(self) -> list[Stage]:
        """The chain of the network's parts.

        Raises:
            ConfigError: it is no plain chain.
        """
        if not self._stages:
            raise ConfigError(f"{self.name} is no plain chain of stages; use another backbone for this")
        return self._stages

    def block_names(self) -> list[list[str]]:
        """See `StagedNetwork.block_names`; the blocks are timm's own groups."""
        if not hasattr(self.network, "group_matcher"):
            return [[name for name, _ in self.named_parameters()]]
        from timm.models import group_parameters

        matcher: Callable[..., Any] = self.network.group_matcher  # type: ignore[assignment]
        groups: Mapping[int, list[str]] = group_parameters(self.network, matcher(coarse=False))
        found = [[f"network.{name}" for name in groups[number]] for number in sorted(groups)]
        return [found[0] + found[1], *found[2:]] if len(found) > 1 else found

    def load_usual(self) -> str:
        """See `StagedNetwork.load_usual`."""
        from intraclip.models.backbones.timm_weights import load_usual

        return load_usual(self)

    def load(
        self, state: Mapping[str, torch.Tensor], *, source: str, size: tuple[int, int] | None = None
    ) -> None:
        """See `StagedNetwork.load`; in timm's layout. Position embeddings are fitted, without `size` from a square."""
        from intraclip.models.backbones.timm_weights import load

        load(self, state, source=source, size=size)

    def prepare(self, frames: torch.Tensor) -> torch.Tensor:
        """See `StagedNetwork.prepare`: normalised as the network's own weights expect it."""
        if not self._converts:
            return frames
        return frames * self.get_buffer("scale") + self.get_buffer("shift")

    def _maps(self, frames: torch.Tensor) -> torch.Tensor:
        features: Callable[[torch.Tensor], torch.Tensor] = self.network.forward_features  # type: ignore[assignment]
        found = features(frames)
        if found.ndim == 3:  # tokens [N, prefix + h w, F]
            tokens = found[:, int(getattr(self.network, "num_prefix_tokens", 0) or 0) :]
            places = getattr(self.network, "patch_embed", None) or getattr(self.network, "stem", None)
            grid = getattr(places, "grid_size", None)
            if grid is None or grid[0] * grid[1] != tokens.shape[1]:
                raise ValueError("its tokens do not lie as its patches do")
            return tokens.transpose(1, 2).reshape(len(tokens), -1, int(grid[0]), int(grid[1]))
        if getattr(self.network, "output_fmt", "NCHW") == "NHWC":
            return found.permute(0, 3, 1, 2)
        return found

    def _try_out(self) -> tuple[torch.Tensor, set[str]]:
        """Maps of one black frame, and the names of the parameters that they do not depend on."""
        named = dict(self.named_parameters())
        try:
            with torch.enable_grad():
                maps = self(torch.zeros(1, 3, *self.size))
                gradients = torch.autograd.grad(maps.sum(), list(named.values()), allow_unused=True)
        except (RuntimeError, AssertionError, ValueError, AttributeError, TypeError) as error:
            raise ConfigError(
                f"model.backbone: {self.name} makes no maps of frames of {self.size[0]} x {self.size[1]} (input): "
                f"{first_line(error)}"
            ) from None
        unused = {name for name, gradient in zip(named, gradients, strict=True) if gradient is None}
        return maps.detach(), unused

    def _drop(self, unused: set[str]) -> None:
        """Take out the parts that only timm's classifier reads; they would never learn and only take room."""
        for child, module in list(self.network.named_children()):
            names = {f"network.{child}.{name}" for name, _ in module.named_parameters()}
            if names and names <= unused:
                setattr(self.network, child, nn.Identity())
        left = dict(self.named_parameters())
        self.unused = frozenset(unused & left.keys())
        for name, parameter in left.items():
            parameter.requires_grad_(name not in unused)

    def _find_stages(self) -> list[Stage]:
        """The network's parts as a chain, if running them one after another is all that it does."""
        frame = torch.linspace(-1, 1, 3 * self.size[0] * self.size[1]).view(1, 3, *self.size)
        stages: list[list[nn.Module]] = []
        with torch.no_grad():
            wanted, maps = self._maps(frame), frame
            for module in self.network.children():
                for part in module.children() if isinstance(module, nn.Sequential) else [module]:
                    # Norms and activations may work in place, and must not begin a stage.
                    if not stages or any(isinstance(m, nn.Conv2d) for m in part.modules()):
                        stages.append([])
                    stages[-1].append(part)
                    try:
                        maps = part(maps)
                    except (RuntimeError, TypeError, ValueError, AssertionError, NotImplementedError):
                        return []
                if maps.shape == wanted.shape and torch.equal(maps, wanted):
                    # pooling and classifier are left
                    return [tuple(stage) for stage in stages]
        return []

    def _let_timm_recompute(self) -> None:
        if any(isinstance(m, _NormBase) and m.training for m in self.network.modules()):
            raise ConfigError(
                f"step.recompute: {self.name} is no plain chain of stages, and its batch normalisation would count "
                "every batch twice; set step.recompute = false or finetune.freeze_batch_norm = true"
            )
        with contextlib.suppress(AttributeError, AssertionError):  # it cannot: the memory is not saved
            self.network.set_grad_checkpointing(True)  # type: ignore[operator]


def create(
    name: str,
    size: tuple[int, int],
    *,
    state: Mapping[str, torch.Tensor] | None = None,
    pretrained: bool = False,
) -> nn.Module:
    """A network of timm without classifier.

    Args:
        name: in timm.
        size: height and width of its frames.
        state: its weights, in any layout that timm itself accepts (position embeddings of another size are fitted);
            random without.
        pretrained: with the weights that timm fetches.

    Raises:
        ConfigError: there is no such network, or it takes no frames of this size.
        RuntimeError: the state does not fit.
    """
    timm = require_extra("timm", extra="timm", purpose=f"{TIMM}{name}")
    check_name(name)
    more: dict[str, Any] = {"pretrained": pretrained}
    if timm.get_pretrained_cfg(name, allow_unregistered=True).fixed_input_size:
        more["img_size"] = size  # position embeddings fit one size
    if state is not None:
        more |= {"pretrained": True, "pretrained_cfg_overlay": {"state_dict": dict(state)}}
    try:
        network: nn.Module = timm.create_model(name, num_classes=0, **more)
    except (AssertionError, ValueError, TypeError) as error:
        raise ConfigError(
            f"{TIMM}{name} cannot be built for frames of {size[0]} x {size[1]}: {first_line(error)}"
        ) from None
    return network


def check_name(name: str) -> None:
    """Raise a ConfigError with the nearest name if timm has no network of this one."""
    timm = require_extra("timm", extra="timm", purpose=f"{TIMM}{name}")
    if not timm.is_model(name):
        raise ConfigError(f"timm has no model {name!r}{did_you_mean(name, timm.list_models())}")


def wanted_normalisation(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation, in 0..1 and RGB, that a network of timm was trained with."""
    timm = require_extra("timm", extra="timm", purpose=f"{TIMM}{name}")
    found = timm.get_pretrained_cfg(name, allow_unregistered=True)
    return tuple(found.mean), tuple(found.std)
