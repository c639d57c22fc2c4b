use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::pattern::PatternList;
use super::time;

/// What stands between principals and key.
#[derive(Debug, Default)]
pub(super) struct Options {
    pub(super) is_cert_authority: bool,
    pub(super) namespaces: Option<PatternList>,
    pub(super) after: Option<Timestamp>,
    pub(super) before: Option<Timestamp>,
}

/// Where the options end that a text begins with: at the first blank that is in no quotes. `None` where quotes do not end.
pub(super) fn end(text: &str) -> Option<usize> {
    unquoted(text, |byte| byte == b' ' || byte == b'\t')
}

/// Mistakes have the place in the text, in bytes, where they are.
pub(super) fn parse(text: &str, zone: &TimeZone) -> Result<Options, Vec<(usize, String)>> {
    let mut options = Options::default();
    let mut seen: Vec<String> = Vec::new();
    let mut mistakes = Vec::new();
    let mut at = 0;
    loop {
        let rest = &text[at..];
        let length = unquoted(rest, |byte| byte == b',').unwrap_or(rest.len());
        let (name, value) = match rest[..length].split_once('=') {
            Some((name, value)) => (name.to_ascii_lowercase(), Some(value)),
            None => (rest[..length].to_ascii_lowercase(), None),
        };
        if let Err(message) = options.set(&name, value, zone) {
            mistakes.push((at, message));
        } else if seen.contains(&name) {
            mistakes.push((at, format!("the option {name} stands here twice")));
        }
        seen.push(name);
        at += length + 1;
        if at > text.len() {
            break;
        }
    }
    if let (Some(after), Some(before)) = (options.after, options.before)
        && before <= after
    {
        mistakes.push((0, "valid-before is not later than valid-after: the key could never sign".to_owned()));
    }
    if mistakes.is_empty() { Ok(options) } else { Err(mistakes) }
}

impl Options {
    fn set(&mut self, name: &str, value: Option<&str>, zone: &TimeZone) -> Result<(), String> {
        let moment = |value| {
            let text = dequote(value)?;
            let wanted = "YYYYMMDD[HHMM[SS]], with Z after it for UTC";
            let why = || format!("{name} wants a time after 1970 as {wanted}; this is {:?}", shown(&text));
            time::parse(&text, zone).ok_or_else(why)
        };
        match (name, value) {
            ("cert-authority", None) => self.is_cert_authority = true,
            ("namespaces", Some(value)) => {
                self.namespaces = Some(PatternList::new(&dequote(value)?, "namespace")?);
            }
            ("valid-after", Some(value)) => self.after = Some(moment(value)?),
            ("valid-before", Some(value)) => self.before = Some(moment(value)?),
            ("namespaces" | "valid-after" | "valid-before", None) => {
                return Err(format!("the option {name} wants a value, as in {name}=\"...\""));
            }
            ("cert-authority", Some(_)) => return Err("the option cert-authority takes no value".to_owned()),
            ("", _) => return Err("an option is missing beside a comma".to_owned()),
            _ => return Err(format!("unknown option, or unknown type of key: {:?}", shown(name))),
        }
        Ok(())
    }
}

/// A value in quotes, in which `\"` is a quote and any other backslash is itself.
fn dequote(value: &str) -> Result<String, String> {
    let wants = || format!("the value {:?} does not stand in quotes as a whole", shown(value));
    let inner = value.strip_prefix('"').ok_or_else(wants)?;
    let mut text = String::new();
    let mut rest = inner.chars();
    while let Some(character) = rest.next() {
        match character {
            '"' if rest.as_str().is_empty() => return Ok(text),
            '"' => break,
            '\\' if rest.as_str().starts_with('"') => text.extend(rest.next()),
            _ => text.push(character),
        }
    }
    Err(wants())
}

/// Where the first byte of a kind is that stands in no quotes, else the end. `None` where quotes do not end.
fn unquoted(text: &str, is_wanted: impl Fn(u8) -> bool) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut is_quoted = false;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' if bytes.get(at + 1) == Some(&b'"') => at += 1,
            b'"' => is_quoted = !is_quoted,
            byte if !is_quoted && is_wanted(*byte) => return Some(at),
            _ => {}
        }
        at += 1;
    }
    (!is_quoted).then_some(bytes.len())
}

/// More of it is not quoted in a message.
fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}
