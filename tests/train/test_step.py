from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from intraclip.config import (
    AugmentConfig,
    BatchConfig,
    ClipConfig,
    InputConfig,
    ModelConfig,
    OptimizerConfig,
    Recipe,
    StepConfig,
)
from intraclip.config_io import problems
from intraclip.core.distributed import World
from intraclip.data.clip_batch import ClipBatch
from intraclip.data.normalise import normalise
from intraclip.errors import ConfigError
from intraclip.losses.base import TotalLoss
from intraclip.models.embedder import ClipEmbedder, ClipOutput, build_embedder
from intraclip.models.heads import HEADS
from intraclip.train.gpu import backend_settings
from intraclip.train.step import TrainingStep, mix

ALONE = World(rank=0, size=1, device=torch.device("cpu"))
RECIPE = Recipe(
    device="cpu",
    input=InputConfig(height=32, width=16),
    clip=ClipConfig(num_frames=2),
    batch=BatchConfig(identities=4, clips=2),
    model=ModelConfig(backbone="small", head="ica", weights="", backbone_settings={"width": 0.5}),
    augment=AugmentConfig(mode="none"),
    optimizer=OptimizerConfig(learning_rate=1e-3),
)


def batch(height: int = 32, width: int = 16) -> ClipBatch:
    generator = torch.Generator().manual_seed(5)
    frames = torch.randint(0, 256, (8, 2, height, width, 3), generator=generator, dtype=torch.uint8)
    mask = torch.ones(8, 2, dtype=torch.bool)
    mask[3, 1] = False
    labels = torch.arange(4).repeat_interleave(2)
    return ClipBatch(
        frames=frames.permute(0, 1, 4, 2, 3),
        mask=mask,
        pids=labels + 1,
        camids=labels % 2,
        labels=labels,
        owners=torch.arange(8),
    )


def network(recipe: Recipe) -> ClipEmbedder:
    return build_embedder(recipe.model, recipe.input, num_classes=4, seed=1)


def after_one_step(
    recipe: Recipe, clips: ClipBatch, device: str = "cpu"
) -> tuple[dict[str, float], dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Metrics, gradients and weights after one step."""
    world = World(rank=0, size=1, device=torch.device(device))
    with backend_settings(recipe.step, world.device):
        step = TrainingStep(network(recipe).to(world.device), recipe, world)
        metrics = step(clips.to(world.device), step=0).read()
    gradients = {k: p.grad for k, p in step.model.named_parameters() if p.grad is not None}
    return metrics, gradients, step.model.state_dict()


def with_step(recipe: Recipe, **settings: object) -> Recipe:
    return replace(recipe, step=replace(recipe.step, **settings))  # type: ignore[arg-type]


STRIPES = replace(
    RECIPE,
    model=replace(RECIPE.model, head="stmp"),
    loss={"parts": {"weight": 1.0}, "oim": {"weight": 0.5}, "siamese": {"weight": 0.5}},
)


@pytest.mark.parametrize("recipe", [RECIPE, STRIPES], ids=["ica", "stmp with parts"])
def test_pieces_mine_triplets_over_the_whole_batch(recipe):
    """Against the plain way: keep the graphs of all pieces, join their embeddings, one backward pass."""
    recipe, clips = with_step(recipe, pieces=4), batch()
    metrics, gradients, weights = after_one_step(recipe, clips)

    plain = network(recipe).train()
    frames = normalise(clips.frames, mean=recipe.input.mean, std=recipe.input.std)
    outputs = [plain(f, m) for f, m in zip(frames.chunk(4), clips.mask.chunk(4), strict=True)]
    joined = ClipOutput(*(torch.cat([o[i] for o in outputs]) for i in range(3)), None)
    if outputs[0].parts is not None:
        joined = joined._replace(parts=torch.cat([o.parts for o in outputs]))
    loss, logged = TotalLoss(recipe.loss, num_classes=4, num_features=joined.triplet_features.shape[1])(
        joined, clips.labels
    )
    loss.backward()
    wanted = {**{k: float(v) for k, v in logged.items()}, "stop": 0.0, "unreadable": 0.0}
    assert metrics == pytest.approx(wanted, rel=1e-5)
    for name, parameter in plain.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-4, atol=1e-6)
    for name, value in plain.state_dict().items():  # batches are counted once, not twice
        if "running" in name or "tracked" in name:
            torch.testing.assert_close(weights[name], value)


def test_a_head_without_parts_refuses_the_loss_on_them():
    with pytest.raises(ConfigError, match=r"loss.parts.weight: 1.0, but the head gives no vectors of parts"):
        after_one_step(replace(RECIPE, loss={"parts": {"weight": 1.0}}), batch())


@pytest.mark.parametrize(("backbone", "head"), [("amoc", "amoc_rnn"), ("resnet50_3d", "tap")])
def test_backbones_of_clips_take_a_step_whole_and_in_pieces(backbone, head):
    recipe = replace(
        RECIPE, model=ModelConfig(backbone=backbone, head=head, weights="", backbone_settings={"width": 0.05})
    )
    for pieces in (1, 4):
        metrics, gradients, weights = after_one_step(with_step(recipe, pieces=pieces), batch())
        assert all(np.isfinite(value) for value in metrics.values())
        assert ("auxiliary" in metrics) == (backbone == "amoc")
        assert all(bool(value.isfinite().all()) for value in weights.values())
        assert len(gradients) == len(list(network(recipe).parameters()))


def test_the_motion_network_can_learn_flow_alone():
    recipe = replace(
        RECIPE,
        model=ModelConfig(backbone="amoc", head="amoc_rnn", weights="", backbone_settings={"width": 0.05}),
        loss={"triplet": {"weight": 0}, "identity": {"weight": 0}},
    )
    assert not list(problems(recipe))
    metrics, gradients, _ = after_one_step(recipe, batch())
    assert metrics["loss"] == pytest.approx(metrics["auxiliary"], rel=1e-6)
    moved = {name for name, gradient in gradients.items() if bool(gradient.abs().sum() > 0)}
    assert moved == {name for name in gradients if name.startswith("backbone.motion.")}
    assert any("nothing is left" in p for p in problems(replace(recipe, model=RECIPE.model)))


def test_without_batch_normalisation_pieces_equal_the_whole_batch():
    recipe = replace(
        RECIPE,
        input=InputConfig(height=64, width=64),
        model=ModelConfig(backbone="alexnet", head="tap", weights=""),
    )
    clips = batch(64, 64)
    whole, gradients, _ = after_one_step(recipe, clips)
    pieces, piece_gradients, _ = after_one_step(with_step(recipe, pieces=4), clips)
    assert pieces == pytest.approx(whole, rel=1e-5)
    for name, gradient in gradients.items():
        torch.testing.assert_close(piece_gradients[name], gradient, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("backbone", "size"), [("small", 32), ("resnet18", 32), ("resnet50", 32), ("alexnet", 64)]
)
def test_recomputing_gives_the_same_bits_for_less_memory(backbone: str, size: int):
    narrow = {"width": 0.25} if backbone in ("small", "resnet18") else {}
    recipe = replace(
        RECIPE,
        input=InputConfig(height=size, width=size),
        model=ModelConfig(backbone=backbone, head="ica", weights="", backbone_settings=narrow),
    )
    clips = batch(size, size)
    torch.set_num_threads(1)  # sums of several threads may differ in their last bit
    try:
        kept = after_one_step(recipe, clips)
        recomputed = after_one_step(with_step(recipe, recompute=True), clips)
    finally:
        torch.set_num_threads(2)
    assert recomputed[0] == kept[0]
    for mine, theirs in zip(recomputed[1:], kept[1:], strict=True):
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[k], theirs[k]) for k in theirs)


def test_recomputing_keeps_fewer_activations():
    def kept(recipe: Recipe) -> int:
        model = network(recipe).train()
        model.backbone.recompute = recipe.step.recompute
        sizes: list[int] = []

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            model.backbone(torch.randn(8, 3, 64, 32))
        return sum(sizes)

    recipe = replace(RECIPE, model=replace(RECIPE.model, backbone="resnet18"))
    assert kept(with_step(recipe, recompute=True)) < 0.3 * kept(recipe)


def test_bf16_comes_close_to_fp32_and_keeps_weights_in_fp32():
    exact, _, _ = after_one_step(RECIPE, batch())
    rounded, _, weights = after_one_step(with_step(RECIPE, precision="bf16"), batch())
    assert rounded != exact
    assert rounded["identity"] == pytest.approx(exact["identity"], rel=2e-2)
    assert {v.dtype for v in weights.values() if v.is_floating_point()} == {torch.float32}


def test_fp16_scales_the_loss_and_steps_back_from_an_overflow():
    step = TrainingStep(network(RECIPE), with_step(RECIPE, precision="fp16"), ALONE)
    before = step.scaler.get_scale()
    weights = {k: v.clone() for k, v in step.model.named_parameters()}
    handle = step.model.classifier.weight.register_hook(lambda gradient: gradient * float("inf"))
    step(batch(), step=0)
    assert step.scaler.get_scale() == before / 2
    assert all(torch.equal(v, weights[k]) for k, v in step.model.named_parameters())
    handle.remove()
    for number in range(1, 12):  # fp16 really overflows at first: the scale halves until it fits
        step(batch(), step=number)
    assert not all(torch.equal(v, weights[k]) for k, v in step.model.named_parameters())


def test_an_augmented_step_depends_on_its_number_alone():
    recipe = replace(RECIPE, augment=AugmentConfig())
    step = TrainingStep(network(recipe), recipe, ALONE)
    frames = batch().frames
    first = step._augment(frames, 3).clone()
    step._augment(frames, 4)
    assert torch.equal(step._augment(frames, 3), first)
    assert not torch.equal(step._augment(frames, 4), first)


def test_neighbouring_seeds_give_unrelated_numbers():
    numbers = {mix(seed, stream, step) for seed in range(4) for stream in range(4) for step in range(64)}
    assert len(numbers) == 1024
    assert all(0 <= n < 2**63 for n in numbers)


def test_pieces_that_do_not_divide_the_batch_are_refused():
    (problem,) = problems(replace(RECIPE, step=StepConfig(pieces=3)))
    assert problem == "step.pieces: 3 must divide the batch of 4 x 2 clips"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile wants a C++ compiler on a CPU")
@pytest.mark.filterwarnings("ignore")  # of torch's own compiler
def test_a_compiled_network_learns_the_same_and_saves_under_the_same_names():
    plain = after_one_step(RECIPE, batch())
    compiled = after_one_step(with_step(RECIPE, compile=True), batch())
    assert compiled[0] == pytest.approx(plain[0], rel=1e-4)
    assert compiled[2].keys() == plain[2].keys()


@pytest.mark.parametrize(
    "before",
    [
        "pass",
        "torch.backends.fp32_precision = 'tf32'",
        "torch.backends.cuda.matmul.fp32_precision = 'tf32'",
        "torch.set_float32_matmul_precision('high')",
        "torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False",
    ],
)
def test_the_precision_holds_inside_and_the_program_has_its_own_back(before: str):
    """Whichever of torch's two kinds of switches it uses; in a process of its own, as they are there for good."""
    code = f"""
import torch
from intraclip.config import StepConfig
from intraclip.train.gpu import backend_settings
{before}
cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
def now():
    return [cudnn.benchmark, *(s.fp32_precision for s in (cudnn.conv, cudnn.rnn, matmul))]
settings = now()
for precision in ("fp32", "tf32", "bf16"):
    with backend_settings(StepConfig(precision=precision), torch.device("cuda")):
        assert cudnn.allow_tf32 == matmul.allow_tf32 == (precision != "fp32"), (cudnn.allow_tf32, precision)
        assert cudnn.benchmark
    assert now() == settings, (now(), settings)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.cuda
@pytest.mark.parametrize(
    ("settings", "close"),
    [
        ({"precision": "fp32"}, 1e-4),
        ({"precision": "fp32", "pieces": 4}, 1e-4),
        ({"precision": "fp32", "recompute": True}, 1e-4),
        ({"precision": "tf32"}, 1e-2),
        ({"precision": "bf16"}, 5e-2),
        ({"precision": "bf16", "pieces": 4, "recompute": True}, 5e-2),
        ({"precision": "fp16"}, 2e-2),
    ],
)
def test_a_gpu_learns_what_the_cpu_learns(settings: dict[str, object], close: float):
    pieces = {"pieces": settings["pieces"]} if "pieces" in settings else {}
    exact, gradients, _ = after_one_step(with_step(RECIPE, **pieces), batch())
    found, on_gpu, weights = after_one_step(with_step(RECIPE, **settings), batch(), "cuda")
    for name in ("loss", "triplet", "identity", "positive_distance", "negative_distance"):
        assert found[name] == pytest.approx(exact[name], rel=close), name
    assert {v.dtype for v in weights.values() if v.is_floating_point()} == {torch.float32}
    if settings["precision"] == "fp32":
        for name, gradient in gradients.items():
            torch.testing.assert_close(on_gpu[name].cpu(), gradient, rtol=1e-2, atol=1e-4)


@pytest.mark.cuda
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("head", sorted(HEADS))
def test_every_head_takes_a_step_on_a_gpu(head: str, precision: str):
    recipe = replace(RECIPE, model=replace(RECIPE.model, head=head, neck="bn"))  # type: ignore[arg-type]
    found, gradients, _ = after_one_step(with_step(recipe, precision=precision), batch(), "cuda")
    assert all(torch.isfinite(torch.tensor(value)) for value in found.values())
    assert all(bool(gradient.isfinite().all()) for gradient in gradients.values())


@pytest.mark.cuda
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_step_is_started_without_waiting_for_the_gpu(precision: str):
    recipe = with_step(replace(RECIPE, augment=AugmentConfig()), precision=precision)
    world = World(rank=0, size=1, device=torch.device("cuda"))
    clips = batch().to(world.device)
    with backend_settings(recipe.step, world.device):
        step = TrainingStep(network(recipe).to(world.device), recipe, world)
        for number in range(2):
            step(clips, step=number).read()
        torch.cuda.set_sync_debug_mode("error")
        try:
            done = step(clips, step=2)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert done.read()["loss"] > 0


@pytest.mark.cuda
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of torch's own compiler
def test_a_compiled_network_learns_the_same_on_a_gpu():
    plain = after_one_step(with_step(RECIPE, precision="bf16"), batch(), "cuda")
    compiled = after_one_step(with_step(RECIPE, precision="bf16", compile=True), batch(), "cuda")
    assert compiled[0]["identity"] == pytest.approx(plain[0]["identity"], rel=5e-2)
    assert compiled[2].keys() == plain[2].keys()
