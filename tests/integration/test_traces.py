"""One trace from a blocking client through `oo serve` to the upstream, as a collector on loopback receives it."""

from __future__ import annotations

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

import oo
from oo.gateway.models import Route
from tests.support.processes import Home, until


class Collector:
    """Receives spans by OTLP over HTTP, on loopback."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    data = gzip.decompress(data)
                for resource in ExportTraceServiceRequest.FromString(data).resource_spans:
                    named = {each.key: each.value.string_value for each in resource.resource.attributes}
                    for scope in resource.scope_spans:
                        outer.spans += [(named.get("service.name", ""), span) for span in scope.spans]
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_what: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Collector:
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class TracedUpstream:
    """An API that makes a span of its own below what it is told."""

    def __init__(self, provider: TracerProvider) -> None:
        tracer = provider.get_tracer("upstream")
        self.seen: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                outer.seen.append(self.headers["traceparent"])
                parent = TraceContextTextMapPropagator().extract(dict(self.headers.items()))
                with tracer.start_as_current_span("upstream", parent):
                    body = b'{"model": "m", "usage": {"prompt_tokens": 3, "completion_tokens": 4}}'
                    self.send_response(200)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *_what: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> TracedUpstream:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_one_trace_goes_from_the_client_through_the_gateway_to_the_upstream(tmp_path: Path, workers: str) -> None:
    with Collector() as collector:
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{collector.url}/v1/traces")))
        home = Home(tmp_path / "home", OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_BSP_SCHEDULE_DELAY="50").made()
        with TracedUpstream(provider) as upstream:
            home.run(lambda vault: vault.put_route(Route("api", upstream.url, allow_private=True)))
            token = home.token("route", "api")
            with home.serve("--traces", "--workers", workers) as served:
                chain = [oo.Tracing(provider), *oo.default_middleware()]
                with oo.Client(served.url, middleware=chain) as client:
                    client.proxy("v1/chat/completions?q=canary", token, payload={"model": "m"})
            until(lambda: len(collector.spans) == 3)
        provider.shutdown()
    by_service = {
        "upstream" if span.name == "upstream" else service.partition(":")[0]: (service, span)
        for service, span in collector.spans
    }
    (_, client_span), (service, gateway_span), (_, upstream_span) = (
        by_service[name] for name in ("unknown_service", "double-o", "upstream")
    )
    assert service == "double-o"
    assert {span.trace_id for _, span in collector.spans} == {client_span.trace_id}
    assert gateway_span.parent_span_id == client_span.span_id
    assert upstream_span.parent_span_id == gateway_span.span_id
    assert [seen[:-3] for seen in upstream.seen] == [f"00-{gateway_span.trace_id.hex()}-{gateway_span.span_id.hex()}"]
    found = {each.key: each.value for each in gateway_span.attributes}
    assert (client_span.name, gateway_span.name) == ("chat m", "chat m")
    assert found["gen_ai.usage.input_tokens"].int_value == 3
    assert found["oo.route"].string_value == "api"
    assert not any(hidden in str(span) for _, span in collector.spans for hidden in (token, "canary"))
