"""Completion scripts: whole, and right in the shells that are here."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from intraclip.cli.completion import tree
from intraclip.cli.main import COMMANDS, main

# How each shell is asked what it would offer for a line whose last word is being typed.
ASK = {
    "bash": 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _intraclip; echo "${COMPREPLY[*]}"',
    "zsh": 'compdef() { : }; source "$1"; shift; compadd() { shift; print -- "$@" }; _files() { : }; words=("$@"); '
    "CURRENT=$#; _intraclip",
    "fish": 'source "$argv[1]"; complete -C "$argv[2..]"',
}
LINES = {
    ("intraclip", "ev"): "evaluate",
    ("intraclip", "gallery", "ad"): "add",
    ("intraclip", "evaluate", "run", "--dist"): "--distance",
    ("intraclip", "gallery", "add", "people", "--samp"): "--sampling",
    ("intraclip", "train", "--model.he"): "--model.head",
    ("intraclip", "evaluate", "run", "--distance", "eu"): "euclidean",
    ("intraclip", "train", "--model.head.red"): "--model.head.reduction",
    ("intraclip", "train", "--model.head.order", "fc-b"): "fc-bn-relu",
    ("intraclip", "cross", "--loss.trip"): "--loss.triplet.margin",
    ("intraclip", "train", "--model.backbone.l"): "--model.backbone.last-stride",
    ("intraclip", "completion", "z"): "zsh",
}


def test_every_command_is_in_the_tree():
    assert {command.split()[0] for command in tree()} == set(COMMANDS)


@pytest.mark.parametrize("shell", list(ASK))
def test_a_shell_completes_commands_flags_and_values(
    shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["completion", shell]) == 0
    script = tmp_path / f"script.{shell}"
    script.write_text(capsys.readouterr().out)
    for command in tree():
        assert command.split()[-1] in script.read_text()
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"{shell} is not installed")
    assert subprocess.run([found, "-n", script], capture_output=True, check=True).stderr == b""
    for line, offered in LINES.items():
        words = [" ".join(line)] if shell == "fish" else list(line)
        options = ["--no-config"] if shell == "fish" else ["-f"] if shell == "zsh" else ["--norc"]
        named = [] if shell == "fish" else [shell]
        done = subprocess.run(
            [found, *options, "-c", ASK[shell], *named, str(script), *words],
            capture_output=True,
            text=True,
            check=False,
        )
        assert offered in done.stdout.split(), (line, done.stdout, done.stderr)
        assert done.stderr == ""
        # bash and fish leave out what does not begin like the word; zsh does that itself, after the script.
        if shell != "zsh":
            assert "report" not in done.stdout.split()


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_reads_it_from_a_folder_of_functions(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["completion", "zsh"]) == 0
    (tmp_path / "_intraclip").write_text(capsys.readouterr().out)
    asked = (
        f"fpath=({tmp_path}); autoload -Uz _intraclip; compadd() {{ shift; print -- $@ }}; "
        "words=(intraclip ga); CURRENT=2; _intraclip; words=(intraclip gallery ad); CURRENT=3; _intraclip"
    )
    done = subprocess.run(["zsh", "-f", "-c", asked], capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()  # the first call defines the function, and answers too
    assert "gallery" in first.split()
    assert "add" in second.split()


def test_another_shell_is_refused(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as caught:
        main(["completion", "tcsh"])
    assert caught.value.code == 2
    assert "fish" in capsys.readouterr().err
