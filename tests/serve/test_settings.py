"""When a token is required, which host names pass, and what a file of tokens may hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from intraclip.errors import ConfigError
from intraclip.serve.settings import ServeSettings, Token, is_loopback, read_tokens
from serve.serve_world import SECRET, TOKEN


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "people.example.org"])
def test_beyond_loopback_a_token_is_required(host):
    with pytest.raises(ConfigError, match="a token is required"):
        ServeSettings(host=host)
    assert not ServeSettings(host=host, tokens=(TOKEN,)).loopback


def test_a_foreign_host_name_requires_a_token_too():
    with pytest.raises(ConfigError, match="a token is required"):
        ServeSettings(allow_hosts=frozenset({"people.example.org"}))
    assert ServeSettings(allow_hosts=frozenset({"localhost"})).loopback


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("x", False),
    ],
)
def test_what_counts_as_loopback(host, expected):
    assert is_loopback(host) == expected


def test_on_loopback_only_its_names_pass():
    settings = ServeSettings()
    for good in ("127.0.0.1:8000", "localhost", "LOCALHOST:9", "[::1]:8000"):
        assert settings.allows_host(good)
    for bad in ("evil.example", "127.0.0.1.evil.example:8000", "192.168.1.5", "", "localhost.evil.example"):
        assert not settings.allows_host(bad)


def test_beyond_loopback_addresses_and_allowed_names_pass():
    settings = ServeSettings(host="0.0.0.0", tokens=(TOKEN,), allow_hosts=frozenset({"people.example.org"}))
    for good in ("10.0.0.7:8000", "people.example.org", "People.Example.org.:443"):
        assert settings.allows_host(good)
    assert not settings.allows_host("evil.example")


def test_a_holder_is_found_by_the_secret_alone():
    other = Token.of("bob", "another-example-secret-for-tests")
    settings = ServeSettings(tokens=(TOKEN, other))
    assert settings.holder(SECRET) == "alice"
    assert settings.holder("another-example-secret-for-tests") == "bob"
    for wrong in ("", SECRET[:-1], SECRET + "x", "alice", "\udcff"):
        assert settings.holder(wrong) is None
    assert SECRET not in repr(settings)


def test_values_out_of_range_are_refused_together():
    with pytest.raises(ConfigError, match=r"searches is 0.*port is 70000"):
        ServeSettings(searches=0, port=70_000)


def test_a_file_of_tokens_is_read(tmp_path: Path):
    file = tmp_path / "tokens"
    file.write_text(f"# who may come in\n\nalice {SECRET}\nbob another-example-secret-for-tests\n")
    assert [t.name for t in read_tokens(file)] == ["alice", "bob"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds none"),
        ("alice short\n", "has 5 characters"),
        ("only-a-secret-and-no-name-here\n", "a name and a secret"),
        (f"alice {SECRET}\nalice {SECRET}\n", "is taken"),
        (f"local {SECRET}\n", "is taken"),
    ],
)
def test_a_wrong_file_of_tokens_is_refused_without_its_secrets(tmp_path: Path, text, message):
    file = tmp_path / "tokens"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        read_tokens(file)
    assert SECRET not in str(caught.value)


def test_a_missing_file_of_tokens_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_tokens(tmp_path / "none")
