from __future__ import annotations

import json
import resource
import signal
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from intraclip.config import AugmentConfig, FinetuneConfig, OptimizerConfig, Recipe
from intraclip.core.distributed import World
from intraclip.data.batches import iterate
from intraclip.data.dataset import TrainingBatches
from intraclip.embed.evaluate import evaluate
from intraclip.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    DeviceError,
    FrameError,
    IntraclipError,
    OutputError,
)
from intraclip.models.checkpoint import read_checkpoint
from intraclip.models.embedder import build_embedder
from intraclip.models.saving import training_checkpoints
from intraclip.recipe_files import load_recipe
from intraclip.train.loop import Silent, learning_rate, train
from intraclip.train.step import TrainingStep
from intraclip.train.stopping import RunStopped
from intraclip.types import Split


def tensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(path)


def equal(a: Path, b: Path) -> bool:
    x, y = tensors(a), tensors(b)
    return x.keys() == y.keys() and all(torch.equal(x[k], y[k]) for k in x)


def metrics(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def without_timing(run: Path) -> list[dict[str, float]]:
    timing = ("seconds", "data_wait", "clips_per_second", "memory_gib")
    return [{k: v for k, v in entry.items() if k not in timing} for entry in metrics(run)]


class Recorder:
    def __init__(self) -> None:
        self.steps: list[int] = []
        self.messages: list[str] = []

    def step(self, *, step: int, **_: object) -> None:
        self.steps.append(step)

    def message(self, text: str) -> None:
        self.messages.append(text)


class StopRun(Exception):
    pass


class Killer(Recorder):
    """Ends the process's run in the middle, as a power cut would."""

    def step(self, *, step: int, **_: object) -> None:
        if step == 3:
            raise StopRun


def test_a_run_folder_holds_what_it_says(tiny_split: Split, tiny_recipe: Recipe, tmp_path: Path):
    watcher = Recorder()
    final = train(tiny_recipe, data=tiny_split, out=tmp_path / "run", watcher=watcher) / "model.safetensors"
    assert final == tmp_path / "run" / "model.safetensors"
    assert load_recipe(str(tmp_path / "run" / "config.toml")) == tiny_recipe
    assert [entry["epoch"] for entry in metrics(tmp_path / "run")] == [1, 2, 3]
    assert watcher.steps == [1, 2, 3, 4, 5, 6]
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert environment["data"]["training_identities"] == 6
    assert read_checkpoint(final).pids == (1, 2, 3, 4, 5, 6)
    assert len(training_checkpoints(tmp_path / "run")) == tiny_recipe.run.keep_checkpoints


def test_the_same_seed_gives_the_same_run_for_any_number_of_workers(
    tiny_split: Split, tiny_recipe: Recipe, tmp_path: Path
):
    two = replace(tiny_recipe, data=replace(tiny_recipe.data, workers=2))
    train(tiny_recipe, data=tiny_split, out=tmp_path / "a")
    train(two, data=tiny_split, out=tmp_path / "b")
    train(replace(tiny_recipe, seed=4), data=tiny_split, out=tmp_path / "c")
    assert equal(tmp_path / "a/model.safetensors", tmp_path / "b/model.safetensors")
    assert not equal(tmp_path / "a/model.safetensors", tmp_path / "c/model.safetensors")


def test_a_resumed_run_equals_the_uninterrupted_one_bit_for_bit(
    tiny_split: Split, tiny_recipe: Recipe, tmp_path: Path
):
    train(tiny_recipe, data=tiny_split, out=tmp_path / "whole")
    with pytest.raises(StopRun):
        train(tiny_recipe, data=tiny_split, out=tmp_path / "parts", watcher=Killer())
    assert not (tmp_path / "parts/model.safetensors").exists()
    watcher = Recorder()
    train(tiny_recipe, data=tiny_split, out=tmp_path / "parts", resume=True, watcher=watcher)
    assert watcher.steps == [3, 4, 5, 6]
    assert watcher.messages[:1] == ["resuming after step 2 from step-00000002.safetensors"]
    assert equal(tmp_path / "whole/model.safetensors", tmp_path / "parts/model.safetensors")

    assert without_timing(tmp_path / "whole") == without_timing(tmp_path / "parts")


@pytest.mark.parametrize(
    "finetune",
    [
        FinetuneConfig(freeze_blocks=2, freeze_batch_norm=True),
        FinetuneConfig(head_epochs=1, body_rate=0.1, block_decay=0.5),
        FinetuneConfig(head_epochs=2, freeze_blocks=1),
    ],
    ids=["frozen", "head first", "resumed where the body begins to learn"],
)
def test_a_fine_tuning_that_is_resumed_equals_the_uninterrupted_one_bit_for_bit(
    tiny_split: Split, tiny_recipe: Recipe, tmp_path: Path, finetune: FinetuneConfig
):
    class LateKiller(Recorder):
        def step(self, *, step: int, **_: object) -> None:
            if step == 5:
                raise StopRun

    recipe = replace(tiny_recipe, finetune=finetune)
    train(recipe, data=tiny_split, out=tmp_path / "whole")
    for killer in (Killer(), LateKiller()):
        with pytest.raises(StopRun):
            train(recipe, data=tiny_split, out=tmp_path / "parts", resume=True, watcher=killer)
    train(recipe, data=tiny_split, out=tmp_path / "parts", resume=True)
    assert equal(tmp_path / "whole/model.safetensors", tmp_path / "parts/model.safetensors")
    assert without_timing(tmp_path / "whole") == without_timing(tmp_path / "parts")


def test_what_is_frozen_ends_as_it_began(tiny_split: Split, tiny_recipe: Recipe, tmp_path: Path):
    began = build_embedder(
        tiny_recipe.model, tiny_recipe.input, num_classes=6, seed=tiny_recipe.seed
    ).state_dict()
    recipe = replace(tiny_recipe, finetune=FinetuneConfig(freeze_blocks=2, freeze_batch_norm=True))
    ended = tensors(train(recipe, data=tiny_split, out=tmp_path / "run") / "model.safetensors")
    for name, tensor in began.items():
        kept = name.startswith(("backbone.blocks.0", "backbone.blocks.1")) or (
            name.startswith("backbone") and ("running" in name or "tracked" in name)
        )
        assert torch.equal(tensor, ended[f"model.{name}"]) == kept, name


@pytest.mark.cuda
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_run_on_a_gpu_is_resumed_and_scored_on_either_device(
    tiny_split: Split, tiny_recipe: Recipe, tmp_path: Path, precision: str
):
    recipe = replace(
        tiny_recipe,
        device="cuda",
        step=replace(tiny_recipe.step, precision=precision),  # type: ignore[arg-type]
        data=replace(tiny_recipe.data, workers=2),
    )
    with pytest.raises(StopRun):
        train(recipe, data=tiny_split, out=tmp_path / "run", watcher=Killer())
    watcher = Recorder()
    train(recipe, data=tiny_split, out=tmp_path / "run", resume=True, watcher=watcher)
    assert watcher.steps[-1] == 6
    assert all(entry["loss"] > 0 for entry in metrics(tmp_path / "run"))
    assert json.loads((tmp_path / "run/environment.json").read_text())["device"] != "cpu"
    found = [
        evaluate(tmp_path / "run", data=tiny_split, device=device)["scores"]["mars-no-query"]["mAP"]
        for device in ("cuda", "cpu")
    ]
    assert found[0] == pytest.approx(found[1], abs=0.1)


def test_a_run_goes_on_from_another_one_and_no_longer_needs_it_to_be_resumed(
    tiny_split: Split, tiny_recipe: Recipe, tmp_path: Path
):
    began = tensors(train(tiny_recipe, data=tiny_split, out=tmp_path / "before") / "model.safetensors")
    start = replace(tiny_recipe.model, weights=str(tmp_path / "before"))
    recipe = replace(tiny_recipe, model=start, seed=9, finetune=FinetuneConfig(head_epochs=2))
    watcher = Recorder()
    with pytest.raises(StopRun):
        train(recipe, data=tiny_split, out=tmp_path / "run", watcher=Killer())
    after = tensors(training_checkpoints(tmp_path / "run")[-1])
    for name in began:  # the body waits for the head
        learned = not name.startswith("model.backbone")
        assert torch.equal(began[name], after[name]) != learned, name
    train(recipe, data=tiny_split, out=tmp_path / "whole", watcher=watcher)
    assert watcher.messages[0].startswith("backbone and head (ica) start from")
    (tmp_path / "before/model.safetensors").unlink()
    train(recipe, data=tiny_split, out=tmp_path / "run", resume=True)
    assert equal(tmp_path / "whole/model.safetensors", tmp_path / "run/model.safetensors")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"model": {"weights": "nowhere.pth"}}, CheckpointError),
        ({"model": {"backbone": "timm:no_such_network"}}, ConfigError),
        ({"finetune": {"freeze_blocks": 99}}, ConfigError),
    ],
)
def test_a_network_that_cannot_be_begun_leaves_no_folder_behind(
    tiny_split: Split, tiny_recipe: Recipe, tmp_path: Path, changes: dict[str, dict[str, object]], error: type
):
    wrong = {name: replace(getattr(tiny_recipe, name), **values) for name, values in changes.items()}
    with pytest.raises(error):
        train(replace(tiny_recipe, **wrong), data=tiny_split, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_resuming_a_run_that_died_before_its_first_checkpoint_starts_it(
    tiny_split: Split, tiny_recipe: Recipe, tmp_path: Path
):
    train(tiny_recipe, data=tiny_split, out=tmp_path / "whole")
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.toml").write_text((tmp_path / "whole/config.toml").read_text())
    train(tiny_recipe, data=tiny_split, out=tmp_path / "run", resume=True)
    assert equal(tmp_path / "whole/model.safetensors", tmp_path / "run/model.safetensors")


def test_a_changed_recipe_is_refused_on_resume_with_its_keys(
    tiny_split: Split, tiny_recipe: Recipe, tmp_path: Path
):
    train(tiny_recipe, data=tiny_split, out=tmp_path / "run")
    other = replace(tiny_recipe, seed=8, loss={"triplet": {"margin": 0.5}})
    with pytest.raises(
        ConfigError, match=r"(?s)another recipe.*seed: 3 -> 8.*loss.triplet.margin: 0.3 -> 0.5"
    ):
        train(other, data=tiny_split, out=tmp_path / "run", resume=True)


def test_a_folder_that_is_not_empty_is_left_alone(tiny_split: Split, tiny_recipe: Recipe, tmp_path: Path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(
        OutputError, match=r"not empty; choose another --out, or continue that run with --resume"
    ):
        train(tiny_recipe, data=tiny_split, out=tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_overfitting_one_batch_reaches_zero_loss(tiny_split: Split, tiny_recipe: Recipe):
    recipe = replace(
        tiny_recipe, augment=AugmentConfig(mode="none"), optimizer=OptimizerConfig(learning_rate=5e-3)
    )
    dataset = TrainingBatches(tiny_split.train, recipe, stop=1)
    (loaded,) = iterate(dataset, workers=0)
    for head in ("tap", "ica"):
        model = build_embedder(
            replace(recipe.model, head=head), recipe.input, num_classes=len(dataset.labels), seed=0
        ).train()
        step = TrainingStep(model, recipe, World(rank=0, size=1, device=torch.device("cpu")))
        for number in range(150):
            last = step(loaded, step=number).read()
        assert last["triplet"] == 0
        assert last["identity"] < 0.01
        assert last["accuracy"] == 1


def test_the_learning_rate_follows_the_printed_text():
    config = OptimizerConfig()
    rates = [learning_rate(config, epoch) for epoch in (0, 199, 200, 399, 400, 499)]
    assert rates == pytest.approx([4e-4, 4e-4, 2e-6, 2e-6, 1e-8, 1e-8])


def test_warm_up_rises_to_the_full_rate():
    config = OptimizerConfig(warmup_epochs=4)
    rates = [learning_rate(config, epoch) for epoch in range(5)]
    assert rates == sorted(rates)
    assert rates[0] < 0.4 * config.learning_rate
    assert rates[3] == config.learning_rate


def broken(split: Split, root: Path, *, every_frame: bool = False) -> Split:
    """The split with one training tracklet's frames damaged, in a copy."""
    import shutil

    shutil.copytree(split.root, root)
    train = tuple(replace(t, root=root / "train") for t in split.train)
    for frame in train[0].frames if every_frame else train[0].frames[:1]:
        (root / "train" / frame).write_bytes(b"\xff\xd8 damaged")
    return replace(split, root=root, train=train)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_unreadable_frame_stops_the_run_by_name(
    tiny_split: Split, tiny_recipe: Recipe, tmp_path: Path, workers: int
):
    recipe = replace(tiny_recipe, data=replace(tiny_recipe.data, workers=workers))
    with pytest.raises(FrameError, match="0001C1T0001F001"):
        train(recipe, data=broken(tiny_split, tmp_path / "data"), out=tmp_path / "run")


def test_unreadable_frames_are_replaced_named_and_counted_when_told_so(
    tiny_split: Split, tiny_recipe: Recipe, tmp_path: Path
):
    recipe = replace(tiny_recipe, data=replace(tiny_recipe.data, on_unreadable="skip"))
    watcher = Recorder()
    train(recipe, data=broken(tiny_split, tmp_path / "data"), out=tmp_path / "run", watcher=watcher)
    counted = sum(entry["unreadable_frames"] for entry in metrics(tmp_path / "run"))
    said = [text for text in watcher.messages if "0001C1T0001F001" in text]
    assert counted == len(said) > 0


def test_a_tracklet_without_any_readable_frame_is_named(
    tiny_split: Split, tiny_recipe: Recipe, tmp_path: Path
):
    recipe = replace(tiny_recipe, data=replace(tiny_recipe.data, on_unreadable="skip"))
    data = broken(tiny_split, tmp_path / "data", every_frame=True)
    with pytest.raises(DataError, match="no frame of tracklet 0001C1T0001"):
        train(recipe, data=data, out=tmp_path / "run")


def test_a_loss_that_is_not_finite_stops_the_run(tiny_split: Split, tiny_recipe: Recipe, tmp_path: Path):
    recipe = replace(tiny_recipe, optimizer=replace(tiny_recipe.optimizer, learning_rate=1e30))
    with pytest.raises(IntraclipError, match=r"the loss is .* at step \d.*failed-batch\.safetensors"):
        train(recipe, data=tiny_split, out=tmp_path / "run")
    saved = tensors(tmp_path / "run/failed-batch.safetensors")
    assert saved["frames"].shape == (12, 2, 3, 32, 16)
    assert saved["frames"].dtype == torch.uint8
    assert saved["labels"].tolist() == [label for label in saved["labels"][::4].tolist() for _ in range(4)]


def test_a_missing_gpu_and_missing_tracklets_are_said(tiny_split: Split, tiny_recipe: Recipe, tmp_path: Path):
    if not torch.cuda.is_available():
        with pytest.raises(DeviceError, match="0 CUDA devices found; cpu is always there"):
            train(replace(tiny_recipe, device="cuda"), data=tiny_split, out=tmp_path / "run")
    with pytest.raises(DeviceError, match="'tpu9' is"):
        train(replace(tiny_recipe, device="tpu9"), data=tiny_split, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(DataError, match="no training tracklets"):
        train(tiny_recipe, data=replace(tiny_split, train=()), out=tmp_path / "run")


def test_tensorboard_holds_what_metrics_jsonl_holds(tiny_split: Split, tiny_recipe: Recipe, tmp_path: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    recipe = replace(tiny_recipe, run=replace(tiny_recipe.run, tensorboard=True))
    train(recipe, data=tiny_split, out=tmp_path / "run")
    events = EventAccumulator(str(tmp_path / "run/events"))
    events.Reload()
    written = [point.value for point in events.Scalars("train/triplet")]
    assert written == pytest.approx([entry["triplet"] for entry in metrics(tmp_path / "run")])


def test_a_line_that_a_crash_left_half_written_is_dropped_on_resume(
    tiny_split: Split, tiny_recipe: Recipe, tmp_path: Path
):
    with pytest.raises(StopRun):
        train(tiny_recipe, data=tiny_split, out=tmp_path / "run", watcher=Killer())
    with (tmp_path / "run/metrics.jsonl").open("ab") as file:
        file.write(b'{"epoch": 2, "st\xff')
    train(tiny_recipe, data=tiny_split, out=tmp_path / "run", resume=True)
    assert [entry["epoch"] for entry in metrics(tmp_path / "run")] == [1, 2, 3]


def test_a_damaged_latest_checkpoint_is_set_aside_and_the_one_before_it_taken(
    tiny_split: Split, tiny_recipe: Recipe, tmp_path: Path
):
    class LateKiller(Recorder):
        def step(self, *, step: int, **_: object) -> None:
            if step == 5:
                raise StopRun

    train(tiny_recipe, data=tiny_split, out=tmp_path / "whole")
    run = tmp_path / "run"
    with pytest.raises(StopRun):
        train(tiny_recipe, data=tiny_split, out=run, watcher=LateKiller())
    older, latest = training_checkpoints(run)
    content = bytearray(latest.read_bytes())
    content[-100] ^= 1  # one bit of the optimizer's state; the file still opens
    latest.write_bytes(content)
    watcher = Recorder()
    train(tiny_recipe, data=tiny_split, out=run, resume=True, watcher=watcher)
    assert "is damaged: its tensors have other bytes" in watcher.messages[0]
    assert watcher.messages[1] == f"resuming after step 2 from {older.name}"
    assert (run / "checkpoints" / f"{latest.name}.damaged").read_bytes() == content
    assert equal(tmp_path / "whole/model.safetensors", run / "model.safetensors")


def test_a_run_without_any_whole_checkpoint_says_so(tiny_split: Split, tiny_recipe: Recipe, tmp_path: Path):
    with pytest.raises(StopRun):
        train(tiny_recipe, data=tiny_split, out=tmp_path / "run", watcher=Killer())
    for file in training_checkpoints(tmp_path / "run"):
        file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"(?s)cannot be resumed.*step-00000002"):
        train(tiny_recipe, data=tiny_split, out=tmp_path / "run", resume=True)


def test_being_asked_to_stop_saves_in_the_middle_of_an_epoch(
    tiny_split: Split, tiny_recipe: Recipe, tmp_path: Path
):
    class Impatient(Recorder):
        def step(self, *, step: int, **_: object) -> None:
            self.steps.append(step)
            if step == 2:
                signal.raise_signal(signal.SIGTERM)

    recipe = replace(tiny_recipe, run=replace(tiny_recipe.run, checkpoint_every=100))
    train(recipe, data=tiny_split, out=tmp_path / "whole")
    before = signal.getsignal(signal.SIGTERM)
    watcher = Impatient()
    with pytest.raises(RunStopped, match=r"stopped after step 3 of 6.*--resume") as stopped:
        train(recipe, data=tiny_split, out=tmp_path / "parts", watcher=watcher)
    assert stopped.value.exit_code == 143
    assert watcher.steps == [1, 2, 3]  # the third ends inside an epoch of two
    assert signal.getsignal(signal.SIGTERM) is before
    train(recipe, data=tiny_split, out=tmp_path / "parts", resume=True)
    assert equal(tmp_path / "whole/model.safetensors", tmp_path / "parts/model.safetensors")
    assert without_timing(tmp_path / "whole") == without_timing(tmp_path / "parts")


def test_a_full_disk_is_said_and_the_run_can_go_on(tiny_split: Split, tiny_recipe: Recipe, tmp_path: Path):
    """A limit on the size of files stands in for the full disk: the write fails half-way, as it would there."""
    train(tiny_recipe, data=tiny_split, out=tmp_path / "whole")
    size = training_checkpoints(tmp_path / "whole")[0].stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, before[1]))
        with pytest.raises(OutputError, match=r"cannot be written.*nothing older was changed"):
            train(tiny_recipe, data=tiny_split, out=tmp_path / "run")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert not list((tmp_path / "run/checkpoints").iterdir())
    train(tiny_recipe, data=tiny_split, out=tmp_path / "run", resume=True)
    assert equal(tmp_path / "whole/model.safetensors", tmp_path / "run/model.safetensors")


def test_a_summary_says_where_the_time_went(tiny_split: Split, tiny_recipe: Recipe, tmp_path: Path):
    watcher = Recorder()
    train(tiny_recipe, data=tiny_split, out=tmp_path / "run", watcher=watcher)
    found = json.loads((tmp_path / "run/throughput.json").read_text())
    assert found["clips"] == 5 * 12  # all steps but the first, which starts everything up
    assert found["data_share"] + found["step_share"] + found["host_share"] == pytest.approx(1, abs=1e-3)
    assert watcher.messages[-1].startswith("60 clips in")


def test_settings_that_cannot_change_the_result_may_change_on_resume(
    tiny_split: Split, tiny_recipe: Recipe, tmp_path: Path
):
    train(tiny_recipe, data=tiny_split, out=tmp_path / "run")
    other = replace(tiny_recipe, description="again", data=replace(tiny_recipe.data, workers=1))
    train(other, data=tiny_split, out=tmp_path / "run", resume=True)


def test_settings_that_the_head_does_not_read_may_change_on_resume(
    tiny_split: Split, tiny_recipe: Recipe, tmp_path: Path
):
    tap = replace(tiny_recipe.model, head="tap", triplet_reads="embedding")
    recipe = replace(tiny_recipe, model=tap)
    train(recipe, data=tiny_split, out=tmp_path / "run")
    other = replace(recipe, model=replace(tap, triplet_reads="auto"))
    train(other, data=tiny_split, out=tmp_path / "run", resume=True)


def test_a_run_of_an_older_version_is_not_started_anew(
    tiny_split: Split, tiny_recipe: Recipe, tmp_path: Path
):
    with pytest.raises(StopRun):
        train(tiny_recipe, data=tiny_split, out=tmp_path / "run", watcher=Killer())
    for file in training_checkpoints(tmp_path / "run"):
        file.replace(file.with_name(file.name.replace("step-000", "epoch-")))
    before = (tmp_path / "run/metrics.jsonl").read_bytes()
    with pytest.raises(CheckpointError, match="of an older version of intraclip"):
        train(tiny_recipe, data=tiny_split, out=tmp_path / "run", resume=True)
    assert (tmp_path / "run/metrics.jsonl").read_bytes() == before


def test_a_restart_by_torchrun_does_not_continue_somebody_elses_run(
    tiny_split: Split, tiny_recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from intraclip.train.run_folder import prepare

    train(tiny_recipe, data=tiny_split, out=tmp_path / "old")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "this launch")
    with ExitStack() as held:
        with pytest.raises(OutputError, match="not empty"):
            prepare(tmp_path / "old", tiny_recipe, held, resume=False, restarted=True)
        prepare(tmp_path / "new", tiny_recipe, held, resume=False, restarted=False)
    with ExitStack() as held:
        prepare(tmp_path / "new", tiny_recipe, held, resume=False, restarted=True)


def with_pieces(recipe: Recipe, pieces: int, **model: object) -> Recipe:
    return replace(
        recipe,
        batch=replace(recipe.batch, identities=2, clips=2),
        step=replace(recipe.step, pieces=pieces),
        model=replace(recipe.model, **model),  # type: ignore[arg-type]
    )


def test_pieces_of_one_clip_are_refused_where_the_head_normalises_over_clips(
    tiny_split: Split, tiny_recipe: Recipe, tmp_path: Path
):
    run = tmp_path / "run"
    for model in ({"head": "ica"}, {"head": "tap", "neck": "bn"}):
        with pytest.raises(ConfigError, match=r"step\.pieces: 4 leaves one clip a piece of the 4 clips"):
            train(with_pieces(tiny_recipe, 4, **model), data=tiny_split, out=run)
        assert not run.exists()
    # TAP has nothing to normalise; and the corrected command is not refused.
    assert (
        train(with_pieces(tiny_recipe, 4, head="tap", neck="none"), data=tiny_split, out=run)
        / "model.safetensors"
    ).is_file()


@pytest.mark.parametrize("existed", [True, False])
@pytest.mark.parametrize("resume", [True, False])
def test_what_fails_before_the_first_step_is_over_leaves_the_folder_as_it_was(
    tiny_split: Split, tiny_recipe: Recipe, tmp_path: Path, monkeypatch, existed, resume
):
    run = tmp_path / "run"
    if existed:
        run.mkdir()
    absent = replace(tiny_recipe, model=replace(tiny_recipe.model, weights=str(tmp_path / "absent.pth")))
    with pytest.raises(IntraclipError):
        train(absent, data=tiny_split, out=run, resume=resume)
    assert list(tmp_path.rglob("*")) == ([run] if existed else [])

    def failing(self: TrainingStep, *_: object, **__: object) -> None:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(TrainingStep, "__call__", failing)
        with pytest.raises(RuntimeError, match="out of memory"):
            train(tiny_recipe, data=tiny_split, out=run, resume=resume)
    assert list(tmp_path.rglob("*")) == ([run] if existed else [])
    assert (train(tiny_recipe, data=tiny_split, out=run) / "model.safetensors").is_file()


@pytest.mark.parametrize("resume", [True, False])
def test_a_run_that_was_killed_before_its_first_checkpoint_is_begun_anew(
    tiny_split: Split, tiny_recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resume: bool
):
    """With the corrected recipe; what is there is worth nothing."""
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr("intraclip.train.loop.leaving_nothing", lambda *_, **__: nullcontext())  # SIGKILL
        patch.setattr(TrainingStep, "__call__", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train(tiny_recipe, data=tiny_split, out=run)
    assert (run / "config.toml").is_file()
    other = replace(tiny_recipe, seed=8)
    assert (train(other, data=tiny_split, out=run, resume=resume) / "model.safetensors").is_file()
    assert read_checkpoint(run / "model.safetensors").recipe.seed == 8
    assert load_recipe(str(run / "config.toml")).seed == 8
    with pytest.raises(OutputError, match="is not empty"):
        train(tiny_recipe, data=tiny_split, out=run)


@pytest.mark.parametrize("resume", [True, False])
def test_a_run_that_is_under_way_is_left_alone(
    tiny_split: Split, tiny_recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resume: bool
):
    monkeypatch.setattr("intraclip.train.run_folder._PATIENCE_S", 0.0)
    tried = []

    class Second(Silent):
        def step(self, **_: object) -> None:
            if not tried:
                tried.append(True)
                with pytest.raises(OutputError, match="another process is training into"):
                    train(replace(tiny_recipe, seed=8), data=tiny_split, out=tmp_path / "run", resume=resume)

    train(tiny_recipe, data=tiny_split, out=tmp_path / "run", watcher=Second())
    assert tried
    assert load_recipe(str(tmp_path / "run/config.toml")).seed == tiny_recipe.seed


def test_a_config_of_something_else_is_no_run_that_came_to_nothing(
    tiny_split: Split, tiny_recipe: Recipe, tmp_path: Path
):
    (tmp_path / "config.toml").write_text("[server]\nport = 80\n")
    with pytest.raises(OutputError, match="is not empty"):
        train(tiny_recipe, data=tiny_split, out=tmp_path)
    assert (tmp_path / "config.toml").read_text() == "[server]\nport = 80\n"


def test_a_failure_in_a_folder_that_holds_something_takes_nothing_away(
    tiny_split: Split, tiny_recipe: Recipe, tmp_path: Path
):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="is not empty"):
        train(tiny_recipe, data=tiny_split, out=tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"
