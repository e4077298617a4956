"""What the API says about itself is what it does: hundreds of made-up requests against its own description."""

from __future__ import annotations

import io
import json
import shutil
import tempfile
from typing import cast

import pytest
import schemathesis
from fastapi import FastAPI
from fastapi.routing import APIRoute
from hypothesis import HealthCheck, settings
from schemathesis.checks import load_all_checks
from schemathesis.specs.openapi.checks import positive_data_acceptance

from intraclip.errors import OutputError
from intraclip.gallery.gallery import Gallery, open_gallery
from intraclip.serve.app import ROUTERS, create_app
from intraclip.serve.settings import API, ServeSettings
from serve.serve_world import SECRET, TOKEN, ColourModel, TestClient, client, frame, jpeg

MINE = {"Authorization": f"Bearer {SECRET}", "Host": "localhost"}

TWO_VALUES = {"/judgement", "/unsure", "/timeline", "/deletions", "/person", "/search/upload", "/watch-list"}
"""Refuse by rules that a schema cannot express: two values that must differ or exclude each other, printable text,
what a file holds."""

load_all_checks()


class Changed:
    """The service that the made-up requests go to; its gallery is changed as they will have it."""

    app: FastAPI | None = None

    async def __call__(self, scope, receive, send):
        while scope["type"] == "lifespan":  # which is begun for every request
            kind = (await receive())["type"]
            await send({"type": f"{kind}.complete"})
            if kind == "lifespan.shutdown":
                return
        await self.app(scope, receive, send)


changed = Changed()
# Tests are collected from the description before there is any gallery.
schema = schemathesis.openapi.from_dict(create_app(cast(Gallery, None)).openapi())
schema.app = changed


@pytest.fixture(scope="module", autouse=True)
def _served(prepared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("described") / "gallery"
    shutil.copytree(prepared, folder)
    with open_gallery(folder) as gallery:
        allowed = ServeSettings(tokens=(TOKEN,), login_attempts=10**6, login_attempts_all=10**6)
        changed.app = create_app(gallery, allowed, embedder=ColourModel())
        yield
        changed.app.state.context.decoders.close()


@schema.parametrize()
@settings(
    max_examples=20, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
def test_every_answer_is_one_that_the_description_names(case):
    left_out = [positive_data_acceptance] if case.path.removeprefix(API) in TWO_VALUES else []
    case.call_and_validate(headers=MINE, excluded_checks=left_out)


def test_every_route_of_the_api_is_described(api):
    document = api.get(f"{API}/openapi.json").json()
    routes = {
        (route.path, method.lower())
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute) and route.path.startswith(API)
        for method in route.methods
    }
    assert {(path, method) for path, methods in document["paths"].items() for method in methods} >= routes
    assert len(document["paths"]) >= 14


@pytest.mark.parametrize(
    ("path", "allow"),
    [("judgement", "DELETE, PUT"), ("search", "POST"), ("tracklets", "GET"), ("tracklet/frames/0", "GET")],
)
def test_a_method_that_a_path_does_not_know_is_answered_with_all_that_it_knows(api, path, allow):
    answer = api.patch(f"{API}/{path}")
    assert (answer.status_code, answer.headers["Allow"]) == (405, allow)


# -- between the first look and the work -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "body", "work"),
    [
        ("POST", "search", {"tracklet": "p1_gate"}, "search_tracklet"),
        ("PUT", "judgement", {"query": "p1_gate", "tracklet": "p1_hall", "same": True}, "judge"),
        ("PUT", "person", {"ids": ["p1_gate"], "person": "Ann"}, "set_person"),
    ],
)
def test_a_tracklet_that_is_deleted_during_a_request_is_404(
    api, gallery, monkeypatch, method, path, body, work
):
    proper = getattr(gallery, work)

    def late(*args, **more):
        with open_gallery(gallery.info.address) as other:
            other._store.remove(["p1_gate"], dry_run=False)
        return proper(*args, **more)

    monkeypatch.setattr(gallery, work, late)
    answer = api.request(method, f"{API}/{path}", json=body)
    assert (answer.status_code, answer.json()["error"]) == (404, "not_found")
    assert api.get("/health/ready").status_code == 200


# -- our own troubles --------------------------------------------------------------------------------------


def test_a_full_disk_is_a_503_and_the_service_is_not_ready_while_it_lasts(api, gallery, monkeypatch):
    class Full(io.BytesIO):
        def write(self, _):
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("intraclip.serve.context.tempfile.TemporaryFile", lambda **_: Full())
        answer = api.get("/health/ready")
        assert (answer.status_code, answer.json()["error"]) == (503, "unavailable")
        assert "No space left" in answer.json()["message"]
    assert api.get("/health/ready").status_code == 200

    def full(*_, **__):
        raise OutputError("the disk is full")

    monkeypatch.setattr(gallery, "set_person", full)
    answer = api.put(f"{API}/person", json={"ids": ["p1_gate"], "person": "Ann"})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")


def test_a_full_temporary_folder_is_a_503(gallery, monkeypatch):
    class Full(tempfile.SpooledTemporaryFile):
        def write(self, _):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("starlette.formparsers.SpooledTemporaryFile", Full)
    with client(gallery) as api:
        answer = api.post(f"{API}/search/upload", files={"files": ("x", jpeg(frame(1)))})
    assert (answer.status_code, answer.json()["error"]) == (503, "unavailable")
    assert "No space left" in answer.json()["message"]


def test_a_body_that_takes_too_long_is_a_408(gallery):
    settings = ServeSettings(tokens=(TOKEN,))
    object.__setattr__(settings, "receive_s", -1)  # the time has passed already: nothing needs to wait for it
    with TestClient(create_app(gallery, settings), base_url="http://localhost") as api:
        answer = api.post(f"{API}/search", json={"tracklet": "p1_gate"}, headers=MINE)
    assert (answer.status_code, answer.json()["error"]) == (408, "timeout")


@pytest.mark.parametrize(
    "person",
    ["a\u202eb", "\u2066a", "a\x9bb", "a\nb", "a\x00b", "x" * 513, "\u00fc" * 257, "\ud800"],
    ids=["override", "isolate", "control", "line", "nul", "long", "long in UTF-8", "surrogate"],
)
def test_a_label_that_is_no_plain_text_is_refused_and_not_repeated(api, gallery, person):
    body = json.dumps({"ids": ["p1_gate"], "person": person})
    answer = api.put(f"{API}/person", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert person not in answer.text
    assert not gallery.stats().people


@pytest.mark.parametrize(
    "person", ["Smith [/]", "[bold]", "=cmd|'/c calc'!A1", "<script>", "M\u00fcller", "\u738b"]
)
def test_a_label_that_is_text_stays_text(api, person):
    assert api.put(f"{API}/person", json={"ids": ["p1_gate"], "person": person}).status_code == 204
    assert api.get(f"{API}/people").json() == [{"person": person, "tracklets": 1}]
    assert api.get(f"{API}/timeline", params={"person": person}).json()["person"] == person
