"""``edge-mtcnn bench``, the measuring behind it, and the readings of the device.

No speed is judged here; sensors are read from folders made like those of the boards.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.common.results import check
from edge_mtcnn import FaceDetector, Faces, read_image
from edge_mtcnn.board.memory import peak_resident_mb, resident_mb
from edge_mtcnn.board.sensors import Readings, read_device, slowed_down
from edge_mtcnn.cli import main
from edge_mtcnn.speed.timing import STAGES, ImageTimes, measure, percentile, same_faces, throughput

FEW_SECONDS = "0.2"  # the five rounds that are always taken come on top


def put(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


# Measuring.


def test_every_detector_detects_in_every_image_in_every_round(
    default_detector: FaceDetector,
    reference_detector: FaceDetector,
    sample_path: Callable[[str], Path],
) -> None:
    images = [read_image(sample_path(name)) for name in ("astronaut", "chelsea")]
    times = measure([default_detector, reference_detector], images, 0.0, fewest=3)
    assert [[len(t.samples) for t in of_detector] for of_detector in times] == [[3, 3], [3, 3]]
    assert [[len(t.faces) for t in of_detector] for of_detector in times] == [[1, 0], [1, 0]]
    for image in (image for of_detector in times for image in of_detector):
        assert set(image.stages) == set(STAGES)
        for number, sample in enumerate(image.samples):
            assert sum(image.stages[stage][number] for stage in STAGES) <= sample


def test_measuring_continues_until_the_time_is_over(default_detector: FaceDetector) -> None:
    image = np.zeros((64, 64, 3), dtype=np.uint8)
    [[times]] = measure([default_detector], [image], 0.3, fewest=1)
    assert len(times.samples) > 5  # a detection in so small an image takes a few milliseconds
    assert sum(times.samples) < 1300


def test_times_without_timings_are_refused() -> None:
    with pytest.raises(ValueError, match="timings=True"):
        _ = ImageTimes(Faces.empty((10, 10))).timings


def test_batches_have_a_rate(default_detector: FaceDetector) -> None:
    image = np.zeros((64, 64, 3), dtype=np.uint8)
    assert 1 < throughput(default_detector, [image] * 3, 0.05) < 100_000


def test_the_same_faces_in_another_order_are_the_same(
    default_detector: FaceDetector, sample_path: Callable[[str], Path]
) -> None:
    photo = read_image(sample_path("astronaut"))
    two = default_detector.detect(np.concatenate([photo, photo[:, ::-1]], axis=1))
    assert len(two) == 2
    assert same_faces(two, two[::-1])
    assert not same_faces(two, two[:1])
    moved = Faces(two.boxes + 5, two.scores, two.landmarks, image_size=two.image_size)
    assert not same_faces(two, moved)
    empty = Faces.empty(two.image_size)
    assert same_faces(empty, empty)


def test_percentiles_of_unsorted_times() -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], 0.5) == 2.5
    assert percentile([7.0], 0.95) == 7.0
    with pytest.raises(ValueError, match="0 values"):
        percentile([], 0.5)
    with pytest.raises(ValueError, match="share 2"):
        percentile([1.0], 2)


# Readings of the device.


def test_a_raspberry_pi_reports_that_its_power_is_too_low(tmp_path: Path) -> None:
    root = put(
        tmp_path,
        {
            "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
            "sys/class/thermal/thermal_zone0/temp": "81250\n",
            "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq": "1000000\n",
            "sys/devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq": "1800000\n",
            "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
        },
    )
    readings = read_device(root)
    assert readings == Readings(
        temperatures={"cpu-thermal": 81.25},
        clock_mhz=1000.0,
        max_clock_mhz=1800.0,
        limits=("under-voltage", "throttled"),
    )
    assert slowed_down(Readings(), readings) == ("under-voltage", "throttled")
    json.dumps(readings.to_dict())


def test_a_board_that_was_throttled_before_but_not_now_is_not_slowed_down(tmp_path: Path) -> None:
    root = put(
        tmp_path, {"sys/devices/platform/soc/soc:firmware/get_throttled": "50000\n"}
    )  # fmt: skip
    assert read_device(root).limits == ()


def test_a_jetson_reports_cooling_and_over_current(tmp_path: Path) -> None:
    zones = {"CPU-therm": "45500", "GPU-therm": "44000", "PMIC-Die": "-256000", "CPU-copy": "n/a"}
    files = {}
    for number, (name, degrees) in enumerate(zones.items()):
        files[f"sys/class/thermal/thermal_zone{number}/type"] = name
        files[f"sys/class/thermal/thermal_zone{number}/temp"] = degrees
    cooling = {"pwm-fan": ("3", "4"), "cpufreq-cpu0": ("2", "10"), "cpufreq-cpu4": ("0", "10")}
    for number, (name, (state, most)) in enumerate(cooling.items()):
        device = f"sys/class/thermal/cooling_device{number}"
        files |= {f"{device}/type": name, f"{device}/cur_state": state, f"{device}/max_state": most}
    files["sys/class/hwmon/hwmon1/oc1_event_cnt"] = "3"
    files["sys/class/hwmon/hwmon1/oc2_event_cnt"] = "4"
    readings = read_device(put(tmp_path, files))
    assert readings.temperatures == {"CPU-therm": 45.5, "GPU-therm": 44.0}
    assert readings.limits == ("cpufreq-cpu0 at 2 of 10 to cool down",)
    assert readings.throttle_events == 7


def test_throttling_of_a_server_is_what_its_cores_counted_meanwhile(tmp_path: Path) -> None:
    counter = "sys/devices/system/cpu/cpu{}/thermal_throttle/core_throttle_count"
    before = read_device(put(tmp_path, {counter.format(0): "5\n", counter.format(1): "0\n"}))
    after = read_device(put(tmp_path, {counter.format(1): "2\n"}))
    assert (before.throttle_events, after.throttle_events) == (5, 7)
    assert slowed_down(before, after) == ("throttled 2 times",)
    assert slowed_down(after, after) == ()


def test_two_zones_of_one_name_are_both_reported(tmp_path: Path) -> None:
    files = {}
    for number in range(2):
        files[f"sys/class/thermal/thermal_zone{number}/type"] = "acpitz"
        files[f"sys/class/thermal/thermal_zone{number}/temp"] = f"{30 + number}000"
    readings = read_device(put(tmp_path, files))
    assert readings.temperatures == {"acpitz": 30.0, "acpitz (thermal_zone1)": 31.0}


def test_a_system_without_sensors_reports_nothing(tmp_path: Path) -> None:
    put(tmp_path, {"sys/devices/platform/soc/soc:firmware/get_throttled": "what?"})
    assert read_device(tmp_path) == Readings()


def test_the_sensors_of_this_machine_can_be_read() -> None:
    readings = read_device()
    json.dumps(readings.to_dict())
    assert [
        name for name, degrees in readings.temperatures.items() if not -40 < degrees < 200
    ] == []
    assert readings.clock_mhz is None or 10 < readings.clock_mhz < 20_000


def test_resident_memory_is_not_above_its_peak() -> None:
    now, peak = resident_mb(), peak_resident_mb()
    if now is None or peak is None:
        pytest.skip("this system does not report the memory of a process")
    assert 10 < now <= peak


# The command.


def test_bench_reports_what_runs_and_how_long_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--seconds", FEW_SECONDS, "--threads", "1"]) == 0
    output = capsys.readouterr().out
    assert "CPUExecutionProvider, 1 thread, form" in output
    assert "astronaut.jpg: 512x512, 1 face" in output
    assert re.search(r"median \d+\.\d ms, p95 \d+\.\d ms over \d+ detections", output)
    assert "ms per stage: pyramid" in output
    assert re.search(r"10 levels through P-Net, \d+ through R-Net, \d+ through O-Net", output)
    assert "detect_batch:" in output


def test_bench_reports_heat_and_throttling(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    readings = iter(
        [
            Readings(temperatures={"cpu": 50.2}),
            Readings(temperatures={"cpu": 81.7}, clock_mhz=1000.0, max_clock_mhz=1800.0,
                     limits=("throttled",)),
        ]
    )  # fmt: skip
    monkeypatch.setattr("edge_mtcnn.speed.report.read_device", lambda: next(readings))
    assert main(["bench", "--seconds", FEW_SECONDS, "--preset", "kiosk"]) == 0
    output = capsys.readouterr().out
    assert "temperature of cpu: 82 °C, 50 before" in output
    assert "clock: 1000 MHz of at most 1800" in output
    assert "warning: the device was slowed down: throttled" in output


def test_bench_as_json_is_of_the_schema_of_the_benchmarks(
    capsys: pytest.CaptureFixture[str], sample_path: Callable[[str], Path]
) -> None:
    files = [str(sample_path(name)) for name in ("astronaut", "chelsea")]
    assert main(["bench", *files, "--seconds", FEW_SECONDS, "--preset", "kiosk", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    check(content)
    found = {entry["name"]: entry for entry in content["results"]}
    assert [image["name"] for image in content["images"]] == ["astronaut.jpg", "chelsea.jpg"]
    face, cat = found["latency/astronaut.jpg"], found["latency/chelsea.jpg"]
    assert (face["detail"]["faces"], cat["detail"]["faces"]) == (1, 0)
    assert min(face["samples"]) <= face["value"] <= face["detail"]["p95_ms"] <= max(face["samples"])
    assert set(face["detail"]["stages_ms"]) == set(STAGES)
    assert found["detect_batch"]["better"] == "higher"
    assert content["settings"]["options"]["min_face_size"] == 80
    assert content["versions"]["onnxruntime"]
    assert set(content["sensors"]) == {"before", "after"}


def test_bench_reports_where_a_cap_cut_the_candidates(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    config = tmp_path / "few.json"
    config.write_text(json.dumps({"detector": {"max_candidates": [50, 20, 10]}}))
    assert main(["bench", "--config", str(config), "--seconds", FEW_SECONDS]) == 0
    assert "cut by caps: pnet" in capsys.readouterr().out


def test_bench_continues_without_the_images_that_it_cannot_read(
    capsys: pytest.CaptureFixture[str], sample_path: Callable[[str], Path], tmp_path: Path
) -> None:
    shutil.copy(sample_path("chelsea"), tmp_path / "cat.jpg")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 not much of a JPEG")
    assert main(["bench", str(tmp_path), "--seconds", FEW_SECONDS]) == 1
    output = capsys.readouterr()
    assert "cat.jpg: 451x300, 0 faces" in output.out
    assert "broken.jpg" in output.err
    (tmp_path / "empty").mkdir()
    files = [str(tmp_path / name) for name in ("cat.jpg", "empty")]
    assert main(["bench", *files, "--seconds", FEW_SECONDS]) == 1
    assert "empty: no image files in this folder; --recursive" in capsys.readouterr().err
    assert main(["bench", str(tmp_path / "broken.jpg")]) == 2
    assert "nothing to measure" in capsys.readouterr().err


def test_bench_takes_the_first_images_of_a_large_folder(
    capsys: pytest.CaptureFixture[str],
    sample_path: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edge_mtcnn.cli.inputs._MOST_IMAGES", 2)
    for name in "abc":
        shutil.copy(sample_path("chelsea"), tmp_path / f"{name}.jpg")
    assert main(["bench", str(tmp_path), "--seconds", FEW_SECONDS]) == 0
    output = capsys.readouterr()
    assert "the first 2 of 3 images" in output.err
    assert re.findall(r"(\w)\.jpg: 451x300", output.out) == ["a", "b"]


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf"])
def test_bench_wants_a_time_above_nothing(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", f"--seconds={seconds}"]) == 2
    assert "--seconds must be above 0" in capsys.readouterr().err
