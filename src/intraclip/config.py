"""Every setting of a training run, with its default and what it means. No torch in here.

A recipe is one `Recipe`; TOML files and flags fill it, `intraclip.config_io` checks it. Where the paper says a value,
the attribute's text names the section; where the paper is silent, it says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from intraclip.core.registry import open_registry
from intraclip.core.settings import OF_PART, Given, bounded, part, parts, share

BACKBONES = "intraclip.models.backbones:BACKBONES"
"""Where backbones are registered; see `HEADS`."""
TIMM = "timm:"
"""What the name of a network of timm begins with."""
USUAL_WEIGHTS = ("imagenet", "pretrained")
"""Words for a backbone's usual weights."""
HEADS = "intraclip.models.heads:HEADS"
"""Where heads are registered; `Registry` imports none of them."""
LOSSES = "intraclip.losses:LOSSES"
"""Where losses are registered."""
Augmentation = Literal["synchronous", "asynchronous", "none"]
if TYPE_CHECKING:
    Layout = str
else:
    Layout = Literal[("auto", *open_registry("intraclip.data.layouts:LAYOUTS"))]
Direction = Literal["first-half-tests", "last-half-tests"]
Precision = Literal["fp32", "tf32", "bf16", "fp16"]
ShortPolicy = Literal["repeat_last", "wrap", "error"]


@dataclass(frozen=True, kw_only=True)
class InputConfig:
    """How a frame becomes a tensor."""

    height: int = bounded(256, 16)
    """Height in pixels that frames are resized to (paper, section 3.2)."""
    width: int = bounded(128, 16)
    """Width in pixels that frames are resized to (paper, section 3.2)."""
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    """Subtracted from RGB scaled to 0..1. Mean and deviation of 0.5 give the paper's [-1, 1]."""
    std: tuple[float, float, float] = bounded((0.5, 0.5, 0.5), 0, above=True)
    """Divides RGB after the mean is subtracted."""


@dataclass(frozen=True, kw_only=True)
class ClipConfig:
    """Which frames of a tracklet make a clip."""

    num_frames: int = bounded(4, 1)
    """Frames in a clip, T (paper, section 3.2)."""
    sampling: Literal["consecutive", "strided", "restricted"] = "consecutive"
    """Training: T consecutive frames from a random start (the paper), every `stride`-th frame, or one random
    frame from each of T equal chunks of the tracklet (restricted random sampling)."""
    stride: int = bounded(8, 1)
    """Distance between frames for `strided`; a shorter tracklet takes the largest stride that fits."""
    short: ShortPolicy = "repeat_last"
    """A tracklet shorter than T: repeat its last frame, wrap around to its first, or stop with an error.
    Repeated frames are masked out of every average."""
    test_sampling: Literal["dense", "even", "all"] = "dense"
    """Test: every non-overlapping clip of T frames (dense), one clip of T evenly spaced frames (even),
    or one clip of all frames (all)."""


@dataclass(frozen=True, kw_only=True)
class BatchConfig:
    """PK sampling."""

    identities: int = bounded(4, 2)
    """P, identities in a batch (paper, section 3.2)."""
    clips: int = bounded(8, 2)
    """K, clips of each identity (paper, section 3.2)."""
    cameras: Literal["random", "balanced"] = "random"
    """An identity's clips take its cameras in turn, in random order, or those first that the epoch has shown least so
    far, so that cameras with few people are seen as often as they can be."""


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Data augmentation (paper, section 2.1)."""

    mode: Augmentation = "synchronous"
    """One draw for all frames of a clip (SDA, equation 2), one draw for each frame (equation 1), or none."""
    crop_probability: float = share(0.5)
    """Chance that a clip (or frame) is cropped and resized back. The paper does not print it."""
    crop_scale: tuple[float, float] = bounded((0.8, 1.0), 0.05, 1.0, pair=True)
    """Range of the crop's side length as a share of the frame's; drawn evenly."""
    flip_probability: float = share(0.5)
    """Chance of a horizontal flip."""
    rotate_probability: float = share(0.0)
    """Chance of a rotation; section 2.1 names the angle, the paper's experiments do not use it."""
    rotate_degrees: float = bounded(10.0, 0, 180)
    """Largest angle of a rotation, either way, in degrees."""
    erase_probability: float = share(0.5)
    """Chance that a rectangle is erased (Zhong et al. 2017)."""
    erase_area: tuple[float, float] = bounded((0.02, 0.4), 0.0, 1.0, pair=True)
    """Range of the erased share of the frame's area; drawn evenly."""
    erase_aspect: tuple[float, float] = bounded((0.3, 3.33), 0.01, 100.0, pair=True)
    """Range of height / width of the erased rectangle; drawn evenly on a logarithmic scale."""
    colour_probability: float = share(0.0)
    """Chance that saturation, gain of each channel, contrast and brightness change; none in the paper."""
    colour_strength: float = bounded(1.0, 0, 2)
    """How much they change: 1 is up to half the saturation and about 1.5 times the gain, 0 nothing."""
    blur_probability: float = share(0.0)
    """Chance that a frame is made smaller, to 0.6 or 0.4 of its sides, and large again; none in the paper."""
    noise_probability: float = share(0.0)
    """Chance of normal noise with a deviation of up to 0.04 of the range; none in the paper."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Backbone and head."""

    backbone: str = part("resnet50", BACKBONES)
    """Network that turns a frame into feature maps: resnet50, inception_v3, alexnet, resnet18, small, or `timm:NAME`
    for any network of timm, such as timm:tf_efficientnet_lite0 (docs/backbones.md)."""
    backbone_settings: Given = field(default_factory=dict, metadata=OF_PART)
    """Settings of the backbone that are given for it: in a recipe ``[model.backbone] name = "small"  width = 0.5``."""
    head: str = part("ica", HEADS)
    """How a clip's feature maps become one embedding: temporal average pooling, Intra-Clip Aggregation, or one of the
    methods that the paper compares with (docs/heads.md)."""
    head_settings: Given = field(default_factory=dict, metadata=OF_PART)
    """Settings of the head that are given for it: in a recipe ``[model.head] name = "ica"  reduction = 8``."""
    weights: str = "imagenet"
    """Start of the backbone: `imagenet` or `pretrained` (its usual weights: of an installed package, or downloaded
    once), a local .pth or .safetensors file with the key names of torchvision or timm, a run folder or checkpoint of
    intraclip (backbone and head), a name of the zoo (`intraclip models list`), or empty for random weights."""
    standardise: bool = False
    """Bring every frame to one mean and deviation a colour channel before the backbone (instance normalisation of the
    input), so that a camera's exposure and white balance say less."""
    pooling: Literal["mean", "gem"] = "mean"
    """How the positions of a frame's map become one vector, for heads that read one a frame: their mean, or a
    generalised mean with a learned exponent that begins at 3 (GeM, Radenovic et al. 2019)."""
    ibn: bool = False
    """ResNets: half of the channels of each block's first normalisation, in the first three stages, are normalised
    frame by frame (IBN-a, Pan et al. 2018). For other backbones there is `standardise`."""
    mix_style: float = share(0.0)
    """Share of the batches in which the channel statistics of early maps are mixed between frames (MixStyle, Zhou et
    al. 2021)."""
    neck: Literal["none", "bn"] = "none"
    """`bn` puts batch normalisation between head and classifier (BNNeck, Luo et al. 2019): the triplet loss reads the
    head's output before it, classifier and search what comes after. ICA ends with one of its own."""
    neck_test: Literal["after", "before"] = "after"
    """What the search reads of a network with a neck."""
    triplet_reads: Literal["auto", "embedding", "pooled"] = "auto"
    """Vector of the triplet loss: the head's output Y, or the average Z before it (the same for TAP). `auto` is Z for
    ICA (docs/results.md compares; the paper does not say) and the output of every other head."""

    def with_head(self, head: str) -> ModelConfig:
        """The same with another head, whose settings are by default then."""
        return self if head == self.head else replace(self, head=head, head_settings={})


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """Adam with step decay (paper, section 3.2), or what other recipes use."""

    learning_rate: float = bounded(4e-4, 0, above=True)
    """Start of the learning rate."""
    betas: tuple[float, float] = bounded((0.9, 0.999), 0, 1, below=True)
    """Adam's moment decay."""
    weight_decay: float = bounded(5e-4, 0)
    """L2 penalty that Adam adds to the gradient."""
    decay: Literal["step", "cosine"] = "step"
    """A factor every some epochs (the paper), or half a cosine from the end of the warm-up to the last epoch."""
    final_rate: float = share(0.01)
    """Share of the learning rate that half a cosine ends with."""
    decay_every: int = bounded(200, 1)
    """Epochs between two decays of the learning rate."""
    decay_factor: float = bounded(0.005, 0, above=True)
    """Factor of each decay. The paper prints "a factor of 1/200"; the code its recipe follows uses 0.1."""
    warmup_epochs: int = bounded(0, 0)
    """Epochs over which the learning rate rises evenly from a tenth; none in the paper."""
    average: float = bounded(0.0, 0, 1, below=True)
    """The final model holds a running average of weights and statistics that keeps this share a step (less during the
    first steps); 0 keeps the last weights. None in the paper."""
    epochs: int = bounded(500, 1)
    """Epochs in all. One epoch shows every training identity once, in batches of P."""


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """What of the backbone's first weights is kept, and how fast the rest moves (docs/backbones.md)."""

    freeze_blocks: int = bounded(0, 0)
    """The first blocks of the backbone that stay as they are, with their statistics; the stem goes with the first."""
    freeze_batch_norm: bool = False
    """All batch normalisation of the backbone uses the statistics that it began with, and does not learn new ones; its
    scale and shift do learn."""
    head_epochs: int = bounded(0, 0)
    """Epochs at the start in which head and classifier alone learn, over a backbone in evaluation mode."""
    body_rate: float = bounded(1.0, 0, 1, above=True)
    """Learning rate of the backbone as a share of that of head and classifier."""
    block_decay: float = bounded(1.0, 0, 1, above=True)
    """Factor from each block of the backbone to the one before it, down from the last one's `body_rate`."""


@dataclass(frozen=True, kw_only=True)
class StepConfig:
    """How a training step is computed: speed and memory. The batch and the loss stay the same."""

    precision: Precision = "fp32"
    """Arithmetic of convolutions and products; weights, losses and optimizer stay in fp32. `tf32` lets a GPU use
    its TF32 units, `bf16` and `fp16` autocast (fp16 with a loss scale)."""
    compile: bool = False
    """Compile the network with torch.compile: minutes at the start, and a C++ compiler on a CPU."""
    pieces: int = bounded(1, 1)
    """Pieces that a batch goes through the network in, for batches larger than memory. Triplets are still mined
    over the whole batch, for one more forward pass; batch normalisation sees one piece at a time."""
    recompute: bool = False
    """Activation checkpointing: keep only the borders of the backbone's stages and compute the rest again in the
    backward pass. About a third more time for a fraction of the memory, for long clips."""
    sync_batch_norm: bool = False
    """With several processes: batch normalisation over the clips of all of them."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where tracklets come from and how they are read."""

    layout: Layout = "auto"
    """Layout of the data folder; `pack` is what `intraclip data pack` writes."""
    split: int = bounded(0, 0)
    """Number of the split, for data sets with several."""
    direction: Direction = "first-half-tests"
    """Which half of an iLIDS-VID split tests: the first in torchreid and AP3D, the last in TF-CLIP and GRL."""
    workers: int = bounded(2, 0)
    """Processes that decode frames; 0 decodes in the main process. The batches are the same for any number. Raw packs
    need no decoding: there a thread reads ahead instead."""
    prefetch: int = bounded(2, 1)
    """Batches that each worker reads ahead."""
    on_unreadable: Literal["stop", "skip"] = "stop"
    """A frame that cannot be read: stop, or replace it by its neighbour and go on, named and counted."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What happens around the training loop."""

    checkpoint_every: int = bounded(10, 1)
    """Epochs between two checkpoints; the last epoch always writes one."""
    keep_checkpoints: int = bounded(2, 1)
    """Checkpoints kept; older ones are deleted."""
    tensorboard: bool = True
    """Write TensorBoard events when the `report` extra is installed."""
    test_batch_frames: int = bounded(256, 1)
    """Frames in one forward pass at test; bounds memory, changes nothing else."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A whole training run.

    >>> from dataclasses import replace
    >>> recipe = Recipe(seed=1, model=ModelConfig(backbone="resnet18", head="tap"))
    >>> replace(recipe, optimizer=OptimizerConfig(epochs=20)).optimizer.epochs
    20
    """

    description: str = ""
    """One sentence for people."""
    seed: int = bounded(0, 0)
    """Seed of weights, sampling and augmentation."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:N`."""
    input: InputConfig = field(default_factory=InputConfig)
    clip: ClipConfig = field(default_factory=ClipConfig)
    batch: BatchConfig = field(default_factory=BatchConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: Mapping[str, Given] = parts(LOSSES)
    """Settings of the losses that are given for them: in a recipe ``[loss.circle] weight = 0.2``. By default batch-hard
    triplet plus cross-entropy (paper, section 3.2); docs/recipes.md lists them all."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    step: StepConfig = field(default_factory=StepConfig)
    data: DataConfig = field(default_factory=DataConfig)
    run: RunConfig = field(default_factory=RunConfig)
