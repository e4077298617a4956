"""What `reproduce` is asked for, and how large: the recipe, the rendered data where none is given, and how often."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from intraclip.core.settings import bounded
from intraclip.errors import ConfigError
from intraclip.studio import BenchmarkConfig


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is run, how large and how often."""

    experiment: str
    """table1, table2, table2-imagenet, table3, table3-nearest, table4, fig1, fig3, all, ablation-..., ablations."""
    out: Path
    """Folder of everything that is written; experiments that share it share their runs."""
    scale: Literal["smoke", "cpu", "paper", "imagenet-cpu", "imagenet-gpu"] = "cpu"
    """Minutes on two cores, to see that it works (smoke), hours on two cores (cpu), the printed recipe on GPUs (paper),
    or from ImageNet weights (imagenet-cpu: hours; imagenet-gpu)."""
    data: tuple[Path, ...] = ()
    """Data sets in their published layouts, such as MARS and iLIDS-VID, or of your own; none: people are rendered."""
    finished: bool = False
    """Train nothing: write the tables of the runs that are done so far, and how many each row has."""
    seeds: int | None = bounded(None, 1)
    """Training seeds, from 0; by default 2 (smoke), 5 (cpu, imagenet-...), 3 (paper)."""
    splits: str | None = None
    """all, or numbers such as 0,1,2, for data sets with several; by default the first 2 (smoke, cpu) or all."""
    only: tuple[str, ...] = ()
    """Rows that are wanted, such as model-1 model-4; by default all. --plan --json names them."""
    recipe: str | None = None
    """Another recipe than the scale's: a shipped one or a TOML file."""
    jobs: int | None = bounded(None, 1)
    """Runs at a time; by default one a core, or one a GPU."""
    processes: int = bounded(1, 1)
    """Processes of each run, started by torchrun, each with a GPU of its own."""
    protocol: str | None = None
    """Protocol by name; by default the usual one of each data set."""
    distance: Literal["euclidean", "cosine"] = "euclidean"
    """Distance between embeddings."""

    @property
    def numbers(self) -> tuple[int, ...] | None:
        """Of splits; None for the scale's, empty for all."""
        from intraclip.lab.splits import parse_splits

        return None if self.splits is None else parse_splits(self.splits) or ()


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
