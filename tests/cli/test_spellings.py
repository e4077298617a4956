"""One vocabulary: the network is --model, results go to --out; what people have in scripts goes on working."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import intraclip
from intraclip.cli.completion import tree
from intraclip.cli.flags import flags_of
from intraclip.cli.main import main
from intraclip.cli.spellings import modern
from intraclip.embed.network import is_ours


@pytest.mark.parametrize(
    ("command", "typed", "meant"),
    [
        ("ingest", "a.mp4 --encoder net --out o", "a.mp4 --model net --out o"),
        ("gallery add", "g --data d --run r", "g --data d --model r"),
        ("gallery add", "g --data d --run=r", "g --data d --model=r"),
        ("gallery add", "g --data d --encoder e.toml --run r", "g --data d --model e.toml --head r"),
        ("gallery add", "g --data d --on-failure skip", "g --data d --on-unreadable skip"),
        ("gallery search", "g --images a b --encoder e", "g --images a b --model e"),
        ("serve", "g --proxy --run r", "g --proxy --model r"),
        ("extract", "--encoder e --data d --out o", "e --data d --out o"),
        ("extract", "--run r --data d --out o", "r --data d --out o"),
        ("extract", "r --encoder e --data d", "e --head r --data d"),
        ("extract", "--force r --encoder e --data d", "e --force --head r --data d"),
        ("rank", "--data d --encoder e", "e --data d"),
        ("gallery check", "g --save-to new", "g --out new"),
        ("data pack", "d packed --verify", "d --out packed --verify"),
        ("gallery export-labels", "g labels --data a b", "g --out labels --data a b"),
    ],
)
def test_an_old_spelling_works_and_is_noted(
    command: str, typed: str, meant: str, capsys: pytest.CaptureFixture[str]
):
    assert " ".join(modern(tree()[command], typed.split(), command=command)) == meant
    (note,) = capsys.readouterr().err.splitlines()
    assert note.startswith("note: ")
    assert "next version" in note


@pytest.mark.parametrize(
    ("command", "typed", "meant"),
    [
        ("evaluate", "--model r --data d", "r --data d"),
        ("export", "--format onnx --model=r", "r --format onnx"),
        ("rank", "--data d --model e", "e --data d"),
        ("train", "--layout mars --split=1 --on-unreadable skip", "--data.layout mars --data.split=1 "
         "--data.on-unreadable skip"),
        ("gallery add", "g --model e --head r", "g --model e --head r"),
        ("data pack", "d --out packed", "d --out packed"),
        ("link", "e.npz --out o", "e.npz --out o"),
    ],
)  # fmt: skip
def test_todays_spellings_are_taken_everywhere_without_a_note(
    command: str, typed: str, meant: str, capsys: pytest.CaptureFixture[str]
):
    assert " ".join(modern(tree()[command], typed.split(), command=command)) == meant
    assert not capsys.readouterr().err


def test_one_name_for_one_thing():
    """What means the same is called the same in every command."""
    flags = {command: {f.name: f for f in flags_of(tree()[command])} for command in tree()}
    for command, found in flags.items():
        assert not set(found) & {"run", "encoder", "on-failure", "save-to", "output"}, command
    layouts = {f.choices for found in flags.values() for f in found.values() if f.name == "layout"}
    assert len([choices for choices in layouts if "auto" in choices]) == 1
    for name in ("on-unreadable", "sampling", "distance"):
        found = {tuple(sorted(f[name].choices)) for f in flags.values() if name in f}
        assert len(found) == 1, name
    resumes = {f["resume"].values for f in flags.values() if "resume" in f}
    assert resumes == {"none"}


def test_a_network_is_known_by_its_name(tmp_path: Path):
    assert not is_ours(Path("net.toml"))
    assert not is_ours(Path("net.onnx"))
    assert not is_ours(Path("person-reidentification-retail-0287"))
    assert is_ours(Path("runs/ica-sda"))
    assert is_ours(Path("model.safetensors"))
    (tmp_path / "person-reidentification-retail-0287").mkdir()  # a folder of that name is that folder
    assert is_ours(tmp_path / "person-reidentification-retail-0287")


@pytest.mark.parametrize("more", [[], ["--model", "runs/other"]])
def test_a_head_needs_another_network(more: list[str], capsys: pytest.CaptureFixture[str]):
    assert main(["gallery", "add", "g", "--data", "d", "--head", "run", *more]) == 2
    assert "--head run goes with another network" in capsys.readouterr().err


def test_nothing_speaks_of_old_spellings():
    source = Path(intraclip.__file__).parent
    old = re.compile(r"--(encoder|on-failure|save-to)\b|--run (RUN|or)\b|--run`")
    wrong = [
        f"{path.relative_to(source)}: {match[0]}"
        for path in sorted(source.rglob("*"))
        if path.suffix in (".py", ".js", ".j2", ".html") and path.name != "spellings.py"
        for match in old.finditer(path.read_text(encoding="utf-8"))
    ]
    assert not wrong
