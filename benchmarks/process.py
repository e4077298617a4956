"""What `intraclip.process.tune` gains: a training step of `cpu-ablation` with and without it, in turn.

Run: python benchmarks/process.py [--rounds 3] [--steps 5]. Each side is a process of its own,
because the settings are read once.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys

STEP = """
import sys, time
if sys.argv[1] == "tuned":
    from intraclip.process import tune
    tune()
import torch
from intraclip.recipe_files import load_recipe
from intraclip.losses.base import TotalLoss
from intraclip.models.embedder import build_embedder
recipe = load_recipe("cpu-ablation")
model = build_embedder(recipe.model, recipe.input, num_classes=100, seed=0).train()
labels = torch.arange(recipe.batch.identities).repeat_interleave(recipe.batch.clips)
mask = torch.ones(len(labels), recipe.clip.num_frames, dtype=torch.bool)
frames = torch.randn(*mask.shape, 3, recipe.input.height, recipe.input.width)
loss = TotalLoss(recipe.loss)
def step():
    loss(model(frames, mask), labels)[0].backward()
step()
wall, cpu = time.perf_counter(), time.process_time()
steps = int(sys.argv[2])
for _ in range(steps):
    step()
print((time.perf_counter() - wall) / steps, (time.process_time() - cpu) / steps)
"""


def main() -> None:
    """Print wall and CPU seconds a step for both sides, and their ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--steps", type=int, default=5, help="timed steps of a process, after one that is not"
    )
    args = parser.parse_args()
    times: dict[str, list[tuple[float, float]]] = {"plain": [], "tuned": []}
    for number in range(args.rounds):
        for side, found in times.items():
            done = subprocess.run(
                [sys.executable, "-c", STEP, side, str(args.steps)],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            wall, cpu = map(float, done.stdout.split())
            found.append((wall, cpu))
            print(f"round {number + 1}  {side}: {wall:.3f} s wall, {cpu:.3f} s CPU a step")
    for index, what in enumerate(("wall", "CPU")):
        plain, tuned = (statistics.median(t[index] for t in times[side]) for side in ("plain", "tuned"))
        print(f"median {what}: plain {plain:.3f} s, tuned {tuned:.3f} s, ratio {plain / tuned:.2f}")


if __name__ == "__main__":
    main()
