from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import oo.testing
from tests.support.command import Process, refused


@pytest.fixture
def token(gateway: oo.testing.LocalGateway, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("OO_BASE_URL", gateway.url)
    token = gateway.route("api", "https://api.test")
    monkeypatch.setenv("OO_TOKEN", token)
    return token


def test_lines_for_a_file_of_variables(process: Process, token: str, tmp_path: Path) -> None:
    folder = tmp_path / "certificates"
    done = process("proxy-env", "--dir", str(folder), "--placeholder", "KEY")
    lines = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert f"oo:{token}@127.0.0.1" in lines["HTTPS_PROXY"]
    assert lines["SSL_CERT_FILE"] == str(folder / "bundle.pem")
    assert lines["KEY"] == "placeholder-of-double-o"
    assert sorted(path.name for path in folder.iterdir()) == ["bundle.pem", "ca.pem", "wgetrc"]
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_shell_takes_them(process: Process, token: str, tmp_path: Path) -> None:
    printed = process("proxy-env", "--shell", XDG_CACHE_HOME=str(tmp_path)).stdout
    script = f'{printed}\nprintf "%s|%s|%s" "$https_proxy" "${{OO_TOKEN-none}}" "$NODE_USE_ENV_PROXY"'
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, env={"OO_TOKEN": "x"})
    proxy, own, node = done.stdout.split("|")
    assert (f"oo:{token}@" in proxy, own, node) == (True, "none", "1")
    assert (tmp_path / "double-o" / "proxy" / "ca.pem").exists()


def test_a_gateway_over_tls_is_said_to_be_for_some_alone(
    token: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: object
) -> None:
    monkeypatch.setattr("oo._commands.proxy_env.fetched", lambda *_: ("https://gw.example", ""))
    done = inside("proxy-env", "--dir", str(tmp_path))  # type: ignore[operator]
    assert f"HTTPS_PROXY=https://oo:{token}@gw.example" in done.stdout
    assert "take no https:// proxy" in done.stderr


def test_a_unix_socket_is_no_proxy(token: str, monkeypatch: pytest.MonkeyPatch, inside: object) -> None:
    monkeypatch.setattr("oo._commands.proxy_env.fetched", lambda *_: ("http+unix://%2Frun%2Foo.sock", ""))
    assert "no program takes a Unix socket" in refused(inside("proxy-env"))  # type: ignore[operator]
