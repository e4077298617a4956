"""The file of tokens: what may stand in it, who may read it, and how often a wrong token may be tried."""

from __future__ import annotations

from pathlib import Path

import pytest

from intraclip.errors import ConfigError
from intraclip.serve.tokens import Attempts, Token, Tokens, read_tokens
from serve.serve_world import SECRET

OTHER = "another-example-secret-for-tests"


def written(file: Path, text: str, mode: int = 0o600) -> Path:
    file.write_text(text)
    file.chmod(mode)
    return file


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "to kens"


def test_names_secrets_and_rights_are_read(file):
    written(file, f"# who may come in\n\nalice {SECRET}\nbob {OTHER} read-only\n")
    assert read_tokens(file) == (Token.of("alice", SECRET), Token.of("bob", OTHER, read_only=True))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds none"),
        ("alice short\n", "has 5 characters"),
        ("only-a-secret-and-no-name-here\n", "a name and a secret"),
        (f"alice {SECRET} readonly\n", "read-only behind them"),
        (f"alice {SECRET} read-only too\n", "read-only behind them"),
        (f"alice {SECRET}\nalice {SECRET}\n", "is taken"),
        (f"local {SECRET}\n", "is taken"),
        (f"al\x07ice {SECRET}\n", "is not printable"),
    ],
)
def test_a_wrong_file_is_refused_without_its_secrets(file, text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        read_tokens(written(file, text))
    assert SECRET not in str(caught.value)


def test_a_missing_file_is_named(file):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_tokens(file)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
def test_a_file_that_others_can_use_is_refused_with_the_command_that_mends_it(file, mode):
    written(file, f"alice {SECRET}\n", mode)
    with pytest.raises(ConfigError, match=r"Run: chmod 600 '.*to kens'"):
        read_tokens(file)


def test_what_changes_in_the_file_counts_at_once(file):
    tokens = Tokens((), written(file, f"alice {SECRET}\nbob {OTHER}\n"))
    assert tokens.find(OTHER)
    written(file, f"alice {SECRET} read-only\n")
    assert tokens.find(OTHER) is None
    assert tokens.find(SECRET) == Token.of("alice", SECRET, read_only=True)
    written(file, f"alice {SECRET}\nbob {OTHER}\n")
    assert tokens.find(OTHER)


def test_a_file_that_cannot_be_used_any_more_lets_nobody_in(file):
    tokens = Tokens((), written(file, f"alice {SECRET}\n"))
    assert tokens.find(SECRET)
    for spoil in (lambda: file.chmod(0o644), lambda: written(file, "half a line"), file.unlink):
        spoil()
        with pytest.raises(ConfigError):
            tokens.find(SECRET)
    assert tokens.required
    written(file, f"alice {SECRET}\n")
    assert tokens.find(SECRET)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_an_address_waits_after_too_many_wrong_tokens_and_others_do_not():
    clock = Clock()
    attempts = Attempts(3, 100, clock)
    for place in range(3):
        assert attempts.wait_s("10.0.0.7") == 0
        attempts.failed("10.0.0.7")
        clock.now += place
    assert attempts.wait_s("10.0.0.7") == pytest.approx(57)
    assert attempts.wait_s("10.0.0.8") == 0
    clock.now += 57
    assert attempts.wait_s("10.0.0.7") == 0


def test_many_addresses_together_wait_too_but_not_who_was_let_in_before():
    attempts = Attempts(3, 10, Clock())
    attempts.succeeded("10.0.0.200")
    for place in range(10):
        attempts.failed(f"10.0.0.{place}")
    assert attempts.wait_s("10.0.0.100") == pytest.approx(60)
    assert attempts.wait_s("10.0.0.200") == 0


def test_addresses_of_one_ipv6_network_count_as_one():
    attempts = Attempts(2, 100, Clock())
    for place in range(2):
        attempts.failed(f"2001:db8::{place}")
    assert attempts.wait_s("2001:db8::ffff") > 0
    assert attempts.wait_s("2001:db8:0:1::1") == 0
