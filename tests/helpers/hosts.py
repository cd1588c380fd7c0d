"""Hosts of a network: namespaces of this machine with addresses of their own, joined by a bridge.

They need root and iproute2. A relay of ours can delay packets, since not every kernel has netem.
"""

import contextlib
import fcntl
import heapq
import itertools
import os
import select
import shutil
import struct
import subprocess
import threading
import time

_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_LARGEST = 65535  # bytes of a packet
_NUMBERS = itertools.count()  # a device may outlive its host for a moment


def missing():
    """Why hosts cannot be made here; "" if they can."""
    if os.geteuid():
        return "network namespaces need root"
    if not all(map(shutil.which, ("ip", "taskset"))):
        return "network namespaces need iproute2 and util-linux"
    name = f"probe{os.getpid()}"
    done = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    if done.returncode:
        return f"no network namespace can be made: {done.stderr.strip()}"
    subprocess.run(["ip", "netns", "del", name], check=True)
    return ""


class Hosts:
    """A context: `count` hosts, taken down at its end with all that still runs in them.

    Args:
      count: of hosts.
      delay: seconds that each packet takes from one to another.
    """

    def __init__(self, count, delay=0.0):
        self.count, self._delay = count, delay
        self._prefix = f"sv{next(_NUMBERS)}x{os.getpid() % 100_000}"
        self._net = f"10.77.{os.getpid() % 250}"

    def __enter__(self):
        self._stack = contextlib.ExitStack()
        with contextlib.ExitStack() as stack:
            for i in range(self.count):
                self._add(stack, i)
            (self._relay if self._delay else self._bridge)(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error):
        self._stack.close()

    def address(self, i):
        return f"{self._net}.{i + 1}"

    def words(self, i, *words):
        """A command that runs `words` on host i, on a core of its own as far as there are some."""
        cores = sorted(os.sched_getaffinity(0))
        return [
            "ip", "netns", "exec", self._host(i), "taskset", "-c", str(cores[i % len(cores)]),
            *map(str, words),
        ]  # fmt: skip

    def cut(self, i):
        """Unplugs a host."""
        _ip("link", "set", self._port(i), "down")

    def mend(self, i):
        """Plugs it in again."""
        _ip("link", "set", self._port(i), "up")

    def _host(self, i):
        return f"{self._prefix}h{i}"

    def _port(self, i):
        return f"{self._prefix}p{i}"

    def _add(self, stack, i):
        _ip("netns", "add", self._host(i))
        stack.callback(self._remove, i)
        _ip("-n", self._host(i), "link", "set", "lo", "up")

    def _remove(self, i):
        found = subprocess.run(
            ["ip", "netns", "pids", self._host(i)], capture_output=True, text=True
        )
        for process in found.stdout.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(process), 9)
        _ip("netns", "del", self._host(i))

    def _bridge(self, stack):
        bridge = f"{self._prefix}b"
        _ip("link", "add", bridge, "type", "bridge")
        stack.callback(_ip, "link", "del", bridge)
        _ip("link", "set", bridge, "up")
        for i in range(self.count):
            host, port = self._host(i), self._port(i)
            _ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", host)
            stack.callback(_ip, "link", "del", port)  # with its host it would go some time later
            _ip("link", "set", port, "master", bridge)
            _ip("link", "set", port, "up")
            self._address(i, "eth0")

    def _address(self, i, device):
        host = self._host(i)
        _ip("-n", host, "addr", "add", f"{self.address(i)}/24", "dev", device)
        _ip("-n", host, "link", "set", device, "up")

    def _relay(self, stack):
        """Each host's packets come to a thread of this process, which hands them on later."""
        ends = []
        for i in range(self.count):
            name = self._port(i)
            end = os.open("/dev/net/tun", os.O_RDWR)
            stack.callback(os.close, end)
            fcntl.ioctl(
                end, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI)
            )
            _ip("link", "set", name, "netns", self._host(i))
            _ip("-n", self._host(i), "link", "set", name, "mtu", str(_LARGEST))
            self._address(i, name)
            ends.append(end)
        stop = os.pipe()
        thread = threading.Thread(target=_hand_on, args=(ends, self._delay, stop[0]), daemon=True)
        thread.start()

        def end_thread():
            os.write(stop[1], b".")
            thread.join()
            os.close(stop[0])
            os.close(stop[1])

        stack.callback(end_thread)


def _hand_on(ends, delay, stop):
    """Packets of IPv4 from each end to that of their address, `delay` seconds later."""
    waiting, number = [], 0
    while True:
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, _, end, packet = heapq.heappop(waiting)
            with contextlib.suppress(OSError):
                os.write(end, packet)
        patience = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        for end in select.select([*ends, stop], [], [], patience)[0]:
            if end == stop:
                return
            packet = os.read(end, _LARGEST + 1)
            to = packet[19] - 1 if packet[0] >> 4 == 4 else -1  # the last byte of the address
            if 0 <= to < len(ends):
                number += 1
                heapq.heappush(waiting, (time.monotonic() + delay, number, ends[to], packet))


def _ip(*words):
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"
