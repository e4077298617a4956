"""Make the shipped network `base`: render people, train on them, write a checkpoint.

    python tools/make_base.py render --folder base-data --sets 6          # 120,000 frames; hours of two cores
    python tools/make_base.py train  --folder base-data --out base.safetensors [--teacher NETWORK.xml] [--real FOLDER]
    python tools/make_base.py mix A.safetensors B.safetensors --share 0.3 --out base.safetensors
    python tools/make_base.py render --folder others --sets 1 --people 150 --seed 2000
    python tools/make_base.py calibrate --folder others --network base.safetensors --out base.calibration.json
    python tools/make_base.py ladder --folder ladder-data --out ladder.json --viper VIPER.npz [--parallel 4]

The ladder trains one network for each ingredient and group of rendering settings, all for as many steps, and scores
them. Rendering goes on where it was stopped, set by set; training from its last checkpoint; the ladder row by row. All
of it runs on a CPU or a GPU. What was learned from, and what was measured: docs/base.md, the model card.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import math
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from intraclip.config import AugmentConfig, ClipConfig, FinetuneConfig, InputConfig, ModelConfig, Recipe
from intraclip.core.files import write_json
from intraclip.data.augment import apply, draw
from intraclip.data.test_clips import tracklet_clips
from intraclip.embed.encoders.torch_encoder import TorchEncoder
from intraclip.losses.triplet import batch_hard_triplet
from intraclip.metrics.embeddings import Embeddings
from intraclip.metrics.match_fit import fit_calibration
from intraclip.metrics.match_probability import MatchCalibration
from intraclip.models.checkpoint import load_model, read_checkpoint
from intraclip.models.embedder import ClipEmbedder, build_embedder
from intraclip.models.finetune import parameter_groups, set_trainable
from intraclip.models.fingerprint import fingerprint_of
from intraclip.models.generalise import MixStyle
from intraclip.models.saving import save_checkpoint
from intraclip.models.start import begin
from intraclip.studio.config import Diverse, DiverseConfig
from intraclip.studio.diverse import render_arrays

HEIGHT, WIDTH = 192, 96
PEOPLE, VISITS, FRAMES, CAMERAS = 500, 4, 10, 40
"""Of one rendered set. Sets share neither people nor cameras."""

ARRAYS = ("frames", "pids", "camids", "tracklets")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One training.

    Attributes:
        identities: P, people in a batch.
        clips: K, clips of each.
        length: T, frames of a clip.
        steps: at most so many batches.
        seconds: or so long.
        learning_rate: of head and classifier, after the warm-up.
        weight_decay: of AdamW.
        labels: weight of cross-entropy and triplet loss.
        teacher: weight of what the teacher says.
        colour: strength of changes of light and colour.
        erase: chance that a box is erased.
        augment: `synchronous` (SDA) or `asynchronous`.
        mix_style: share of batches in which statistics of early maps are mixed (Zhou et al. 2021, MixStyle).
        average: decay of the running mean of the weights; 0 for none.
        seed: of everything drawn.
    """

    identities: int = 64
    clips: int = 4
    length: int = 1
    steps: int = 6000
    seconds: float = math.inf
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    labels: float = 1.0
    teacher: float = 1.0
    colour: float = 1.0
    erase: float = 0.3
    augment: str = "synchronous"
    mix_style: float = 0.0
    average: float = 0.999
    seed: int = 0


def recipe_of(args: argparse.Namespace) -> Recipe:
    """What the checkpoint says of itself."""
    return Recipe(
        description="Shipped network: ImageNet weights, then rendered people"
        f"{' and a teacher' if args.teacher else ''} (docs/base.md).",
        seed=args.seed,
        input=InputConfig(height=HEIGHT, width=WIDTH),
        clip=ClipConfig(num_frames=8, test_sampling="even"),
        model=ModelConfig(
            backbone=args.backbone,
            weights=args.weights,
            head=args.head,
            standardise=args.standardise,
            triplet_reads="embedding",
        ),
        finetune=FinetuneConfig(
            freeze_blocks=args.freeze, freeze_batch_norm=True, body_rate=0.2, block_decay=args.block_decay
        ),
    )


GENTLE = FinetuneConfig(freeze_blocks=8, freeze_batch_norm=True, body_rate=0.2)
"""What training from the checkpoint begins with: its users have fewer pictures than it had."""


# -- rendered people -----------------------------------------------------------------------------------------


GROUPS = tuple(asdict(Diverse()))
"""Of rendering settings; `--without` switches them off one by one."""


def render(
    folder: Path,
    *,
    sets: int,
    people: int,
    seed: int,
    workers: int | None,
    frames: int = FRAMES,
    without: Sequence[str] = (),
) -> None:
    """Render what is not there yet; a set appears whole or not at all."""
    for number in range(sets):
        done = folder / f"set{number}"
        if done.exists():
            continue
        began = time.perf_counter()
        arrays = render_arrays(
            DiverseConfig(
                identities=people,
                visits=VISITS,
                frames=frames,
                cameras=max(VISITS, CAMERAS * people // PEOPLE),
                seed=seed + number,
                height=HEIGHT,
                width=WIDTH,
                diverse=Diverse(**dict.fromkeys(without, False)),
            ),
            workers=workers,
        )
        partial = folder / f"set{number}.partial"
        partial.mkdir(parents=True, exist_ok=True)
        for name in ARRAYS:
            np.save(partial / f"{name}.npy", getattr(arrays, name))
        partial.rename(done)
        print(f"set {number}: {len(arrays.pids)} frames in {time.perf_counter() - began:.0f} s", flush=True)


@dataclass(frozen=True)
class People:
    """Frames on the training device, and who is on them.

    Attributes:
        frames: uint8 ``[N, H, W, 3]``.
        tracklets: person -> camera -> rows of each tracklet, in time's order.
    """

    frames: torch.Tensor
    tracklets: list[dict[int, list[np.ndarray]]]


def sets_in(folder: Path) -> list[Path]:
    """The rendered sets that are whole."""
    return sorted((p for p in folder.glob("set[0-9]*") if not p.suffix), key=lambda p: int(p.name[3:]))


def load_people(paths: Sequence[Path], device: torch.device, *, known: People | None = None) -> People:
    """Read sets, behind the people that are known."""
    pictures, people = ([known.frames], list(known.tracklets)) if known else ([], [])
    offset = sum(map(len, pictures))
    for path in paths:
        found = {name: np.load(path / f"{name}.npy") for name in ARRAYS}
        who: dict[int, dict[int, list[np.ndarray]]] = {}
        order = np.argsort(found["tracklets"], kind="stable")
        for rows in np.split(order, np.flatnonzero(np.diff(found["tracklets"][order])) + 1):
            cameras = who.setdefault(int(found["pids"][rows[0]]), {})
            cameras.setdefault(int(found["camids"][rows[0]]), []).append(rows + offset)
        people += [who[pid] for pid in sorted(who) if len(who[pid]) > 1]
        pictures.append(torch.from_numpy(found["frames"]).to(device))
        offset += len(found["frames"])
    if not people:
        raise SystemExit("there is no rendered set; run `render` first")
    return People(torch.cat(pictures), people)


class Sampler:
    """P people x K clips of T frames; the clips of a person come from as many cameras as there are."""

    def __init__(self, people: People, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.waiting = np.empty(0, dtype=np.int64)
        self.add(people)

    def add(self, people: People) -> None:
        """Draw from these people from now on; those that were known keep their labels."""
        self.people = people
        every = [[(c, rows) for c, found in who.items() for rows in found] for who in people.tracklets]
        shape = (len(every), max(map(len, every)))
        self.camera = np.full(shape, -1)
        self.first, self.count = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        self.rows = np.concatenate([rows for who in every for _, rows in who])
        at = 0
        for label, who in enumerate(every):
            for number, (camid, rows) in enumerate(who):
                self.camera[label, number], self.first[label, number] = camid, at
                self.count[label, number] = len(rows)
                at += len(rows)

    def __call__(self, identities: int, clips: int, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows ``[P K T]`` of the frames, and labels ``[P K]``."""
        if len(self.waiting) < identities:
            self.waiting = self.rng.permutation(len(self.camera))
        chosen, self.waiting = self.waiting[:identities], self.waiting[identities:]
        camera = self.camera[chosen]
        drawn = self.rng.random(camera.shape)
        # A camera's second tracklet comes after every camera's first.
        again = ((camera[:, :, None] == camera[:, None]) & (drawn[:, None] < drawn[:, :, None])).sum(axis=2)
        order = np.argsort(np.where(camera < 0, np.inf, again + drawn), axis=1)
        there = (camera >= 0).sum(axis=1, keepdims=True)
        tracklet = np.take_along_axis(order, np.arange(clips)[None] % there, axis=1)
        first, count = (np.take_along_axis(a[chosen], tracklet, axis=1) for a in (self.first, self.count))
        keys = self.rng.random((*count.shape, max(int(count.max()), length)))
        keys[np.arange(keys.shape[2]) >= count[..., None]] = np.inf
        frame = np.sort(np.argsort(keys, axis=2)[..., :length] % count[..., None], axis=2)
        return self.rows[(first[..., None] + frame).ravel()], np.repeat(chosen, clips)


# -- pictures ------------------------------------------------------------------------------------------------

SDA = AugmentConfig(
    crop_probability=0.7,
    crop_scale=(0.75, 1.0),
    rotate_probability=0.2,
    rotate_degrees=8.0,
    erase_area=(0.02, 0.3),
    colour_probability=1.0,
    blur_probability=0.3,
    noise_probability=0.4,
)


# -- training ------------------------------------------------------------------------------------------------


def train(args: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    """Train, write the checkpoint, and return what the log's last line says."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    on_gpu = device.type == "cuda"
    torch.backends.cudnn.benchmark = on_gpu
    torch.manual_seed(settings.seed)
    generator = torch.Generator().manual_seed(settings.seed)
    sets = sets_in(args.folder)
    people = load_people(sets, device)
    if args.people:
        people = People(people.frames, people.tracklets[: args.people])
    real = load_real(args.real, device) if args.real else None
    sampler = Sampler(people, settings.seed)
    recipe = recipe_of(args)
    room = max(args.growing, len(people.tracklets))
    model = build_embedder(recipe.model, recipe.input, num_classes=room, seed=settings.seed)
    begin(model, recipe.model, recipe.input)
    model = model.to(device, memory_format=torch.channels_last).train()
    neck = nn.BatchNorm1d(
        model.embedding_size, device=device
    )  # BNNeck, Luo et al. 2019; not part of the result
    neck.bias.requires_grad_(False)
    set_trainable(model, recipe.finetune, epoch=0)
    teacher = Teacher(args.teacher, device) if args.teacher else None
    groups = [
        {"params": [p for p in found if p.requires_grad], "lr": settings.learning_rate * factor}
        for found, factor in parameter_groups(model, recipe.finetune)
    ]
    groups[0]["params"] += [neck.weight]
    groups = [group for group in groups if group["params"]]
    optimizer = torch.optim.AdamW(groups, weight_decay=settings.weight_decay, fused=on_gpu)
    rates = [group["lr"] for group in optimizer.param_groups]
    averaged = copy.deepcopy(model).requires_grad_(False)
    if settings.mix_style:
        for block in mixed_blocks(model):
            block.register_forward_hook(MixStyle(settings.mix_style))
    step, spent = 0, 0.0
    args.out.parent.mkdir(parents=True, exist_ok=True)
    saved = args.out.with_suffix(".resume")
    state = {"model": model, "averaged": averaged, "neck": neck, "optimizer": optimizer}
    if saved.exists():
        found = torch.load(saved, map_location=device, weights_only=True)
        for name, part in state.items():
            part.load_state_dict(found[name])
        step, spent = found["step"], found["spent"]
        sampler.rng.bit_generator.state = json.loads(found["sampler"])
        sampler.waiting = found["waiting"].cpu().numpy()
        generator.set_state(found["generator"].cpu())
        torch.set_rng_state(found["random"].cpu())
        if on_gpu:
            torch.cuda.set_rng_state(found["random_on_gpu"].cpu())
    began = time.perf_counter() - spent
    sda = replace(
        SDA, mode=settings.augment, erase_probability=settings.erase, colour_strength=settings.colour
    )
    log: dict[str, Any] = {}
    while True:
        spent = time.perf_counter() - began
        done = max(step / settings.steps, spent / settings.seconds)
        if done >= 1:
            break
        if args.save_every and step and step % args.save_every == 0:
            held = {name: part.state_dict() for name, part in state.items()}
            held |= {"step": step, "spent": spent, "generator": generator.get_state()}
            held |= {"random": torch.get_rng_state()}
            held |= {"sampler": json.dumps(sampler.rng.bit_generator.state)}
            held |= {"waiting": torch.from_numpy(sampler.waiting)}
            if on_gpu:
                held["random_on_gpu"] = torch.cuda.get_rng_state()
            torch.save(held, saved.with_suffix(".partial"))
            saved.with_suffix(".partial").replace(saved)
        if len(people.tracklets) < args.growing and step % 20 == 0:
            new = [path for path in sets_in(args.folder) if path not in sets]
            if new:
                sets += new
                people = load_people(new, device, known=people)
                sampler.add(People(people.frames, people.tracklets[:room]))
        rise = min(1.0, (step + 1) / 100)
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * rise * (0.5 + 0.5 * math.cos(math.pi * done)) + 1e-7
        rows, labels = sampler(settings.identities, settings.clips, settings.length)
        clips = people.frames[torch.from_numpy(rows).to(device)].unflatten(0, (-1, settings.length))
        target = torch.from_numpy(labels).to(device)
        if real is not None:
            extra = torch.randint(0, len(real), (len(clips) // 5,), generator=generator).to(device)
            clips = torch.cat([clips, real[extra].unsqueeze(1).expand(-1, settings.length, -1, -1, -1)])
        drawn = draw(
            sda,
            clips=len(clips),
            frames=settings.length,
            height=HEIGHT,
            width=WIDTH,
            generator=generator,
        )
        half = (0.5, 0.5, 0.5)
        frames = apply(clips.permute(0, 1, 4, 2, 3), drawn, mean=half, std=half)
        pictures = frames.flatten(0, 1) * 0.5 + 0.5
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=on_gpu):
            maps = model.maps(frames)
        out = model.head(maps.float(), torch.ones(frames.shape[:2], dtype=torch.bool, device=device))
        unit = F.normalize(out.embedding, dim=1)
        loss = torch.zeros((), device=device)
        logged: dict[str, torch.Tensor] = {}
        if settings.labels:
            mine = unit[: len(target)]
            triplet = batch_hard_triplet(10 * mine, target, soft=True).loss
            logits = model.classifier(neck(mine))
            identity = F.cross_entropy(logits, target, label_smoothing=0.1)
            loss = loss + settings.labels * (identity + 0.3 * triplet)
            logged |= {"identity": identity, "triplet": triplet}
            logged["accuracy"] = (logits.argmax(dim=1) == target).float().mean()
        if teacher is not None:
            relation, direct = distillation(unit, teacher, pictures, settings.length)
            loss = loss + settings.teacher * (relation + 2 * direct)
            logged |= {"relation": relation, "direct": direct}
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], 5.0)
        optimizer.step()
        with torch.no_grad():
            weight = 1 - min(settings.average, (step + 1) / (step + 10))
            torch._foreach_lerp_(list(averaged.parameters()), list(model.parameters()), weight)
        if step % 50 == 0:
            log = {"step": step, "seconds": round(time.perf_counter() - began, 1)}
            log |= {name: round(float(value.detach()), 4) for name, value in logged.items()}
            print(json.dumps(log), flush=True)
        step += 1
    ready = without_classifier(averaged.eval(), recipe)
    save_checkpoint(
        args.out, ready.half(), recipe=replace(recipe, finetune=GENTLE), pids=[0], epoch=1, step=step
    )
    saved.unlink(missing_ok=True)
    result = {
        **log,
        "steps": step,
        "spent": round(spent, 1),
        "people": len(people.tracklets),
        "frames": len(people.frames),
        "settings": asdict(settings),
        "freeze": args.freeze,
        "standardise": args.standardise,
    }
    if args.viper:
        result["viper"] = viper_rank1(averaged, args.viper, device)
    print("RESULT", args.out.name, json.dumps(result), flush=True)
    if args.result:
        write_json(args.result, result)
    return result


def mix(first: Path, second: Path, out: Path, *, share: float) -> None:
    """The mean of two trainings' weights (Wortsman et al. 2022, model soups), `share` of it the second's.

    Both began with the same weights and froze the statistics of batch normalisation. The recipe is the first's.
    """
    checkpoint = read_checkpoint(first)
    model = load_model(checkpoint, device=torch.device("cpu")).float()
    other = load_model(read_checkpoint(second), device=torch.device("cpu")).float()
    theirs = dict(other.named_parameters())
    with torch.no_grad():
        for name, mine in model.named_parameters():
            if not name.startswith("classifier."):
                mine.lerp_(theirs[name], share)
    save_checkpoint(out, model.half(), recipe=checkpoint.recipe, pids=[0], epoch=1, step=checkpoint.step)


def without_classifier(model: ClipEmbedder, recipe: Recipe) -> ClipEmbedder:
    """The network with a classifier of one person: the people it was trained on are nobody's business."""
    ready = build_embedder(recipe.model, recipe.input, num_classes=1, seed=0)
    kept = {name: value for name, value in model.state_dict().items() if not name.startswith("classifier.")}
    ready.load_state_dict(kept, strict=False)
    return ready


def mixed_blocks(model: ClipEmbedder) -> list[nn.Module]:
    """The second and third stage of an EfficientNet."""
    return [model.backbone.get_submodule(f"network.blocks.{number}") for number in (1, 2)]


class Teacher:
    """A public network in OpenVINO's format: pictures 256 x 128, blue first, 0..255; unit vectors.

    On a GPU its kernels are recorded once for a shape and started together: one by one, a processor takes longer to
    start them than the GPU to run them.
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        from openvino_module import OpenVINOModule

        self.network = OpenVINOModule(path).to(device).eval()
        self.one_by_one = False
        self.recorded: tuple[torch.cuda.CUDAGraph, torch.Tensor, torch.Tensor] | None = None

    @torch.no_grad()
    def __call__(self, pictures: torch.Tensor) -> torch.Tensor:
        """Float ``[N, 3, H, W]`` in 0..1 -> ``[N, D]``."""
        large = F.interpolate(pictures, size=(256, 128), mode="bilinear").flip(1) * 255
        large = large.contiguous(memory_format=torch.channels_last)
        if not large.is_cuda or self.one_by_one:
            with torch.autocast(large.device.type, dtype=torch.float16, enabled=large.is_cuda):
                return F.normalize(self.network(large).float(), dim=1)
        if self.recorded is None or self.recorded[1].shape != large.shape:
            try:
                self.recorded = self._record(large)
            except RuntimeError as error:  # slower, and no reason to lose a training for
                print(f"the teacher's kernels cannot be recorded: {error}", flush=True)
                self.one_by_one = True
                return self(pictures)
        graph, taken, given = self.recorded
        taken.copy_(large)
        graph.replay()
        return F.normalize(given.float(), dim=1)

    def _record(self, large: torch.Tensor) -> tuple[torch.cuda.CUDAGraph, torch.Tensor, torch.Tensor]:
        taken = large.clone(memory_format=torch.preserve_format)
        with torch.autocast("cuda", dtype=torch.float16, cache_enabled=False):
            beside = torch.cuda.Stream()
            beside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(beside):
                for _ in range(3):
                    self.network(taken)
            torch.cuda.current_stream().wait_stream(beside)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                given = self.network(taken)
        return graph, taken, given


def distillation(
    unit: torch.Tensor, teacher: Teacher, pictures: torch.Tensor, length: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """How far the student is from its teacher: between relations of a batch, and vector by vector.

    Args:
        unit: the student's embeddings, unit length, ``[B, 256]``.
        teacher: pictures -> unit vectors ``[N, 256]``.
        pictures: float ``[B T, 3, H, W]`` in 0..1, as the student sees them.
        length: T.
    """
    wanted = F.normalize(teacher(pictures).unflatten(0, (-1, length)).mean(dim=1), dim=1)
    itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)

    def neighbours(vectors: torch.Tensor) -> torch.Tensor:
        return (vectors @ vectors.T / 0.07).masked_fill(itself, -1e4).log_softmax(dim=1)

    relation = F.kl_div(neighbours(unit), neighbours(wanted), log_target=True, reduction="batchmean")
    return relation, 1 - (unit * wanted).sum(dim=1).mean()


def load_real(path: Path, device: torch.device) -> torch.Tensor:
    """Pictures without labels, for the teacher: a folder of JPEG or PNG files, or one .npz of encoded pictures."""
    import cv2

    if path.suffix == ".npz":
        files = _encoded(dict(np.load(path)))
    else:
        files = [np.fromfile(p, np.uint8) for p in sorted(path.rglob("*")) if p.suffix in {".jpg", ".png"}]
    pictures = [cv2.resize(cv2.imdecode(f, 1), (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA) for f in files]
    return torch.from_numpy(np.stack(pictures)[..., ::-1].copy()).to(device)


# -- what each part of it is worth ------------------------------------------------------------------------------

LADDER: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "rendered as the default benchmark": (GROUPS, {}),
    **{f"diverse without {group}": ((group,), {}) for group in GROUPS},
    "diverse": ((), {}),
    "diverse, frames augmented one by one": ((), {"augment": "asynchronous", "length": 2, "clips": 2}),
    "diverse, clips augmented as one (SDA)": ((), {"length": 2, "clips": 2}),
    "diverse, nothing erased": ((), {"erase": 0.0}),
    "diverse, colours as they are": ((), {"colour": 0.0}),
    "diverse, MixStyle": ((), {"mix_style": 0.5}),
    "diverse, each frame standardised": ((), {"standardise": True}),
    "diverse, no block frozen": ((), {"freeze": 0, "block_decay": 0.85}),
    "diverse, teacher": ((), {"teacher": True}),
    "diverse, teacher and real pictures": ((), {"teacher": True, "real": True}),
    "diverse, teacher, real pictures, MixStyle": ((), {"teacher": True, "real": True, "mix_style": 0.5}),
}
"""Row -> the groups of rendering settings that are off, and what differs from labels alone."""


def ladder(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Train every row once a seed, several at a time, and write what came out; what is there is not made again.

    Writes `args.out`, a JSON list with a row's name, seed, steps, settings and rank-1, and prints a Markdown table.
    """
    done: list[dict[str, Any]] = json.loads(args.out.read_text()) if args.out.exists() else []
    jobs = [
        (name, seed)
        for seed in args.seeds
        for name, (_, change) in LADDER.items()
        if not (change.get("teacher") and args.teacher is None)
        and not (change.get("real") and args.real is None)
        and not any((row["row"], row["seed"]) == (name, seed) for row in done)
    ]
    for off in dict.fromkeys(LADDER[name][0] for name, _ in jobs):
        folder = args.folder / ("all" if not off else "without-" + "-".join(off))
        render(folder, sets=args.sets, people=args.people, seed=1000, workers=args.workers, without=off)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(args.parallel) as pool, TemporaryDirectory() as scratch:
        for row in pool.map(lambda job: _rung(args, *job, scratch=Path(scratch)), jobs):
            done.append(row)
            write_json(args.out, done, indent=1)
    print("| trained on | VIPeR rank-1, a seed each | steps |\n| --- | --- | --- |")
    for name in LADDER:
        if rows := [row for row in done if row["row"] == name]:
            scores = ", ".join(f"{row['viper']:.1f}" for row in sorted(rows, key=lambda row: row["seed"]))
            print(f"| {name} | {scores} | {rows[0]['steps']} |")
    return done


def _rung(args: argparse.Namespace, name: str, seed: int, *, scratch: Path) -> dict[str, Any]:
    off, change = LADDER[name]
    change = {"standardise": False} | change
    folder = args.folder / ("all" if not off else "without-" + "-".join(off))
    result = scratch / f"{name}-{seed}.json"
    flags: dict[str, object] = {
        "folder": folder,
        "out": result.with_suffix(".safetensors"),
        "result": result,
        "seed": seed,
        "save-every": 0,
        "average": 0.99,  # the running mean must reach back over a short training, not before it
        **{name: getattr(args, name) for name in ("viper", "steps", "backbone", "weights", "identities")},
    }
    words = []
    for key, value in (flags | change).items():
        option = f"--{key.replace('_', '-')}"
        if key in ("teacher", "real"):
            words += [option, str(getattr(args, key))]
        elif isinstance(value, bool):
            words.append(option if value else f"--no-{key}")
        else:
            words += [option, str(value)]
    run = subprocess.run([sys.executable, __file__, "train", *words], stdout=subprocess.DEVNULL, check=False)
    if run.returncode:
        raise SystemExit(f"the row {name!r}, seed {seed}, failed; what it said stands above")
    said = json.loads(result.read_text())
    row = {"row": name, "seed": seed, **{key: said[key] for key in ("steps", "viper", "settings")}}
    print(f"{name}, seed {seed}: {said['viper']:.1f}", flush=True)
    return row


# -- what a distance means -----------------------------------------------------------------------------------


@torch.inference_mode()
def calibrate(folder: Path, network: Path, out: Path, *, prior: float) -> MatchCalibration:
    """Learn from rendered people what the cosine distance of two tracklets in two cameras means.

    Args:
        folder: rendered people that the network was not trained on.
        network: its checkpoint.
        out: JSON file to write, `MatchCalibration.to_json_dict`.
        prior: chance that a random tracklet of another camera shows the person.
    """
    checkpoint = read_checkpoint(network)
    model = load_model(checkpoint, device=torch.device("cpu"))
    clip = checkpoint.recipe.clip
    people = load_people(sets_in(folder), torch.device("cpu"))
    encoder = TorchEncoder(model)
    features, pids, camids = [], [], []
    for pid, cameras in enumerate(people.tracklets, start=1):
        for camid, tracklets in cameras.items():
            for rows in tracklets:
                kept = np.unique(np.concatenate(tracklet_clips(len(rows), clip)))
                frames = people.frames[torch.from_numpy(rows[kept])].permute(0, 3, 1, 2)
                mean = encoder.encode(frames).mean(dim=0, keepdim=True)
                features.append(model.head.from_mean(mean).embedding[0].numpy())
                pids.append(pid)
                camids.append(camid + 1)
    embeddings = Embeddings(
        features=np.stack(features),
        pids=np.array(pids),
        camids=np.array(camids),
        is_query=np.ones(len(pids), dtype=np.bool_),
    )
    fitted = fit_calibration(
        embeddings, metric="cosine", fingerprint=fingerprint_of(model, clip), prior=prior
    )
    fitted = replace(fitted, learned_from="rendered people")
    out.write_text(json.dumps(fitted.to_json_dict()) + "\n", encoding="utf-8")
    print(fitted, flush=True)
    return fitted


def _encoded(held: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The files that lie end to end in `data`."""
    return [held["data"][start:end] for start, end in itertools.pairwise(held["offsets"])]


@torch.inference_mode()
def viper_rank1(model: ClipEmbedder, path: Path, device: torch.device) -> float:
    """Rank-1 in percent on VIPeR: camera a against camera b, single shot, mean of ten random halves."""
    import cv2

    held = dict(np.load(path))
    encoded = _encoded(held)
    pictures = np.stack([cv2.resize(cv2.imdecode(f, 1), (WIDTH, HEIGHT)) for f in encoded])[..., ::-1].copy()
    model.eval()
    found = []
    for part in torch.from_numpy(pictures).split(128):
        frames = part.permute(0, 3, 1, 2).to(device).float() / 127.5 - 1
        found.append(
            model.embed(frames.unsqueeze(1), torch.ones(len(frames), 1, dtype=torch.bool, device=device))
        )
    features = F.normalize(torch.cat(found), dim=1).cpu().numpy()
    alike = features[held["a"]] @ features[~held["a"]].T
    half = len(alike) // 2
    shares = []
    for seed in range(10):
        chosen = np.random.default_rng(seed).permutation(len(alike))[:half]
        shares.append((alike[np.ix_(chosen, chosen)].argmax(axis=1) == np.arange(half)).mean() * 100)
    return float(np.mean(shares))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    rendering = commands.add_parser("render")
    rendering.add_argument("--folder", type=Path, required=True)
    rendering.add_argument("--sets", type=int, default=6)
    rendering.add_argument("--people", type=int, default=PEOPLE, help="of a set")
    rendering.add_argument("--frames", type=int, default=FRAMES, help="of a tracklet")
    rendering.add_argument("--seed", type=int, default=1000)
    rendering.add_argument("--workers", type=int, default=None)
    rendering.add_argument("--without", nargs="+", choices=GROUPS, default=())
    training = commands.add_parser("train")
    training.add_argument("--folder", type=Path, required=True)
    training.add_argument("--out", type=Path, required=True)
    training.add_argument("--teacher", type=Path, default=None)
    training.add_argument("--real", type=Path, default=None)
    training.add_argument(
        "--viper", type=Path, default=None, help="pictures to measure on, never to learn from"
    )
    training.add_argument("--backbone", default="timm:tf_efficientnet_lite0")
    training.add_argument("--weights", default="imagenet")
    training.add_argument("--head", default="stripes")
    training.add_argument("--freeze", type=int, default=8)
    training.add_argument("--block-decay", type=float, default=1.0)
    training.add_argument("--people", type=int, default=None, help="the first so many")
    training.add_argument(
        "--growing", type=int, default=0, help="so many people are being rendered: take them up as they come"
    )
    training.add_argument("--standardise", action=argparse.BooleanOptionalAction, default=True)
    training.add_argument("--save-every", type=int, default=500)
    training.add_argument("--result", type=Path, default=None, help="JSON file for settings and scores")
    for name, value in asdict(Settings()).items():
        option = f"--{name.replace('_', '-')}" if name != "teacher" else "--teacher-weight"
        training.add_argument(option, dest=f"set_{name}", type=type(value), default=value)
    mixing = commands.add_parser("mix")
    mixing.add_argument("networks", type=Path, nargs=2)
    mixing.add_argument("--share", type=float, required=True, help="of the second network")
    mixing.add_argument("--out", type=Path, required=True)
    calibrating = commands.add_parser("calibrate")
    calibrating.add_argument("--folder", type=Path, required=True)
    calibrating.add_argument("--network", type=Path, required=True)
    calibrating.add_argument("--out", type=Path, required=True)
    calibrating.add_argument("--prior", type=float, default=0.02)
    climbing = commands.add_parser("ladder")
    climbing.add_argument("--folder", type=Path, required=True)
    climbing.add_argument("--out", type=Path, required=True)
    climbing.add_argument("--viper", type=Path, required=True)
    climbing.add_argument("--teacher", type=Path, default=None)
    climbing.add_argument("--real", type=Path, default=None)
    climbing.add_argument("--steps", type=int, default=500)
    climbing.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    climbing.add_argument("--parallel", type=int, default=1)
    climbing.add_argument("--sets", type=int, default=2)
    climbing.add_argument("--people", type=int, default=PEOPLE, help="of a set")
    climbing.add_argument("--workers", type=int, default=None)
    climbing.add_argument("--identities", type=int, default=Settings.identities)
    climbing.add_argument("--backbone", default="timm:tf_efficientnet_lite0")
    climbing.add_argument("--weights", default="imagenet")
    args = parser.parse_args()
    if args.command == "ladder":
        ladder(args)
    elif args.command == "mix":
        mix(*args.networks, args.out, share=args.share)
    elif args.command == "calibrate":
        calibrate(args.folder, args.network, args.out, prior=args.prior)
    elif args.command == "render":
        render(
            args.folder,
            sets=args.sets,
            people=args.people,
            frames=args.frames,
            seed=args.seed,
            workers=args.workers,
            without=args.without,
        )
    else:
        args.seed = args.set_seed
        train(args, Settings(**{name: getattr(args, f"set_{name}") for name in asdict(Settings())}))


if __name__ == "__main__":
    main()
