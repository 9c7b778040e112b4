"""The links of hosts to Postgres, and how they are cut.

Where root allows, a host is a network namespace with a veth pair: a real interface, with real silence when it is cut.
Elsewhere its link is a TCP proxy in this process, which can go silent as well.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Literal, Protocol

from plugins.chaos.proxy import Proxy

# cut: nothing passes and nobody is told. deaf: what the host sends arrives (and is committed), the replies do not.
# mute: the other way round. unplug: the host's interface goes down, so that the host knows.
Cut = Literal["cut", "deaf", "mute", "unplug"]
CUTS: tuple[Cut, ...] = ("cut", "deaf", "mute", "unplug")

_NOBODY = "02:00:00:00:00:01"  # the address of no interface: what is sent there is dropped by whoever gets it


class Link(Protocol):
    """The way of one host to Postgres."""

    address: str
    ports: tuple[int, ...]

    def cut(self, how: Cut) -> None: ...

    def heal(self) -> None: ...

    def command(self, *command: str) -> tuple[str, ...]:
        """The command that runs another one on this host, as the same process."""
        ...


class NamespaceLink:
    """A host of its own, as far as the engine can see: interface, host name and boot id."""

    def __init__(self, name: str, subnet: str, folder: Path, ports: tuple[int, ...]) -> None:
        self.name = name
        self.ports = ports
        self.address, self._own = f"{subnet}.1", f"{subnet}.2"
        self._near = f"v{name}"
        # Processes of one boot vouch for each other's end. Hosts cannot.
        self._boot_id = folder / f"boot-{name}"
        self._boot_id.write_text(f"{name}-{secrets.token_hex(8)}\n")
        _ip("netns", "add", name)
        try:
            _ip("link", "add", self._near, "type", "veth", "peer", "name", "eth0", "netns", name)
            _ip("addr", "add", f"{self.address}/24", "dev", self._near)
            _ip("link", "set", self._near, "up")
            self._inside("addr", "add", f"{self._own}/24", "dev", "eth0")
            self._inside("link", "set", "lo", "up")
            self._inside("link", "set", "eth0", "up")
        except BaseException:
            self.close()
            raise

    def _inside(self, *arguments: str) -> None:
        _ip("-n", self.name, *arguments)

    def _silence(self, place: tuple[str, ...], device: str, peer: str) -> None:
        _ip(*place, "neigh", "replace", peer, "lladdr", _NOBODY, "nud", "permanent", "dev", device)

    def cut(self, how: Cut) -> None:
        if how == "unplug":
            self._inside("link", "set", "eth0", "down")
        if how in ("cut", "deaf"):
            self._silence((), self._near, self._own)
        if how in ("cut", "mute"):
            self._silence(("-n", self.name), "eth0", self.address)

    def heal(self) -> None:
        self._inside("link", "set", "eth0", "up")
        _ip("neigh", "flush", "dev", self._near, "nud", "permanent")
        self._inside("neigh", "flush", "dev", "eth0", "nud", "permanent")

    def command(self, *command: str) -> tuple[str, ...]:
        # `ip netns exec` gives the process mounts of its own.
        script = (
            f"mount --bind {self._boot_id} /proc/sys/kernel/random/boot_id && "
            f'exec unshare --uts sh -c \'hostname {self.name} && exec "$@"\' sh "$@"'
        )
        return ("ip", "netns", "exec", self.name, "sh", "-c", script, "sh", *command)

    def close(self) -> None:
        # The pair goes with its end inside, but only when the last process of the namespace has gone.
        subprocess.run(["ip", "link", "del", self._near], capture_output=True, check=False)
        subprocess.run(["ip", "netns", "del", self.name], capture_output=True, check=False)


class ProxyLink:
    """A host that is only a process with its own TCP proxy: it shares name, boot and process ids with the others."""

    def __init__(self, ports: tuple[int, ...]) -> None:
        self._proxies = [Proxy("127.0.0.1", port) for port in ports]
        self.address, self.ports = "127.0.0.1", tuple(proxy.port for proxy in self._proxies)

    def cut(self, how: Cut) -> None:
        for proxy in self._proxies:
            proxy.cut(to_server=how != "deaf", to_client=how != "mute")

    def heal(self) -> None:
        for proxy in self._proxies:
            proxy.heal()

    def command(self, *command: str) -> tuple[str, ...]:
        return command

    def close(self) -> None:
        for proxy in self._proxies:
            proxy.close()


@lru_cache(maxsize=1)
def has_namespaces() -> bool:
    """Whether this process may make hosts of its own: it is root, and the kernel and `ip` play along."""
    needed = ("ip", "unshare", "mount", "hostname")
    if os.geteuid() != 0 or not all(shutil.which(each) for each in needed):
        return False
    with _folder() as folder:
        try:
            link = NamespaceLink(_fresh_name(), "198.19.255", folder, ())
        except subprocess.CalledProcessError:
            return False
        try:
            probe = subprocess.run(link.command("true"), capture_output=True, check=False, timeout=20)
            link.cut("cut")
            link.heal()
        except (subprocess.SubprocessError, OSError):
            return False
        finally:
            link.close()
    return probe.returncode == 0


@contextmanager
def links(count: int, ports: tuple[int, ...], folder: Path) -> Iterator[list[Link]]:
    """So many hosts, each with a way to those ports of this machine."""
    made: list[NamespaceLink | ProxyLink] = []
    try:
        for _ in range(count):
            made.append(_namespace(ports, folder) if has_namespaces() else ProxyLink(ports))
        yield list(made)
    finally:
        for link in made:
            link.close()


def _namespace(ports: tuple[int, ...], folder: Path) -> NamespaceLink:
    taken = {
        address["local"].rpartition(".")[0]
        for interface in json.loads(_ip("-j", "addr"))
        for address in interface.get("addr_info", ())
        if address["family"] == "inet"
    }
    while (subnet := f"198.18.{secrets.randbelow(256)}") in taken:  # the range kept for tests of networks
        pass
    return NamespaceLink(_fresh_name(), subnet, folder, ports)


def _fresh_name() -> str:
    return f"pe{secrets.token_hex(4)}"


def _ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], capture_output=True, text=True, check=True).stdout


@contextmanager
def _folder(prefix: str = "pyengine-link-") -> Iterator[Path]:
    import tempfile

    with tempfile.TemporaryDirectory(prefix=prefix) as name:
        yield Path(name)
