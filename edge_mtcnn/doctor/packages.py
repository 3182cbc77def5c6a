"""The distributions of ONNX Runtime and OpenCV in this environment.

Reads package metadata only, so a broken package cannot crash the check.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions

__all__ = ["Package", "providers_of"]

_METADATA = ("METADATA", "PKG-INFO", "")  # of a wheel, and two older forms


@dataclass(frozen=True, slots=True)
class Package:
    """One installed distribution.

    Attributes:
        name: its name, lower case with hyphens.
        version: its version.
        from_index: whether the wheel is portable (``manylinux``), as the Python package index
            requires; wheels of board makers are not. ``None`` when unknown.
    """

    name: str
    version: str
    from_index: bool | None = None

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def providers_of(module: str, path: Iterable[str] | None = None) -> tuple[Package, ...]:
    """The distributions that install the import package ``module``.

    Args:
        module: name of the import package, such as ``cv2``.
        path: folders to look in; ``sys.path`` by default.
    """
    found: dict[str, Package] = {}
    listed = distributions() if path is None else distributions(path=list(path))
    for distribution in listed:
        if not any(map(distribution.read_text, _METADATA)):  # left by a broken removal
            continue
        name = distribution.metadata["Name"].lower().replace("_", "-")
        # The first on the path is the one that is imported.
        if name not in found and _installs(distribution, module):
            wheel = distribution.read_text("WHEEL")
            portable = None if wheel is None else "linux" not in wheel or "manylinux" in wheel
            found[name] = Package(name, distribution.version, portable)
    return tuple(found[name] for name in sorted(found))


def _installs(distribution: Distribution, module: str) -> bool:
    names = distribution.read_text("top_level.txt")
    if names is not None:
        return module in names.split()
    return any(file.parts[0] == module for file in distribution.files or ())
