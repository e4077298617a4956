"""Help fits on a screen; all flags are one word away."""

from __future__ import annotations

import re
from contextlib import suppress

import pytest

from intraclip.cli.flags import flags_of
from intraclip.cli.help import FEW, LINES, SHORTER
from intraclip.cli.main import COMMANDS, GROUPS, main
from intraclip.cli.recipe_flags import flags_of_parts
from intraclip.cli.tree import TREE, kind_of


@pytest.fixture(autouse=True)
def screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "40")


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    with suppress(SystemExit):
        assert main(words) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("command", ["", "data", "gallery", "models", *TREE])
def test_help_fits_a_screen(command: str, capsys: pytest.CaptureFixture[str]):
    lines = printed(capsys, *command.split(), "--help").splitlines()
    assert len(lines) <= LINES
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("command", list(TREE))
def test_help_all_has_every_flag_and_help_none_that_is_not_there(
    command: str, capsys: pytest.CaptureFixture[str]
):
    everything = printed(capsys, *command.split(), "--help-all")
    flags = flags_of(kind_of(command))
    said = set(re.findall(r"^[^\w-]{0,4}(?:-h, )?(--[a-z][\w.-]*)", everything, flags=re.MULTILINE)) - {
        "--help"
    }
    of_parts = flags_of_parts() if command in ("train", "cross") else []
    assert said == {f.spelling for f in [*flags, *(f for _, f in of_parts)] if not f.positional}
    few = set(re.findall(r"^  (--[\w.-]+)", printed(capsys, *command.split(), "--help"), flags=re.MULTILINE))
    assert few - said <= {"--help-all", "--config"}
    # What must be given is never hidden.
    assert {f.spelling for f in flags if f.required and not f.positional} <= few


def test_what_help_shows_exists():
    for command, names in FEW.items():
        assert set(names.split()) <= {f.top if f.positional else f.name for f in flags_of(kind_of(command))}
    assert set(SHORTER) <= {f.name for f in flags_of(kind_of("train"))}


def test_every_command_stands_in_one_group():
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(COMMANDS)


def test_quiet_leaves_results_and_errors(tmp_path, capsys: pytest.CaptureFixture[str]):
    from intraclip.cli.common import VOICE, progress_bar, say

    assert main(["score", str(tmp_path / "none.npz"), "-q"]) == 2
    assert VOICE.quiet
    say("a note")
    with progress_bar("work") as update:
        update(1, 2)
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert "a note" not in err
    assert "work" not in err
    assert main(["score", str(tmp_path / "none.npz")]) == 2
    assert not VOICE.quiet
    assert "Traceback" not in capsys.readouterr().err
    assert main(["-v", "score", str(tmp_path / "none.npz")]) == 2
    assert "Traceback" in capsys.readouterr().err
    main(["--version"])
