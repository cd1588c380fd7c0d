"""How much memory programs hold, and how much there is to be had. All in bytes."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from pathlib import Path

GIGABYTE = 1 << 30  # what this package prints as GB

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")


def gigabytes(size: float) -> str:
    """As it is printed: "3.4 GB"."""
    return f"{size / GIGABYTE:.1f} GB"


def _field(file: Path, name: str) -> int | None:
    """The number behind `name` in a file of lines "name: number" or "name number"."""
    try:
        found = re.search(rf"^{name}:?\s+(\d+)", file.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) if found else None


def resident(pid: int | str = "self") -> int | None:
    """What a process holds now; None where that is unknown: no Linux, or it has ended."""
    found = _field(PROC / str(pid) / "status", "VmRSS")
    return None if found is None else found << 10


def peak() -> int:
    """The high-water mark of this program; getrusage would count the parent's at the fork."""
    found = _field(PROC / "self" / "status", "VmHWM")
    if found is not None:
        return found << 10
    unit = 1 if sys.platform == "darwin" else 1 << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def available() -> int:
    """What this program may hold in all: what it holds already, and what is free.

    Free is the least of what the machine has left and of what each control group leaves that the
    program is in (containers are such groups; versions 1 and 2). Where neither is known, it is the
    physical memory.
    """
    machine = _field(PROC / "meminfo", "MemAvailable")
    free = [*_left_by_groups(), *([] if machine is None else [machine << 10])]
    return (min(free) + (resident() or 0)) if free else _physical()


def _physical() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _left_by_groups() -> list[int]:
    """What each control group of this program leaves, from its own to the outermost.

    In a container the path may be the one outside, which does not exist here: then its parents'
    files are those of the container.
    """
    try:
        lines = (PROC / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return []
    left = []
    for _, controllers, path in (line.split(":", 2) for line in lines if line.count(":") >= 2):
        if controllers and "memory" not in controllers.split(","):
            continue
        root = CGROUPS / "memory" if controllers else CGROUPS
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        if not controllers:
            names = ("memory.max", "memory.current", "inactive_file")
        group = root / path.strip("/")
        for directory in (group, *group.parents):
            if directory.is_relative_to(root):
                left += _left_by(directory, *names)
    return left


def _left_by(directory: Path, limit: str, usage: str, cached: str) -> list[int]:
    """Limit minus usage of one group; none, if it has no limit ("max") or no such files.

    The usage counts pages of files that were read, which the kernel gives up when it must:
    `inactive_file` of memory.stat (kernel.org, Documentation/admin-guide/cgroup-v2.rst).
    """
    try:
        most = int((directory / limit).read_text())
        used = int((directory / usage).read_text())
    except (OSError, ValueError):
        return []
    return [max(most - used + (_field(directory / "memory.stat", cached) or 0), 0)]


def free_of_gpus() -> list[int]:
    """Free memory of each GPU that programs may see, by nvidia-smi; empty without one."""
    command = ["nvidia-smi", "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        command.append(f"--id={visible}")
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        return []
    if done.returncode:
        return []
    return [int(word) << 20 for word in done.stdout.split() if word.isdigit()]
