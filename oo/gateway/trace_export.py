"""Sends a gateway's spans to a collector, as the variables of OpenTelemetry (`OTEL_EXPORTER_OTLP_ENDPOINT`) say."""

from __future__ import annotations

from collections.abc import Callable

from .errors import StoreError


def check() -> None:
    """StoreError where what it takes is not there."""
    try:
        import opentelemetry.exporter.otlp.proto.http
        import opentelemetry.sdk.trace  # noqa: F401
    except ModuleNotFoundError:
        raise StoreError(
            "--traces needs `pip install opentelemetry-sdk opentelemetry-exporter-otlp-proto-http`"
        ) from None


def start() -> Callable[[], None]:
    """Send spans from here on, unless a plugin or `opentelemetry-instrument` has seen to it. Returns what sends the
    last ones."""
    check()
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    if isinstance(trace.get_tracer_provider(), TracerProvider):
        return lambda: None
    found = Resource.create()  # with OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES
    if str(found.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        found = found.merge(Resource({SERVICE_NAME: "double-o"}))
    provider = TracerProvider(resource=found)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return provider.shutdown
