"""What a proxied program reads: files in a folder of its own, and the variables that name them."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

if TYPE_CHECKING:
    from .._client.forward_proxy import Files


def _checked(_context: click.Context, _option: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    from .._client.forward_proxy import takes_placeholder

    if not all(map(takes_placeholder, names)):  # not quoted: it may be NAME=KEY
        raise click.BadParameter("give the name alone, of a variable that holds a key: OPENAI_API_KEY")
    return names


placeholder_option = click.option(
    "--placeholder",
    multiple=True,
    metavar="NAME",
    callback=_checked,
    help="Give this variable a harmless value: a key to start with.",
)
"""The option for what a program wants to start."""


_PUBLIC, _PRIVATE = 0o644, 0o600  # modes of files


def fetched(base_url: str | None, token: str) -> tuple[str, str]:
    """The URL of the gateway, and the certificates that the token's holder has to trust."""
    from .._client.forward_proxy import authority, certificates
    from ._caller import client_at

    with client_at(base_url) as client:
        if urlsplit(client.base_url).path:
            raise click.ClickException(
                f"a forward proxy has no path: {client.base_url} is to end with its host or port"
            )
        pem: str = client._send(authority(client._factory, token)).value
        if not certificates(pem):
            raise click.ClickException(f"{client.base_url} gave no certificate: is it a gateway of this version?")
        return client.base_url, pem


@contextmanager
def proxied_command(
    command: tuple[str, ...],
    base_url: str | None,
    token: str,
    environ: Mapping[str, str],
    placeholders: tuple[str, ...],
) -> Iterator[tuple[tuple[str, ...], dict[str, str]]]:
    """A command behind its parent, and their environment. The parent deletes the folder of its files; where it is not
    started, they are gone at the end of the block."""
    from .._client.forward_proxy import inherited, needs_forwarder, proxy_url, variables
    from . import _parent

    gateway, pem = fetched(base_url, token)
    place = _parent.MARK if needs_forwarder(gateway) else ""
    folder = tempfile.mkdtemp(prefix="oo-run-")  # of mode 0700
    try:
        files = written(Path(folder), pem, environ)
        added = variables(proxy_url(gateway, token, place), files, placeholders)
        # By its path and isolated: nothing of the command's environment or of this folder is imported.
        parent = (sys.executable, "-I", _parent.__file__, folder, gateway if place else "", "--")
        yield (*parent, *command), {**inherited(environ), **added}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def written(folder: Path, pem: str, environ: Mapping[str, str]) -> Files:
    """Write the files that a program reads. OSError."""
    from .._client.forward_proxy import Files, joined, others, wgetrc
    from .._core.files import replace_file

    files = Files(*(str(folder / name) for name in ("bundle.pem", "ca.pem", "wgetrc")))
    own = _read(environ.get("WGETRC") or os.path.expanduser("~/.wgetrc"))
    extra = others(_read(environ.get("NODE_EXTRA_CA_CERTS", "")))
    # In one step each: a program that is under way may read them.
    replace_file(files.bundle, joined(others("\n".join(_users(environ))), *_systems(), pem).encode(), mode=_PUBLIC)
    replace_file(files.extra, joined(pem, extra).encode(), mode=_PUBLIC)
    # A user's own settings may hold a password.
    replace_file(files.wgetrc, wgetrc(own, files.bundle).encode(), mode=_PRIVATE if own else _PUBLIC)
    return files


def _users(environ: Mapping[str, str]) -> Iterator[str]:
    """The authorities that a user's own variables name."""
    from .._client.forward_proxy import OWN_BUNDLES

    for name in OWN_BUNDLES:
        yield _read(environ.get(name, ""))
    for folder in environ.get("SSL_CERT_DIR", "").split(os.pathsep):
        yield from _folder(folder)


def _systems() -> Iterator[str]:
    """The authorities of the system, then certifi's."""
    import ssl

    import certifi

    paths = ssl.get_default_verify_paths()
    file = _read(paths.openssl_cafile)
    yield file
    if not file:
        yield from _folder(paths.openssl_capath)
    for der in ssl.create_default_context(capath=os.devnull if os.name == "posix" else None).get_ca_certs(True):
        yield ssl.DER_cert_to_PEM_cert(der)  # Windows has no files of them
    yield _read(certifi.where())


def _folder(folder: str) -> Iterator[str]:
    if folder and os.path.isdir(folder):
        for name in sorted(os.listdir(folder)):
            yield _read(os.path.join(folder, name))


def _read(path: str) -> str:
    with suppress(OSError):
        return Path(path).read_text("utf-8", "replace") if path and os.path.isfile(path) else ""
    return ""
