use sha2::{Digest, Sha256};

use crate::head::LineHash;

/// No line is longer, in bytes, its newline not counted.
pub const MAX_LINE: usize = 1 << 20;
/// What a writer may say in one, in bytes: the chain needs less than the rest.
pub const MAX_BODY: usize = MAX_LINE - 1024;

/// A line taken apart from its end, where the chain's fields stand: what is before may hold anything but a newline, since
/// no string within it can have a quote that is not escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parts<'a> {
    pub(crate) whole: &'a [u8],
    pub(crate) record: u64,
    pub(crate) previous: LineHash,
    pub(crate) signature: Option<&'a str>,
    /// Where the writer's fields end.
    fields: usize,
    /// Where the object would be closed were it not signed.
    unsigned: usize,
}

impl<'a> Parts<'a> {
    /// `None` where it is no line that [`append`] could have written.
    pub(crate) fn of(whole: &'a [u8]) -> Option<Self> {
        let inner = whole.strip_suffix(b"}")?;
        let (chain, signature) = match signature(inner) {
            Some((chain, signature)) => (chain, Some(signature)),
            None => (inner, None),
        };
        let rest = chain.strip_suffix(b"\"")?;
        let (rest, previous) = rest.split_at_checked(rest.len().checked_sub(64)?)?;
        let previous = LineHash::from_hex(previous)?;
        let rest = rest.strip_suffix(b",\"previous\":\"")?;
        let digits = rest.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        let (rest, digits) = rest.split_at(rest.len() - digits);
        let record = number(digits)?;
        let rest = rest.strip_suffix(b"\"record\":")?;
        let fields = match rest {
            b"{" => rest,
            _ => rest.strip_suffix(b",").filter(|rest| is_begun(rest))?,
        };
        let (fields, unsigned) = (fields.len(), chain.len());
        Some(Parts { whole, record, previous, signature, fields, unsigned })
    }

    pub(crate) fn hash(&self) -> LineHash {
        hash(self.whole)
    }

    /// What is signed: the object as it would be without the signature.
    pub(crate) fn message(&self) -> Vec<u8> {
        closed(&self.whole[..self.unsigned])
    }

    /// The writer's object.
    pub(crate) fn body(&self) -> Vec<u8> {
        closed(&self.whole[..self.fields])
    }
}

/// An object with a field at least, up to where [`append`] goes on: that leaves no blank there.
fn is_begun(fields: &[u8]) -> bool {
    fields.len() > 1 && fields.starts_with(b"{") && fields.trim_ascii_end() == fields
}

/// What stands before `,"signature":"…"`, and the signature.
fn signature(inner: &[u8]) -> Option<(&[u8], &str)> {
    let inner = inner.strip_suffix(b"\"")?;
    let quote = inner.iter().rposition(|byte| *byte == b'"')?;
    let chain = inner[..quote].strip_suffix(b",\"signature\":")?;
    Some((chain, std::str::from_utf8(&inner[quote + 1..]).ok()?))
}

/// In the one way in which it is written.
pub(crate) fn number(digits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok()?;
    let plain =
        text.starts_with(|first: char| matches!(first, '1'..='9')) && digits.iter().all(u8::is_ascii_digit);
    text.parse().ok().filter(|_| plain)
}

fn closed(object: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(object.len() + 1);
    bytes.extend_from_slice(object);
    bytes.push(b'}');
    bytes
}

/// What `previous` is of the line after this one.
pub(crate) fn hash(line: &[u8]) -> LineHash {
    LineHash(Sha256::digest(line).into())
}

/// Whether it may stand before the chain's fields. That it is JSON is its writer's word.
pub(crate) fn is_body(body: &[u8]) -> bool {
    body.len() <= MAX_BODY
        && body.len() >= 2
        && body.starts_with(b"{")
        && body.ends_with(b"}")
        && !body.contains(&b'\n')
}

/// Writes a line without its signature and without its newline.
pub(crate) fn append(text: &mut Vec<u8>, body: &[u8], record: u64, previous: LineHash) {
    let fields = body[..body.len().saturating_sub(1)].trim_ascii_end();
    text.extend_from_slice(fields);
    let comma = if fields == b"{" { "" } else { "," };
    text.extend_from_slice(format!("{comma}\"record\":{record},\"previous\":\"{previous}\"}}").as_bytes());
}

/// Puts the signature into the line that ends `text`.
pub(crate) fn sign(text: &mut Vec<u8>, signature: &str) {
    text.pop();
    text.extend_from_slice(format!(",\"signature\":\"{signature}\"}}").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_taken_apart_as_it_was_put_together() {
        for body in ["{}", "{\"a\":1}", "{\"a\":\"\\\"record\\\":7,\\\"previous\\\":\\\"\"}", "{ }"] {
            for signature in [None, Some("AAAA")] {
                let mut line = Vec::new();
                append(&mut line, body.as_bytes(), 7, hash(b"before"));
                let unsigned = line.clone();
                signature.inspect(|signature| sign(&mut line, signature));
                let parts = Parts::of(&line).unwrap();
                assert_eq!((parts.record, parts.previous, parts.signature), (7, hash(b"before"), signature));
                assert_eq!(parts.message(), unsigned);
                assert_eq!(String::from_utf8(parts.body()).unwrap().replace(' ', ""), body.replace(' ', ""));
                serde_json::from_slice::<serde_json::Value>(&line).unwrap();
            }
        }
    }

    #[test]
    fn what_was_written_otherwise_is_no_record() {
        let hash = hash(b"");
        for line in [
            String::new(),
            "}".to_owned(),
            "{}".to_owned(),
            format!("{{\"record\":0,\"previous\":\"{hash}\"}}"),
            format!("{{\"record\":07,\"previous\":\"{hash}\"}}"),
            format!("{{\"record\":99999999999999999999,\"previous\":\"{hash}\"}}"),
            format!("{{\"a\":1 ,\"record\":7,\"previous\":\"{hash}\"}}"),
            format!("{{,\"record\":7,\"previous\":\"{hash}\"}}"),
            format!("\"record\":7,\"previous\":\"{hash}\"}}"),
            format!("{{\"record\":7,\"previous\":\"{}\"}}", hash.to_string().to_uppercase()),
            format!("{{\"record\":7,\"previous\":\"{hash}\"}} "),
        ] {
            assert_eq!(Parts::of(line.as_bytes()), None, "{line}");
        }
    }
}
