"""Help fits on a screen; all flags are one word away."""

from __future__ import annotations

import re
from contextlib import suppress

import pytest

from intraclip.cli.completion import tree
from intraclip.cli.flags import flags_of
from intraclip.cli.help import FEW, LINES, SHORTER
from intraclip.cli.main import COMMANDS, GROUPS, main
from intraclip.cli.recipe_flags import flags_of_parts


@pytest.fixture(autouse=True)
def screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "40")


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    with suppress(SystemExit):
        assert main(words) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("command", ["", "alerts", "data", "gallery", "models", *tree()])
def test_help_fits_a_screen(command: str, capsys: pytest.CaptureFixture[str]):
    lines = printed(capsys, *command.split(), "--help").splitlines()
    assert len(lines) <= LINES
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("command", list(tree()))
def test_help_all_has_every_flag_and_help_none_that_is_not_there(
    command: str, capsys: pytest.CaptureFixture[str]
):
    everything = printed(capsys, *command.split(), "--help-all")
    flags = flags_of(tree()[command])
    said = set(re.findall(r"^[^\w-]{0,4}(?:-h, )?(--[a-z][\w.-]*)", everything, flags=re.MULTILINE)) - {
        "--help",
        "--config",
    }
    of_parts = flags_of_parts() if command in ("train", "cross") else []
    assert said == {f.spelling for f in [*flags, *(f for _, f in of_parts)] if not f.positional}
    few = set(re.findall(r"^  (--[\w.-]+)", printed(capsys, *command.split(), "--help"), flags=re.MULTILINE))
    assert few - said <= {"--help-all", "--config"}
    # What must be given is never hidden.
    assert {f.spelling for f in flags if f.required and not f.positional} <= few


def test_what_help_shows_exists():
    for command, names in FEW.items():
        assert set(names.split()) <= {f.top if f.positional else f.name for f in flags_of(tree()[command])}
    assert set(SHORTER) <= {f.name for f in flags_of(tree()["train"])}


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


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("evaluate", "MODEL and --data DIR are missing"),
        ("evaluate run --dat x --data y", "there is no flag --dat (did you mean '--data'?)"),
        ("evaluate run more --data x", "'more' is one word too many"),
        ("evaluate run --data", "--data wants a value"),
        ("evaluate run --data=x --distance=cos", "--distance is 'cos', not one of euclidean, cosine"),
        ("evaluate run --data x --split 1.5", "--split is '1.5', not a whole number"),
        ("link g --out o --prior many", "--prior is 'many', not a number"),
        ("data make --frames 3 4 --width 5", "DIR is missing"),
        ("data make bench --frames 3", "--frames wants 2 values, not 1"),
        ("train --data x --out o --optimiser.epochs 3", "did you mean '--optimizer.epochs'?"),
        ("score x.npz --seed=-1", "--seed -1 is too small, at least 0"),
        ("alerts list g --limit 0", "--limit 0 is too small, at least 1"),
        ("extract --data x --out y.npz --batch-frames 0", "--batch-frames 0 is too small, at least 1"),
        ("gallery sea g", "unknown command 'gallery sea' (did you mean 'search'?)"),
        ("galery", "unknown command 'galery' (did you mean 'gallery'?)"),
    ],
)
def test_a_mistake_gets_one_sentence(line: str, said: str, capsys: pytest.CaptureFixture[str]):
    code = 2
    try:
        code = main(line.split())
    except SystemExit as error:
        code = int(str(error.code))
    assert code == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def test_all_mistakes_are_said_at_once(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["evaluate", "--split", "a", "--Json"])
    err = capsys.readouterr().err
    assert "--split is 'a'" in err
    assert "did you mean '--json'?" in err
    assert "MODEL and --data DIR are missing" in err


def test_the_help_shows_the_defaults_of_the_recipe_that_is_named(capsys: pytest.CaptureFixture[str]):
    assert "Epochs in all (default 500)" in printed(capsys, "train", "--help")
    assert "Epochs in all (default 500)" not in printed(capsys, "train", "--recipe", "demo", "--help")
    assert "(default 0)" in printed(capsys, "demo", "--help")
