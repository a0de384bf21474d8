"""Hosts for MPI on one machine: network namespaces, with limited bandwidth and with latency.

Each host has one interface, called `host`. Without latency they are joined by a router (veth
pairs), with latency by a relay that keeps every packet for that long (TUN devices), because
few kernels have netem. Bandwidth is limited by tc's token bucket, on sending and receiving.
Needs Linux, root, `ip` and `tc`; everything goes when the context ends.
"""

from __future__ import annotations

import fcntl
import os
import selectors
import shutil
import struct
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

MTU = 9000
TUNSETIFF, TUN_WITHOUT_HEADER = 0x400454CA, 0x1001
# Where a packet of IPv4 keeps the third byte of its destination: the number of its host.
HOST_OF_PACKET = 18
SENT = Path("/sys/class/net/host/statistics/tx_bytes")
LAUNCHER = """#!/bin/sh
# In place of ssh: [options] ADDRESS COMMAND
while [ "${1#-}" != "$1" ]; do shift; done
host=$(echo "$1" | cut -d . -f 3)
shift
exec ip netns exec %s$host sh -c "$*"
"""


class HostsError(Exception):
    """This machine, or this user, cannot make them."""


class Hosts:
    """The hosts that `hosts` made."""

    def __init__(self, n: int, prefix: str, folder: str) -> None:
        self.names = [f"{prefix}{i}" for i in range(n)]
        self.addresses = [f"10.77.{i}.2" for i in range(n)]
        self._launcher = Path(folder) / "launcher"
        self._launcher.write_text(LAUNCHER % prefix)
        self._launcher.chmod(0o700)

    def mpiexec(self, program: str, *arguments: str) -> list[str]:
        """The command that runs `arguments` on a rank of each host, by MPICH's `program`."""
        return [
            *("ip", "netns", "exec", self.names[0]),
            *(program, "-localhost", self.addresses[0], "-hosts", ",".join(self.addresses)),
            *("-launcher", "ssh", "-launcher-exec", str(self._launcher)),
            *("-genv", "MPIR_CVAR_CH4_NETMOD", "ofi", "-genv", "FI_PROVIDER", "tcp"),
            *("-n", str(len(self.names)), *arguments),
        ]


@contextmanager
def hosts(n: int, bandwidth: float | None = None, latency: float = 0.0) -> Iterator[Hosts]:
    """`n` hosts; `bandwidth` in bits a second, None for what the machine can, latency in seconds.

    Raises `HostsError` where they cannot be made.
    """
    missing = [program for program in ("ip", "tc") if shutil.which(program) is None]
    if missing or os.geteuid() != 0:
        reason = f"{' and '.join(missing)} of iproute2" if missing else "root"
        raise HostsError(f"network namespaces need {reason}")
    prefix = f"fastbcd-{os.getpid()}-"
    with ExitStack() as stack:
        made = Hosts(n, prefix, stack.enter_context(tempfile.TemporaryDirectory()))
        for name in made.names:
            _ip("netns", "add", name)
            stack.callback(_ip, "netns", "del", name)
        if latency > 0.0:
            stack.enter_context(_relay(made.names, latency))
        else:
            stack.enter_context(_router(f"{prefix}router", made.names, bandwidth))
        for i, name in enumerate(made.names):
            _ip("-n", name, "addr", "add", f"{made.addresses[i]}/24", "dev", "host")
            _ip("-n", name, "link", "set", "host", "mtu", str(MTU), "txqueuelen", "10000", "up")
            _ip("-n", name, "link", "set", "lo", "up")
            gateway = () if latency > 0.0 else ("via", f"10.77.{i}.1")
            _ip("-n", name, "route", "add", "default", *gateway, "dev", "host")
            _limit(name, "host", bandwidth)
        yield made


@contextmanager
def _router(router: str, names: list[str], bandwidth: float | None) -> Iterator[None]:
    """A namespace with an interface for each host, which passes packets on."""
    _ip("netns", "add", router)
    try:
        for i, name in enumerate(names):
            port = f"port{i}"
            _ip(
                *("link", "add", "host", "netns", name),
                *("type", "veth", "peer", "name", port, "netns", router),
            )
            _ip("-n", router, "addr", "add", f"10.77.{i}.1/24", "dev", port)
            _ip("-n", router, "link", "set", port, "mtu", str(MTU), "up")
            _limit(router, port, bandwidth)
        forward = "/proc/sys/net/ipv4/ip_forward"
        _run("ip", "netns", "exec", router, "sh", "-c", f"echo 1 > {forward}")
        yield
    finally:
        _ip("netns", "del", router)


@contextmanager
def _relay(names: list[str], latency: float) -> Iterator[None]:
    """A thread that reads each host's packets and hands them to their hosts `latency` later."""
    with ExitStack() as stack:
        devices = []
        for i, name in enumerate(names):
            device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            stack.callback(os.close, device)
            label = f"fb{os.getpid()}{i}".encode()[-15:]
            fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", label, TUN_WITHOUT_HEADER))
            _ip("link", "set", label.decode(), "netns", name)
            _ip("-n", name, "link", "set", label.decode(), "name", "host")
            devices.append(device)
        ended = threading.Event()
        thread = threading.Thread(target=_pass_on, args=(devices, latency, ended), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def _pass_on(devices: list[int], latency: float, ended: threading.Event) -> None:
    held: deque[tuple[float, bytes]] = deque()
    with selectors.DefaultSelector() as selector:
        for device in devices:
            selector.register(device, selectors.EVENT_READ)
        while not ended.is_set():
            wait = max(0.0, held[0][0] - time.monotonic()) if held else 0.1
            for key, _ in selector.select(wait):
                try:
                    packet = os.read(key.fd, MTU + 100)
                except BlockingIOError:
                    continue
                except OSError:  # the interface is not up yet
                    time.sleep(0.01)
                    continue
                if packet[0] >> 4 == 4 and packet[HOST_OF_PACKET] < len(devices):
                    held.append((time.monotonic() + latency, packet))
            while held and held[0][0] <= time.monotonic():
                packet = held.popleft()[1]
                with suppress(OSError):  # full or gone: lost, as on any network
                    os.write(devices[packet[HOST_OF_PACKET]], packet)


def _limit(namespace: str, device: str, bandwidth: float | None) -> None:
    if bandwidth is not None:
        # Two milliseconds in the bucket; a queue that holds some windows of TCP.
        burst = max(4 * MTU, int(bandwidth / 8 * 2e-3))
        _run(
            *("tc", "-n", namespace, "qdisc", "add", "dev", device, "root", "tbf"),
            *("rate", f"{bandwidth:.0f}bit", "burst", str(burst), "limit", str(16 * 2**20)),
        )


def _ip(*arguments: str) -> None:
    _run("ip", *arguments)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise HostsError(f"{' '.join(command)}: {done.stderr.strip()}")
