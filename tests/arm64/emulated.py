"""Checks the wheel in Debian roots for arm64, emulated by qemu: ``make test-arm64``, as root.

    python tests/arm64/emulated.py --suites bookworm trixie -- dist/edge_mtcnn-*.whl

A root is made once, in ``build/arm64/``, and kept. The wheel and arm64 wheels of what it needs are
put into it, and ``inside.py`` checks them in there, with the images of ``../shared`` if they are
beside the checkout. Prints a table; the exit code is 1 if a check failed, and 2 if none could run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import arm64_counts
from arm64_root import (
    CHECKED,
    PACKAGES,
    PROCESSORS,
    SetupError,
    debian_mirror,
    in_namespace,
    prepare,
    require_emulation,
)
from inside import CHECKS

Row = dict[str, Any]
"""A check: ``check``, ``passed`` (``None`` if it was left out), ``seconds``, ``text``."""
COUNTED: dict[str, Callable[[Path, str], str]] = {"forms": arm64_counts.forms}


def main() -> int:
    """Prepare the roots, check, and print the table; the exit code."""
    names = [check.__name__ for check in CHECKS] + list(COUNTED)
    parser = argparse.ArgumentParser(
        prog="tests/arm64/emulated.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("wheel", type=Path, help="the wheel to check")
    parser.add_argument("--suites", nargs="+", default=["bookworm"], help="Debian releases")
    parser.add_argument("--mirror", help="Debian mirror (the one that this machine uses)")
    parser.add_argument("--only", nargs="+", choices=names, metavar="CHECK", default=names)
    parser.add_argument("--cpu", choices=PROCESSORS, default="cortex-a76", help="(%(default)s)")
    options = parser.parse_args()
    rows: list[Row] = []
    try:
        in_namespace()
        require_emulation()
        for suite in options.suites:
            mirror = options.mirror or debian_mirror()
            root = prepare(suite, options.wheel, mirror, options.cpu)
            for row in check(root, options.cpu, options.only):
                print(f"{suite}: {line(row)[:100]}", file=sys.stderr)
                rows.append({"suite": suite, **row})
    except SetupError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(table(rows))
    return 1 if any(row["passed"] is False for row in rows) else 0


def check(root: Path, processor: str, wanted: list[str]) -> Iterator[Row]:
    """Run the checks in the root, then count instructions; each row as soon as it is known."""
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "QEMU_CPU": processor,
        "PYTHONPATH": f"/{PACKAGES}:/{CHECKED}/tests",
    }
    inside = [name for name in wanted if name not in COUNTED]
    script = f'cd /{CHECKED} && exec python3 inside.py "$@"'
    command = ["chroot", str(root), "/bin/sh", "-c", script, "sh", *inside]
    if inside:
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            yield from map(json.loads, process.stdout)
        if process.returncode not in (0, 1):
            raise SetupError(f"the checks in {root} ended with exit code {process.returncode}")
    for name in COUNTED.keys() & wanted:
        start, reason = time.monotonic(), arm64_counts.why_not()
        text = f"not counted: {reason}" if reason else COUNTED[name](root, processor)
        seconds = time.monotonic() - start
        yield {
            "check": name,
            "passed": None if reason else True,
            "seconds": round(seconds, 1),
            "text": text,
        }


def line(row: Row) -> str:
    """One check and its result."""
    word = {True: "passed", False: "FAILED", None: "left out"}[row["passed"]]
    return f"{row['check']:<8} {word:<8} {row['seconds']:5.0f} s  {row['text']}"


def table(rows: list[Row]) -> str:
    """All checks and their results."""
    return "\n".join(f"{row['suite']:<9} {line(row)}" for row in rows)


if __name__ == "__main__":
    sys.exit(main())
