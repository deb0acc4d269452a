from __future__ import annotations

import asyncio
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

import oo
from oo.testing import MockTransport, Streamed, VirtualClock

TOKEN = "oo_" + "a" * 43


def counted(registry: CollectorRegistry) -> dict[tuple[str, ...], float]:
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {
        (sample.name, *dict(sorted(sample.labels.items())).values()): sample.value
        for each in families
        for sample in each.samples
        if not sample.name.endswith(("_bucket", "_created"))
    }


@pytest.mark.parametrize("blocking", [True, False])
def test_either_client_counts_its_calls(blocking: bool) -> None:
    registry = CollectorRegistry()
    transport = MockTransport([503, {"value": "s"}, 404], io=VirtualClock())
    chain = [oo.Metrics(registry), *oo.default_middleware(retries=1, cache=oo.SecretCache())]

    def settings() -> dict[str, Any]:
        return {"middleware": chain, "transport": transport}

    if blocking:
        with oo.Client(**settings()) as client:
            for _ in range(2):
                client.get_secret(TOKEN, cache_ttl=60)
            with pytest.raises(oo.ProxyError):
                client.proxy("x", TOKEN)
    else:

        async def run() -> None:
            async with oo.AsyncClient(**settings()) as client:
                for _ in range(2):
                    await client.get_secret(TOKEN, cache_ttl=60)
                with pytest.raises(oo.ProxyError):
                    await client.proxy("x", TOKEN)

        asyncio.run(run())
    found = counted(registry)
    assert found["oo_client_calls_total", "secret", "2xx"] == 2
    assert found["oo_client_calls_total", "proxy", "4xx"] == 1
    assert found["oo_client_retries_total", "secret"] == 1
    assert found["oo_client_cached_total", "hit", "secret"] == 1
    assert found["oo_client_call_seconds_count", "secret"] == 2
    assert found["oo_client_call_seconds_sum", "secret"] >= 0.5  # which it waited


def test_several_clients_share_a_registry_and_a_failure_has_its_reason() -> None:
    registry = CollectorRegistry()
    for _ in range(2):
        transport = MockTransport([oo.DoubleOError("slow", reason="timeout")])
        client = oo.Client(middleware=[oo.Metrics(registry)], transport=transport)
        with client, pytest.raises(oo.SecretError):
            client.get_secret(TOKEN)
    assert counted(registry)["oo_client_calls_total", "secret", "timeout"] == 2


def test_a_stream_is_counted_when_it_has_ended() -> None:
    registry = CollectorRegistry()
    transport = MockTransport([Streamed([b"data: {}\n\n", b"data: [DONE]\n\n"])])
    chain = [oo.Metrics(registry), *oo.default_middleware()]
    with oo.Client(middleware=chain, transport=transport) as client, client.stream("x", TOKEN) as stream:
        assert ("oo_client_calls_total", "proxy", "2xx") not in counted(registry)
        assert list(stream.iter_bytes())
    assert counted(registry)["oo_client_calls_total", "proxy", "2xx"] == 1


def test_unless_told_it_is_the_librarys_own_registry() -> None:
    from prometheus_client import REGISTRY

    assert oo.Metrics()._counters is oo.Metrics(REGISTRY)._counters
