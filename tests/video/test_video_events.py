"""Events and their readers, callbacks, and the check whether a frame shows anything."""

from __future__ import annotations

import gc
import json
import logging
import threading
import time
import weakref

import numpy as np
import pytest
from videos import Image, background, scene, wait_until

from edge_mtcnn import OptionsError
from edge_mtcnn.video import BlindOptions, Event, FaceAppeared, FaceLeft, SourceLost
from edge_mtcnn.video.blind import BlindCheck
from edge_mtcnn.video.callbacks import Callbacks
from edge_mtcnn.video.events import EventHub
from edge_mtcnn.video.tracking.motion import thumbnail


def lost(reason: str = "cable") -> Event:
    return SourceLost(reason=reason, time=1.0)


def test_every_reader_gets_every_event_in_order_with_numbers_without_gaps() -> None:
    hub = EventHub()
    readers = [hub.reader(10, None) for _ in range(2)]
    for _ in range(3):
        hub.send(lost())
    hub.end()
    for reader in readers:
        assert [event.sequence for event in reader] == [1, 2, 3]
        assert reader.closed


def test_a_slow_reader_loses_its_oldest_events_and_delays_no_other() -> None:
    hub = EventHub()
    slow, quick = hub.reader(2, None), hub.reader(100, None)
    for _ in range(5):
        hub.send(lost())
    hub.end()
    assert [event.sequence for event in slow] == [4, 5]
    assert slow.missed == 3
    assert len(list(quick)) == 5


def test_a_reader_resumes_after_the_last_event_it_knows_and_learns_what_is_forgotten() -> None:
    hub = EventHub(remembered=3)
    for _ in range(10):
        hub.send(lost())
    resumed, late = hub.reader(100, 8), hub.reader(100, 5)
    hub.end()
    assert [event.sequence for event in resumed] == [9, 10]
    assert resumed.missed == 0
    assert [event.sequence for event in late] == [8, 9, 10]
    assert late.missed == 2


def test_a_reader_made_after_the_end_has_the_past_and_ends() -> None:
    hub = EventHub()
    hub.send(lost())
    hub.end()
    assert [event.sequence for event in hub.reader(10, 0)] == [1]
    assert list(hub.reader(10, None)) == []
    hub.begin()
    assert not hub.reader(10, None).closed


def test_waiting_for_an_event_ends_in_time() -> None:
    reader = EventHub().reader(10, None)
    started = time.monotonic()
    assert reader.get(0.05) is None
    assert time.monotonic() - started < 0.5
    assert not reader.closed


def test_a_reader_that_was_dropped_is_forgotten() -> None:
    hub = EventHub()
    gone = weakref.ref(hub.reader(10, None))
    gc.collect()
    assert gone() is None
    hub.send(lost())


def test_an_event_is_plain_json_without_any_image() -> None:
    event = FaceLeft(time=2.5, position_seconds=1.25, person=3, dwell_seconds=1.5, reason="gone")
    hub = EventHub()
    reader = hub.reader(1, None)
    before = time.time()
    hub.send(event)
    sent = reader.get(1)
    assert sent is not None
    values = json.loads(json.dumps(sent.to_dict()))
    assert next(iter(values)) == "event"
    assert before - 0.001 <= values.pop("wall_time") <= time.time() + 0.001
    assert values == {
        "event": "FaceLeft",
        "sequence": 1,
        "time": 2.5,
        "position_seconds": 1.25,
        "person": 3,
        "dwell_seconds": 1.5,
        "reason": "gone",
    }


def test_numbers_of_an_event_have_no_senseless_digits() -> None:
    event = FaceAppeared(
        time=1.2000000000007276, person=1, box=(1 / 3, 2, 3, 4), score=0.99999949, eye_distance=1e-9
    )
    values = event.to_dict()
    assert (values["time"], values["box"]) == (1.2, (0.333, 2, 3, 4))
    assert (values["score"], values["eye_distance"]) == (0.999999, 0.0)


def test_a_callback_that_raises_is_reported_and_called_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hub = EventHub()
    callbacks = Callbacks(hub)
    seen: list[int] = []

    def broken(event: Event) -> None:
        seen.append(event.sequence)
        raise ValueError("my mistake")

    callbacks.add(broken)
    callbacks.start()
    with caplog.at_level(logging.ERROR):
        hub.send(lost())
        hub.send(lost())
        assert wait_until(lambda: callbacks.errors == 2)
    callbacks.stop(1)
    assert seen == [1, 2]
    assert "my mistake" in caplog.text


def test_a_callback_that_hangs_delays_neither_the_others_nor_the_stop() -> None:
    hub = EventHub()
    callbacks = Callbacks(hub)
    hang, seen = threading.Event(), []
    callbacks.add(lambda _: hang.wait(20))
    callbacks.add(lambda event: seen.append(event.sequence))
    callbacks.start()
    for _ in range(3):
        hub.send(lost())
    assert wait_until(lambda: seen == [1, 2, 3])
    started = time.monotonic()
    callbacks.stop(0.1)
    assert time.monotonic() - started < 0.5
    hang.set()


def test_a_removed_callback_is_not_called() -> None:
    hub = EventHub()
    callbacks = Callbacks(hub)
    seen: list[int] = []

    def note(event: Event) -> None:
        seen.append(event.sequence)

    callbacks.add(note)
    callbacks.start()
    hub.send(lost())
    assert wait_until(lambda: seen == [1])
    callbacks.remove(note)
    hub.send(lost())
    callbacks.stop(1)
    assert seen == [1]


# Blindness


def reasons(
    pictures: list[Image], options: BlindOptions | None = None, *, live: bool = True, fps: int = 10
) -> list[str | None]:
    check = BlindCheck(options)
    return [
        check.check(picture, thumbnail(picture), index / fps, live=live)
        for index, picture in enumerate(pictures)
    ]


def noisy(picture: Image, sigma: float, count: int) -> list[Image]:
    random = np.random.default_rng(1)
    return [
        np.clip(picture + random.normal(0, sigma, picture.shape), 0, 255).astype(np.uint8)
        for _ in range(count)
    ]


def test_a_black_picture_is_dark_after_a_moment_even_with_noise() -> None:
    assert reasons(noisy(np.full((240, 320, 3), 5, np.uint8), 3, 8)) == [None] * 5 + ["dark"] * 3


def test_a_dark_scene_is_not_blindness_as_long_as_a_gain_shows_it() -> None:
    day = scene([(80, 40)])
    for light, last in ((0.1, None), (0.05, None), (0.005, "dark")):
        dim = (day * light).astype(np.uint8)
        assert reasons(noisy(dim, 2, 8))[-1] == last
    # A detector without exposure sees as little in the dark as there is.
    check = BlindCheck(gain=1.0)
    dim = thumbnail((day * 0.04).astype(np.uint8))
    seen = [check.check(dim, dim, time, live=False) for time in (0.0, 1.0)]
    assert seen == [None, "dark"]


def test_small_lights_in_a_black_picture_leave_it_dark() -> None:
    night = np.zeros((240, 320, 3), np.uint8)
    night[100:104, 100:104] = 255
    assert reasons(noisy(night, 2, 8))[-1] == "dark"


def test_a_covered_lens_shows_one_colour() -> None:
    cover = np.full((240, 320, 3), (60, 80, 140), np.uint8)
    assert reasons(noisy(cover, 3, 8))[-1] == "covered"


def test_a_flash_of_darkness_is_not_blindness() -> None:
    black, day = np.zeros((240, 320, 3), np.uint8), scene([(80, 40)])
    pictures = noisy(day, 2, 3) + noisy(black, 1, 3) + noisy(day, 2, 3)
    assert reasons(pictures) == [None] * 9


def test_a_scene_and_a_dim_scene_are_not_blindness() -> None:
    day = scene([(80, 40)])
    assert reasons(noisy(day, 2, 12)) == [None] * 12
    dim = (day * 0.2).astype(np.uint8)
    assert reasons(noisy(dim, 1, 12)) == [None] * 12


def test_identical_frames_of_a_camera_are_frozen_and_those_of_a_file_are_not() -> None:
    pictures = [background()] * 8
    options = BlindOptions(frozen_seconds=0.5)
    assert reasons(pictures, options) == [None] * 5 + ["frozen"] * 3
    assert reasons(pictures, options, live=False) == [None] * 8
    assert reasons(noisy(background(), 1, 8), options) == [None] * 8


def test_a_changed_frame_size_is_not_a_frozen_picture() -> None:
    options = BlindOptions(frozen_seconds=0.2)
    sizes = [(240, 320), (120, 160)] * 4
    assert reasons([background(*size) for size in sizes], options) == [None] * 8


def test_the_checks_can_be_turned_off() -> None:
    options = BlindOptions(covered_spread=0, frozen_seconds=1e9)
    assert reasons([np.zeros((48, 64, 3), np.uint8)] * 20, options) == [None] * 20


@pytest.mark.parametrize(
    "options", [{"dark_level": 300}, {"hold_seconds": -1}, {"frozen_seconds": 0}], ids=str
)
def test_options_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(OptionsError):
        BlindOptions(**options)
