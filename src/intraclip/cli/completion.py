"""`intraclip completion`: a script for bash, zsh or fish that completes every command and flag."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import tyro

from intraclip.cli.flags import Flag, first_sentence, flags_of
from intraclip.cli.main import COMMANDS
from intraclip.cli.recipe_flags import COMMANDS as WITH_RECIPE
from intraclip.cli.recipe_flags import flags_of_parts
from intraclip.cli.settings_file import COMMANDS as WITH_FILE


@dataclass(frozen=True, kw_only=True)
class CompletionArgs:
    """Print a script that completes commands, flags and their values in your shell.

    bash: `intraclip completion bash > ~/.local/share/bash-completion/completions/intraclip`.

    zsh: `intraclip completion zsh > DIR/_intraclip`, where DIR is in $fpath before compinit runs.

    fish: `intraclip completion fish > ~/.config/fish/completions/intraclip.fish`.

    Shells read it when it is first needed. It knows the flags of this version: write it again after an update.
    """

    shell: tyro.conf.Positional[Literal["bash", "zsh", "fish"]]
    """Your shell."""


COMMON = (
    Flag(name="help", help="Help on one screen.", values="none"),
    Flag(name="help-all", help="All flags.", values="none"),
    Flag(name="quiet", help="No progress, no notes.", values="none"),
    Flag(name="verbose", help="Say where an error was found.", values="none"),
)
CONFIG = Flag(name="config", help="A TOML file of flags.", values="one", of=Path)


def main(args: CompletionArgs) -> int:
    """Run the command."""
    print({"bash": bash, "zsh": zsh, "fish": fish}[args.shell]())
    return 0


@cache
def tree() -> dict[str, type[Any]]:
    """Every command as it is typed -> dataclass of its flags: those of its `PARTS`, or ``FindArgs`` of ``find``."""
    found: dict[str, type[Any]] = {}
    for name in COMMANDS:
        module = import_module(f"intraclip.cli.{name}")
        if parts := getattr(module, "PARTS", None):
            found |= {f"{name} {part}": kind for part, (kind, _) in parts.items()}
        else:
            found[name] = getattr(module, f"{name.title()}Args")
    return found


def all_flags() -> dict[str, list[Flag]]:
    """Every command as it is typed, with its flags and positional arguments; settings of parts are flags too."""
    of_parts = {flag.name: flag for _, flag in flags_of_parts()}.values()
    return {
        command: [
            *flags_of(kind),
            *(of_parts if command in WITH_RECIPE else ()),
            *([CONFIG] if command in WITH_FILE else ()),
            *COMMON,
        ]
        for command, kind in tree().items()
    }


def parts_of(name: str) -> list[str]:
    """The second words of a command that has several, such as ``gallery``."""
    return [command.split()[1] for command in tree() if command.startswith(f"{name} ")]


def bash() -> str:
    """The script for bash."""
    return _posix(
        start='local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}"\n'
        '  local first="${COMP_WORDS[1]}" second="${COMP_WORDS[2]}" place=$COMP_CWORD offer=""',
        give='COMPREPLY=($(compgen -W "$offer" -- "$word"))',
        end="complete -o bashdefault -o default -F _intraclip intraclip",
    )


def zsh() -> str:
    """The script for zsh."""
    return "#compdef intraclip\n" + _posix(
        start='local word="${words[CURRENT]}" before="${words[CURRENT-1]}"\n'
        '  local first="${words[2]}" second="${words[3]}" place=$((CURRENT - 1)) offer=""',
        give="if [[ -n $offer ]]; then compadd -- ${(z)offer}; else _files; fi",
        # As a file of $fpath it is the function's first call; when it is sourced, there is none yet.
        end='if [[ "$funcstack[1]" == _intraclip ]]; then _intraclip "$@"; else compdef _intraclip intraclip; fi',
    )


def _posix(*, start: str, give: str, end: str) -> str:
    lines = [
        "_intraclip() {",
        f"  {start}",
        "  if (( place == 1 )); then",
        f"    offer={shlex.quote(' '.join(COMMANDS))}",
        "  else",
        '    local command="$first"',
        '    case "$first" in',
    ]
    for name in COMMANDS:
        if parts := parts_of(name):
            second = f'then offer={shlex.quote(" ".join(parts))}; else command="$first $second"; fi'
            lines.append(f"      {name}) if (( place == 2 )); {second} ;;")
    lines += ["    esac", '    if [[ -z "$offer" ]]; then', '      case "$command:$before" in']
    for command, flags in all_flags().items():
        for flag in flags:
            if flag.choices and not flag.positional:
                lines.append(f'        "{command}:{flag.spelling}") offer="{" ".join(flag.choices)}" ;;')
    lines += [
        "      esac",
        "    fi",
        '    if [[ -z "$offer" && "$word" == -* ]]; then',
        '      case "$command" in',
    ]
    for command, flags in all_flags().items():
        spelled = " ".join(flag.spelling for flag in flags if not flag.positional)
        lines.append(f'        "{command}") offer={shlex.quote(spelled)} ;;')
    lines.append("      esac")
    lines += ['    elif [[ -z "$offer" ]]; then', '      case "$command:$place" in']
    for command, flags in all_flags().items():
        for flag in [flag for flag in flags if flag.positional and flag.choices][:1]:
            lines.append(
                f'        "{command}:{1 + len(command.split())}") offer="{" ".join(flag.choices)}" ;;'
            )
    lines += ["      esac", "    fi", "  fi", f"  {give}", "}", end]
    return "\n".join(lines)


def fish() -> str:
    """The script for fish."""
    lines = [
        "complete -c intraclip -f",
        "function __intraclip_is",
        "  set -l words (commandline -opc)",
        "  test (count $words) -gt (count $argv); or return 1",
        "  set -l last (math (count $argv) + 1)",
        '  test "$words[2..$last]" = "$argv"',
        "end",
    ]
    for name, about in COMMANDS.items():
        lines.append(f"complete -c intraclip -n __fish_use_subcommand -a {name} -d {_quoted(about)}")
        if parts := parts_of(name):
            words = f"__intraclip_is {name}; and not __fish_seen_subcommand_from {' '.join(parts)}"
            lines.append(f"complete -c intraclip -n {_quoted(words)} -a {_quoted(' '.join(parts))}")
    for command, flags in all_flags().items():
        condition = f"complete -c intraclip -n {_quoted(f'__intraclip_is {command}')}"
        for flag in flags:
            about = f"-d {_quoted(first_sentence(flag.help)[:70])}"
            if flag.positional:
                given = f"-a {_quoted(' '.join(flag.choices))}" if flag.choices else "-F"
                lines.append(f"{condition} {given}")
                continue
            values = "" if flag.values == "none" else " -r"
            if flag.choices:
                values = f" -x -a {_quoted(' '.join(flag.choices))}"
            elif flag.of is Path:
                values += "F"
            lines.append(f"{condition} -l {flag.spelling.removeprefix('--')}{values} {about}")
    return "\n".join(lines)


def _quoted(text: str) -> str:
    """A word of fish, whose single quotes know backslashes."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
