"""Debian roots for arm64: made once by debootstrap, kept in ``build/arm64/``, emulated by qemu.

All mounts are made in a mount namespace of this program (``in_namespace``), so nothing stays
mounted. On an arm64 machine nothing is emulated.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FOLDER = ROOT / "build" / "arm64"
BINFMT = Path("/proc/sys/fs/binfmt_misc")
HANDLER = BINFMT / "qemu-aarch64"
MIRROR = "http://deb.debian.org/debian"
PACKAGES = "opt/packages"
"""Folder in the root with the packages that pip installs."""
CHECKED = "check"
"""Folder in the root with the samples and the programs that run there."""
FILES = (
    *("tests/conftest.py", "tests/test_golden.py", "tests/videos.py", "tests/golden", "samples"),
    *("tests/arm64/inside.py", "tests/arm64/forms.py", "benchmarks/instructions_worker.py"),
)
"""What is copied there from the checkout, but never the package itself."""
PLATFORMS = ("manylinux_2_28_aarch64", "manylinux2014_aarch64")
EMULATED = platform.machine() not in ("aarch64", "arm64")
# qemu's names of processors, and what the kernel says of them.
PROCESSORS = {
    "cortex-a72": ("0xd08", "fp asimd evtstrm crc32 cpuid"),  # Raspberry Pi 4
    "cortex-a76": (  # Raspberry Pi 5
        "0xd0b",
        (
            "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc"
            " dcpop asimddp"
        ),
    ),
}
_NAMESPACE = "EDGE_MTCNN_ARM64_NAMESPACE"


class SetupError(Exception):
    """A root cannot be made or used; the message says what to do."""


def in_namespace() -> None:
    """Start this program again with mounts and processes of its own, which end with it.

    Raises:
        SetupError: root or a program is missing.
    """
    if os.geteuid() != 0:
        raise SetupError("making a root folder needs root: sudo make test-arm64")
    missing = [name for name in ("debootstrap", "unshare", "chroot") if not shutil.which(name)]
    if missing:
        raise SetupError(
            f"{' and '.join(missing)} not found; on Debian and Ubuntu: apt install debootstrap"
            " debian-archive-keyring qemu-user qemu-user-static binfmt-support gcc"
        )
    if _NAMESPACE not in os.environ:
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        os.environ[_NAMESPACE] = "1"
        os.execvp(command[0], [*command, sys.executable, *sys.argv])


def require_emulation() -> None:
    """Let the kernel run arm64 programs with qemu, where the processor cannot.

    Raises:
        SetupError: it cannot.
    """
    if not EMULATED:
        return
    if not BINFMT.joinpath("register").exists():
        call("mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT))
    if not HANDLER.exists() and shutil.which("update-binfmts"):
        call("update-binfmts", "--enable", "qemu-aarch64")
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


def prepare(suite: str, wheel: Path, mirror: str, processor: str) -> Path:
    """Make the root if it is not there, put wheel and programs into it, and mount what they need.

    Raises:
        SetupError: debootstrap, pip or mount failed.
    """
    root = FOLDER / suite
    if not root.is_dir():
        unfinished = root.with_name(f"{suite}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        FOLDER.mkdir(parents=True, exist_ok=True)
        with _step(f"{suite}: making a root of arm64 with debootstrap, about five minutes"):
            command = ["debootstrap", "--arch=arm64", "--variant=minbase"]
            command += ["--include=python3,ca-certificates", suite, str(unfinished), mirror]
            call(*command, log=FOLDER / f"{suite}.log")
        unfinished.rename(root)
    with _step(f"{suite}: installing the wheel"):
        _install(root, wheel)
    shutil.rmtree(root / CHECKED, ignore_errors=True)
    for name in FILES:
        # Programs lie at the top, where they are started.
        target = root / CHECKED / (Path(name).name if name.endswith(_PROGRAMS) else name)
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, target)
    call("mount", "-t", "proc", "proc", str(root / "proc"))
    if EMULATED:
        _show_processor(root, processor)
    shared = ROOT.parent / "shared"
    if (shared / "golden").is_dir():
        (root / "shared").mkdir(exist_ok=True)
        call("mount", "--bind", "-o", "ro", str(shared), str(root / "shared"))
    return root


_PROGRAMS = ("inside.py", "forms.py", "instructions_worker.py")


def debian_mirror() -> str:
    """The Debian mirror that this machine uses, or Debian's own."""
    command = ["apt-get", "indextargets", "--format", "$(ORIGIN) $(REPO_URI)"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return MIRROR
    for line in listed.splitlines():
        origin, _, address = line.partition(" ")
        if origin == "Debian" and address.rstrip("/").endswith("/debian"):
            return address.rstrip("/")
    return MIRROR


def call(*command: str, log: Path | None = None) -> None:
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
        call(*pip, f"{wheel.resolve()}[cpu,serve]", "pytest")
        stamp.write_text(needs)
    else:
        call(*pip, "--no-deps", str(wheel.resolve()))


def _show_processor(root: Path, name: str) -> None:
    """Let ``/sys`` and ``/proc/cpuinfo`` in the root show the processor that qemu emulates.

    ONNX Runtime reads both to choose its kernels. It can crash when it reads those of this machine.
    """
    part, features = PROCESSORS[name]
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
    call("mount", "--bind", str(described), str(root / "proc/cpuinfo"))


@contextmanager
def _step(text: str) -> Iterator[None]:
    """Says on standard error what takes time, and how long it took."""
    print(f"{text} ...", file=sys.stderr)
    start = time.monotonic()
    yield
    print(f"{text}: {time.monotonic() - start:.0f} s", file=sys.stderr)
