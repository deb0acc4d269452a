"""The sockets that a gateway listens on: bound here, on a port or a Unix socket, or handed over by systemd."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import stat
import struct
import sys
from collections.abc import Callable, MutableMapping, Sequence
from contextlib import suppress
from urllib.parse import quote

from .._core.files import identity

_FIRST_FD = 3  # sd_listen_fds(3), SD_LISTEN_FDS_START
_RETURN = 0x06  # BPF_RET | BPF_K
_ATTACH_FILTER = 26  # SO_ATTACH_FILTER, socket(7)
_ATTACH = 51  # SO_ATTACH_REUSEPORT_CBPF
_DETACH = 68  # SO_DETACH_REUSEPORT_BPF
_NO_SYN = (  # drops a segment with SYN and no ACK: its flags are the 14th byte of a TCP head (RFC 9293, 3.1)
    (0x30, 0, 0, 13),  # BPF_LD | BPF_B | BPF_ABS
    (0x54, 0, 0, 0x12),  # BPF_ALU | BPF_AND | BPF_K
    (0x15, 0, 1, 0x02),  # BPF_JMP | BPF_JEQ | BPF_K
    (_RETURN, 0, 0, 0),
    (_RETURN, 0, 0, 0xFFFFFFFF),
)
SETTLE = 0.2
"""Seconds in which a connection that has been begun is made."""
_QUEUE = 1024  # connections that the system keeps waiting until the workers are up


def bound(host: str, port: int, *, reuse_port: bool = False) -> socket.socket:
    """Bind a socket to an address, without listening; OSError if the address is taken. With `reuse_port`, other
    processes of the same user may listen there too."""
    family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    sock = socket.socket(family, kind, proto)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            if not hasattr(socket, "SO_REUSEPORT"):
                raise OSError(0, "this system cannot share a port")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(address)
    except BaseException:
        sock.close()
        raise
    sock.set_inheritable(True)
    return sock


def bound_unix(path: str, mode: int = 0o600, *, replace: bool = False) -> socket.socket:
    """Bind a Unix socket of that mode to a path, without listening. What a dead process left there is replaced, with
    `replace` also the socket of a live one, which keeps its connections; OSError for anything else that is there."""
    if not replace and _is_taken(path):
        raise OSError(0, "another process listens there")
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise OSError(0, "there is a file that is no socket")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made = f"{path}.{os.getpid()}"
    try:
        before = os.umask(0o777)  # nobody connects before the mode is set
        try:
            sock.bind(made)
        finally:
            os.umask(before)
        os.chmod(made, mode)
        os.replace(made, path)
    except BaseException:
        sock.close()
        with suppress(OSError):
            os.unlink(made)
        raise
    sock.set_inheritable(True)
    return sock


def _is_taken(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
        return True


def bound_at(address: str, *, reuse_port: bool = False) -> socket.socket:
    """Bind a socket to HOST:PORT, or to the path of a Unix socket, which has a slash in it; OSError where that cannot
    be done."""
    if "/" in address:
        return bound_unix(address, replace=reuse_port)
    return bound(*host_and_port(address), reuse_port=reuse_port)


def host_and_port(address: str) -> tuple[str, int]:
    """The parts of HOST:PORT; OSError where it is none."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise OSError(0, "it is neither HOST:PORT nor a path")
    return host.strip("[]"), int(port)


class UnixPath:
    """The file of a Unix socket that was bound here. `remove` takes it away, unless it is another's by now."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._identity = identity(path, follow_symlinks=False)

    def remove(self) -> None:
        """Take it away, if it is there still."""
        if self._identity is not None and identity(self.path, follow_symlinks=False) == self._identity:
            with suppress(OSError):
                os.unlink(self.path)


def handed_over(environ: MutableMapping[str, str] = os.environ) -> dict[str, socket.socket]:
    """The listening sockets that this process was started with (sd_listen_fds(3)), by name: "" for one that callers
    are answered on, "admin" for the administrators'. Takes the variables out of the environment."""
    pid, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    names = environ.pop("LISTEN_FDNAMES", "").split(":")
    if sys.platform == "win32" or pid != str(os.getpid()) or not count.isdigit():
        return {}
    found: dict[str, socket.socket] = {}
    for at in range(int(count)):
        name = "admin" if at < len(names) and names[at] == "admin" else ""
        if name not in found:
            found[name] = socket.socket(fileno=_FIRST_FD + at)
            found[name].set_inheritable(True)
    return found


def listen(sock: socket.socket, *, shared: bool = False) -> None:
    """Let the system take connections. Of a `shared` port each process gets a part."""
    sock.listen(_QUEUE)
    if shared:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, _DETACH, 0)  # what `give_way` left


def give_way(sock: socket.socket, place: int) -> bool:
    """Have new connections of a shared port go to the process in that place, in the order in which they began to
    listen. False where the system cannot.

    A socket that is closed takes the connections with it that nobody has accepted, so a process that ends has others
    take what comes, before it closes its own. Where there is no such place, they are shared out as before.
    """
    return _attach(sock, _ATTACH, ((_RETURN, 0, 0, place),))


def begin_no_more(sock: socket.socket) -> bool:
    """Have the system begin no new connection on a port; those that are begun still come. False where it cannot.

    A socket that is closed resets the connections that nobody has accepted. With this there are none by then: who comes
    later is refused, or taken by whoever listens there next.
    """
    return _attach(sock, _ATTACH_FILTER, _NO_SYN)


def _attach(sock: socket.socket, option: int, program: Sequence[tuple[int, int, int, int]]) -> bool:
    if sys.platform != "linux":
        return False
    import ctypes

    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in program))
    try:
        sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("HL", len(program), ctypes.addressof(code)))
    except OSError:
        return False
    return True


async def hand_on(sock: socket.socket, made: Callable[[], int]) -> None:
    """Have another process of a shared port take what comes. `made` counts the connections that came here.

    This one is the first to listen or the second, so what comes goes to one place until none comes here any more.
    """
    for place in (1, 0):
        if not give_way(sock, place):
            return
        await asyncio.sleep(SETTLE)  # whoever is in the middle of connecting still comes here
        before = made()
        await asyncio.sleep(SETTLE)
        if made() == before:
            return


def is_loopback(sock: socket.socket) -> bool:
    """Whether a bound socket is reachable from this machine only."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return True
    return ipaddress.ip_address(sock.getsockname()[0].partition("%")[0]).is_loopback


def url_of(sock: socket.socket, tls: bool, path: str = "") -> str:
    """The base URL of a bound socket, a Unix socket's by its path."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return f"http+unix://{quote(path or str(sock.getsockname()), safe='')}"
    host, port = sock.getsockname()[:2]
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"
