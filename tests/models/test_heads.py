"""Every head by the same rules: shapes, padding, frame order, gradients, export; and what it learns that TAP cannot."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from intraclip.config import ModelConfig
from intraclip.errors import DataError
from intraclip.losses.base import TotalLoss
from intraclip.models.embedder import ClipOutput, build_head
from intraclip.models.heads import HEADS
from intraclip.models.heads.base import FrameHead, Head
from models.head_toys import TOYS, accuracy_after_training

FEATURES = 16
NAMES = sorted(HEADS)
IGNORE_ORDER = {"qan", "drsa", "sta", "gem"}
"""Besides those that read the mean."""
READ_ORDER = {"gao_ta", "gao_rnn", "trl", "stmp", "gltr", "nonlocal3d", "amoc", "transformer"}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """The tensors are so small that a second thread only waits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def head_of(name: str, features: int = FEATURES) -> Head:
    """A head whose layers are all awake: what starts at 0, as a non-local block, gets a value."""
    torch.manual_seed(0)
    head = build_head(features, ModelConfig(head=name))  # type: ignore[arg-type]
    for module in head.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return head


def maps_of(b: int, t: int, *, h: int = 8, w: int = 4, seed: int = 0) -> torch.Tensor:
    """Maps as a backbone gives them: not negative, in channels-last memory."""
    maps = torch.randn(b, t, h, w, FEATURES, generator=torch.Generator().manual_seed(seed)).relu()
    return maps.permute(0, 1, 4, 2, 3)


def all_valid(maps: torch.Tensor) -> torch.Tensor:
    return torch.ones(maps.shape[:2], dtype=torch.bool)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("t", "h", "w"), [(1, 8, 4), (4, 8, 4), (9, 6, 2), (3, 16, 8), (2, 2, 1)])
def test_any_clip_length_and_map_size_gives_an_embedding(name, t, h, w):
    head = head_of(name)
    maps = maps_of(3, t, h=h, w=w)
    for mode in (True, False):
        out = head.train(mode)(maps, all_valid(maps))
        assert out.embedding.shape == (3, head.embedding_size)
        assert bool(out.embedding.isfinite().all())
        assert torch.allclose(out.pooled, maps.mean(dim=(1, 3, 4)), atol=1e-6)
        assert mode or out.auxiliary_loss is None
        assert not mode or name not in {"drsa", "sta"} or out.auxiliary_loss is not None


@pytest.mark.parametrize("name", sorted(set(HEADS) - {"gao_rnn", "trl"}))  # torch's own RNNs want a real GPU
def test_no_head_mixes_the_devices(name):
    """On a GPU that is not there: fake tensors have shapes, types and devices, and refuse what a GPU would refuse."""
    with FakeTensorMode(), torch.device("cuda"):
        head = build_head(FEATURES, ModelConfig(head=name))  # type: ignore[arg-type]
        maps, mask = torch.empty(4, 3, FEATURES, 8, 4), torch.ones(4, 3, dtype=torch.bool)
        for mode in (True, False):
            out = head.train(mode)(maps, mask)
            assert out.embedding.device.type == "cuda"
        labels = torch.zeros(4, dtype=torch.int64)
        logits = torch.empty(4, 2)
        loss, _ = TotalLoss({})(ClipOutput(out.embedding, out.pooled, logits, out.auxiliary_loss), labels)
        assert loss.device.type == "cuda"


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("tap", 2048),
        ("ica", 1024),
        ("qan", 1024),
        ("gao_ta", 2048),
        ("gao_rnn", 512),
        ("drsa", 384),
        ("trl", 4096),
        ("stmp", 256),
        ("sta", 1024),
        ("gltr", 512),
        ("nonlocal3d", 2048),
        ("amoc", 128),
        ("amoc_rnn", 128),
        ("transformer", 512),
        ("gem", 2048),
        ("stripes", 256),
    ],
)
def test_embedding_sizes_after_resnet50_are_the_printed_ones(name, size):
    with torch.device("meta"):
        assert build_head(2048, ModelConfig(head=name)).embedding_size == size


@pytest.mark.parametrize("name", NAMES)
def test_a_neck_normalises_what_the_head_gives_and_tells_both(name):
    torch.manual_seed(0)
    bare = build_head(FEATURES, ModelConfig(head=name)).train()
    necked = build_head(FEATURES, ModelConfig(head=name, neck="bn")).train()
    necked.head.load_state_dict(bare.state_dict())
    assert isinstance(necked, FrameHead) == isinstance(bare, FrameHead)
    assert necked.embedding_size == bare.embedding_size
    maps = maps_of(8, 3)
    expected, out = bare(maps, all_valid(maps)), necked(maps, all_valid(maps))
    assert expected.before_neck is None
    assert torch.allclose(out.before_neck, expected.embedding, atol=1e-6)
    assert torch.equal(out.pooled, expected.pooled)
    given = out.before_neck
    by_hand = (given - given.mean(0)) / (given.var(0, unbiased=False) + 1e-5).sqrt()
    assert torch.allclose(out.embedding, by_hand, rtol=1e-3, atol=1e-3)
    assert not necked.norm.bias.requires_grad


@pytest.mark.parametrize("name", ["tap", "ica", "stripes"])
def test_frames_embedded_one_by_one_pass_the_neck_too(name):
    head = build_head(FEATURES, ModelConfig(head=name, neck="bn")).eval()
    head.norm.running_mean.uniform_(-1, 1)
    maps = maps_of(2, 4)
    z = head.frame_vectors(maps).mean(dim=1)
    assert torch.allclose(head.from_mean(z).embedding, head(maps, all_valid(maps)).embedding, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("training", [False, True])
def test_what_padding_holds_changes_nothing(name, training):
    maps = maps_of(4, 5)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0], [0, 1, 0, 1, 1]]).bool()
    other = torch.where(mask[:, :, None, None, None], maps, 1e3)
    a, b = (head_of(name).train(training)(x, mask) for x in (maps, other))
    assert torch.equal(a.embedding, b.embedding)
    assert torch.equal(a.pooled, b.pooled)
    if a.auxiliary_loss is not None:
        assert torch.equal(a.auxiliary_loss, b.auxiliary_loss)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("valid", [[0], [0, 1, 2], [1, 2, 4], [0, 3]])
def test_a_padded_clip_is_the_clip_of_its_valid_frames(name, valid):
    head = head_of(name).eval()
    maps = maps_of(2, 5)
    mask = torch.zeros(2, 5, dtype=torch.bool)
    mask[:, valid] = True
    alone = maps[:, valid]
    padded, short = head(maps, mask), head(alone, all_valid(alone))
    assert torch.allclose(padded.embedding, short.embedding, atol=1e-5)
    assert torch.allclose(padded.pooled, short.pooled, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_only_heads_that_read_the_order_depend_on_it(name):
    head = head_of(name).eval()
    maps = maps_of(3, 4)
    before, after = (head(x, all_valid(x)).embedding for x in (maps, maps[:, [2, 0, 3, 1]]))
    change = ((before - after).norm() / before.norm()).item()
    assert change < 1e-5 or not (name in IGNORE_ORDER or isinstance(head, FrameHead))
    assert change > 1e-3 or name not in READ_ORDER


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_and_every_valid_frame_get_a_gradient(name):
    head = head_of(name).train()
    maps = maps_of(6, 4).requires_grad_()
    mask = all_valid(maps)
    mask[0, 2:] = False
    out = head(maps, mask)
    target = torch.randn(out.embedding.shape, generator=torch.Generator().manual_seed(1))
    loss = (out.embedding * target).sum()
    (loss if out.auxiliary_loss is None else loss + out.auxiliary_loss).backward()
    for key, parameter in head.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, key
            assert bool(parameter.grad.abs().sum() > 0), key
    assert maps.grad is not None
    reached = maps.grad.abs().sum(dim=(2, 3, 4)) > 0
    assert torch.equal(reached, mask)
    assert bool(maps.grad.isfinite().all())


@pytest.mark.parametrize("name", NAMES)
def test_as_built_a_clip_of_one_frame_uses_every_layer(name):
    """DistributedDataParallel waits for a gradient of every parameter, be it 0; black frames must not make it nan."""
    head = build_head(FEATURES, ModelConfig(head=name)).train()
    maps = torch.zeros(4, 1, FEATURES, 8, 4, requires_grad=True)
    out = head(maps, all_valid(maps))
    (out.embedding.square().sum() + (0 if out.auxiliary_loss is None else out.auxiliary_loss)).backward()
    found = {key: p.grad for key, p in head.named_parameters() if p.requires_grad}
    assert all(grad is not None and bool(grad.isfinite().all()) for grad in found.values())
    assert maps.grad is not None
    assert bool(maps.grad.isfinite().all())


@pytest.mark.parametrize("name", NAMES)
def test_evaluation_is_repeatable_and_clips_do_not_touch_each_other(name):
    head = head_of(name).eval()
    maps = maps_of(3, 4)
    mask = all_valid(maps)
    mask[1, 1:] = False
    together = head(maps, mask).embedding
    assert torch.equal(head(maps, mask).embedding, together)
    alone = torch.cat([head(maps[i : i + 1], mask[i : i + 1]).embedding for i in range(3)])
    assert torch.allclose(alone, together, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_memory_layout_changes_nothing(name):
    head = head_of(name).eval()
    maps = maps_of(2, 3)
    mask = all_valid(maps)
    expected = head(maps.contiguous(), mask).embedding
    assert torch.allclose(head(maps, mask).embedding, expected, atol=1e-5)
    assert torch.allclose(
        head.to(memory_format=torch.channels_last)(maps, mask).embedding, expected, atol=1e-5
    )


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_trains_and_stays_near_float32(name):
    maps = maps_of(4, 3)
    mask = all_valid(maps)
    expected = head_of(name).eval()(maps, mask).embedding
    head = head_of(name).eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = head(maps.bfloat16(), mask).embedding.float()
    assert ((half - expected).norm() / expected.norm()).item() < 0.05
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = head.train()(maps.bfloat16().requires_grad_(), mask)
    (out.embedding.float().sum() + (0 if out.auxiliary_loss is None else out.auxiliary_loss)).backward()
    found = [p.grad for p in head.parameters() if p.requires_grad]
    assert all(grad is not None and bool(grad.isfinite().all()) for grad in found)


class Embedding(nn.Module):
    """What is exported of a head."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.head = head

    def forward(self, maps: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        embedding: torch.Tensor = self.head(maps, mask).embedding
        return embedding


LEARNS = {
    "qan": "quality",
    "gao_ta": "order",
    "gao_rnn": "order",
    "drsa": "quality",
    "trl": "order",
    "stmp": "order",
    "sta": "quality",
    "gltr": "order",
    "nonlocal3d": "order",
    "amoc": "order",
    "amoc_rnn": "order",
    "transformer": "order",
    "gem": "peak",
    "stripes": "halves",
}


@pytest.mark.parametrize("name", sorted(set(HEADS) - {"tap", "ica"}))
def test_learns_what_the_mean_does_not_hold(name):
    """A head that is not listed learns one of the toys, unless it reads the mean."""
    toys = [LEARNS[name]] if name in LEARNS else list(TOYS)
    reads_mean = name not in LEARNS and isinstance(head_of(name), FrameHead)
    assert reads_mean or any(accuracy_after_training(name, toy) > 0.95 for toy in toys)


@pytest.mark.parametrize("name", ["tap", "ica"])
@pytest.mark.parametrize("toy", TOYS)
def test_heads_that_read_the_mean_stay_at_chance(name, toy):
    _, chance = TOYS[toy]
    # 500 clips: 0.07 is three standard deviations of guessing between two.
    assert abs(accuracy_after_training(name, toy) - chance) < 0.07


FREE = {name: {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC} for name in ("maps", "mask")}
"""Batch and clip length stay free."""


def other_clips() -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of other sizes and lengths than the one that is exported, with padding."""
    masks = [[[1]], [[1, 1], [1, 0], [0, 1]], [[1, 1, 1, 1, 1, 1], [0, 1, 0, 1, 1, 0]]]
    return [(maps_of(len(m), len(m[0]), seed=3), torch.tensor(m).bool()) for m in masks]


@pytest.mark.parametrize("name", NAMES)
def test_torch_export_gives_the_same_embeddings_for_any_batch_and_length(name):
    graph = Embedding(head_of(name)).eval()
    maps = maps_of(2, 3)
    with torch.no_grad():
        program = torch.export.export(graph, (maps, all_valid(maps)), dynamic_shapes=FREE).module()
        for clips in other_clips():
            assert torch.allclose(program(*clips), graph(*clips), atol=1e-4)


def check_onnx(name: str) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    graph = Embedding(head_of(name)).eval()
    maps = maps_of(2, 3)
    with torch.no_grad():
        program = torch.onnx.export(
            graph,
            (maps, all_valid(maps)),
            dynamo=True,
            dynamic_shapes=FREE,
            input_names=list(FREE),
            verbose=False,
        )
        session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
        for clips in other_clips():
            (found,) = session.run(None, dict(zip(FREE, (x.numpy() for x in clips), strict=True)))
            assert torch.allclose(torch.from_numpy(found), graph(*clips), atol=1e-4)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_onnx_gives_the_same_embeddings_for_any_batch_and_length():
    check_onnx("qan")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("name", NAMES)
def test_onnx_of_every_head_gives_the_same_embeddings(name):
    check_onnx(name)


@pytest.mark.parametrize("neck", ["none", "bn"])
@pytest.mark.parametrize("name", NAMES)
def test_without_a_mask_every_frame_counts(name, neck):
    torch.manual_seed(0)
    head = build_head(FEATURES, ModelConfig(head=name, neck=neck)).eval()  # type: ignore[arg-type]
    maps = maps_of(2, 3)
    assert torch.equal(head(maps).embedding, head(maps, all_valid(maps)).embedding)
    if isinstance(head, FrameHead):
        frames = head.frame_vectors(maps)
        assert torch.equal(
            head.aggregate(frames).embedding, head.aggregate(frames, all_valid(maps)).embedding
        )


@pytest.mark.parametrize("name", ["tap", "ica"])
@pytest.mark.parametrize("shape", [(16, 16, 2, 2), (16, 16)])
def test_maps_of_frames_that_are_in_no_clips_are_refused(name, shape):
    """As many frames as features: the mean over the wrong axis would have passed unnoticed."""
    head = HEADS.load(name)(16)
    with pytest.raises(DataError, match=r"takes maps \[B, T, F, h, w\] or frame vectors \[B, T, F\]"):
        head(torch.rand(shape))
