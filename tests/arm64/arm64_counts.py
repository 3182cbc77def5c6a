"""Counts the instructions that a program executes in an arm64 root, with a plugin of qemu.

Counts do not depend on how busy this machine is, and emulated time says nothing about a board.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from arm64_root import CHECKED, EMULATED, FOLDER, HERE, PACKAGES, SetupError, call

SOURCE = HERE / "count_instructions.c"
PLUGIN_VERSIONS = (1, 2, 4, 5)
"""Versions of qemu's plugin interface to offer; each qemu takes some of them."""


def why_not() -> str | None:
    """Why instructions cannot be counted here; ``None`` if they can."""
    if not EMULATED:
        return "only with emulation: qemu counts"
    if not shutil.which("qemu-aarch64") or not shutil.which("cc"):
        return "apt install qemu-user gcc"
    usage = subprocess.run(["qemu-aarch64", "-h"], capture_output=True, text=True, check=False)
    return None if "-plugin" in usage.stdout else "this qemu has no plugins"


def forms(root: Path, processor: str) -> str:
    """Instructions of one run of each network in each form, and which form needs fewer.

    Raises:
        SetupError: the program failed.
    """
    printed, counts = count(root, processor, "forms.py")
    ran = json.loads(printed)
    by_form: dict[str, dict[str, float]] = {}
    for (network, form), instructions in zip(ran, counts, strict=True):
        by_form.setdefault(form, {})[network] = instructions / 1e6
    ordered = sorted(by_form, key=lambda form: sum(by_form[form].values()))
    listed = "; ".join(
        f"{form} " + ", ".join(f"{name} {number:.1f}" for name, number in by_form[form].items())
        for form in ordered
    )
    return f"{ordered[0]} needs fewer instructions (millions, one run: {listed})"


def count(root: Path, processor: str, program: str, *arguments: str) -> tuple[str, list[int]]:
    """What a Python program in the root prints, and the instructions between its pairs of marks.

    Args:
        root: the root.
        processor: qemu's name of the processor.
        program: file in its folder ``check``. It marks by calling ``os.getppid``.
        arguments: of the program.

    Raises:
        SetupError: the program failed, or no version of the plugin fits this qemu.
    """
    # qemu outside the root can load the plugin; it shows the program the root's files as its own,
    # but for /sys and /proc.
    if not os.path.ismount("/sys/devices/system/cpu"):
        call("mount", "--bind", str(root / "sys/devices/system/cpu"), "/sys/devices/system/cpu")
        call("mount", "--bind", str(root / CHECKED / "cpuinfo"), "/proc/cpuinfo")
    command = ["qemu-aarch64", "-cpu", processor, "-L", str(root), "-plugin"]
    python = [str(root / "usr/bin/python3"), program, *arguments]
    environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PYTHONPATH": f"/{PACKAGES}"}
    for version in PLUGIN_VERSIONS:
        done = subprocess.run(
            [*command, str(_plugin(version)), *python],
            cwd=root / CHECKED,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            marks = [
                int(number) for number in re.findall(r"^instructions: (\d+)", done.stderr, re.M)
            ]
            return done.stdout, [
                end - start for start, end in zip(marks[::2], marks[1::2], strict=False)
            ]
        if "plugin" not in done.stderr:
            break
    raise SetupError(f"{program} failed under qemu with the plugin:\n{done.stderr.strip()}")


def _plugin(version: int) -> Path:
    """The compiled plugin for a version of the interface."""
    library = FOLDER / f"count.{version}.so"
    options = ["-O2", "-shared", "-fPIC", f"-DVERSION={version}"]
    call("cc", *options, "-o", str(library), str(SOURCE))
    return library
