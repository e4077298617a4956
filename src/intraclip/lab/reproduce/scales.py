"""How large an experiment is run: the recipe, the rendered data where none is given, and how often."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from intraclip.errors import ConfigError
from intraclip.studio import BenchmarkConfig


@dataclass(frozen=True, kw_only=True)
class Scale:
    """A size to run everything at.

    Attributes:
        recipe: shipped recipe that the rows change.
        splits: splits of data sets that have several; None for all.
        benchmarks: layout -> what is rendered where no data folder is given. People differ between layouts, so that
            nobody who is trained on is tested on in Table 4.
        changes: experiment -> keys that its rows change as well, because the recipe does not suit them.
    """

    name: str
    about: str
    recipe: str
    seeds: int
    splits: int | None
    benchmarks: Mapping[str, BenchmarkConfig]
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


SMOKE = Scale(
    name="smoke",
    about="minutes on two cores; shows that everything works, and nothing about the method",
    recipe="smoke",
    seeds=2,
    splits=2,
    benchmarks={
        "mars": BenchmarkConfig(identities=24, cameras=3, tracklets_per_camera=(1, 2), frames=(6, 12)),
        "ilids-vid": BenchmarkConfig(identities=24, cameras=2, layout="ilids-vid", frames=(6, 12), seed=1),
        "prid2011": BenchmarkConfig(identities=24, cameras=2, layout="prid2011", frames=(27, 30), seed=2),
    },
    # AlexNet and InceptionV3 need larger frames; a few steps show that they train.
    changes={"table2": {"input.height": 128, "input.width": 80, "optimizer.epochs": 2}},
)

CPU = Scale(
    name="cpu",
    about="hours on two cores; small networks from random weights on rendered people",
    recipe="cpu",
    seeds=5,
    splits=2,
    benchmarks={
        "mars": BenchmarkConfig(identities=200, cameras=4),
        "ilids-vid": BenchmarkConfig(identities=200, cameras=2, layout="ilids-vid", frames=(16, 28), seed=1),
        "prid2011": BenchmarkConfig(identities=100, cameras=2, layout="prid2011", frames=(27, 36), seed=2),
    },
    # AlexNet and InceptionV3 need larger frames, and the three networks are 50 times as expensive as the recipe's.
    changes={
        "table2": {
            "input.height": 160,
            "input.width": 80,
            "optimizer.epochs": 40,
            "optimizer.decay_every": 26,
        }
    },
)

PAPER = Scale(
    name="paper",
    about="the printed recipe: ResNet50 at 256 x 128, 500 epochs; GPUs, and the real data sets with --data",
    recipe="paper",
    seeds=3,  # MARS has one split, and one training decides no claim
    splits=None,
    benchmarks={
        "mars": BenchmarkConfig(identities=1000, cameras=6, tracklets_per_camera=(1, 4), frames=(16, 48)),
        "ilids-vid": BenchmarkConfig(identities=300, cameras=2, layout="ilids-vid", frames=(23, 96), seed=1),
        "prid2011": BenchmarkConfig(identities=178, cameras=2, layout="prid2011", frames=(27, 96), seed=2),
    },
)

IMAGENET_CPU = Scale(
    name="imagenet-cpu",
    about="hours on two cores; EfficientNet-Lite0 from ImageNet weights on 400 rendered training people",
    recipe="imagenet-cpu",
    seeds=5,
    splits=None,
    # Frames have the size that the network reads. No seed that a default of this project was chosen on.
    benchmarks={
        "mars": BenchmarkConfig(
            identities=800,
            cameras=4,
            tracklets_per_camera=(1, 3),
            frames=(8, 8),
            height=128,
            width=64,
            seed=3,
        ),
        "ilids-vid": BenchmarkConfig(
            identities=300, cameras=2, layout="ilids-vid", frames=(16, 28), height=128, width=64, seed=4
        ),
        "prid2011": BenchmarkConfig(
            identities=178, cameras=2, layout="prid2011", frames=(27, 36), height=128, width=64, seed=5
        ),
    },
)

IMAGENET_GPU = Scale(
    name="imagenet-gpu",
    about="minutes on a GPU; EfficientNet-Lite0 from ImageNet weights at 256 x 128 on 400 rendered training people",
    recipe="imagenet-gpu",
    seeds=5,
    splits=None,
    benchmarks={
        "mars": BenchmarkConfig(identities=800, cameras=4, frames=(8, 16), seed=3),
        "ilids-vid": BenchmarkConfig(identities=300, cameras=2, layout="ilids-vid", frames=(16, 28), seed=4),
        "prid2011": BenchmarkConfig(identities=178, cameras=2, layout="prid2011", frames=(27, 36), seed=5),
    },
)

SCALES: Mapping[str, Scale] = {scale.name: scale for scale in (SMOKE, CPU, PAPER, IMAGENET_CPU, IMAGENET_GPU)}


def scale_named(name: str) -> Scale:
    """The scale of that name."""
    if name not in SCALES:
        raise ConfigError(f"there is no scale {name!r}; there are {', '.join(SCALES)}")
    return SCALES[name]
