from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from oo.gateway.sd_notify import ServiceManager


def told(manager: socket.socket) -> list[str]:
    return manager.recv(4096).decode().splitlines()


@pytest.mark.parametrize("abstract", [False, True])
def test_a_service_manager_is_told_what_it_asks_for(tmp_path: Path, abstract: bool) -> None:
    name = f"@oo-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(name.replace("@", "\0"))
        environ = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid()), "HOME": "/"}
        manager = ServiceManager(environ)
        assert (environ, manager.watchdog) == ({"HOME": "/"}, 1.5)
        manager.ready()
        assert told(listening) == ["READY=1"]
        manager.ready("two workers")
        assert told(listening) == ["READY=1", "STATUS=two workers"]
        manager.reloading()
        reloading, since = told(listening)
        assert (reloading, since.partition("=")[0]) == ("RELOADING=1", "MONOTONIC_USEC")
        assert int(since.partition("=")[2]) > 0
        manager.stopping()
        assert told(listening) == ["STOPPING=1"]
        manager.alive()
        assert told(listening) == ["WATCHDOG=1"]


@pytest.mark.parametrize("environ", [{}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}])
def test_where_nobody_asks_nothing_is_said(environ: dict[str, str]) -> None:
    manager = ServiceManager(environ)
    manager.ready()
    assert manager.watchdog is None


def test_a_manager_that_is_gone_keeps_nobody_up(tmp_path: Path) -> None:
    ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "none")}).ready()
