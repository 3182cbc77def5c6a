"""The benchmarks: their arithmetic, their images, and short real runs of each.

No test here judges a speed: machines differ, and these share theirs with other work.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from figures import result, run, saved

import benchmarks.__main__ as suite
from benchmarks import compare, hostile, import_time, latency, many, memory, scaling
from benchmarks.common import plots
from benchmarks.common.images import SAMPLES, cut, find, image_files, read_rgb
from benchmarks.common.program import BenchmarkError
from benchmarks.common.results import (
    read,
)
from benchmarks.common.timing import (
    geometric_mean,
    interleaved,
    pair_ratios,
    peak_rss_mb,
    rss_mb,
    spread,
)
from benchmarks.hostile_pictures import PICTURES
from benchmarks.limit import __main__ as limit
from benchmarks.limit import operators
from benchmarks.limit.flops import ONET, PNET, RNET, cascade_flops, network_flops
from benchmarks.limit.peak import measure_peak
from edge_mtcnn import FaceDetector
from edge_mtcnn.speed.timing import percentile

# Operations by hand: 2 x outputs x kernel x inputs for each layer of the paper's networks.
PNET_12 = (
    2 * (10 * 10 * 10) * (3 * 3 * 3)  # 12 -> 10
    + 2 * (3 * 3 * 16) * (3 * 3 * 10)  # pooled to 5 -> 3
    + 2 * (1 * 1 * 32) * (3 * 3 * 16)
    + 2 * (1 * 1 * 6) * 32
)
RNET_24 = (
    2 * (22 * 22 * 28) * (3 * 3 * 3)  # 24 -> 22
    + 2 * (9 * 9 * 48) * (3 * 3 * 28)  # pooled to 11 -> 9
    + 2 * (3 * 3 * 64) * (2 * 2 * 48)  # pooled to 4 -> 3
    + 2 * 576 * 128
    + 2 * 128 * 6
)
ONET_48 = (
    2 * (46 * 46 * 32) * (3 * 3 * 3)  # 48 -> 46
    + 2 * (21 * 21 * 64) * (3 * 3 * 32)  # pooled to 23 -> 21
    + 2 * (8 * 8 * 64) * (3 * 3 * 64)  # pooled to 10 -> 8
    + 2 * (3 * 3 * 128) * (2 * 2 * 64)  # pooled to 4 -> 3
    + 2 * 1152 * 256
    + 2 * 256 * 16
)


# Operations.


@pytest.mark.parametrize(
    ("layers", "side", "by_hand"),
    [(PNET, 12, PNET_12), (RNET, 24, RNET_24), (ONET, 48, ONET_48)],
    ids=["P-Net", "R-Net", "O-Net"],
)
def test_operations_of_a_window_are_those_counted_by_hand(
    layers: Any, side: int, by_hand: int
) -> None:
    assert network_flops(layers, side, side) == by_hand


def test_operations_of_an_image_are_those_of_its_levels_and_windows() -> None:
    work = cascade_flops([(12, 12), (12, 12)], 3, 5, 2)
    assert work == (2 * PNET_12, 3 * RNET_24, 5 * ONET_48, 2 * ONET_48)
    assert work.total == 2 * PNET_12 + 3 * RNET_24 + 7 * ONET_48


def test_operations_of_p_net_grow_with_the_area() -> None:
    small, large = network_flops(PNET, 200, 300), network_flops(PNET, 400, 600)
    assert 4 < large / small < 4.2  # a little more than four times: the border weighs less


def test_a_window_that_is_too_small_or_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing is left"):
        network_flops(PNET, 8, 12)
    with pytest.raises(ValueError, match="does not take"):
        network_flops(RNET, 48, 48)


# Arithmetic of measurements.


def test_percentiles_lie_between_the_sorted_values() -> None:
    values = [5.0, 1.0, 3.0, 2.0, 4.0]
    assert [percentile(values, share) for share in (0, 0.25, 0.5, 1)] == [1, 2, 3, 5]
    assert percentile([1.0, 2.0], 0.95) == pytest.approx(1.95)
    assert spread(values) == (2, 3, 4)
    with pytest.raises(ValueError, match="0 values"):
        percentile([], 0.5)


def test_ratios_are_taken_round_by_round() -> None:
    assert pair_ratios([2.0, 9.0], [1.0, 3.0]) == [2.0, 3.0]
    with pytest.raises(ValueError, match="shorter"):
        pair_ratios([1.0, 2.0], [1.0])
    assert geometric_mean([4.0, 0.25]) == pytest.approx(1.0)


def test_jobs_take_turns() -> None:
    calls: list[str] = []
    times = interleaved({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 3, 1)
    assert "".join(calls) == "ab" + "ababab"
    assert [len(samples) for samples in times.values()] == [3, 3]


def test_memory_of_this_process_is_plausible() -> None:
    before = rss_mb()
    block = np.ones(40_000_000, dtype=np.uint8)
    grown = rss_mb() - before
    assert 35 < grown < 60  # the block's 40 MB, and a little of others
    assert peak_rss_mb() >= before + 35
    del block


# Images.


def test_a_photo_is_found_by_its_bare_name() -> None:
    assert find(Path("astronaut")) == SAMPLES / "astronaut.jpg"
    with pytest.raises(BenchmarkError, match="nobody"):
        find(Path("nobody"))


def test_a_cut_has_the_shape_wanted_and_the_content_of_the_photo() -> None:
    photo = read_rgb(SAMPLES / "coffee.jpg")
    part = cut(photo, 90, 31, np.random.default_rng(0))
    assert part.shape == (31, 90, 3)
    assert abs(float(part.mean()) - float(photo.mean())) < 60  # grey levels: no black border


@pytest.mark.parametrize("faces", [0, 3])
def test_the_wall_of_photos_shows_as_many_faces_as_it_says(
    faces: int, default_detector: FaceDetector
) -> None:
    picture = scaling.wall(faces)
    assert picture.shape == (scaling.HEIGHT, scaling.WIDTH, 3)
    assert len(default_detector.detect(picture)) == faces


@pytest.mark.parametrize("name", [name for name in PICTURES if "100 Mpx" not in name])
def test_a_hostile_picture_is_the_same_every_time_and_as_large_as_it_says(name: str) -> None:
    picture = PICTURES[name]()
    assert picture.dtype == np.uint8
    assert picture.flags.c_contiguous
    assert np.array_equal(picture, PICTURES[name]())
    height, width, channels = picture.shape
    assert channels == 3
    if "Mpx" in name:
        said = float(name.split()[-2])
        assert width * height / 1e6 == pytest.approx(said, rel=0.03)  # 1,536,000 is 1.5 Mpx
    if name.startswith("strip"):
        assert name.endswith(f"{width}x{height}")


# Short real runs, each of which leaves a file of the schema.


def test_latency_measures_each_preset_beside_the_reference_job(tmp_path: Path) -> None:
    found = run(
        latency.main, tmp_path / "r.json", "astronaut", "--preset", "default", "kiosk",
        "--set", "min_face_size=40", "--rounds", "3", "--threads", "1",
    )  # fmt: skip
    assert set(found) == {
        "reference job", "latency/default/astronaut", "latency/kiosk/astronaut",
    }  # fmt: skip
    figure = found["latency/default/astronaut"]
    assert figure["detail"]["faces"] == 1
    assert len(figure["samples"]) == 3
    assert figure["relative"] > 0
    assert compare.main([str(tmp_path / "r.json")] * 2) == compare.DONE


def test_limit_reports_per_cent_of_the_peak_for_each_stage(tmp_path: Path) -> None:
    found = run(limit.main, tmp_path / "r.json", "astronaut", "--rounds", "2", "--peak", "100")
    whole = found["limit/astronaut/whole"]
    stages = [found[f"limit/astronaut/{stage}"]["detail"]["gflop"] for stage in limit.STAGES]
    assert whole["detail"]["gflop"] == pytest.approx(sum(stages), abs=5e-4)  # rounded to 4 places
    assert whole["value"] == pytest.approx(
        100 * whole["detail"]["gflop"] / 0.1 / whole["detail"]["ms"], rel=0.01
    )
    assert found["limit/astronaut/mirror"]["detail"]["count"] == 2  # one face, two windows


def test_the_peak_is_measured_by_numpy_and_onnx_runtime() -> None:
    peaks = measure_peak(1, seconds=0.05)
    assert set(peaks) == {"numpy", "onnxruntime"}
    assert all(0.5 < peak < 5000 for peak in peaks.values())  # GFLOP/s from a board to a server


def test_operators_report_time_and_work_of_every_node(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run(
        operators.main, tmp_path / "r.json", "--form", "plain", "--rounds", "2", "--peak", "100"
    )
    sizes = {"pnet": (PNET, 1, 138, 522), "rnet": (RNET, 32, 24, 24), "onet": (ONET, 8, 48, 48)}
    for network, (layers, count, height, width) in sizes.items():
        mine = [
            result for name, result in found.items() if name.startswith(f"operators/{network}/")
        ]
        assert all(result["value"] >= 0 for result in mine)
        done = sum(result["detail"]["gflop"] for result in mine)
        # One score per face takes the place of two, and ONNX Runtime pads P-Net's first channels.
        needed = count * network_flops(layers, height, width) / 1e9
        assert 0.98 * needed < done < 1.2 * needed
    assert "% of the work is needed" in capsys.readouterr().out
    assert operators.main(["--form", "no such form"]) == 2


def test_import_time_runs_in_fresh_processes(tmp_path: Path) -> None:
    found = run(import_time.main, tmp_path / "r.json", "--rounds", "1")
    parts = ("first use", "constructor")
    total = sum(found[f"import_time/{part} alone"]["value"] for part in parts)
    assert found["import_time/FaceDetector()"]["value"] == pytest.approx(total)


def test_every_way_to_search_many_photos_finds_the_same_faces(tmp_path: Path) -> None:
    found = run(many.main, tmp_path / "r.json", "--images", "4", "--rounds", "1")
    assert set(found) == {f"many/{way}" for way in many.WAYS}
    assert len({each["detail"]["faces"] for each in found.values()}) == 1
    assert found["many/detect_batch"]["relative"] == 1
    for each in found.values():
        assert each["value"] > 0
        assert 0 < each["detail"]["before_mb"] <= each["detail"]["peak_mb"]


def test_memory_is_measured_in_a_process_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "HUGE", (1500, 1000))
    monkeypatch.setattr(memory, "WIDEST", 500)
    monkeypatch.setattr(memory, "TALLEST", 400)
    monkeypatch.setattr(memory, "SAMPLE_EVERY", 2)
    found = run(memory.main, tmp_path / "r.json", "--images", "12", "--tail", "4")
    start, end = found["memory/start"]["value"], found["memory/12 images"]["value"]
    assert 30 < start < end  # NumPy, OpenCV and ONNX Runtime alone take more than 30 MB
    assert found["memory/12 images"]["detail"]["images"] == 12
    assert found["memory/two detectors, eight threads, 12 images"]["value"] > start


def test_a_measured_process_that_dies_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert memory.main(["--quick", "--preset", "no such preset"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: the measured process ended: ")
    assert "no such preset" in message
    assert message.count("\n") == 1


def test_hostile_measures_a_picture_beside_a_photo_of_its_size(tmp_path: Path) -> None:
    name = "strip 65000x20"
    found = run(hostile.main, tmp_path / "r.json", "--only", f"{name}, reference")
    assert set(found) == {f"hostile/time/{name}, reference", f"hostile/peak/{name}, reference"}
    peak = found[f"hostile/peak/{name}, reference"]
    assert peak["value"] > 30  # NumPy, OpenCV and ONNX Runtime alone take more than 30 MB
    assert peak["detail"]["pixels"] == 65000 * 20
    assert peak["detail"]["pnet_windows"] > peak["detail"]["rnet_windows"] > 0
    assert peak["detail"]["photo"] > 30


def test_hostile_goes_on_after_a_picture_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = hostile.Case("strip 1x65000", preset="no such preset")
    monkeypatch.setattr(hostile, "QUICK", (absent, hostile.Case("strip 1x65000")))
    output = tmp_path / "r.json"
    assert hostile.main(["--quick", "--output", str(output)]) == 1
    content = read(output)
    assert "no such preset" in content["settings"]["failed"][absent.name]
    assert "hostile/time/strip 1x65000" in {entry["name"] for entry in content["results"]}
    assert content["targets"][0]["value"] is None
    assert "OptionsError" in capsys.readouterr().out


def test_hostile_fails_where_a_picture_needs_more_memory_than_the_limit(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert hostile.main(["--only", "strip 1x65000", "--limit-mb", "50"]) == 1
    assert "not measured" in capsys.readouterr().out
    assert hostile.main(["--only", "no such picture"]) == 2
    assert "LED wall, 1.5 Mpx" in capsys.readouterr().err


def test_scaling_varies_one_thing_at_a_time_and_draws_it(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the plot needs matplotlib, dependency group bench")
    plot = tmp_path / "pictures" / "scaling.svg"
    found = run(
        scaling.main, tmp_path / "r.json", "--axes", "size", "--largest", "320",
        "--rounds", "2", "--plot", plot,
    )  # fmt: skip
    assert set(found) == {
        f"scaling/{kind}/size/{width}" for kind in ("time", "memory") for width in (160, 320)
    }
    assert "<svg" in plot.read_text()
    assert scaling.main(["--axes", "size", "--largest", "10"]) == 2


@pytest.mark.parametrize("benchmark", ["scaling", "memory", "peers"])
def test_results_are_drawn(benchmark: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="plots need matplotlib, dependency group bench")
    samples = (9.0, 10.0, 11.0)
    results = {
        "scaling": [result(f"scaling/time/faces/{n}", samples=samples) for n in (0, 24)],
        "memory": [result("memory/30 images", samples=samples, detail={"images": 30})],
        "peers": [
            result("time/ours default/20/astronaut", detail={"faces": 1}),
            result("time/yunet/20/astronaut", detail={"faces": 2}),
            result("ratio/yunet/default/20/astronaut", better="higher"),
            result("video/mediapipe", detail={"frames_with_a_face": 7}),
        ],
    }[benchmark]
    file = saved(tmp_path, f"{benchmark}.json", *results, benchmark=benchmark)
    assert plots.main([str(file), "--folder", str(tmp_path / "p"), "--suffix", "svg"]) == 0
    assert "<svg" in (tmp_path / "p" / f"{benchmark}.svg").read_text()


def test_results_without_a_picture_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="plots need matplotlib, dependency group bench")
    files = [saved(tmp_path, "latency.json", result())]
    files += [saved(tmp_path, "m.json", result("memory/start"), benchmark="memory")]
    assert plots.main([str(file) for file in files]) == 1
    told = capsys.readouterr().err
    assert "latency.json" in told
    assert "m.json" in told
    assert plots.main([str(tmp_path / "absent.json")]) == 2


@pytest.mark.slow
def test_the_suite_measures_all_samples(tmp_path: Path) -> None:
    output = tmp_path / "suite.json"
    assert suite.main(["--rounds", "3", "--output", str(output)]) == 0
    names = {entry["name"] for entry in read(output)["results"]}
    samples = {file.stem for file in image_files(SAMPLES)}
    assert {f"latency/default/{sample}" for sample in samples} < names
    assert {"memory/start", "import_time/FaceDetector()"} < names
