"""`oo run --proxied`: what the command finds, what it does not, and what is left."""

from __future__ import annotations

import json
import os
import ssl
import sys
from pathlib import Path

import click
import pytest

import oo.testing
from oo._commands import _proxied
from tests.support.certificates import self_signed
from tests.support.command import CANARY, Process, refused

SHOW = "import json, os; print(json.dumps(dict(os.environ)))"


def shown(process: Process, *options: str, **env: str) -> dict[str, str]:
    done = process("run", "--proxied", *options, "--", sys.executable, "-c", SHOW, **env)
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, str] = json.loads(done.stdout)
    return found


def test_the_command_has_the_proxy_and_no_token_else(
    process: Process, token: str, gateway: oo.testing.LocalGateway
) -> None:
    past = {"ALL_PROXY": "http://x", "SSL_CERT_DIR": "/x", "NODE_TLS_REJECT_UNAUTHORIZED": "0", "OO_MASTER_KEY": "k"}
    found = shown(process, "--placeholder", "GH_TOKEN", **past)
    assert found["HTTPS_PROXY"] == gateway.url.replace("http://", f"http://oo:{token}@")
    assert found["GH_TOKEN"] == "placeholder-of-double-o"
    assert not {*past, "OO_TOKEN"} & set(found)
    folder = Path(found["SSL_CERT_FILE"]).parent
    assert (folder.name.startswith("oo-run-"), folder.exists()) == (True, False)


def test_its_folder_is_its_users_alone_and_holds_all_authorities(process: Process, token: str, tmp_path: Path) -> None:
    own, extra = self_signed(tmp_path, "127.0.0.1"), self_signed(tmp_path, "127.0.0.2")
    (tmp_path / ".wgetrc").write_text("quiet = on")
    code = (
        "import json, os, pathlib\n"
        "e = os.environ\n"
        "print(json.dumps([oct(os.stat(os.path.dirname(e['SSL_CERT_FILE'])).st_mode),"
        " *(pathlib.Path(e[n]).read_text() for n in ('SSL_CERT_FILE', 'NODE_EXTRA_CA_CERTS', 'WGETRC')),"
        " e['SSL_CERT_FILE']]))"
    )
    env = {"REQUESTS_CA_BUNDLE": own.file, "NODE_EXTRA_CA_CERTS": extra.file, "HOME": str(tmp_path)}
    done = process("run", "--proxied", "--", sys.executable, "-c", code, **env)
    mode, bundle, extras, wgetrc, path = json.loads(done.stdout)
    assert mode == "0o40700"
    for file in (own.file, extra.file):
        assert Path(file).read_text().strip() in bundle
    assert extras.count("BEGIN CERTIFICATE") == 2
    assert extras.split("-----END")[0] in bundle
    assert bundle.count("BEGIN CERTIFICATE") > 100
    assert len(set(bundle.split("-----BEGIN"))) == bundle.count("-----BEGIN") + 1
    assert wgetrc == f"quiet = on\nca_certificate = {path}\n"


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
def test_no_process_that_the_command_sees_has_more_than_it_has_itself(process: Process, token: str) -> None:
    code = """if True:
        import os
        pid, seen = os.getppid(), ""
        while pid != int(os.environ["STARTER"]):
            seen += open(f"/proc/{pid}/environ").read() + open(f"/proc/{pid}/cmdline").read()
            pid = int(open(f"/proc/{pid}/status").read().partition("PPid:")[2].split()[0])
        print(seen)
    """
    done = process("run", "--proxied", "--", sys.executable, "-c", code, OO_MASTER_KEY=CANARY, STARTER=str(os.getpid()))
    assert (CANARY in done.stdout, "OO_TOKEN" in done.stdout, "HTTPS_PROXY" in done.stdout) == (False, False, True)
    assert token not in done.stdout.replace(f"oo:{token}@", "")


def test_an_environment_comes_with_a_token_of_its_own(
    process: Process, token: str, gateway: oo.testing.LocalGateway, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text(gateway.environment("web", {"MODE": "test", "OTHER": "x"}))
    found = shown(process, "--env-token-file", str(file), "--only", "MODE")
    assert (found["MODE"], "OTHER" in found) == ("test", False)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--placeholder", "X"), "go with --proxied"),
        (("--proxied", "--only", "X"), "name their token with --env-token-file"),
        (("--proxied", "--placeholder", f"KEY={CANARY}"), "give the name alone, of a variable that holds a key"),
        (("--proxied", "--placeholder", "A", "--placeholder", "PATH"), "give the name alone"),
    ],
)
def test_options_that_do_not_fit(options: tuple[str, ...], said: str, process: Process, token: str) -> None:
    told = refused(process("run", *options, "--", "true"), 2)
    assert (said in told, CANARY in told) == (True, False)


def test_without_certificates_nothing_is_started(
    process: Process, token: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    done = process("run", "--proxied", "--", "echo", "started", OO_TOKEN="oo_nonsense")
    assert "token" in refused(done)
    assert list(tmp_path.iterdir()) == []


def test_the_exit_code_is_the_commands(process: Process, token: str) -> None:
    assert process("run", "--proxied", "--", "sh", "-c", "exit 5").returncode == 5
    missing = process("run", "--proxied", "--", "/no/such")
    assert (missing.returncode, missing.stderr) == (127, "oo: /no/such: No such file or directory\n")


def test_files_that_cannot_be_read_are_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "authorities"
    folder.mkdir()
    (folder / "one.pem").write_bytes(Path(self_signed(tmp_path, "127.0.0.1").file).read_bytes())
    files = _proxied.written(tmp_path, "", {"SSL_CERT_FILE": "/no/such", "SSL_CERT_DIR": f"{folder}:/none"})
    assert (folder / "one.pem").read_text().strip() in Path(files.bundle).read_text()


def test_a_folder_that_cannot_be_written_is_not_left(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, token: str
) -> None:
    def full(*_: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr(_proxied, "written", full)
    monkeypatch.setattr(_proxied.tempfile, "tempdir", str(tmp_path))
    with pytest.raises(OSError, match="no space"), _proxied.proxied_command(("true",), None, token, {}, ()):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="Linux bounds each variable")
def test_a_command_that_cannot_be_started_leaves_no_folder(
    process: Process, token: str, gateway: oo.testing.LocalGateway, tmp_path: Path
) -> None:
    file, temporary = tmp_path / "token", tmp_path / "tmp"
    file.write_text(gateway.environment("web", {"LARGE": "x" * (128 << 10)}))
    temporary.mkdir()
    done = process("run", "--proxied", "--env-token-file", str(file), "--", "true", TMPDIR=str(temporary))
    assert (done.returncode, "Argument list too long" in done.stderr) == (126, True)
    assert list(temporary.iterdir()) == []


def test_what_a_users_own_settings_hold_is_theirs_alone(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("password = secret")
    for environ, mode in (({"WGETRC": str(own)}, 0o600), ({"HOME": "/none", "WGETRC": "/none"}, 0o644)):
        files = _proxied.written(tmp_path, "", environ)
        assert Path(files.wgetrc).stat().st_mode & 0o777 == mode
        assert Path(files.bundle).stat().st_mode & 0o777 == 0o644


def test_a_base_url_with_a_path_is_no_proxy(process: Process, token: str, gateway: oo.testing.LocalGateway) -> None:
    for command in (("run", "--proxied", "--", "true"), ("proxy-env",)):
        said = refused(process(*command, OO_BASE_URL=f"{gateway.url}/api/proxy"))
        assert "a forward proxy has no path" in said


def test_a_server_of_another_kind_is_told(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    monkeypatch.setattr("oo._client.forward_proxy.certificates", lambda _: [])
    with pytest.raises(click.ClickException, match="is it a gateway of this version"):
        _proxied.fetched(None, token)


def test_a_system_that_keeps_its_authorities_in_a_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "authorities"
    folder.mkdir()
    (folder / "one.pem").write_bytes(Path(self_signed(tmp_path, "127.0.0.1").file).read_bytes())
    paths = ssl.get_default_verify_paths()._replace(openssl_cafile="/no/such", openssl_capath=str(folder))
    monkeypatch.setattr("ssl.get_default_verify_paths", lambda: paths)
    assert (folder / "one.pem").read_text() in list(_proxied._systems())
