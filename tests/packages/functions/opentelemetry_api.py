from opentelemetry import baggage, trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator


def call() -> object:
    """Read the trace of a header, carry baggage, and write the header again."""
    propagator, headers = TraceContextTextMapPropagator(), {}
    context = propagator.extract({"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"})
    context = baggage.set_baggage("node", "sat1", context)
    propagator.inject(headers, context)
    span = trace.get_current_span(context).get_span_context()
    return headers, trace.format_trace_id(span.trace_id), baggage.get_baggage("node", context)
