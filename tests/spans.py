"""The tracing processor of the tests."""

from agents.tracing import TracingProcessor


class Spans(TracingProcessor):
    """Keeps something of every span that ends.

    Args:
        keep: Returns what to keep of a span, at its end; the span itself when left out.
        only: Returns False for spans to pass over.
    """

    def __init__(self, keep=lambda span: span, *, only=lambda span: True):
        self.ended = []
        self._keep = keep
        self._only = only

    def on_trace_start(self, trace): ...
    def on_trace_end(self, trace): ...
    def on_span_start(self, span): ...

    def on_span_end(self, span):
        if self._only(span):
            self.ended.append(self._keep(span))

    def shutdown(self): ...
    def force_flush(self): ...
