"""``RuntimeOptions``: how to run the networks."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from edge_mtcnn.errors import OptionsError, shown
from edge_mtcnn.options.checks import check_choice, check_int, replaced

__all__ = ["RuntimeOptions"]


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
        return replaced(cls(), values)

    def to_dict(self) -> dict[str, Any]:
        """All options as plain values."""
        return asdict(self)
