"""Synchronous Data Augmentation as a module for anyone's data loader."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import torch
from torch import nn

from intraclip.config import AugmentConfig, InputConfig, Recipe
from intraclip.config_io import check_recipe
from intraclip.data.augment import apply, draw
from intraclip.data.normalise import normalise
from intraclip.errors import DataError


class SDA(nn.Module):
    """Synchronous Data Augmentation (paper, section 2.1): one draw a clip, the same for all of its frames.

    Crop, flip, rotation, normalisation, random erasing, in this order, each with a coin of its own. In evaluation mode
    (``.eval()``) frames are normalised only.

    Args:
        mode: ``synchronous`` (SDA), ``asynchronous`` (a draw for each frame), or ``none``.
        crop_probability: chance that a clip is cropped and resized back, 0..1.
        flip_probability: of a horizontal flip.
        rotate_probability: of a rotation by up to 10 degrees.
        erase_probability: that a rectangle is erased.
        mean: of red, green and blue in 0..1, subtracted.
        std: likewise, divides.
        generator: source of the draws, on the CPU. None: torch's own, which every worker of a `DataLoader` has another
            state of, and which `torch.manual_seed` makes repeatable.
        config: ranges of sizes and angles, where the usual ones will not do.

    Raises:
        ConfigError: a value is out of range; all of them are listed.

    >>> clips = torch.randint(0, 256, (8, 4, 3, 256, 128), dtype=torch.uint8)  # [B, T, C, H, W]
    >>> augmented = SDA(erase_probability=0.3)(clips)
    >>> augmented.shape, augmented.dtype
    (torch.Size([8, 4, 3, 256, 128]), torch.float32)
    >>> SDA()(clips[0]).shape  # one clip [T, C, H, W], as in somebody's Dataset
    torch.Size([4, 3, 256, 128])
    """

    def __init__(
        self,
        *,
        mode: Literal["synchronous", "asynchronous", "none"] = "synchronous",
        crop_probability: float | None = None,
        flip_probability: float | None = None,
        rotate_probability: float | None = None,
        erase_probability: float | None = None,
        mean: tuple[float, float, float] = (0.5, 0.5, 0.5),
        std: tuple[float, float, float] = (0.5, 0.5, 0.5),
        generator: torch.Generator | None = None,
        config: AugmentConfig | None = None,
    ) -> None:
        super().__init__()
        given = {
            "crop_probability": crop_probability,
            "flip_probability": flip_probability,
            "rotate_probability": rotate_probability,
            "erase_probability": erase_probability,
        }
        chances: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        self.config = replace(config or AugmentConfig(), mode=mode, **chances)
        self.mean, self.std = mean, std
        self.generator = generator
        check_recipe(Recipe(augment=self.config, input=InputConfig(mean=mean, std=std)), source="SDA")

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Augment and normalise; float32 of the same shape.

        Args:
            clips: uint8 ``[T, 3, H, W]`` (one clip) or ``[B, T, 3, H, W]`` RGB, on any device.

        Raises:
            DataError: something else than such clips.
        """
        clips = torch.as_tensor(clips)
        if clips.ndim not in (4, 5) or clips.shape[-3] != 3 or clips.dtype != torch.uint8:
            raise DataError(
                f"SDA wants uint8 clips [T, 3, H, W] or [B, T, 3, H, W] of 0..255, got {clips.dtype} "
                f"{list(clips.shape)}; it normalises them itself"
            )
        if not self.training or self.config.mode == "none":
            return normalise(clips, mean=self.mean, std=self.std)
        batch = clips if clips.ndim == 5 else clips[None]
        parameters = draw(
            self.config,
            clips=batch.shape[0],
            frames=batch.shape[1],
            height=batch.shape[3],
            width=batch.shape[4],
            generator=torch.default_generator if self.generator is None else self.generator,
        )
        found = apply(batch, parameters, mean=self.mean, std=self.std)
        return found if clips.ndim == 5 else found[0]

    def extra_repr(self) -> str:
        """What differs from one to another."""
        c = self.config
        return (
            f"{c.mode}, crop={c.crop_probability:g}, flip={c.flip_probability:g}, rotate={c.rotate_probability:g}, "
            f"erase={c.erase_probability:g}"
        )
