"""What `oo export` writes, `oo env set --from-file` reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from oo._commands._vault import with_vault
from oo.testing import LocalGateway
from tests.support.command import Inside
from tests.unit._client.test_dotenv import EXACT


@pytest.mark.parametrize("piped", [False, True])
def test_an_exported_environment_is_set_again_as_it_was(
    piped: bool,
    gateway: LocalGateway,
    vault: Inside,
    inside: Inside,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OO_BASE_URL", gateway.url)
    monkeypatch.setenv("OO_TOKEN", gateway.environment("web", EXACT))
    path = tmp_path / ".env"
    assert inside("export", str(path)).exit_code == 0
    vault("env", "set", "back", "--from-file", *(("-",) if piped else (str(path),)), input=path.read_bytes())
    assert with_vault(lambda vault: vault.environment("back")) == EXACT
