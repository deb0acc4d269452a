from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import oo.testing
from tests.support.command import Process, refused


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
    [file] = (tmp_path / "double-o" / "proxy").glob("*/ca.pem")
    assert token not in str(file)


def test_a_shell_that_has_them_already_takes_them_anew(process: Process, token: str, tmp_path: Path) -> None:
    found: dict[str, str] = {}
    bundles, given = list[str](), {"XDG_CACHE_HOME": str(tmp_path)}
    for _ in range(2):
        done = process("proxy-env", **found, **given)
        found = {**dict(line.split("=", 1) for line in done.stdout.splitlines()), "OO_TOKEN": token}
        bundles.append(Path(found["SSL_CERT_FILE"]).read_text())
    first, second = (bundle.split("-----BEGIN ") for bundle in bundles)
    assert len(first) == len(second)  # an earlier certificate of the authority is not kept
    assert first[:-1] == second[:-1]
    assert Path(found["WGETRC"]).read_text().count("ca_certificate") == 1


def test_each_token_has_its_own_certificates(
    process: Process, token: str, gateway: oo.testing.LocalGateway, tmp_path: Path
) -> None:
    for each in (token, gateway.route("other", "https://other.test"), token):
        process("proxy-env", XDG_CACHE_HOME=str(tmp_path), OO_TOKEN=each)
    assert len(list((tmp_path / "double-o" / "proxy").iterdir())) == 2


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
