"""What to look for (``DetectorOptions``) and how to run the networks (``RuntimeOptions``).

Options are frozen, keyword-only, checked when they are made, and saved as JSON or TOML. Each
default is written once, here. The option classes of the features use the same checks.
"""

from __future__ import annotations

import json
import numbers
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from edge_mtcnn.errors import OptionsError, shown

__all__ = [
    "MAX_GAIN",
    "PRESETS",
    "QUARTER_TURNS",
    "Angles",
    "DetectorOptions",
    "RuntimeOptions",
    "angles_as_text",
    "angles_from_text",
    "check_bool",
    "check_choice",
    "check_exposure",
    "check_function",
    "check_int",
    "check_number",
    "check_options",
    "check_path",
    "check_share",
    "check_timeout",
    "check_tuple",
    "check_type",
    "is_number",
    "load_options",
    "load_section",
    "nearest",
    "save_options",
]

SECTIONS = ("preset", "detector", "runtime", "source", "tracking", "presence", "blind", "service")
"""What an options file may hold: a preset, and a table for each class of options. Each feature
reads its own tables, with ``load_section``."""

_Options = TypeVar("_Options")
_T = TypeVar("_T")
_TOML_NULL = "none"  # TOML has no null


def check_int(name: str, value: object, low: int, high: int | None, why: str = "") -> None:
    """Require a whole number in ``low..high``; ``high=None`` for no upper bound."""
    bound = f"at least {low}" + (f" ({why})" if why else "") if high is None else f"{low}..{high}"
    # bool is an int in Python, yet min_face_size=True is a slip.
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or value < low or (high is not None and value > high):  # type: ignore[operator]
        raise OptionsError(f"{name} must be a whole number {bound}; got {shown(value)}")


def is_number(value: object) -> bool:
    """Whether a value is a number; ``True`` and ``False`` are none."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def check_number(name: str, value: object, low: float, high: float) -> None:
    """Require a finite number in ``low..high``."""
    if not is_number(value) or not low <= value <= high:  # type: ignore[operator]  # NaN is in no range
        raise OptionsError(f"{name} must be a number in {low}..{high}; got {shown(value)}")


def check_share(name: str, value: object) -> None:
    """Require a number above 0 and at most 1."""
    if not is_number(value) or not 0 < value <= 1:  # type: ignore[operator]
        raise OptionsError(f"{name} must be above 0 and at most 1; got {shown(value)}")


def check_timeout(value: object) -> None:
    """Require a number of seconds, or ``None`` for no limit."""
    if value is not None:
        check_number("timeout", value, 0, float("inf"))


def check_bool(name: str, value: object) -> None:
    """Require ``True`` or ``False``."""
    if not isinstance(value, bool):
        raise OptionsError(f"{name} must be true or false; got {shown(value)}")


def check_tuple(name: str, value: object, places: tuple[str, ...]) -> tuple[Any, ...]:
    """Require one value for each of ``places``, such as the three networks."""
    if not isinstance(value, (tuple, list)) or len(value) != len(places):
        wanted = f"{', '.join(places[:-1])} and {places[-1]}"
        raise OptionsError(f"{name} must be {len(places)} values, for {wanted}; got {shown(value)}")
    return tuple(value)


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Require one of ``choices``."""
    if not isinstance(value, str) or value not in choices:
        raise OptionsError(
            f"{name} must be one of {', '.join(choices)}; got {shown(value)}"
            f"{nearest(value, choices)}"
        )


def check_exposure(value: object) -> str | float:
    """Require ``"auto"``, ``"off"`` or a gain in 1..``MAX_GAIN``; return it as a plain value."""
    if isinstance(value, str) and value in {"auto", "off"}:
        return value
    if not is_number(value) or not 1 <= value <= MAX_GAIN:  # type: ignore[operator]
        raise OptionsError(
            f"exposure must be auto, off or a gain in 1..{MAX_GAIN:g}; got {shown(value)}"
            f"{nearest(value, ('auto', 'off'))}"
        )
    return float(value)  # type: ignore[arg-type]


def nearest(word: object, known: Iterable[str]) -> str:
    """``; did you mean 'kiosk'?``, or nothing where no known word is similar."""
    import difflib  # only needed for a message

    text = word[:100] if isinstance(word, str) else ""
    found = difflib.get_close_matches(text, list(known), 1)
    return f"; did you mean {found[0]!r}?" if found else ""


def check_type(name: str, value: object, kind: type[_T], made_by: str = "") -> _T:
    """Require an object of a class; ``made_by`` says where people get one."""
    if not isinstance(value, kind):
        hint = f", as {made_by} returns it" if made_by else ""
        raise OptionsError(f"{name} must be {kind.__name__}{hint}; got {shown(value)}")
    return value


def check_options(name: str, value: object, kind: type[_T]) -> _T:
    """Require an object of a class of options, or ``None`` for its defaults."""
    return kind() if value is None else check_type(name, value, kind)


def check_path(name: str, value: object) -> Path:
    """Require a path, as ``str`` or ``PathLike``."""
    if not isinstance(value, (str, os.PathLike)):
        raise OptionsError(f"{name} must be a path; got {shown(value)}")
    return Path(value)


def check_function(name: str, value: object) -> None:
    """Require something that can be called."""
    if not callable(value):
        raise OptionsError(f"{name} must be a function; got {shown(value)}")


_NETWORKS = ("P-Net", "R-Net", "O-Net")
_LEVELS = ("one level", "all levels")

Angles = tuple[float, ...] | Literal["fallback"]
QUARTER_TURNS = (90.0, 180.0, 270.0)
"""The further looks of ``angles="fallback"``, degrees."""
MOST_ANGLES = 23
"""An angle every 15 degrees; the networks find a face that is tilted twice as much."""

MIN_FACE_SIZE = 10
"""The authors' setting for benchmarks; below 12, P-Net's window, the image is enlarged."""


MAX_GAIN = 8.0
"""Largest gain of ``exposure``: what is darker has more noise than light."""
DEFAULT_CONFIDENCE = 0.5
"""The score is a probability: from here on, a person's face is more likely than not."""
PRESET_CONFIDENCES = (0.0, DEFAULT_CONFIDENCE)
"""``confidence`` of all presets. A calibration replaces these, and conflicts with any other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorOptions:
    """What to look for. The defaults are the preset ``default``.

        options = DetectorOptions(min_face_size=60, confidence=0.9)
        kiosk = dataclasses.replace(DetectorOptions.from_preset("kiosk"), min_face_size=120)

    Attributes:
        min_face_size: side of the smallest window that the image pyramid gives P-Net, source
            pixels, at least 10. Doubling it quarters P-Net's work. It does not limit the results:
            regression may make a box smaller or larger than its window.
        max_face_size: side of the largest such window, source pixels, at least ``min_face_size``;
            ``None`` for no limit. It does not limit the results either.
        scale_factor: ratio of two neighbouring levels of the image pyramid, 0.1..0.95.
        thresholds: minimum face probability of a candidate of P-Net, R-Net and O-Net, 0..1 each.
        nms: IoU of P-Net's, R-Net's and O-Net's candidates, 0..1 each, above which the worse of two
            is dropped (for O-Net, the intersection over the smaller area). Lower values take less
            time and may lose a weak face close to a strong one.
        level_nms: IoU of P-Net's candidates of one level of the pyramid, 0..1, above which the
            worse of two is dropped.
        confidence: lowest ``Face.score`` that is reported, 0..1; 0 reports all faces above O-Net's
            threshold, as preset ``reference`` does.
        resampling: how levels and windows are sampled: ``"area"`` averages the full image, exactly
            as ``mtcnn`` 0.1.x does; ``"octaves"`` samples a pyramid of halved images, which is
            several times faster and as accurate.
        exposure: how dark places are brightened for the networks: ``"auto"`` multiplies pixels by
            1..8, each place by what it needs, where a part of the image is dark; ``"off"`` never
            does; a number in 1..8 multiplies all pixels by it.
        mirror: look at each face again, also in the mirror. Landmarks are then averaged, and
            ``Face.score`` is the calibrated probability of a person's face. Without it the score is
            O-Net's confidence.
        max_cells: maximum number of P-Net's cells above its threshold, in one level of the pyramid
            and in all levels together, at least 1 each. The best cells are kept, and
            ``Timings.capped`` contains ``"cells"``. ``None`` for no limit: memory then grows with
            the size of the image, by about five bytes for each of its bytes.
        max_candidates: maximum number of candidates after P-Net, R-Net and O-Net, at least 1 each.
            The best are kept, and ``Timings.capped`` contains the network. ``None`` for no limit:
            the time of a picture full of faces is then limited by ``timeout`` only.
        angles: angles of further looks at a photo, degrees by which the image is turned clockwise,
            such as ``(90, 180, 270)``; at most 23. -90 is kept as 270. Each look takes as long as
            a detection without angles, and may find false faces of its own. ``"fallback"`` looks at
            the three quarter turns, but only where nothing is found in the image as it is. Of
            several finds of one face, the one with the highest score is reported; ``Face.angle``
            is its angle. A tracker refuses a detector with angles.
    """

    min_face_size: int = 20
    max_face_size: int | None = None
    scale_factor: float = 0.709
    thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7)
    nms: tuple[float, float, float] = (0.7, 0.7, 0.7)
    level_nms: float = 0.5
    confidence: float = DEFAULT_CONFIDENCE
    mirror: bool = True
    resampling: Literal["area", "octaves"] = "octaves"
    exposure: Literal["auto", "off"] | float = "auto"
    max_cells: tuple[int, int] | None = (50_000, 100_000)
    max_candidates: tuple[int, int, int] | None = (10_000, 3_000, 1_000)
    angles: Angles = ()

    def __post_init__(self) -> None:
        # Plain values are kept, so that options made from NumPy numbers can be saved.
        check_int("min_face_size", self.min_face_size, MIN_FACE_SIZE, None)
        object.__setattr__(self, "min_face_size", int(self.min_face_size))
        if self.max_face_size is not None:
            check_int(
                "max_face_size", self.max_face_size, self.min_face_size, None, "min_face_size"
            )
            object.__setattr__(self, "max_face_size", int(self.max_face_size))
        check_number("scale_factor", self.scale_factor, 0.1, 0.95)
        object.__setattr__(self, "scale_factor", float(self.scale_factor))
        for name in ("level_nms", "confidence"):
            check_number(name, getattr(self, name), 0.0, 1.0)
            object.__setattr__(self, name, float(getattr(self, name)))
        check_choice("resampling", self.resampling, ("area", "octaves"))
        object.__setattr__(self, "exposure", check_exposure(self.exposure))
        check_bool("mirror", self.mirror)
        for name in ("thresholds", "nms"):
            values = check_tuple(name, getattr(self, name), _NETWORKS)
            for value in values:
                check_number(f"each of {name}", value, 0.0, 1.0)
            object.__setattr__(self, name, tuple(map(float, values)))
        for name, places in (("max_cells", _LEVELS), ("max_candidates", _NETWORKS)):
            if getattr(self, name) is not None:
                caps = check_tuple(name, getattr(self, name), places)
                for cap in caps:
                    check_int(f"each of {name}", cap, 1, None)
                object.__setattr__(self, name, tuple(map(int, caps)))
        object.__setattr__(self, "angles", _checked_angles(self.angles))

    @property
    def largest_gain(self) -> float:
        """The most that ``exposure`` multiplies a pixel by, 1..8."""
        exposure = self.exposure
        if isinstance(exposure, str):
            return MAX_GAIN if exposure == "auto" else 1.0
        return exposure

    @classmethod
    def from_preset(cls, name: str) -> DetectorOptions:
        """The options of a preset; change some with ``dataclasses.replace``.

        Args:
            name: ``"default"``; ``"reference"``, exactly what ``mtcnn`` 0.1.x computes; or
                ``"kiosk"``, people near a camera: faces of at least 80 pixels.

        Raises:
            OptionsError: there is no such preset.
        """
        check_choice("preset", name, tuple(PRESETS))
        return PRESETS[name]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DetectorOptions:
        """Options from plain values over the defaults; an unknown name is an ``OptionsError``."""
        return _replaced(cls(), values)

    def to_dict(self) -> dict[str, Any]:
        """All options as plain values."""
        return asdict(self)

    def every_find(self) -> DetectorOptions:
        """These options with all finds reported, whatever their score is, for measuring.

        ``"fallback"`` becomes its three angles: at some threshold nothing is found without them.
        """
        angles = QUARTER_TURNS if self.angles == "fallback" else self.angles
        return replace(self, confidence=0.0, angles=angles)


def angles_from_text(text: str) -> Angles:
    """``DetectorOptions.angles`` as people type them: ``90,180,270``, ``fallback`` or ``none``.

    Raises:
        OptionsError: it is none of these, or an angle is out of range.
    """
    if text == "fallback":
        return "fallback"
    parts = [] if text == "none" else text.split(",")
    try:
        angles = [float(part) for part in parts]
    except ValueError:
        raise OptionsError(
            "angles must be degrees separated by commas, such as 90,180,270, or fallback, or none;"
            f" got {shown(text)}"
        ) from None
    return _checked_angles(angles)


def angles_as_text(angles: Angles) -> str:
    """``DetectorOptions.angles`` as ``angles_from_text`` reads them."""
    if isinstance(angles, str):
        return angles
    return ",".join(f"{angle:g}" for angle in angles) or "none"


def _checked_angles(angles: object) -> Angles:
    """Angles of further looks, 0..360 each."""
    if isinstance(angles, str) and angles == "fallback":
        return "fallback"
    if not isinstance(angles, (tuple, list)):
        raise OptionsError(
            f"angles must be degrees, such as (90, 180, 270), or 'fallback'; got {shown(angles)}"
        )
    if len(angles) > MOST_ANGLES:
        raise OptionsError(f"angles must be at most {MOST_ANGLES}; got {len(angles)}")
    for angle in angles:
        check_number("each of angles", angle, -360, 360)
    turns = tuple(float(angle) % 360 % 360 for angle in angles)  # -1e-20 % 360 is 360.0
    if 0 in turns:
        raise OptionsError(
            "angles are further looks, and the image as it is is always looked at; leave out"
            f" {shown(angles[turns.index(0)])}"
        )
    if len(set(turns)) < len(turns):
        raise OptionsError(f"angles must all be different; got {shown(angles)}")
    return turns


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeOptions:
    """How to run the networks.

    Attributes:
        device: ``"cpu"``; ``"cuda"``, an error where CUDA does not start; ``"auto"``, the best
            provider that starts; or a sequence of ONNX Runtime execution provider names, an error
            where the first of them does not start.
        threads: number of threads that share the work of one image, 1..256; ``None`` for as many as
            the affinity mask and the container allow.
        models: folder with another ``manifest.json`` and its model files; ``None`` for the models
            of the package.
        form: form of the networks, by its name in the manifest; ``"auto"`` for the one that suits
            the processor.
    """

    device: str | tuple[str, ...] = "cpu"
    threads: int | None = None
    models: str | os.PathLike[str] | None = None
    form: str = "auto"

    def __post_init__(self) -> None:
        if isinstance(self.device, str):
            check_choice("device", self.device, ("cpu", "cuda", "auto"))
        else:
            names = tuple(self.device) if isinstance(self.device, Sequence) else ()
            if not names or not all(isinstance(name, str) and name for name in names):
                raise OptionsError(
                    "device must be 'cpu', 'cuda', 'auto' or a sequence of execution provider"
                    f" names; got {shown(self.device)}"
                )
            object.__setattr__(self, "device", names)
        if self.threads is not None:
            check_int("threads", self.threads, 1, 256)
            object.__setattr__(self, "threads", int(self.threads))
        if self.models is not None:
            if not isinstance(self.models, (str, os.PathLike)):
                raise OptionsError(f"models must be a path or None; got {shown(self.models)}")
            object.__setattr__(self, "models", os.fspath(self.models))
        if not isinstance(self.form, str) or not self.form:
            raise OptionsError(
                f"form must be 'auto' or a name in the manifest; got {shown(self.form)}"
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RuntimeOptions:
        """Options from plain values over the defaults; an unknown name is an ``OptionsError``."""
        return _replaced(cls(), values)

    def to_dict(self) -> dict[str, Any]:
        """All options as plain values."""
        return asdict(self)


PRESETS: Mapping[str, DetectorOptions] = {
    "default": DetectorOptions(),
    "reference": DetectorOptions(
        confidence=0.0,
        mirror=False,
        resampling="area",
        exposure="off",
        max_cells=None,
        max_candidates=None,
    ),
    # Near faces are found again and again: fewer levels and fewer windows lose none of them.
    "kiosk": DetectorOptions(min_face_size=80, scale_factor=0.6, nms=(0.5, 0.4, 0.7)),
}
"""Options by preset name."""


def load_options(
    path: str | os.PathLike[str], *, preset: str = "default"
) -> tuple[DetectorOptions, RuntimeOptions]:
    """Read what to look for and how to run it from a JSON or TOML file.

    The file holds ``preset`` (a name) and tables of options: ``detector`` and ``runtime``, which
    are read here, and those that ``load_section`` reads. All of them are optional. ``edge-mtcnn
    config --init`` writes a file with all options. Reading TOML needs Python 3.11 or newer.

    Args:
        path: the file, TOML if it ends in ``.toml``, otherwise JSON.
        preset: name of the preset that ``detector`` changes, if the file names none.

    Raises:
        OptionsError: the file cannot be read or parsed, or holds an unknown or invalid option.
    """
    content = _parse(check_path("path", path))
    try:
        base = DetectorOptions.from_preset(content.get("preset", preset))
    except OptionsError as error:
        raise OptionsError(f"{os.fspath(path)}: {error}") from None
    detector = load_section(path, "detector", base)
    return detector, load_section(path, "runtime", RuntimeOptions())


def load_section(
    path: str | os.PathLike[str], name: str, options: _Options, *, keep: Iterable[str] = ()
) -> _Options:
    """Options with the values of one table of an options file.

        presence = load_section("kiosk.toml", "presence", PresenceOptions())

    Args:
        path: the file, as for ``load_options``.
        name: the table, one of ``SECTIONS``; it may be missing.
        options: a dataclass of options; what the table does not name stays.
        keep: names that stay although the table names them, such as those of the command line.

    Raises:
        OptionsError: the file cannot be read or parsed, or the table holds an unknown or invalid
            option.
    """
    table = _parse(check_path("path", path)).get(name, {})
    try:
        return _replaced(options, table, keep)
    except OptionsError as error:
        raise OptionsError(f"{os.fspath(path)}: [{name}] {error}") from None


def save_options(
    path: str | os.PathLike[str],
    *,
    detector: DetectorOptions | None = None,
    runtime: RuntimeOptions | None = None,
) -> None:
    """Write options for ``load_options``, as TOML or JSON by the suffix; the file appears whole.

    Raises:
        OptionsError: the suffix is neither ``.json`` nor ``.toml``.
    """
    file = check_path("path", path)
    tables = {}
    if detector is not None:
        tables["detector"] = check_type("detector", detector, DetectorOptions).to_dict()
    if runtime is not None:
        tables["runtime"] = check_type("runtime", runtime, RuntimeOptions).to_dict()
    if file.suffix == ".json":
        text = json.dumps(tables, indent=2) + "\n"
    elif file.suffix == ".toml":
        # Strings, numbers, booleans and lists of them read the same in JSON and TOML.
        text = "\n".join(
            f"[{name}]\n" + "".join(f"{key} = {toml_value(item)}\n" for key, item in table.items())
            for name, table in tables.items()
        )
    else:
        raise OptionsError(f"options are saved as .json or .toml; got {shown(file.name)}")
    from edge_mtcnn.files import write_whole  # not at import: it loads tempfile

    write_whole(file, text.encode("utf-8"))


def toml_value(value: Any) -> str:
    # TOML knows no surrogate pairs, which is how JSON would escape some characters of a path.
    return json.dumps(_TOML_NULL if value is None else value, ensure_ascii=False)


def _parse(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise OptionsError(f"cannot read the options file {file}: {error}") from None
    if file.suffix == ".toml":
        try:
            import tomllib
        except ModuleNotFoundError:
            raise OptionsError(
                f"{file}: reading TOML needs Python 3.11 or newer; save the options as JSON"
            ) from None
        try:
            content: Any = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise OptionsError(f"{file} is not valid TOML: {error}") from None
    else:
        try:
            content = json.loads(text)
        except json.JSONDecodeError as error:
            raise OptionsError(f"{file} is not valid JSON: {error}") from None
    if not isinstance(content, dict):
        raise OptionsError(f"{file} must hold a table of options; got {type(content).__name__}")
    for name in content:
        if name not in SECTIONS:
            owners = [
                table
                for table, kind in (("detector", DetectorOptions), ("runtime", RuntimeOptions))
                if name in kind.__dataclass_fields__
            ]
            hint = f"; put it into the table [{owners[0]}]" if owners else nearest(name, SECTIONS)
            raise OptionsError(
                f"{file}: unknown entry {shown(name)}{hint}; known: {', '.join(SECTIONS)}"
            )
    return content


def _replaced(options: _Options, values: Any, keep: Iterable[str] = ()) -> _Options:
    """``options`` with some values changed, except for names in ``keep``; no unknown names."""
    if not isinstance(values, Mapping):
        raise OptionsError(f"options must be a table of names and values; got {shown(values)}")
    known = [field.name for field in fields(options)]  # type: ignore[arg-type]
    for name in values:
        if name not in known:
            kind = type(options).__name__
            raise OptionsError(
                f"unknown option {shown(name)} of {kind}{nearest(name, known)};"
                f" known: {', '.join(known)}"
            )
    changes: dict[str, Any] = {
        name: None if value == _TOML_NULL else tuple(value) if isinstance(value, list) else value
        for name, value in values.items()
        if name not in keep
    }
    return replace(options, **changes)  # type: ignore[type-var]
