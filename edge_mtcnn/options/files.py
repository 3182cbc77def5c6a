"""Options files, JSON or TOML: a preset, and a table for each class of options."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from edge_mtcnn.errors import OptionsError, shown
from edge_mtcnn.options.checks import NO_VALUE, check_path, check_type, nearest, replaced
from edge_mtcnn.options.detection import DetectorOptions
from edge_mtcnn.options.runtime import RuntimeOptions

__all__ = ["SECTIONS", "load_options", "load_section", "save_options", "toml_value"]

SECTIONS = ("preset", "detector", "runtime", "source", "tracking", "presence", "blind", "service")
"""What an options file may hold: a preset, and a table for each class of options. Each feature
reads its own tables, with ``load_section``."""

_Options = TypeVar("_Options")


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
        return replaced(options, table, keep)
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
    """A value as an options file has it."""
    # TOML knows no surrogate pairs, which is how JSON would escape some characters of a path.
    return json.dumps(NO_VALUE if value is None else value, ensure_ascii=False)


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
