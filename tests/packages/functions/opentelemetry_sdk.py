from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


def call() -> object:
    """Record a span with an attribute and an event, and export it to memory."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource({"service.name": "sat1"}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with provider.get_tracer("a").start_as_current_span("work") as span:
        span.set_attribute("bytes", 3)
        span.add_event("done")
    (done,) = exporter.get_finished_spans()
    return (
        done.name,
        dict(done.attributes),
        [event.name for event in done.events],
        done.resource.attributes["service.name"],
    )
