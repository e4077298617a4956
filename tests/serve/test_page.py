"""The page in a real browser: headless Chromium, driven by playwright. Skipped where either is absent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from intraclip.gallery.gallery import open_gallery
from serve.serve_world import SECRET, frame, jpeg

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = Path("/usr/bin/chromium")

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="chromium is not installed")


class Tab:
    """A page of the browser, and all that went wrong or elsewhere in it."""

    def __init__(self, page: Any, origin: str) -> None:
        self.page, self.origin = page, origin
        self.asked: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.asked.append(request.url))
        page.on(
            "console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on(
            "requestfailed",
            lambda request: self.complaints.append(f"failed: {request.url} {request.failure}"),
        )

    def require_clean(self) -> None:
        assert self.asked
        elsewhere = [u for u in self.asked if not u.startswith((self.origin, f"blob:{self.origin}"))]
        assert not elsewhere
        assert not self.complaints


@pytest.fixture
def tab(service: Callable[..., Any]) -> Iterator[Callable[..., Tab]]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])

        def new(*flags: str, **context: Any) -> Tab:
            origin = f"http://127.0.0.1:{service(*flags).port}"
            page = browser.new_context(**context).new_page()
            page.set_default_timeout(60_000)
            return Tab(page, origin)

        yield new
        browser.close()


def judgements(tmp_path: Path) -> list[tuple[str, str, bool]]:
    with open_gallery(tmp_path / "served") as gallery:
        return [(j.query, j.tracklet, j.same) for j in gallery.judgements()]


def test_a_query_is_picked_answers_judged_and_one_played_by_keyboard(tab, tmp_path):
    opened = tab()
    page = opened.page
    page.goto(opened.origin)
    page.get_by_role("link", name="Search for p4_gate").click()
    answers = page.get_by_role("list", name="Answers, best first").get_by_role("listitem")
    playwright.expect(answers).to_have_count(16)
    first = answers.first
    playwright.expect(first).to_contain_text("% same person")
    playwright.expect(first).to_contain_text("distance")
    assert first.get_attribute("data-id") in ("p4_hall", "p4_yard")
    playwright.expect(page.locator("svg.timeline .mark")).to_have_count(17)
    playwright.expect(page.locator("svg.timeline .camera").first).to_contain_text("gate")

    # By keyboard alone from here on.
    first.focus()
    page.keyboard.press("c")
    playwright.expect(first).to_have_class("card same")
    playwright.expect(page.locator(".mark.same")).to_have_count(1)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    third = answers.nth(2)
    playwright.expect(third).to_be_focused()
    page.keyboard.press("r")
    playwright.expect(third).to_have_class("card other")
    page.keyboard.press("Enter")
    player = page.get_by_role("dialog")
    playwright.expect(player).to_contain_text(third.get_attribute("data-id"))
    playwright.expect(player.get_by_role("button", name="Pause")).to_be_focused()
    page.keyboard.press("Space")
    playwright.expect(player.get_by_role("button", name="Play")).to_be_visible()
    before = player.locator("output").text_content()
    page.keyboard.press("ArrowRight")
    playwright.expect(player.locator("output")).not_to_have_text(before)
    page.wait_for_function("[...document.querySelectorAll('.frame img')].every((i) => i.naturalWidth === 32)")
    page.keyboard.press("Escape")
    playwright.expect(player).to_have_count(0)
    playwright.expect(page.locator("#status")).to_contain_text("Rejected")

    said = judgements(tmp_path)
    assert ("p4_gate", first.get_attribute("data-id"), True) in said
    assert ("p4_gate", third.get_attribute("data-id"), False) in said
    opened.require_clean()


def test_filters_a_label_a_timeline_and_a_deletion(tab, tmp_path):
    opened = tab()
    page = opened.page
    page.goto(f"{opened.origin}/?query=p2_gate")
    page.get_by_role("checkbox", name="yard").check()
    answers = page.get_by_role("list", name="Answers, best first").get_by_role("listitem")
    playwright.expect(answers).to_have_count(8)
    assert "camera=yard" in page.url
    page.get_by_label("False-match rate").select_option(label="1 stranger in 10")
    playwright.expect(answers.first).to_contain_text("✓ passes")
    playwright.expect(answers.last).to_contain_text("does not pass")
    answers.first.get_by_role("button", name="Confirm").click()
    playwright.expect(page.locator("#status")).to_contain_text("Confirmed")
    page.get_by_role("link", name="All that was confirmed").click()
    page.get_by_label("Label").fill("<b>Ann</b>")
    page.get_by_role("button", name="Give this label").click()
    playwright.expect(page.get_by_role("heading", name="<b>Ann</b>")).to_be_visible()
    page.get_by_role("button", name="Delete all 2 tracklets").click()
    playwright.expect(page.get_by_role("dialog")).to_contain_text(
        "2 tracklets with their embeddings, 14 pictures and 1 judgement"
    )
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Delete all 2 tracklets").click()
    page.get_by_role("button", name="Delete for good").click()
    playwright.expect(page.locator("#about")).to_contain_text("22 tracklets")
    page.get_by_role("link", name="Log").click()
    playwright.expect(page.get_by_role("table")).to_contain_text("p2_gate, p2_yard")
    with open_gallery(tmp_path / "served") as gallery:
        assert not gallery.find(["p2_gate", "p2_yard"])
    opened.require_clean()


def test_pictures_are_uploaded_and_bad_ones_explained_on_a_phone(tab):
    opened = tab(viewport={"width": 390, "height": 800}, color_scheme="dark")
    page = opened.page
    page.goto(f"{opened.origin}/?view=upload")
    chooser = page.get_by_label("Pictures of one person")
    chooser.set_input_files([{"name": "a.jpg", "mimeType": "image/jpeg", "buffer": jpeg(frame(6))}])
    page.get_by_role("button", name="Search").click()
    answers = page.get_by_role("list", name="Answers, best first").get_by_role("listitem")
    playwright.expect(answers.first).to_contain_text("p6_")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    opened.require_clean()
    chooser.set_input_files([{"name": "a.jpg", "mimeType": "image/jpeg", "buffer": b"no picture"}])
    page.get_by_role("button", name="Search", exact=True).first.click()
    playwright.expect(page.locator("#status")).to_contain_text("not a picture that can be read")


def test_the_token_is_asked_for_once(tab):
    opened = tab("--token")
    page = opened.page
    page.goto(opened.origin)
    page.get_by_label("Token").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    playwright.expect(page.get_by_role("alert")).to_contain_text("token is not valid")
    page.wait_for_load_state("networkidle")
    opened.complaints.clear()  # the browser reports the 401
    page.get_by_label("Token").fill(SECRET)
    page.get_by_role("button", name="Log in").click()
    playwright.expect(page.locator("#about")).to_contain_text("24 tracklets")
    page.wait_for_load_state("networkidle")  # pictures still on their way would be refused
    page.get_by_role("button", name="Log out").click()
    page.get_by_label("Token").wait_for()
    page.wait_for_load_state("networkidle")  # going on while the style sheet is on its way would cancel it
    page.goto(opened.origin)
    page.get_by_label("Token").wait_for()
    page.wait_for_load_state("networkidle")
    opened.require_clean()


def test_the_log_says_who_looked_and_who_searched(tab):
    opened = tab()
    page = opened.page
    page.goto(opened.origin)
    page.get_by_role("link", name="Search for p4_gate").click()
    playwright.expect(page.get_by_role("list", name="Answers, best first")).to_be_visible()
    page.get_by_role("link", name="Log").click()
    row = page.get_by_role("region", name="Log").locator("tbody tr")
    searched = row.filter(has=page.get_by_role("cell", name="search", exact=True))
    playwright.expect(searched).to_have_count(1)
    playwright.expect(searched).to_contain_text("from 127.0.0.1")
    playwright.expect(searched.get_by_role("link")).to_contain_text("p4_gate")
    playwright.expect(row.filter(has=page.get_by_role("cell", name="look", exact=True)).first).to_be_visible()
    opened.require_clean()


def test_somebody_is_looked_for_and_an_alert_is_judged(tab, tmp_path):
    from intraclip.live.alerts import Alerts
    from intraclip.live.watchlist import Matcher
    from serve.serve_world import vector

    opened = tab()
    page = opened.page
    page.goto(opened.origin)
    page.get_by_role("button", name="Look for the person on p3_gate").click()
    page.get_by_label("Name in alerts").fill("<b>anna</b>")
    page.get_by_label("Strangers that may pass").select_option("0.1")
    page.get_by_role("button", name="Look for", exact=True).last.click()
    playwright.expect(page.get_by_text("On the watch-list")).to_be_visible()
    with open_gallery(tmp_path / "served") as gallery:
        (hit,) = Matcher(gallery).match("p3_hall", vector(3, 1))
        Alerts(gallery).raise_for(hit, "p3_hall")
    page.get_by_role("link", name="Live").click()
    playwright.expect(page.get_by_text("This service watches no cameras")).to_be_visible()
    alert = page.get_by_role("list", name="Alerts, the newest first").get_by_role("listitem")
    playwright.expect(alert).to_have_count(1)
    playwright.expect(alert).to_contain_text("<b>anna</b> in hall")
    alert.get_by_role("button", name="It was this person").click()
    playwright.expect(alert.get_by_text("confirmed")).to_be_visible()
    assert judgements(tmp_path) == [("p3_gate", "p3_hall", True)]
    people = page.get_by_role("list", name="Watch-list").get_by_role("listitem")
    playwright.expect(people).to_contain_text("1 confirmed, 0 rejected")
    people.get_by_role("button", name="Look for <b>anna</b> no more").click()
    playwright.expect(people).to_have_count(0)
    playwright.expect(page.get_by_text("The newest 100")).to_be_hidden()
    with open_gallery(tmp_path / "served") as gallery:
        for _ in range(100):
            Alerts(gallery).raise_for(hit, "p3_hall")
    playwright.expect(page.get_by_text("The newest 100")).to_be_visible(timeout=30_000)
    playwright.expect(alert).to_have_count(100)
    opened.require_clean()
