"""One new file and one line make a new part: the diffs in CONTRIBUTING.md, applied to a copy of the package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import intraclip

SOURCE = Path(intraclip.__file__).parent
GUIDE = SOURCE.parents[1] / "CONTRIBUTING.md"

TRAINS = """
import torch
import intraclip as ic
from intraclip.config_io import dump_recipe, recipe_from_table
from intraclip.errors import ConfigError
from intraclip.losses.base import TotalLoss
from intraclip.models.embedder import build_embedder
from intraclip.models.fingerprint import fingerprint_of

table = {"model": {"head": {"name": "last", "share": 0.5}, "backbone": {"name": "patches", "side": 16}, "weights": ""}}
table["input"] = {"height": 32, "width": 16}
table["loss"] = {"length": {"weight": 0.5, "free": 0.25}}
recipe = recipe_from_table(table, source="test")
assert "last" in ic.heads()
assert 'name = "last"\\nshare = 0.5' in dump_recipe(recipe) and 'name = "patches"\\nside = 16' in dump_recipe(recipe)
model = build_embedder(recipe.model, recipe.input, num_classes=2, seed=0).train()
before = fingerprint_of(model, recipe.clip)
output = model(torch.randn(4, 3, 3, 32, 16), torch.ones(4, 3, dtype=torch.bool))
loss, shown = TotalLoss(recipe.loss)(output, torch.tensor([0, 0, 1, 1]))
loss.backward()
assert {"length", "square"} <= set(shown)
rest, _ = TotalLoss({})(output, torch.tensor([0, 0, 1, 1]))
assert torch.isclose(loss, rest + 0.5 * shown["length"])
assert "[loss.length]\\nweight = 0.5\\nfree = 0.25" in dump_recipe(recipe)
import intraclip.lab.reproduce.tables as tables, intraclip.report.sections.numbers as numbers
assert "length" in tables.LOSS_COLUMNS
from types import SimpleNamespace
entries = [{"epoch": n, "loss": 2.0, "length": 1.0} for n in (1, 2)]
drawn = numbers.curves([SimpleNamespace(name="r", epochs=entries, scores={})], {}, protocol="x")
assert any("Squared length" in figure for figure in drawn["training"])
assert model.backbone.project.weight.grad.abs().sum() > 0
assert model.eval()(torch.randn(4, 3, 3, 32, 16)).embedding.shape == (4, 32)
table["model"]["head"]["share"] = 0.25
other = recipe_from_table(table, source="test")
assert fingerprint_of(build_embedder(other.model, other.input, num_classes=2, seed=0), other.clip) != before
table["model"] |= {"head": {"name": "last", "share": 2.0}, "backbone": {"name": "patches", "sied": 3}}
table["loss"] = {"length": {"free": -1}}
try:
    recipe_from_table(table, source="test")
except ConfigError as error:
    assert "model.head.share: 2.0 must lie in 0..1" in str(error), error
    assert "loss.length.free: -1.0 is too small" in str(error), error
    assert "model.backbone.sied: unknown key (did you mean 'side'?)" in str(error), error
else:
    raise AssertionError("wrong settings were taken")
"""


READS = """
from pathlib import Path
import intraclip.config_io as config_io
from intraclip.cli.flags import flags_of
from intraclip.cli.completion import tree
from intraclip.data.readers import find_dataset, num_splits, read_split

root = Path("people")
for person, camera in (("0007", "1"), ("0007", "2"), ("0008", "2")):
    (root / "corridor" / person / camera).mkdir(parents=True)
    (root / "corridor" / person / camera / "1.jpg").write_bytes(b"")
assert find_dataset(root)[0] == "corridor" and num_splits(root) == 1
split = read_split(root)
assert [t.name for t in split.query] == ["corridor/0007/1"] and {t.pid for t in split.gallery} == {7, 8}
assert config_io.recipe_from_table({"data": {"layout": "corridor"}}, source="test").data.layout == "corridor"
for command, flag in (("evaluate", "layout"), ("train", "data.layout"), ("data pack", "layout")):
    (found,) = (f for f in flags_of(tree()[command]) if f.name == flag)
    assert "corridor" in found.choices, command
"""


def apply(text: str, root: Path) -> list[tuple[str, int]]:
    """Apply a diff as the guide writes them: lines with a plus go after the last line without one.

    Returns:
        Every file with the number of lines that it got.
    """
    done = []
    for part in text.split("+++ b/")[1:]:
        name, *lines = part.splitlines()
        path = root / name
        new = [line[1:] for line in lines if line.startswith("+")]
        context = [line[1:] for line in lines if line.startswith(" ")]
        if context:
            old = path.read_text(encoding="utf-8").splitlines()
            place = old.index(context[-1]) + 1
            new_text = [*old[:place], *new, *old[place:]]
        else:
            assert not path.exists()
            new_text = new
        path.write_text("\n".join(new_text) + "\n", encoding="utf-8")
        done.append((name, len(new) if context else 0))
    return done


def test_a_head_a_backbone_a_loss_and_a_reader_are_one_file_and_one_line_each(tmp_path: Path):
    package = tmp_path / "src" / "intraclip"
    shutil.copytree(SOURCE, package, ignore=shutil.ignore_patterns("__pycache__", "weights"))
    guide = GUIDE.read_text(encoding="utf-8")
    blocks = [block.split("```")[0] for block in guide.split("```diff\n")[1:]]
    registries = {kind: f"{kind}/__init__.py" for kind in ("models/heads", "models/backbones", "losses")}
    for kind, place in {**registries, "data/readers": "data/layouts.py"}.items():
        (diff,) = (block for block in blocks if f"intraclip/{kind}/" in block)
        (new, no_line), (registry, lines) = apply(diff, tmp_path)
        assert (no_line, lines, registry) == (0, 1, f"src/intraclip/{place}")
        assert new.startswith(f"src/intraclip/{kind}/")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "src")}
    done = subprocess.run(
        [sys.executable, "-c", TRAINS + READS],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
