"""Frames of sources that are not mounted upright: turned as asked, or as their faces say."""

from __future__ import annotations

import itertools
import subprocess
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from videos import Image, background, panned, scene, wait_until, write_video

from edge_mtcnn import FaceDetector, OptionsError
from edge_mtcnn.images.mounting import FLIPS, ROTATIONS, Mounting
from edge_mtcnn.video import (
    Event,
    FaceAppeared,
    FaceWatcher,
    Frame,
    PresenceOptions,
    RotationFound,
    Snapshot,
    SourceLost,
    SourceOptions,
    WatchOptions,
    draw_snapshot,
    load_watch_options,
    open_source,
)
from edge_mtcnn.video.source import devices
from edge_mtcnn.video.source.captures import SourceSpec

FPS = 20.0
TURNED = [(r, f) for r in ROTATIONS for f in (None, *FLIPS)]
BACK = {0: 0, 90: 270, 180: 180, 270: 90}


@pytest.fixture(scope="module")
def detector() -> Iterator[FaceDetector]:
    with FaceDetector(preset="kiosk") as loaded:
        yield loaded


def sideways(frames: Iterable[Image], rotate: int, flip: Any = None) -> list[Image]:
    """Frames of a camera that is mounted so that ``rotate`` and ``flip`` make them upright."""
    flipped = (Mounting(flip=flip).applied(frame) for frame in frames)
    return [Mounting(rotate=BACK[rotate]).applied(frame) for frame in flipped]  # type: ignore[arg-type]


def watched(
    frames: list[Image],
    detector: FaceDetector,
    on_frame: Callable[[Frame, Snapshot], object] | None = None,
    **options: Any,
) -> tuple[list[Event], Snapshot]:
    """All events and the last snapshot of a watcher of these frames."""
    source = SourceOptions(pace="fast", **{"fps": FPS, "rotate": "auto", **options})
    with FaceWatcher(
        lambda: iter(frames), detector, WatchOptions(source=source), on_frame=on_frame
    ) as watcher:
        events = list(watcher.events(after=0))
        assert watcher.callback_errors == 0
        return events, watcher.snapshot


def found(events: list[Event]) -> list[RotationFound]:
    return [event for event in events if isinstance(event, RotationFound)]


@pytest.mark.parametrize(("rotate", "flip"), TURNED)
def test_frames_are_turned_once_when_they_are_read(rotate: Any, flip: Any, tmp_path: Path) -> None:
    picture = scene([(80, 40)])
    options = SourceOptions(rotate=rotate, flip=flip, pace="fast")
    expected = Mounting(rotate=rotate, flip=flip).applied(picture)
    for frame in (picture, picture[..., 0]):  # colour and gray
        with open_source([frame], options) as source:
            read = source.read(5)
            assert read is not None
            assert np.array_equal(read.image, expected if frame.ndim == 3 else expected[..., 0])
    video = write_video(tmp_path / "turned.avi", sideways([picture] * 2, rotate, flip))
    with open_source(video, options) as source:
        read = source.read(5)
        assert read is not None
        assert float(cv2.absdiff(read.image, picture).mean()) < 3, "but for the JPEG"


def test_frames_that_are_upright_are_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Mounting, "applied", lambda *_: pytest.fail("a frame was turned"))
    with open_source([scene([(80, 40)])] * 3, SourceOptions(fps=FPS)) as source:
        assert len(list(source)) == 3


@pytest.mark.parametrize("flip", [None, "horizontal"])
@pytest.mark.parametrize("rotate", ROTATIONS)
def test_auto_finds_the_rotation_by_the_first_faces(
    detector: FaceDetector, rotate: int, flip: Any
) -> None:
    frames = sideways(itertools.chain(itertools.repeat(background(), 15), panned(60)), rotate, flip)
    seen: list[bool] = []

    def on_frame(frame: Frame, snapshot: Snapshot) -> None:
        if snapshot.rotation_state == "found":
            assert frame.image.shape == (240, 320, 3)
            assert snapshot.frame_size == (240, 320)
            assert draw_snapshot(frame.image, snapshot).shape == (240, 320, 3)
            seen.append(any(track.seen for track in snapshot.tracks))

    events, last = watched(frames, detector, on_frame, flip=flip)
    (event,) = found(events)
    assert (event.rotation, event.previous) == (rotate, 0)
    assert event.position_seconds is not None
    assert event.position_seconds <= 15 / FPS + 2, "within two seconds of the first face"
    assert (last.rotation, last.rotation_state) == (rotate, "found")
    assert len(seen) > 30
    assert all(seen)
    appeared = [event for event in events if isinstance(event, FaceAppeared)]
    x1, y1, x2, y2 = appeared[-1].box
    assert 0 <= x1 < x2 <= 320
    assert 40 <= y1 < y2 <= 200, "the box is in the turned picture"


def test_several_people_settle_it_at_once(detector: FaceDetector) -> None:
    crowd = scene([(0, 0), (160, 0), (320, 0)], (240, 480))
    events, last = watched(sideways([crowd] * 3, 180), detector)
    assert (found(events)[0].position_seconds, last.rotation) == (0.0, 180)


def test_without_faces_it_goes_on_looking_but_not_at_what_has_not_changed(
    detector: FaceDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Any] = []
    detect = type(detector).detect

    def counted(self: FaceDetector, image: Any, **more: Any) -> Any:
        looks.append(image)
        return detect(self, image, **more)

    monkeypatch.setattr(FaceDetector, "detect", counted)
    events, last = watched([background()] * 100, detector)
    assert not found(events)
    assert (last.rotation, last.rotation_state) == (0, "looking")
    assert len(looks) == 4, "one look in four orientations"


def test_nobody_is_no_answer_while_people_may_lie_on_their_side(detector: FaceDetector) -> None:
    answers = set()
    watched([background()] * 10, detector, lambda _, snapshot: answers.add(snapshot.answer))
    assert answers == {"unknown"}
    watched([background()] * 10, detector, lambda _, s: answers.add(s.answer), rotate=90)
    assert answers == {"unknown", "nobody"}


def test_two_orientations_with_equal_faces_leave_it_undecided(detector: FaceDetector) -> None:
    upright = scene([(80, 40)])
    both = np.hstack([upright, cv2.rotate(upright, cv2.ROTATE_180)])
    events, last = watched([both] * 60, detector)
    assert not found(events)
    assert (last.rotation, last.rotation_state) == (0, "looking")
    assert any(isinstance(event, FaceAppeared) for event in events), "upright people are reported"
    # More people who agree decide it.
    crowd = np.hstack([both, *[cv2.rotate(upright, cv2.ROTATE_180)] * 6])
    events, last = watched([both] * 20 + [crowd] * 40, detector)
    assert last.rotation == 180


def test_once_found_nothing_is_looked_at_again(
    detector: FaceDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edge_mtcnn.video.rotation import RotationFinder

    states: list[str] = []
    look = RotationFinder.look

    def counted(self: RotationFinder, frame: Frame) -> Frame | None:
        upright = look(self, frame)
        states.append("looking" if upright is None else "found")
        return upright

    monkeypatch.setattr(RotationFinder, "look", counted)
    watched(sideways(panned(60), 90), detector)
    assert states.count("found") == 1
    assert states[-1] == "found"
    assert len(states) < 40


def test_the_rotation_stays_when_the_source_is_lost_and_when_it_is_started_again(
    detector: FaceDetector,
) -> None:
    frames = sideways(panned(40), 90)
    options = WatchOptions(
        source=SourceOptions(rotate="auto", live=True, retry_first=0.01, retry_longest=0.02)
    )

    def camera() -> Iterator[Image]:
        for frame in frames:
            yield frame
            wait_until(lambda: False, 0.03)
        raise RuntimeError("the cable is out")

    with FaceWatcher(camera, detector, options) as watcher:
        reader = watcher.events(after=0)
        for kind in (RotationFound, SourceLost, SourceLost):
            assert any(isinstance(event, kind) for event in iter(lambda: reader.get(10), None))
        watcher.stop()
        assert watcher.snapshot.rotation == 90
        watcher.start()
        assert wait_until(lambda: watcher.snapshot.state == "watching", 10)
        assert (watcher.snapshot.rotation, watcher.snapshot.rotation_state) == (90, "found")
        assert watcher.snapshot.frame_size == (240, 320)
        assert len(found(list(iter(lambda: reader.get(0), None)))) == 0


@pytest.mark.parametrize("flip", [None, "vertical"])
def test_it_looks_again_when_it_is_told_to(detector: FaceDetector, flip: Any) -> None:
    mounted = [90]

    def camera() -> Iterator[Image]:
        for picture in itertools.cycle(list(panned(80))):
            yield sideways([picture], mounted[0], flip)[0]
            wait_until(lambda: False, 0.02)

    source = SourceOptions(rotate="auto", flip=flip, live=True)
    options = WatchOptions(source=source, presence=PresenceOptions(appear_after=0.1))
    with FaceWatcher(camera, detector, options) as watcher:
        assert watcher.snapshot.rotation_state == "looking"
        for rotation, previous in ((90, 0), (180, 90), (270, 180)):
            reader = watcher.events()
            mounted[0] = rotation
            watcher.find_rotation()
            assert wait_until(lambda: watcher.snapshot.rotation_state == "looking")
            event = next(e for e in reader if found([e]))
            assert isinstance(event, RotationFound)
            assert (event.rotation, event.previous) == (rotation, previous)
            assert any(isinstance(e, FaceAppeared) for e in reader)


def test_a_watcher_that_does_not_run_looks_at_its_next_start(detector: FaceDetector) -> None:
    options = WatchOptions(source=SourceOptions(rotate="auto", pace="fast", fps=FPS))
    watcher = FaceWatcher(lambda: iter(sideways(panned(40), 270)), detector, options)
    for _ in range(2):
        watcher.find_rotation()
        assert watcher.snapshot.rotation_state == "looking"
        watcher.start()
        assert len(found(list(watcher.events(after=0)))) >= 1
        assert (watcher.snapshot.rotation, watcher.snapshot.rotation_state) == (270, "found")
    watcher.close()


def test_a_fixed_rotation_is_not_looked_for(detector: FaceDetector) -> None:
    events, last = watched(sideways(panned(20), 90), detector, rotate=90)
    assert not found(events)
    assert (last.rotation, last.rotation_state) == (90, "fixed")
    assert any(isinstance(event, FaceAppeared) for event in events)
    options = WatchOptions(source=SourceOptions(rotate=90))
    with pytest.raises(OptionsError, match="fixed at 90 degrees; use SourceOptions"):
        FaceWatcher([background()], detector, options).find_rotation()


def test_a_plain_source_cannot_find_its_rotation() -> None:
    with pytest.raises(OptionsError, match="only a FaceWatcher does; here rotate must be 0"):
        open_source([background()], SourceOptions(rotate="auto"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rotate": 45}, "rotate must be 0, 90, 180 or 270, degrees clockwise, or 'auto'"),
        ({"rotate": "Auto"}, "got 'Auto'"),
        ({"rotate": True}, "got True"),
        ({"flip": "diagonal"}, "flip must be one of horizontal, vertical; got 'diagonal'"),
        ({"rotate": "auto", "flip": 1}, "flip must be one of"),
    ],
)
def test_other_values_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionsError, match=message):
        SourceOptions(**options)


def test_an_options_file_has_them(tmp_path: Path) -> None:
    file = tmp_path / "kiosk.json"
    file.write_text('{"source": {"rotate": "auto", "flip": "vertical"}}')
    source = load_watch_options(file).source
    assert (source.rotate, source.flip) == ("auto", "vertical")
    file.write_text('{"source": {"rotate": 270, "flip": "none"}}')
    source = load_watch_options(file).source
    assert (source.rotate, source.flip) == (270, None)


@pytest.mark.parametrize("stored", [90, 180, 270])
def test_the_rotation_that_a_phone_stores_is_honoured_once(tmp_path: Path, stored: int) -> None:
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="imageio-ffmpeg is missing")
    picture = scene([(80, 40)])
    plain = write_video(tmp_path / "plain.avi", sideways([picture] * 5, stored))
    phone = tmp_path / "phone.mp4"
    # A display matrix counts counter-clockwise.
    subprocess.run(
        [
            *(imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-display_rotation", str(-stored)),
            *("-i", plain, "-c", "copy", phone),
        ],
        check=True,
    )
    for rotate, expected in ((0, picture), (90, cv2.rotate(picture, cv2.ROTATE_90_CLOCKWISE))):
        options = SourceOptions(rotate=rotate, pace="fast")  # type: ignore[arg-type]
        with open_source(phone, options) as source:
            frame = source.read(5)
            assert frame is not None
            assert frame.image.shape == expected.shape
            assert float(cv2.absdiff(frame.image, expected).mean()) < 3


class _Picamera2:
    """Stands in for a camera module, whose sensor may be unable to mirror."""

    able = True
    picture = scene([(80, 40)])

    def __init__(self, _number: int) -> None:
        self._transform = types.SimpleNamespace(hflip=0, vflip=0)

    def create_video_configuration(self, **settings: Any) -> Any:
        return settings

    def configure(self, settings: Any) -> None:
        if self.able:
            self._transform = settings.get("transform", self._transform)

    def camera_configuration(self) -> dict[str, Any]:
        return {"transform": self._transform}

    def start(self) -> None:
        pass

    def capture_array(self, _stream: str) -> Image:
        picture = self.picture
        if self._transform.hflip:
            picture = picture[:, ::-1]
        return np.ascontiguousarray(picture[::-1] if self._transform.vflip else picture)

    def close(self) -> None:
        pass


@pytest.mark.parametrize("able", [True, False], ids=["sensor mirrors", "sensor does not"])
@pytest.mark.parametrize(("rotate", "flip"), TURNED)
def test_a_camera_module_turns_its_frames_itself_where_it_can(
    monkeypatch: pytest.MonkeyPatch, rotate: Any, flip: Any, able: bool
) -> None:
    module: Any = types.ModuleType("picamera2")
    module.Picamera2 = _Picamera2
    library: Any = types.ModuleType("libcamera")
    library.Transform = types.SimpleNamespace
    monkeypatch.setitem(sys.modules, "picamera2", module)
    monkeypatch.setitem(sys.modules, "libcamera", library)
    monkeypatch.setattr(_Picamera2, "able", able)
    options = SourceOptions(rotate=rotate, flip=flip)
    with open_source("picamera2", options) as source:
        frame = source.read(5)
        assert frame is not None
    expected = Mounting(rotate=rotate, flip=flip).applied(_Picamera2.picture)
    assert np.array_equal(frame.image, expected)
    capture = devices.open_capture(SourceSpec("picamera2"), options)
    assert capture.turned == (able and rotate in (0, 180) and (rotate, flip) != (0, None))
