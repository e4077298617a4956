"""When a token is required, which host names pass, and what a file of tokens may hold."""

from __future__ import annotations

import pytest

from intraclip.errors import ConfigError
from intraclip.serve.settings import ServeSettings, is_loopback
from intraclip.serve.tokens import Token, Tokens
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
    tokens = Tokens((TOKEN, other), None)
    assert tokens.find(SECRET) == TOKEN
    assert tokens.find("another-example-secret-for-tests") == other
    for wrong in ("", SECRET[:-1], SECRET + "x", "alice", "\udcff"):
        assert tokens.find(wrong) is None
    assert SECRET not in repr(ServeSettings(tokens=(TOKEN, other)))


def test_values_out_of_range_are_refused_together():
    with pytest.raises(ConfigError, match=r"port: 70000 must lie in 0..65535; searches: 0 is too small"):
        ServeSettings(searches=0, port=70_000)
