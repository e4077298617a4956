"""What a read-only token may do, when a removed one stops working, and how fast wrong ones may come."""

from __future__ import annotations

import pytest

from intraclip.serve.app import create_app
from intraclip.serve.settings import ServeSettings
from intraclip.serve.tokens import Token
from serve.serve_world import CHANGE, HERE, SECRET, ColourModel, TestClient, client, frame, jpeg, log

GUEST = "a-secret-for-somebody-who-looks"
BY_GUEST = {"Authorization": f"Bearer {GUEST}"}
ORIGIN = {"Origin": HERE}

MAY = {("post", "/api/v1/search"), ("post", "/api/v1/search/upload")}
"""All that a read-only token may ask for beside reading."""


@pytest.fixture
def with_file(gallery, tmp_path):
    """A service whose tokens stand in a file, and a function that writes it."""
    file = tmp_path / "tokens"

    def write(*lines: str) -> None:
        file.write_text("\n".join(lines) + "\n")
        file.chmod(0o600)

    write(f"alice {SECRET}", f"guest {GUEST} read-only")
    settings = ServeSettings(allow_hosts=frozenset({"testserver"}), token_file=file)
    app = create_app(gallery, settings, embedder=ColourModel())
    with TestClient(app, base_url=HERE, follow_redirects=False) as api:
        yield api, write


def log_in(api, secret):
    return api.post("/login", data={"token": secret}, headers=ORIGIN)


# -- read-only ---------------------------------------------------------------------------------------------


def test_a_read_only_token_changes_nothing_on_any_route(with_file, gallery):
    api, _ = with_file
    api.get("/api/v1/stats", headers={"Authorization": f"Bearer {SECRET}"})
    document = api.get("/api/v1/openapi.json", headers=BY_GUEST).json()
    tried = 0
    for path, methods in document["paths"].items():
        for method in set(methods) - {"get"}:
            answer = api.request(method, path.replace("{number}", "0"), headers=BY_GUEST, json={})
            if (method, path) in MAY:
                assert answer.status_code == 422, path
            else:
                assert answer.status_code == 403, (method, path)
                assert "read-only" in answer.json()["message"]
            tried += 1
    assert tried >= 6
    assert not log(gallery)


def test_a_read_only_token_looks_and_searches(with_file):
    api, _ = with_file
    assert api.get("/api/v1/tracklet/strip?id=p1_gate", headers=BY_GUEST).status_code == 200
    assert api.get("/api/v1/stats", headers=BY_GUEST).json()["read_only"]
    assert api.post("/api/v1/search", json={"tracklet": "p1_gate"}, headers=BY_GUEST).status_code == 200
    files = {"files": ("x", jpeg(frame(1)))}
    assert api.post("/api/v1/search/upload", files=files, headers=BY_GUEST).status_code == 200


def test_a_session_has_the_rights_of_its_token(with_file):
    api, _ = with_file
    log_in(api, GUEST)
    body = {"ids": ["p1_gate"], "person": "Ann"}
    assert api.put("/api/v1/person", json=body, headers=CHANGE).status_code == 403
    assert api.post("/api/v1/deletions", json={"ids": ["p1_gate"]}, headers=CHANGE).status_code == 403
    assert api.post("/api/v1/search", json={"tracklet": "p1_gate"}, headers=CHANGE).status_code == 200
    assert api.post("/logout", headers=CHANGE).status_code == 204


# -- tokens that are gone ----------------------------------------------------------------------------------


def test_a_removed_token_and_its_sessions_stop_at_once(with_file):
    api, write = with_file
    log_in(api, GUEST)
    assert api.get("/api/v1/stats").json()["actor"] == "guest"
    write(f"alice {SECRET}")
    assert api.get("/api/v1/stats").status_code == 401
    assert api.get("/api/v1/stats", headers=BY_GUEST).status_code == 401
    assert api.get("/").headers["Location"] == "/login"
    assert api.get("/api/v1/stats", headers={"Authorization": f"Bearer {SECRET}"}).status_code == 200


@pytest.mark.parametrize("line", ["guest another-secret-than-the-one-before", f"guest {GUEST}"])
def test_a_session_ends_when_the_secret_or_the_rights_of_its_holder_change(with_file, line):
    api, write = with_file
    log_in(api, GUEST)
    write(f"alice {SECRET}", line)
    assert api.get("/api/v1/stats").status_code == 401


def test_a_file_that_cannot_be_used_lets_nobody_in_and_says_that_it_is_our_fault(with_file):
    api, write = with_file
    log_in(api, SECRET)
    write("half a")
    for headers in ({}, {"Authorization": f"Bearer {SECRET}"}):
        answer = api.get("/api/v1/stats", headers=headers)
        assert answer.status_code == 503
        assert "file of tokens" in answer.json()["message"]
    assert api.get("/health/ready").status_code == 503
    assert log_in(api, SECRET).status_code == 503
    write(f"alice {SECRET}")
    assert api.get("/api/v1/stats").status_code == 200  # the session's token is there again


# -- attempts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [True, False], ids=["page", "program"])
def test_wrong_tokens_are_limited_in_rate(gallery, form):
    with client(gallery, login_attempts=3) as api:
        api.headers.pop("Authorization")

        def attempt(secret):
            if form:
                return log_in(api, secret)
            return api.get("/api/v1/stats", headers={"Authorization": f"Bearer {secret}"})

        assert [attempt("wrong").status_code for _ in range(5)] == [401, 401, 401, 429, 429]
        held_up = attempt(SECRET)
        assert held_up.status_code == 429
        assert 0 < int(held_up.headers["Retry-After"]) <= 60
        assert "too many wrong tokens" in held_up.text
        assert api.get("/health/live").status_code == 200
    assert [e.action for e in gallery.audit_log()] == ["login-failed"] * 3


def test_a_session_goes_on_while_wrong_tokens_are_held_up(gallery):
    with client(gallery, login_attempts=2) as api:
        api.headers.pop("Authorization")
        log_in(api, SECRET)
        for _ in range(3):
            log_in(api, "wrong")
        assert api.get("/api/v1/stats").status_code == 200


def test_the_limit_holds_for_all_addresses_together(gallery):
    with client(gallery, proxy=True, login_attempts=2, login_attempts_all=5) as api:

        def attempt(place, secret="wrong"):
            headers = {"Authorization": f"Bearer {secret}", "X-Forwarded-For": f"10.0.0.{place}"}
            return api.get("/api/v1/stats", headers=headers).status_code

        assert attempt(200, SECRET) == 200
        assert [attempt(place) for place in range(7)] == [401] * 5 + [429] * 2
        assert attempt(200, SECRET) == 200  # was here before
        assert attempt(201, SECRET) == 429


def test_tokens_made_in_python_can_be_read_only():
    assert Token.of("guest", GUEST, read_only=True).read_only
    assert not Token.of("alice", SECRET).read_only
