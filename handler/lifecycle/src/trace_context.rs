//! W3C trace context: which span of which trace something was done in, as the header `traceparent` tells it.

use std::fmt;

/// A place in a trace: what is done because of it belongs below it.
///
/// In the bytes of the header and not as texts: a scoring has one, and is moved about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: [u8; 16],
    span_id: [u8; 8],
    sampled: bool,
}

impl TraceContext {
    /// `None` if either id is all zeros, by which the standard means none.
    pub fn new(trace_id: [u8; 16], span_id: [u8; 8], sampled: bool) -> Option<Self> {
        (trace_id != [0; 16] && span_id != [0; 8]).then_some(Self { trace_id, span_id, sampled })
    }

    /// Reads a `traceparent`, `00-{trace id}-{span id}-{flags}`. Of later versions, which may have more to say, these four count.
    pub fn read(traceparent: &str) -> Option<Self> {
        let mut parts = traceparent.trim().split('-');
        let version = hex::<1>(parts.next()?)?;
        let (trace_id, span_id) = (hex(parts.next()?)?, hex(parts.next()?)?);
        let [flags] = hex::<1>(parts.next()?)?;
        if version == [0xff] {
            return None;
        }
        Self::new(trace_id, span_id, flags & 1 == 1)
    }

    /// Id of the trace, in the 16 bytes that the header writes as 32 digits.
    pub fn trace_id(&self) -> [u8; 16] {
        self.trace_id
    }

    /// Names the span within the trace.
    pub fn span_id(&self) -> [u8; 8] {
        self.span_id
    }

    /// Whether the trace is kept by those who began it.
    pub fn is_sampled(&self) -> bool {
        self.sampled
    }

    /// The trace's id as 32 hexadecimal digits.
    pub fn trace_id_text(&self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.trace_id))
    }

    /// The span's id as 16 hexadecimal digits.
    pub fn span_id_text(&self) -> String {
        format!("{:016x}", u64::from_be_bytes(self.span_id))
    }
}

/// As a header `traceparent` of version 00: `00-{trace id}-{span id}-{flags}`.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace_id_text(), self.span_id_text(), u8::from(self.sampled))
    }
}

/// So many bytes as lower-case hexadecimal digits, which the standard asks for.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let is_hex = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if !is_hex || text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_traceparent_is_read_and_written_the_same() {
        let read = TraceContext::read(SENT).expect("valid");
        assert_eq!(read.to_string(), SENT);
        assert_eq!(read.trace_id_text(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!((read.span_id()[0], read.is_sampled()), (0xb7, true));
        let unsampled = SENT.replace("-01", "-00");
        assert_eq!(TraceContext::read(&unsampled).map(|read| read.to_string()), Some(unsampled));
        let later = format!("cc{}-more", &SENT[2..]);
        assert_eq!(TraceContext::read(&later), Some(read), "what a later version adds is passed over");
    }

    #[test]
    fn what_is_no_traceparent_is_none() {
        for bad in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319\u{e9}-b7ad6b7169203331-01",
        ] {
            assert_eq!(TraceContext::read(bad), None, "{bad}");
        }
    }
}
