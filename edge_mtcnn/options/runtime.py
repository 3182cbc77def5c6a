"""``RuntimeOptions``: how to run the networks."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from edge_mtcnn.errors import OptionsError, shown
from edge_mtcnn.options.checks import check_choice, check_int, replaced

__all__ = ["DEVICES", "RuntimeOptions", "provider_options"]

DEVICES = ("cpu", "cuda", "tensorrt", "auto")
"""Names of devices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeOptions:
    """How to run the networks.

    Attributes:
        device: ``"cpu"``; ``"cuda"`` or ``"tensorrt"``, an error where it does not start;
            ``"auto"``, the fastest that starts and finds the same as the processor; or a sequence
            of ONNX Runtime execution providers, an error where the first of them does not start. A
            provider is a name, a name and its options (``("OpenVINOExecutionProvider",
            {"device_type": "GPU"})``), or both as text
            (``"OpenVINOExecutionProvider?device_type=GPU"``), which is what is kept.
        threads: number of threads that share the work of one image, 1..256; ``None`` for as many as
            the affinity mask and the container allow.
        models: folder with another ``manifest.json`` and its model files; ``None`` for the models
            of the package.
        form: form of the networks, by its name in the manifest; ``"auto"`` for the one that suits
            the processor.
    """

    device: str | tuple[Any, ...] = "cpu"
    threads: int | None = None
    models: str | os.PathLike[str] | None = None
    form: str = "auto"

    def __post_init__(self) -> None:
        if isinstance(self.device, str):
            check_choice("device", self.device, DEVICES)
        else:
            given = self.device if isinstance(self.device, Sequence) else ()
            try:
                names = tuple(map(_provider_text, () if isinstance(given, bytes) else given))
            except (AttributeError, TypeError, ValueError):
                names = ()
            if not names:
                raise OptionsError(
                    f"device must be one of {', '.join(DEVICES)}, or a sequence of execution"
                    " providers, each a name or a name and its options; got"
                    f" {shown(self.device)}"
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


def provider_options(text: str) -> tuple[str, dict[str, str]]:
    """Name and options of an execution provider in ``RuntimeOptions.device``."""
    name, _, rest = text.partition("?")
    return name, dict(pair.split("=", 1) for pair in rest.split("&") if pair)


def _provider_text(provider: Any) -> str:
    """A provider as text; a ``ValueError`` or ``TypeError`` if it is none."""
    if not isinstance(provider, str):
        name, options = provider
        values = {
            key: str(int(value)) if isinstance(value, bool) else str(value)
            for key, value in options.items()
        }
        provider = name + "?" + "&".join(f"{key}={value}" for key, value in values.items())
    name, options = provider_options(provider)
    if not name or not all(options):
        raise ValueError(provider)
    return name + ("?" if options else "") + "&".join(f"{k}={v}" for k, v in options.items())
