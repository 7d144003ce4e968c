//! Trace context on its way with a message, in the headers that W3C names: what a handler does then belongs to the same
//! trace as what sent the message, wherever it waited in between. Without an OpenTelemetry layer in the program's
//! `tracing` subscriber nothing is added and nothing read.

use std::str::FromStr;

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::headers::Headers;

const PARENT: &str = "traceparent";
const STATE: &str = "tracestate";

/// Writes the present span into the headers, unless they name one already.
pub(crate) fn inject(headers: &mut Headers) {
    let context = Span::current().context();
    let span = context.span();
    let span = span.span_context();
    if !span.is_valid() || headers.text(PARENT).is_some() {
        return;
    }
    let flags = span.trace_flags().to_u8();
    headers.set_text(PARENT, format!("00-{}-{}-{flags:02x}", span.trace_id(), span.span_id()));
    let state = span.trace_state().header();
    if !state.is_empty() {
        headers.set_text(STATE, state);
    }
}

/// Makes the span that the headers name the parent of `span`.
pub(crate) fn adopt(span: &Span, headers: &Headers) {
    let Some(parent) = headers.text(PARENT) else { return };
    let state = headers.text(STATE).and_then(|state| TraceState::from_str(&state).ok()).unwrap_or_default();
    if let Some(parent) = parse(&parent, state) {
        // Fails only where there is no OpenTelemetry layer.
        let _ = span.set_parent(Context::new().with_remote_span_context(parent));
    }
}

fn parse(parent: &str, state: TraceState) -> Option<SpanContext> {
    let mut parts = parent.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if version.len() != 2 || version == "ff" || trace.len() != 32 || span.len() != 16 || flags.len() != 2 {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let context = SpanContext::new(trace, span, flags, true, state);
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::TracerProvider;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn what_is_injected_can_be_adopted() {
        let provider = opentelemetry_sdk::trace::SdkTracerProvider::default();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
        let mut headers = Headers::default();
        let sending = tracing::info_span!("sending");
        sending.in_scope(|| inject(&mut headers));
        let written = headers.text(PARENT).unwrap();
        tracing::info_span!("another").in_scope(|| inject(&mut headers));
        assert_eq!(headers.text(PARENT).as_ref(), Some(&written), "the first one stays");
        let handling = tracing::info_span!("handling");
        adopt(&handling, &headers);
        let trace_of = |span: &Span| span.context().span().span_context().trace_id();
        assert_eq!(trace_of(&handling), trace_of(&sending));
    }

    #[test]
    fn without_a_span_nothing_is_added() {
        let mut headers = Headers::default();
        inject(&mut headers);
        assert!(headers.is_empty());
    }

    #[test]
    fn nonsense_is_no_parent() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert!(parse(good, TraceState::default()).is_some());
        for bad in
            ["", "00", "00-0-0-0", "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "é-é-é-é"]
        {
            assert!(parse(bad, TraceState::default()).is_none(), "{bad}");
        }
        let zeros = "00-00000000000000000000000000000000-b7ad6b7169203331-01";
        assert!(parse(zeros, TraceState::default()).is_none());
    }
}
