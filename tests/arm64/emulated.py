"""Runs the built wheel in Debian roots for arm64, emulated by qemu: ``make test-arm64``, as root.

    python tests/arm64/emulated.py --suites bookworm trixie dist/edge_mtcnn-0.1.0-py3-none-any.whl

A root is made once by debootstrap, in ``build/arm64/``, and kept. The wheel and arm64 wheels of what
it needs are put into it by pip of this machine; ``inside.py`` then checks them in there, with the
images of ``../shared`` if they are beside the checkout. All mounts are in a mount namespace of this
program, so nothing stays mounted. On an arm64 machine the same runs without emulation.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FOLDER = ROOT / "build" / "arm64"
SHARED = ROOT.parent / "shared"
BINFMT = Path("/proc/sys/fs/binfmt_misc")
HANDLER = BINFMT / "qemu-aarch64"
MIRROR = "http://deb.debian.org/debian"
PACKAGES = "opt/packages"
"""Folder in the root with the packages that pip installs."""
CHECKED = "check"
"""Folder in the root with the samples and the files of tests/ that the checks use."""
FILES = ("tests/conftest.py", "tests/test_golden.py", "tests/videos.py", "tests/golden", "samples")
PLATFORMS = ("manylinux_2_28_aarch64", "manylinux2014_aarch64")
# Processors of boards: qemu's name, and what the kernel says of them.
PROCESSORS = {
    "cortex-a72": ("Raspberry Pi 4", "0xd08", "fp asimd evtstrm crc32 cpuid"),
    "cortex-a76": (
        "Raspberry Pi 5",
        "0xd0b",
        "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop"
        " asimddp",
    ),
}
EMULATED = platform.machine() not in ("aarch64", "arm64")
NAMESPACE = "EDGE_MTCNN_ARM64_NAMESPACE"


class SetupError(Exception):
    """A root cannot be made or used; the message says what to do."""


def main() -> int:
    """Prepare the roots, check, and print the table; 1 if a check failed, 2 if none could run."""
    parser = argparse.ArgumentParser(
        prog="tests/arm64/emulated.py", description=__doc__.partition("\n\n")[0]
    )
    parser.add_argument("wheel", type=Path, help="the wheel to check")
    parser.add_argument("--suites", nargs="+", default=["bookworm"], help="Debian releases")
    parser.add_argument("--mirror", default=_mirror(), help="(%(default)s)")
    parser.add_argument("--only", nargs="+", default=[], metavar="CHECK", help="only these checks")
    parser.add_argument(
        "--cpu", choices=PROCESSORS, default="cortex-a76", help="what qemu emulates (%(default)s)"
    )
    options = parser.parse_args()
    try:
        require_tools()
        if NAMESPACE not in os.environ:
            # Mounts and processes of this program end with it, however it ends.
            command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
            os.environ[NAMESPACE] = "1"
            os.execvp(command[0], [*command, sys.executable, *sys.argv])
        require_emulation()
        rows = []
        for suite in options.suites:
            root = prepare(suite, options.wheel, options.mirror)
            rows += [{"suite": suite, **row} for row in check(root, options.only, options.cpu)]
    except SetupError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(table(rows))
    return 0 if all(row["passed"] for row in rows) else 1


def require_tools() -> None:
    """Require root and the programs that prepare a root folder.

    Raises:
        SetupError: naming what is missing and the packages that have it.
    """
    if os.geteuid() != 0:
        raise SetupError("making a root folder needs root: sudo make test-arm64")
    missing = [name for name in ("debootstrap", "unshare", "chroot") if not shutil.which(name)]
    if missing:
        raise SetupError(
            f"{' and '.join(missing)} not found; on Debian and Ubuntu: apt install debootstrap"
            " debian-archive-keyring qemu-user qemu-user-static binfmt-support"
        )


def require_emulation() -> None:
    """Let the kernel run arm64 programs with qemu, where the processor cannot.

    Raises:
        SetupError: it cannot.
    """
    if not EMULATED:
        return
    if not BINFMT.joinpath("register").exists():
        _call("mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT))
    if not HANDLER.exists() and shutil.which("update-binfmts"):
        _call("update-binfmts", "--enable", "qemu-aarch64")
    if not HANDLER.exists():
        raise SetupError(
            "the kernel has no handler for arm64 programs; on Debian and Ubuntu: apt install"
            " qemu-user-static binfmt-support"
        )
    if "F" not in HANDLER.read_text().partition("flags:")[2].splitlines()[0]:
        raise SetupError(
            f"qemu cannot be found from a root folder: {HANDLER} lacks the flag F; install the"
            " package qemu-user-static"
        )


def prepare(suite: str, wheel: Path, mirror: str) -> Path:
    """Make the root if it is not there, and put the wheel and the files of the checks into it.

    Raises:
        SetupError: debootstrap or pip failed.
    """
    root = FOLDER / suite
    if not root.is_dir():
        unfinished = root.with_name(f"{suite}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        FOLDER.mkdir(parents=True, exist_ok=True)
        with _step(f"{suite}: making a root of arm64, about five minutes, with debootstrap"):
            command = ["debootstrap", "--arch=arm64", "--variant=minbase"]
            command += ["--include=python3,ca-certificates", suite, str(unfinished), mirror]
            _call(*command, log=FOLDER / f"{suite}.log")
        unfinished.rename(root)
    with _step(f"{suite}: installing the wheel"):
        _install(root, wheel)
    shutil.rmtree(root / CHECKED, ignore_errors=True)
    for name in FILES:
        target = root / CHECKED / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, target)
    shutil.copy(HERE / "inside.py", root / CHECKED)
    return root


def _install(root: Path, wheel: Path) -> None:
    """Packages by pip of this machine: it is twenty times faster than in the root."""
    version = (root / "usr/bin/python3").readlink().name.removeprefix("python")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    pip += ["--only-binary=:all:", "--no-compile", "--python-version", version]
    pip += ["--target", str(root / PACKAGES), "--upgrade"]
    pip += [word for name in PLATFORMS for word in ("--platform", name)]
    # What the wheel needs is the same until pyproject.toml changes.
    needs = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    stamp = root / f"{PACKAGES}.needs"
    if not stamp.exists() or stamp.read_text() != needs:
        shutil.rmtree(root / PACKAGES, ignore_errors=True)
        _call(*pip, f"{wheel.resolve()}[cpu,serve]", "pytest")
        stamp.write_text(needs)
    else:
        _call(*pip, "--no-deps", str(wheel.resolve()))


def check(root: Path, only: list[str], processor: str) -> Iterator[dict[str, Any]]:
    """Run ``inside.py`` in the root, and report each check as soon as it is done."""
    _mount("-t", "proc", "proc", str(root / "proc"))
    if EMULATED:
        show_processor(root, processor)
    if (SHARED / "golden").is_dir():
        (root / "shared").mkdir(exist_ok=True)
        _mount("--bind", "-o", "ro", str(SHARED), str(root / "shared"))
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "QEMU_CPU": processor,
        "PYTHONPATH": f"/{PACKAGES}:/{CHECKED}/tests",
    }
    script = f'cd /{CHECKED} && exec python3 inside.py "$@"'
    command = ["chroot", str(root), "/bin/sh", "-c", script, "sh", *only]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            row = json.loads(line)
            word = "passed" if row["passed"] else "FAILED"
            print(f"{root.name}: {row['check']} {word}, {row['seconds']:.0f} s", file=sys.stderr)
            yield row
    if process.returncode not in (0, 1):
        raise SetupError(f"the checks in {root} ended with exit code {process.returncode}")


def show_processor(root: Path, name: str) -> None:
    """Let ``/sys`` and ``/proc/cpuinfo`` in the root show the processor that qemu emulates.

    ONNX Runtime reads both to choose its kernels; of those of this machine its process can die.
    """
    _, part, features = PROCESSORS[name]
    cores = range(os.cpu_count() or 1)
    folder = root / "sys/devices/system/cpu"
    folder.mkdir(parents=True, exist_ok=True)
    for file in ("possible", "present", "online"):
        (folder / file).write_text(f"0-{cores[-1]}\n")
    described = root / CHECKED / "cpuinfo"
    described.write_text(
        "".join(
            f"processor\t: {core}\nBogoMIPS\t: 108.00\nFeatures\t: {features}\n"
            "CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\n"
            f"CPU part\t: {part}\nCPU revision\t: 3\n\n"
            for core in cores
        )
    )
    _call("mount", "--bind", str(described), str(root / "proc/cpuinfo"))


def table(rows: list[dict[str, Any]]) -> str:
    """Every check with its result, then what the failed ones said."""
    lines = [f"{'suite':<9} {'check':<8} {'':<6} {'wall s':>6} {'cpu s':>6}"]
    lines += [
        f"{row['suite']:<9} {row['check']:<8} {'passed' if row['passed'] else 'FAILED'}"
        f" {row['seconds']:6.0f} {row['processor_seconds']:6.0f}  {row['text']}"
        for row in rows
    ]
    return "\n".join(lines)


def _mount(*arguments: str) -> None:
    target = Path(arguments[-1])
    if not target.is_mount():
        _call("mount", *arguments)


def _mirror() -> str:
    """The Debian mirror that this machine uses, or Debian's own."""
    command = ["apt-get", "indextargets", "--format", "$(ORIGIN) $(REPO_URI)"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return MIRROR
    repositories = [line.split() for line in listed.splitlines()]
    for origin, *address in repositories:
        if origin == "Debian" and address and address[0].rstrip("/").endswith("/debian"):
            return address[0].rstrip("/")
    return MIRROR


class _step:
    """Says on standard error what takes time, and how long it took."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __enter__(self) -> None:
        print(f"{self._text} ...", file=sys.stderr)
        self._start = time.monotonic()

    def __exit__(self, *_: object) -> None:
        print(f"{self._text}: {time.monotonic() - self._start:.0f} s", file=sys.stderr)


def _call(*command: str, log: Path | None = None) -> None:
    """Run a program; its output is shown only when it fails.

    Raises:
        SetupError: with the last lines of what it said.
    """
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if log is not None:
        log.write_text(done.stdout)
    if done.returncode:
        said = "\n".join(done.stdout.strip().splitlines()[-8:])
        place = f" (all of it in {log})" if log is not None else ""
        raise SetupError(f"{' '.join(command)} failed{place}:\n{said}")


if __name__ == "__main__":
    sys.exit(main())
