"""The page in a real Chromium: it draws what is there, by touch and keyboard, light and dark."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsers import launched
from calibrations import write_calibration
from serving import QUICK, TOKEN, Running, Scene, empty_bgr, face_bgr, serving, wait_for

from edge_mtcnn import FaceDetector, read_image
from edge_mtcnn.calibration import load_calibration, save_known_false
from edge_mtcnn.known_false import VECTOR_LENGTH, KnownFalse, encoded
from edge_mtcnn.serve import ServeOptions

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

pytestmark = pytest.mark.slow

SCREENS = {"kiosk": (800, 480), "phone": (390, 844), "desk": (1280, 800)}
LEAST_TOUCH = 44
"""Side of the smallest thing that a finger hits, CSS pixels."""

MARKED = """(id) => {
  const canvas = document.getElementById(id);
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  let count = 0;
  for (let at = 3; at < pixels.length; at += 4) count += pixels[at] > 0;
  return count / (pixels.length / 4);
}"""
"""Share of a canvas that is drawn upon."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched() as running:
        yield running


@pytest.fixture(scope="module")
def scene(sample_path: Callable[[str], Path]) -> Scene:
    return Scene(face_bgr(sample_path("astronaut")))


@pytest.fixture(scope="module", params=[False, True], ids=["without pictures", "with pictures"])
def running(
    request: pytest.FixtureRequest, scene: Scene, default_detector: FaceDetector
) -> Iterator[Running]:
    options = ServeOptions(stream=request.param)
    with serving(
        default_detector, options, source=scene, watch_detector=default_detector, watch=QUICK
    ) as service:
        yield service


class Page:
    """A page and what went wrong in it."""

    def __init__(self, browser: Any, url: str, **context: Any) -> None:
        self._context = browser.new_context(**context)
        self.page = self._context.new_page()
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self._console)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(url)

    def _console(self, message: Any) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self._context.close()


@pytest.mark.parametrize(
    ("screen", "scheme"),
    [("kiosk", "light"), ("kiosk", "dark"), ("phone", "light"), ("desk", "dark")],
)
def test_the_page_fits_the_screen_and_draws_who_is_here(
    browser: Any, running: Running, scene: Scene, screen: str, scheme: str
) -> None:
    width, height = SCREENS[screen]
    viewport = {"width": width, "height": height}
    with Page(browser, running.url, viewport=viewport, color_scheme=scheme) as opened:
        page = opened.page
        playwright.expect(page.locator("#answer")).to_have_text("Someone is here")
        playwright.expect(page.locator("#health-text")).to_have_text("Working")
        playwright.expect(page.locator("#persons li")).to_have_count(1)
        playwright.expect(page.locator("#overlay")).to_have_attribute("aria-label", "1 face")
        assert wait_for(lambda: page.evaluate(MARKED, "overlay") > 0.001)
        assert wait_for(lambda: page.evaluate(MARKED, "timeline") > 0.01)
        playwright.expect(page.locator("#picture")).to_be_visible(
            visible=running.service.options.stream
        )
        playwright.expect(page.locator("#persons button, #known")).to_have_count(2)
        playwright.expect(page.locator("#persons button:visible, #known:visible")).to_have_count(0)
        sizes = page.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
        )
        assert sizes[0] <= width, "nothing is cut off at the side"
        if screen != "phone":
            assert sizes[1] <= height, "a kiosk's screen does not scroll"
        for button in page.locator("button:visible").all():
            box = button.bounding_box()
            assert min(box["width"], box["height"]) >= LEAST_TOUCH
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (int(ground.split("(")[1].split(",")[0]) < 100) == (scheme == "dark")
        assert opened.errors == []
        assert all(url.startswith((running.url, "blob:")) for url in opened.requests)


def test_the_page_follows_what_happens(browser: Any, running: Running, scene: Scene) -> None:
    face = scene.image
    with Page(browser, running.url) as opened:
        page = opened.page
        answer = page.locator("#answer")
        playwright.expect(answer).to_have_text("Someone is here")
        try:
            scene.image = empty_bgr()
            playwright.expect(answer).to_have_text("Nobody is here")
            playwright.expect(page.locator("#events li").first).to_contain_text(
                "No person is selected"
            )
            scene.image = None
            playwright.expect(answer).to_have_text("Unknown")
            playwright.expect(page.locator("#reason")).to_contain_text("the cable is out")
            playwright.expect(page.locator("#notice")).to_have_text("The source delivers no frames")
            playwright.expect(page.locator("#health-text")).to_have_text("Limited")
        finally:
            scene.image = face
        playwright.expect(answer).to_have_text("Someone is here")
        assert opened.errors == []


@pytest.mark.parametrize("screen", SCREENS)
def test_the_rotation_is_shown_and_found_again_by_keyboard(
    browser: Any, default_detector: FaceDetector, scene: Scene, screen: str, tmp_path: Path
) -> None:
    width, height = SCREENS[screen]
    upright = scene.image
    assert upright is not None
    camera = Scene(empty_bgr())
    auto = replace(QUICK, source=replace(QUICK.source, rotate="auto"))
    with (
        serving(
            default_detector,
            source=camera,
            watch_detector=default_detector,
            watch=auto,
            calibration=write_calibration(tmp_path / "door.json", 0.5),
        ) as running,
        Page(browser, running.url, viewport={"width": width, "height": height}) as opened,
    ):
        page = opened.page
        reason = page.locator("#reason")
        playwright.expect(reason).to_contain_text("Looking for faces, to find out how")
        playwright.expect(page.locator("#answer")).to_have_text("Unknown")
        camera.image = np.ascontiguousarray(upright[::-1, ::-1])
        playwright.expect(page.locator("#rates")).to_contain_text("Turned by180°")
        playwright.expect(page.locator("#events li").last).to_contain_text("turned by 180°")
        playwright.expect(reason).to_have_text("")
        camera.image = empty_bgr()
        page.keyboard.press("r")
        playwright.expect(reason).to_contain_text("Looking for faces")
        camera.image = upright
        playwright.expect(page.locator("#rates")).not_to_contain_text("Turned by")
        page.locator("#turn").click()
        playwright.expect(reason).to_contain_text("Looking for faces")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        box = page.locator("#turn").bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= LEAST_TOUCH
        assert opened.errors == []


def test_a_fixed_rotation_offers_no_button(browser: Any, running: Running) -> None:
    with Page(browser, running.url) as opened:
        playwright.expect(opened.page.locator("#answer")).to_have_text("Someone is here")
        playwright.expect(opened.page.locator("#turn")).to_be_hidden()


def test_all_is_done_by_keyboard(browser: Any, running: Running) -> None:
    width, height = SCREENS["kiosk"]
    with Page(browser, running.url, viewport={"width": width, "height": height}) as opened:
        page = opened.page
        playwright.expect(page.locator("#answer")).to_have_text("Someone is here")
        focused = []
        for _ in range(3):
            page.keyboard.press("Tab")
            focused.append(
                page.evaluate("document.activeElement.id || document.activeElement.tagName")
            )
        assert focused == ["mirror", "photo", "SUMMARY"]
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"
        page.keyboard.press("Enter")
        playwright.expect(page.locator("#events")).to_be_visible()
        needed = page.evaluate("document.documentElement.scrollHeight")
        assert needed <= height, "nor does it scroll with the events open"
        page.keyboard.press("m")
        playwright.expect(page.locator("#mirror")).to_have_attribute("aria-pressed", "true")
        # The system's dialog is none of the page's business.
        page.evaluate(
            "document.getElementById('file').addEventListener('click',"
            " (event) => { event.preventDefault(); document.title = 'asked'; })"
        )
        page.keyboard.press("p")
        playwright.expect(page).to_have_title("asked")
        assert opened.errors == []


@pytest.fixture
def marking(sample_path: Callable[[str], Path], tmp_path: Path) -> Iterator[tuple[Running, Path]]:
    """A service that a person can be marked in, and its calibration file."""
    file = write_calibration(tmp_path / "door.json", 0.5)
    # At full size: a face of 40 pixels is not recognised in every frame.
    scene = Scene(np.ascontiguousarray(read_image(sample_path("astronaut"))[:, :, ::-1]))
    with (
        FaceDetector(preset="kiosk") as detector,
        serving(
            detector, source=scene, watch_detector=detector, watch=QUICK, calibration=file
        ) as service,
    ):
        yield service, file


def test_a_person_is_marked_as_none_and_the_undo_works_by_keyboard(
    browser: Any, marking: tuple[Running, Path]
) -> None:
    running, file = marking
    with Page(browser, running.url) as opened:
        page = opened.page
        page.get_by_role("button", name="Person 1 is not a person").focus()
        page.keyboard.press("Enter")
        dialog = page.locator("#mark")
        playwright.expect(dialog).to_contain_text("Person 1 is not a person?")
        playwright.expect(dialog).to_contain_text("No picture is stored")
        playwright.expect(page.locator("#mark-place")).to_be_checked()
        page.keyboard.press("Escape")
        playwright.expect(dialog).to_be_hidden()
        page.keyboard.press("Enter")  # the focus is on the button again
        playwright.expect(page.locator("#mark-place")).to_be_enabled()
        page.keyboard.type("poster")
        page.keyboard.press("Tab")
        page.keyboard.press("Space")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        playwright.expect(dialog).to_be_hidden()
        playwright.expect(page.locator("#answer")).to_have_text("Nobody is here")
        playwright.expect(page.locator("#persons li")).to_have_count(0)
        playwright.expect(page.locator("#overlay")).to_have_attribute("aria-label", "0 faces")
        playwright.expect(page.locator("#marked")).to_contain_text("“poster” is left out")
        (thing,) = load_calibration(file).known_false
        assert (thing.name, thing.how, thing.place) == ("poster", "page", None)

        page.keyboard.press("Enter")  # Known things
        things = page.locator("#things")
        playwright.expect(things.locator("li")).to_have_count(1)
        playwright.expect(things.locator("li")).to_contain_text("anywhere")
        playwright.expect(things).to_contain_text("about 1 in 16,667 real faces")
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Enter")  # Undo
        playwright.expect(things).to_contain_text("Nothing has been marked")
        page.keyboard.press("Enter")  # Close
        playwright.expect(things).to_be_hidden()
        playwright.expect(page.locator("#answer")).to_have_text("Someone is here")
        assert load_calibration(file).known_false == ()
        page.keyboard.press("k")
        playwright.expect(things).to_be_visible()
        assert opened.errors == []


def test_what_the_service_refuses_is_said_in_the_dialog(
    browser: Any, marking: tuple[Running, Path]
) -> None:
    running, file = marking
    vector = np.random.default_rng(1).normal(1, 1, VECTOR_LENGTH).astype(np.float32)
    save_known_false(
        file,
        [
            KnownFalse(
                name=str(number),
                vector=encoded(vector),
                place=None if number < 32 else (0.8, 0.8, 0.9, 0.9),
            )
            for number in range(34)
        ],
    )
    with Page(browser, running.url) as opened:
        page = opened.page
        page.locator("#persons button").click()
        page.fill("#mark-name", "<b>poster</b>")
        playwright.expect(page.locator("#mark-place")).to_be_checked()
        page.uncheck("#mark-place")
        page.locator("#mark-form button[type=submit]").click()
        playwright.expect(page.locator("#mark-error")).to_contain_text("at most 1 in 500")
        playwright.expect(page.locator("#mark-error")).to_contain_text("tie this one to its place")
        page.check("#mark-place")
        page.locator("#mark-form button[type=submit]").click()
        playwright.expect(page.locator("#marked")).to_contain_text("“<b>poster</b>” is left out")
        page.locator("#known").click()
        playwright.expect(page.locator("#things-list li").last).to_contain_text("<b>poster</b>")


@pytest.mark.parametrize(
    ("screen", "scheme"), [("kiosk", "light"), ("phone", "dark"), ("desk", "light")]
)
def test_the_dialogs_fit_the_screen_and_fingers(
    browser: Any, marking: tuple[Running, Path], screen: str, scheme: str
) -> None:
    running, _ = marking
    width, height = SCREENS[screen]
    viewport = {"width": width, "height": height}
    with Page(browser, running.url, viewport=viewport, color_scheme=scheme) as opened:
        page = opened.page
        page.locator("#persons button").click()
        for dialog in ("#mark", "#things"):
            page.wait_for_selector(dialog)
            shape = page.locator(dialog).evaluate("one => [one.scrollHeight, one.clientHeight]")
            assert shape[0] <= shape[1], "nothing has to be scrolled"
            for button in page.locator("button:visible").all():
                box = button.bounding_box()
                assert min(box["width"], box["height"]) >= LEAST_TOUCH
            if dialog == "#mark":
                page.locator("#mark-form button[type=submit]").click()
                page.locator("#known").click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert opened.errors == []


def test_a_photo_is_searched_and_shown(
    browser: Any, running: Running, sample_path: Callable[[str], Path]
) -> None:
    with Page(browser, running.url) as opened:
        page = opened.page
        page.set_input_files("#file", sample_path("grace_hopper"))
        playwright.expect(page.locator("#notice")).to_have_text("1 face in the photo")
        assert page.locator("#picture").get_attribute("src").startswith("blob:")
        assert wait_for(lambda: page.evaluate(MARKED, "overlay") > 0.001)
        page.keyboard.press("Escape")
        playwright.expect(page.locator("#back")).to_be_hidden()
        assert opened.errors == []


def test_an_empty_canvas_says_that_pictures_are_off(browser: Any, running: Running) -> None:
    with Page(browser, running.url) as opened:
        hint = opened.page.locator("#hint")
        playwright.expect(opened.page.locator("#answer")).to_have_text("Someone is here")
        playwright.expect(hint).to_be_visible(visible=not running.service.options.stream)
        playwright.expect(hint).to_contain_text("start the service with --stream")


@pytest.mark.parametrize(
    ("screen", "scheme"), [("desk", "light"), ("kiosk", "dark"), ("phone", "light")]
)
def test_the_documentation_sends_requests_by_keyboard(
    browser: Any,
    default_detector: FaceDetector,
    sample_path: Callable[[str], Path],
    screen: str,
    scheme: str,
) -> None:
    width, height = SCREENS[screen]
    viewport = {"width": width, "height": height}
    with (
        serving(default_detector, ServeOptions(token=TOKEN)) as running,
        Page(browser, f"{running.url}/docs", viewport=viewport, color_scheme=scheme) as opened,
    ):
        page = opened.page
        playwright.expect(page.locator("#routes > details")).to_have_count(11)
        page.locator("#token").focus()
        page.keyboard.type(TOKEN)
        page.keyboard.press("Enter")
        playwright.expect(page.locator("#login-result")).to_contain_text("The token is right")
        page.locator("#post-detect > summary").focus()
        page.keyboard.press("Enter")
        page.select_option("#post-detect-annotate", "1")
        page.set_input_files("#post-detect-file", sample_path("astronaut"))
        page.locator("#post-detect-limit").focus()
        page.keyboard.type("1")
        page.keyboard.press("Enter")
        answer = page.locator("#post-detect .answer")
        playwright.expect(answer.locator(".status")).to_contain_text("200 OK · image/jpeg")
        playwright.expect(answer.locator("pre")).to_contain_text("/detect?limit=1&annotate=1'")
        assert wait_for(lambda: answer.locator("img").evaluate("one => one.naturalWidth") == 512)
        page.select_option("#post-detect-annotate", "")
        page.select_option("#post-detect-kind", "multipart/form-data")
        page.set_input_files("#post-detect-file", [sample_path("astronaut")] * 2)
        page.locator("#post-detect button[type=submit]").press("Enter")
        playwright.expect(answer.locator("pre").nth(1)).to_contain_text('"results"')
        page.select_option("#post-detect-kind", "application/json")
        page.locator("#post-detect button[type=submit]").press("Enter")
        playwright.expect(answer.locator("pre").nth(1)).to_contain_text('"faces": []')
        page.locator("#get-healthz > summary").press("Enter")
        page.locator("#get-healthz button[type=submit]").press("Enter")
        playwright.expect(page.locator("#get-healthz .answer")).to_contain_text('"status": "ok"')
        page.locator('#post-detect a[href="#schema-Faces"]').first.press("Enter")
        playwright.expect(page.locator("#schema-Faces pre")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for button in page.locator("button:visible, summary:visible").all():
            assert button.bounding_box()["height"] >= LEAST_TOUCH
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (int(ground.split("(")[1].split(",")[0]) < 100) == (scheme == "dark")
        assert opened.errors == []
        assert all(url.startswith((running.url, "blob:")) for url in opened.requests)
        assert all(TOKEN not in url for url in opened.requests)


def test_the_documentation_shows_a_stream_of_events_until_it_is_stopped(
    browser: Any, running: Running
) -> None:
    with Page(browser, f"{running.url}/docs#get-events") as opened:
        page = opened.page
        page.fill("#get-events-after", "0")
        page.locator("#get-events button[type=submit]").click()
        answer = page.locator("#get-events .answer")
        playwright.expect(answer.locator("pre").nth(1)).to_contain_text("event: FaceAppeared")
        page.get_by_role("button", name="Stop").click()
        playwright.expect(answer.locator(".status")).to_contain_text("stopped")
        assert opened.errors == []


def test_without_a_source_the_page_offers_photos(
    browser: Any, default_detector: FaceDetector
) -> None:
    with serving(default_detector) as running, Page(browser, running.url) as opened:
        playwright.expect(opened.page.locator("#reason")).to_contain_text("photo")
        playwright.expect(opened.page.locator("#photo")).to_be_visible()
        assert opened.errors == []


def test_the_page_asks_for_the_token_and_keeps_only_the_cookie(
    browser: Any, scene: Scene, default_detector: FaceDetector
) -> None:
    options = ServeOptions(token=TOKEN, stream=True)
    with (
        serving(
            default_detector, options, source=scene, watch_detector=default_detector, watch=QUICK
        ) as running,
        Page(browser, running.url) as opened,
    ):
        page = opened.page
        playwright.expect(page.locator("#login")).to_be_visible()
        page.fill("#token", "wrong")
        page.keyboard.press("Enter")
        playwright.expect(page.locator("#login-error")).to_have_text("The token is wrong.")
        page.fill("#token", TOKEN)
        page.keyboard.press("Enter")
        playwright.expect(page.locator("#answer")).to_have_text("Someone is here")
        playwright.expect(page.locator("#picture")).to_be_visible()
        kept = page.evaluate("[document.cookie, localStorage.length, sessionStorage.length]")
        assert kept == ["", 0, 0]
        page.reload()
        playwright.expect(page.locator("#answer")).to_have_text("Someone is here")
        assert all(TOKEN not in url for url in opened.requests)
