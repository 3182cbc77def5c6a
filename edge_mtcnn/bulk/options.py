"""What a bulk run writes, and how it runs: ``BulkOptions`` and ``EngineOptions``.

The first decide what the rows contain, so a data set keeps them and refuses others. The second may
change from run to run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from edge_mtcnn.errors import OptionsError, shown
from edge_mtcnn.images.mounting import Flip, Mounting, Rotation
from edge_mtcnn.options.checks import check_bool, check_choice, check_int, check_number, check_type

__all__ = ["ENGINES", "BulkOptions", "EngineOptions", "Every"]

ENGINES = ("local", "ray")


@dataclass(frozen=True, slots=True)
class Every:
    """Which frames of a video are searched: one in ``seconds``, or one in ``frames``.

    Args:
        seconds: seconds from one frame to the next, above 0; ``None`` to count frames.
        frames: 1 for every frame, 2 for every second one; ``None`` to go by time.
    """

    seconds: float | None = None
    frames: int | None = None

    def __post_init__(self) -> None:
        if (self.seconds is None) == (self.frames is None):
            raise OptionsError("every needs seconds or frames, and not both")
        if self.seconds is not None:
            check_number("seconds of every", self.seconds, 0.001, 86_400)
        if self.frames is not None:
            check_int("frames of every", self.frames, 1, None)

    @classmethod
    def from_text(cls, text: str) -> Every:
        """Read ``0.5s`` as seconds and ``10`` as every tenth frame.

        Raises:
            OptionsError: it is neither.
        """
        if re.fullmatch(r"\d+", text):
            return cls(frames=int(text))
        if found := re.fullmatch(r"(\d*\.?\d+)\s*s", text):
            return cls(seconds=float(found[1]))
        raise OptionsError(
            "every must be seconds such as 0.5s, or a number of frames such as 10; got"
            f" {shown(text)}"
        )

    def __str__(self) -> str:
        return f"{self.seconds:g}s" if self.seconds is not None else str(self.frames)


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkOptions:
    """What is read from the inputs, and what is written.

    Attributes:
        every: frames of a video that are searched.
        column: column of Parquet and CSV files that has the path, the address or the bytes of each
            image; ``None`` for the only one that can be it.
        rotate, flip: how images and frames are turned, see ``Mounting``.
        crops: also write each face aligned, 112x112, to the table ``crops``.
    """

    every: Every = Every(seconds=1.0)
    column: str | None = None
    rotate: Rotation = 0
    flip: Flip | None = None
    crops: bool = False

    def __post_init__(self) -> None:
        check_type("every", self.every, Every)
        if self.column is not None:
            check_type("column", self.column, str)
        check_bool("crops", self.crops)
        object.__setattr__(self, "rotate", self.mounting.rotate)  # checks both

    @property
    def mounting(self) -> Mounting:
        """How images and frames are turned."""
        return Mounting(rotate=self.rotate, flip=self.flip)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for the file that a data set keeps."""
        return {
            "every": str(self.every),
            "column": self.column,
            "rotate": self.rotate,
            "flip": self.flip,
            "crops": self.crops,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """How a bulk run uses this machine, or a cluster.

    Attributes:
        engine: ``"local"`` for the threads of this process, ``"ray"`` for Ray Data.
        batch_size: images that are one piece of work and one file of each table, at least 1. What a
            killed run loses is at most the pieces it was working on.
        limit_rate: most images per second of the whole run; ``None`` for no limit.
        nice: niceness that is added for the run, 0..19; 0 for none. A process cannot take it back.
        ray_address: address of a running cluster; ``None`` to use the one that Ray finds, or to
            start one on this machine.
        num_cpus: processors that Ray may use; ``None`` for all of the cluster.
        num_gpus: GPUs that Ray may use, one detector on each; 0 for detectors on processors.
        retries: how often Ray tries a piece again whose process died, at least 0.
    """

    engine: Literal["local", "ray"] = "local"
    batch_size: int = 256
    limit_rate: float | None = None
    nice: int = 0
    ray_address: str | None = None
    num_cpus: int | None = None
    num_gpus: int = 0
    retries: int = 3

    def __post_init__(self) -> None:
        check_choice("engine", self.engine, ENGINES)
        check_int("batch_size", self.batch_size, 1, 1_000_000)
        if self.limit_rate is not None:
            check_number("limit_rate", self.limit_rate, 0.001, 1e9)
        check_int("nice", self.nice, 0, 19)
        if self.ray_address is not None:
            check_type("ray_address", self.ray_address, str)
        if self.num_cpus is not None:
            check_int("num_cpus", self.num_cpus, 1, None)
        check_int("num_gpus", self.num_gpus, 0, None)
        check_int("retries", self.retries, 0, 1000)
