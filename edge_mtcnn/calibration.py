"""The file of a threshold calibration, as the detector and the commands read it.

``edge-mtcnn calibrate`` writes such a file; ``thresholds/`` computes it. "Calibration" here is the
statistics of confidence, never the box calibration of the cascade. Imports ``errors``, ``files``,
``known_false`` and ``options``.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edge_mtcnn.errors import OptionsError, shown
from edge_mtcnn.files import write_whole
from edge_mtcnn.known_false import KnownFalse, check_loss, entries_from
from edge_mtcnn.options import (
    PRESET_CONFIDENCES,
    PRESETS,
    DetectorOptions,
    angles_as_text,
    load_options,
)
from edge_mtcnn.options.checks import check_number, check_path

__all__ = [
    "SCHEMA",
    "SCHEMA_VERSION",
    "Calibration",
    "calibrate_advice",
    "flags_for",
    "load_calibration",
    "save_known_false",
]

SCHEMA = "edge-mtcnn calibration"
SCHEMA_VERSION = 1

# It chooses which of the found faces are reported; the scores stay the same.
_WITHOUT_EFFECT = frozenset({"confidence"})
_FLAGS = {
    "min_face_size": "--min-face-size",
    "max_face_size": "--max-face-size",
    "scale_factor": "--scale-factor",
    "exposure": "--exposure",
    "angles": "--angles",
}
"""Options of the detector that the commands have flags for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """A threshold measured on the user's own images, and the detector that it was measured with.

        calibration = load_calibration("camera.json")
        options = calibration.applied_to(DetectorOptions.from_preset("kiosk"))

    Attributes:
        threshold: lowest ``Face.score`` to report, 0..1.
        model_version: version of the models whose scores were measured; empty when unknown.
        options: values of ``DetectorOptions`` that the scores were measured with.
        known_false: things that were taken for faces, to leave out.
        warnings: what the images could not promise, one sentence each.
        command: arguments of the ``edge-mtcnn calibrate`` that wrote it, without the options of the
            detector and ``--output``; empty when it was not that command.
        file: where it was read from; empty when it was not read from a file.
    """

    threshold: float
    model_version: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    known_false: tuple[KnownFalse, ...] = ()
    warnings: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    file: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        check_number("threshold", self.threshold, 0.0, 1.0)

    def differences(self, options: Mapping[str, Any], model_version: str) -> tuple[str, ...]:
        """How another detector differs from the one that the scores were measured with.

        Args:
            options: ``DetectorOptions.to_dict()`` of that detector.
            model_version: version of its models.

        Returns:
            One ``name: calibrated with this, now that`` for each difference.
        """
        pairs = {name: (self.options[name], options.get(name)) for name in self.options}
        if self.model_version:
            pairs["model version"] = (self.model_version, model_version)
        return tuple(
            f"{name}: calibrated with {shown(then)}, now {shown(now)}"
            for name, (then, now) in pairs.items()
            if name not in _WITHOUT_EFFECT and _plain(then) != _plain(now)
        )

    def mismatch(
        self,
        options: Mapping[str, Any],
        model_version: str,
        *,
        place: str = "here",
        config: str | None = None,
        advice: str | None = None,
    ) -> str | None:
        """The warning for another detector, for which the threshold may not hold.

        Args:
            options: ``DetectorOptions.to_dict()`` of that detector.
            model_version: version of its models.
            place: where that detector is used, such as ``"for the camera"``.
            config: the options file that the detector was made with, if there was one.
            advice: what to do; by default the command that calibrates for that detector.

        Returns:
            One sentence with all differences and the advice; ``None`` when there is no difference.
        """
        differences = self.differences(options, model_version)
        if not differences:
            return None
        name = f"the threshold of {self.file}" if self.file else "the threshold"
        return (
            f"{name} was measured with another detector ({'; '.join(differences)}), so it may not"
            f" hold {place}; {advice or self._advice(options, config)}"
        )

    def _advice(self, options: Mapping[str, Any], config: str | None) -> str:
        images = self.command or ("FACES_DIR", "NONFACES_DIR")
        output = self.file or "calibration.json"
        return f"to calibrate again, {calibrate_advice(images, options, config, output)}"

    def applied_to(self, options: DetectorOptions) -> DetectorOptions:
        """The options with this threshold as ``confidence``.

        Raises:
            OptionsError: the options have a confidence that no preset has.
        """
        if options.confidence not in PRESET_CONFIDENCES:
            raise OptionsError(
                f"give confidence or calibration, not both; got confidence {options.confidence} and"
                f" the calibration {self.file}"
            )
        return replace(options, confidence=self.threshold)


def calibrate_advice(
    images: Sequence[str], options: Mapping[str, Any], config: str | None, output: str
) -> str:
    """Advice that ends with the command that calibrates for a detector, ``run: edge-mtcnn ...``.

    Args:
        images: arguments that name the images and their labels.
        options: ``DetectorOptions.to_dict()`` of the detector.
        config: the options file that it was made with, if there was one.
        output: file that the command writes.
    """
    first = ""
    flags = flags_for(options)
    if flags is None and config is not None:
        flags = ["--config", config, *_flags_over({}, options)]
        base = next((p for p in PRESETS if _from_file(config, p, options)), "default")
        if base != "default":
            first = f'put preset = "{base}" into {config}, then '
    elif flags is None:
        flags = ["--config", "detector.json"]
        first = 'save_options("detector.json", detector=options) of edge_mtcnn.options, then '
    return (
        first
        + "run: "
        + shlex.join(["edge-mtcnn", "calibrate", *images, *flags, "--output", output])
    )


def flags_for(options: Mapping[str, Any]) -> list[str] | None:
    """The flags with which every command makes this detector; ``None`` where no flags do.

    Args:
        options: ``DetectorOptions.to_dict()``.
    """
    choices = [
        [
            *(["--preset", name] if name != "default" else []),
            *_flags_over(preset.to_dict(), options),
        ]
        for name, preset in PRESETS.items()
        if _different(preset.to_dict(), options) <= set(_FLAGS)
    ]
    return min(choices, key=len, default=None)


def _flags_over(base: Mapping[str, Any], options: Mapping[str, Any]) -> list[str]:
    """The flags of values that are not those of ``base``."""
    flags: list[str] = []
    for name, flag in _FLAGS.items():
        value = options.get(name)
        if value is not None and _plain(value) != _plain(base.get(name)):
            if name == "angles":
                value = angles_as_text(value)
            flags += [flag, f"{value:g}" if isinstance(value, float) else str(value)]
    return flags


def _different(first: Mapping[str, Any], second: Mapping[str, Any]) -> set[str]:
    names = (set(first) & set(second)) - _WITHOUT_EFFECT
    return {name for name in names if _plain(first[name]) != _plain(second[name])}


def _from_file(config: str, preset: str, options: Mapping[str, Any]) -> bool:
    """Whether the file makes this detector on top of a preset, except for what flags set."""
    detector, _ = load_options(config, preset=preset)
    return _different(detector.to_dict(), options) <= set(_FLAGS)


def load_calibration(path: str | os.PathLike[str]) -> Calibration:
    """Read a file of ``edge-mtcnn calibrate``.

    Raises:
        OptionsError: the file cannot be read, or is not a calibration of this version.
    """
    file = check_path("calibration", path)
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise OptionsError(f"cannot read the calibration file {file}: {error}") from None
    except json.JSONDecodeError as error:
        raise OptionsError(f"{file} is not valid JSON: {error}") from None
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise OptionsError(f"{file} is not a calibration; make one with 'edge-mtcnn calibrate'")
    if content.get("schema_version") != SCHEMA_VERSION:
        raise OptionsError(
            f"{file} has schema_version {shown(content.get('schema_version'))}; this version of"
            f" edge-mtcnn reads {SCHEMA_VERSION}: run 'edge-mtcnn calibrate' again"
        )
    provenance = _table(file, content, "provenance")
    warnings = content.get("warnings", [])
    if not isinstance(warnings, list) or not all(isinstance(text, str) for text in warnings):
        raise OptionsError(f"{file}: warnings must be a list of texts; got {shown(warnings)}")
    command = provenance.get("command", [])
    if not isinstance(command, list) or not all(isinstance(text, str) for text in command):
        raise OptionsError(f"{file}: command must be a list of texts; got {shown(command)}")
    try:
        return Calibration(
            threshold=content.get("threshold"),  # type: ignore[arg-type]  # checked there
            model_version=str(provenance.get("model_version", "")),
            options=_table(file, provenance, "detector_options"),
            known_false=entries_from(content.get("known_false", [])),
            warnings=tuple(warnings),
            command=tuple(command),
            file=os.fspath(path),
        )
    except OptionsError as error:
        raise OptionsError(f"{file}: {error}") from None


def save_known_false(path: str | os.PathLike[str], entries: Iterable[KnownFalse]) -> None:
    """Replace the known false faces of a calibration file, whole or not at all.

    Raises:
        OptionsError: it is not a calibration file, or the entries would cost too many real faces.
        OSError: it cannot be written.
    """
    entries = list(entries)
    load_calibration(path)
    check_loss(entries)
    file = Path(path)
    content = json.loads(file.read_text(encoding="utf-8"))
    content.pop("known_false", None)
    if entries:
        content["known_false"] = [entry.to_dict() for entry in entries]
    write_whole(file, (json.dumps(content, indent=2) + "\n").encode("ascii"))


def _table(file: Path, content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table = content.get(name, {})
    if not isinstance(table, dict):
        raise OptionsError(
            f"{file}: {name} must be a table of names and values; got {shown(table)}"
        )
    return table


def _plain(value: object) -> object:
    """A tuple as the list that JSON makes of it."""
    return list(value) if isinstance(value, tuple) else value
