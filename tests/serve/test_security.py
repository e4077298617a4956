"""Who comes in, from which page, and what the browser is told."""

from __future__ import annotations

import pytest

from serve.serve_world import CHANGE, HERE, ODD, SECRET, client, local_client, log

ORIGIN = {"Origin": HERE, "Sec-Fetch-Site": "same-origin"}
JUDGEMENT = {"query": "p0_gate", "tracklet": "p0_hall", "same": True}


@pytest.fixture
def browser(gallery):
    """Has no token yet."""
    with client(gallery) as made:
        del made.headers["Authorization"]
        yield made


def log_in(browser, secret=SECRET):
    return browser.post("/login", data={"token": secret}, headers=ORIGIN)


# -- tokens and sessions -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header", [None, "Bearer wrong", "Bearer ", f"Basic {SECRET}", SECRET, f"Bearer {SECRET}x"]
)
def test_without_the_token_nothing_is_told(browser, header):
    for path in ("stats", "tracklets", "tracklet/strip?id=p0_gate", "audit", "openapi.json"):
        answer = browser.get(f"/api/v1/{path}", headers={} if header is None else {"Authorization": header})
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.json()["error"] == "unauthorized"
    assert browser.get("/metrics").status_code == 401


def test_the_token_lets_in(api):
    assert api.get("/api/v1/stats").json()["actor"] == "alice"


def test_health_needs_no_token_and_tells_nothing(browser):
    assert browser.get("/health/live").json() == {"status": "live"}
    assert browser.get("/health/ready").json() == {"status": "ready"}


def test_the_page_asks_for_the_token_and_keeps_a_session(browser):
    assert browser.get("/").headers["Location"] == "/login"
    assert "Token" in browser.get("/login").text
    answer = log_in(browser)
    assert answer.status_code == 303
    cookie = answer.headers["Set-Cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert SECRET not in cookie
    assert browser.get("/").status_code == 200
    assert browser.get("/api/v1/stats").json()["actor"] == "alice"


def test_a_wrong_token_opens_no_session(browser):
    answer = log_in(browser, "wrong")
    assert answer.status_code == 401
    assert "Set-Cookie" not in answer.headers
    assert browser.get("/api/v1/stats").status_code == 401


def test_a_wrong_token_is_refused_beside_a_good_session(browser):
    log_in(browser)
    assert browser.get("/api/v1/stats", headers={"Authorization": "Bearer wrong"}).status_code == 401


def test_logging_out_ends_the_session_for_good(browser):
    log_in(browser)
    kept = dict(browser.cookies)
    assert browser.post("/logout", headers=CHANGE | ORIGIN).status_code == 204
    for name, value in kept.items():
        browser.cookies.set(name, value)
    assert browser.get("/api/v1/stats").status_code == 401


def test_the_cookie_is_secure_where_the_browser_speaks_https(browser):
    answer = browser.post("/login", data={"token": SECRET}, headers={"Origin": "https://testserver"})
    assert "secure" in answer.headers["Set-Cookie"].lower()
    assert "secure" not in log_in(browser).headers["Set-Cookie"].lower()


# -- host names --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", ""])
def test_a_foreign_host_name_is_refused(gallery, host):
    with local_client(gallery) as api:
        assert api.get("/api/v1/stats").status_code == 200
        answer = api.get("/api/v1/stats", headers={"Host": host})
        assert answer.status_code == 421
        assert api.get("/static/page.css", headers={"Host": host}).status_code == 421


# -- foreign pages -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": HERE},
        {**CHANGE, "Origin": "https://evil.example"},
        {**CHANGE, "Origin": "null"},
        {**CHANGE, "Origin": "http://["},
        {**CHANGE, "Sec-Fetch-Site": "cross-site"},
        {**CHANGE, "Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_foreign_page_changes_nothing(gallery, browser, headers):
    log_in(browser)
    for method, path, body in (
        ("PUT", "judgement", JUDGEMENT),
        ("POST", "deletions", {"ids": ["p0_gate"]}),
        ("PUT", "person", {"ids": ["p0_gate"], "person": "x"}),
        ("POST", "search", {"tracklet": "p0_gate"}),
    ):
        assert browser.request(method, f"/api/v1/{path}", json=body, headers=headers).status_code == 403
    assert gallery.stats().tracklets == 24
    assert not gallery.judgements()
    assert not log(gallery)


def test_the_own_page_may_change_things(gallery, browser):
    log_in(browser)
    assert browser.put("/api/v1/judgement", json=JUDGEMENT, headers=CHANGE | ORIGIN).status_code == 200
    assert gallery.judgements()[0].by == "alice"


def test_without_tokens_changes_need_the_header_all_the_same(gallery):
    with local_client(gallery) as api:
        assert api.put("/api/v1/judgement", json=JUDGEMENT).status_code == 403
        assert api.put("/api/v1/judgement", json=JUDGEMENT, headers=CHANGE).status_code == 200
    assert gallery.judgements()[0].by == "local"


def test_a_foreign_page_reads_nothing_and_cannot_log_somebody_in(browser):
    foreign = {"Sec-Fetch-Site": "cross-site"}
    assert browser.post("/login", data={"token": SECRET}, headers=foreign).status_code == 403
    log_in(browser)
    assert browser.get("/api/v1/tracklet/strip?id=p0_gate", headers=foreign).status_code == 403
    assert browser.get("/", headers=foreign).status_code == 200  # a link to the page is no attack


# -- headers and paths -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/", "/login", "/static/main.js", "/api/v1/stats", "/api/v1/none", "/health/live"]
)
def test_every_answer_carries_the_security_headers(api, path):
    headers = api.get(path).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == ("same-origin" if path == "/login" else "no-referrer")
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_refusals_carry_the_security_headers_too(browser):
    assert "default-src 'self'" in browser.get("/api/v1/stats").headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "path", ["/api/v1/tracklet/strip?id=p0_gate", "/api/v1/tracklet/frames/0?id=p0_gate", "/api/v1/tracklets"]
)
def test_pictures_and_data_are_not_kept_by_caches(api, path):
    answer = api.get(path)
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "path",
    [
        "/static/../settings.py", "/static/..%2fsettings.py", "/static/%2e%2e/%2e%2e/settings.py",
        "/static//etc/passwd", "/static/index.html.j2", "/../../etc/passwd", "/static/page.css%00.js",
    ],
)  # fmt: skip
def test_no_path_leads_to_a_file(api, path):
    answer = api.get(path)
    assert answer.status_code == 404
    assert "root:" not in answer.text


def test_an_id_like_a_path_is_only_an_id(api):
    assert api.get("/api/v1/tracklet", params={"id": ODD}).json()["id"] == ODD
    assert api.get("/api/v1/tracklet/strip", params={"id": ODD}).content.startswith(b"\xff\xd8")
    for other in ("../../etc/passwd2", "/etc/passwd", "....//etc/passwd"):
        for path in ("tracklet", "tracklet/strip", "tracklet/frames/0"):
            assert api.get(f"/api/v1/{path}", params={"id": other}).status_code == 404
    assert api.get("/api/v1/tracklet", params={"id": "a\x00b"}).status_code == 422


def test_the_documents_hold_no_inline_code_and_no_foreign_address():
    from intraclip.serve.routes.page import _TEMPLATES, ASSETS

    pages = {n: _TEMPLATES.loader.get_source(_TEMPLATES, n)[0] for n in ("index.html.j2", "login.html.j2")}
    for name, text in pages.items():
        assert "<style" not in text, name
        assert " style=" not in text, name
        assert " on" not in text.lower().replace(" one", "").replace(" only", ""), name
        assert text.count("<script") == text.count('<script type="module" src="/static/'), name
    for name, (content, _) in ASSETS.items():
        text = content.decode().replace("http://www.w3.org/2000/svg", "")
        assert "http:" not in text, name
        assert "https:" not in text, name
        assert "innerHTML" not in text, name
        assert "eval(" not in text, name
