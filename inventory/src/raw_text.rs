use std::fmt;
use std::sync::Arc;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes that somebody else chose: a process name, a path, an argument, a name in a state file.
///
/// `Display` writes them so that no other bytes give the same text and no terminal or parser is misled: every
/// byte that is not part of a printable character, and the backslash itself, becomes `\xNN`.
///
/// A clone shares the bytes: what listens is copied with each judgement.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct RawText(Arc<[u8]>);

impl RawText {
    /// Takes the bytes as they are.
    pub fn new(bytes: impl AsRef<[u8]>) -> Self {
        RawText(bytes.as_ref().into())
    }

    /// The bytes as they came.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// True when there is not a single byte.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The escaped form, one for each sequence of bytes.
    pub fn escaped(&self) -> String {
        self.to_string()
    }

    /// Reads the escaped form back. `None` where `text` is not one that [`RawText::escaped`] could have written.
    pub fn from_escaped(text: &str) -> Option<Self> {
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('\\') {
            bytes.extend_from_slice(&rest.as_bytes()[..at]);
            let digits = rest.get(at..at + 4)?.strip_prefix("\\x")?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &rest[at + 4..];
        }
        bytes.extend_from_slice(rest.as_bytes());
        let read = RawText::new(bytes);
        (read.escaped() == text).then_some(read)
    }
}

impl From<&str> for RawText {
    fn from(text: &str) -> Self {
        RawText::new(text.as_bytes())
    }
}

impl Serialize for RawText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for RawText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(Bytes)
    }
}

/// Reads bytes as frames have them, and the list of numbers that they are in JSON.
struct Bytes;

impl<'de> Visitor<'de> for Bytes {
    type Value = RawText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<RawText, E> {
        Ok(RawText::new(bytes))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut numbers: A) -> Result<RawText, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = numbers.next_element::<u8>()? {
            bytes.push(byte);
        }
        Ok(RawText::new(bytes))
    }
}

impl fmt::Display for RawText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            let mut printable = 0;
            for (at, character) in chunk.valid().char_indices() {
                if !is_printable(character) {
                    let end = at + character.len_utf8();
                    f.write_str(&chunk.valid()[printable..at])?;
                    write_hex(f, &chunk.valid().as_bytes()[at..end])?;
                    printable = end;
                }
            }
            f.write_str(&chunk.valid()[printable..])?;
            write_hex(f, chunk.invalid())?;
        }
        Ok(())
    }
}

impl fmt::Debug for RawText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))
}

fn is_printable(character: char) -> bool {
    character != '\\' && is_seen(character)
}

/// Whether a reader sees the character as itself, and nothing else because of it. Control, formatting, unassigned and
/// private characters, spaces but the one, and marks that change the letter before (line separators, bidirectional
/// overrides, zero-width joiners) are not: `escape_debug` knows them from Unicode's tables. Nor are the letters among
/// Default_Ignorable_Code_Point of DerivedCoreProperties.txt, which fill up Hangul, and the Braille pattern without a dot.
pub fn is_seen(character: char) -> bool {
    match character {
        ' '..='~' => true,
        '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' | '\u{2800}' => false,
        _ => character.escape_debug().len() == 1,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::RawText;

    #[test]
    fn writes_nothing_that_a_terminal_or_a_parser_would_obey() {
        let cases: &[(&[u8], &str)] = &[
            (b"sshd", "sshd"),
            (b"a\",pid=1,fd=9))", "a\",pid=1,fd=9))"),
            (b"two\nlines", "two\\x0alines"),
            (b"\x1b[2J", "\\x1b[2J"),
            (b"\xff\xfe", "\\xff\\xfe"),
            (b"\\x0a", "\\x5cx0a"),
            ("\u{202e}txt".as_bytes(), "\\xe2\\x80\\xaetxt"),
            ("\u{2028}".as_bytes(), "\\xe2\\x80\\xa8"),
            ("a\u{200b}\u{ad}".as_bytes(), "a\\xe2\\x80\\x8b\\xc2\\xad"),
            ("\u{3164}".as_bytes(), "\\xe3\\x85\\xa4"),
            ("caf\u{e9}".as_bytes(), "caf\u{e9}"),
        ];
        for (bytes, text) in cases {
            assert_eq!(RawText::new(*bytes).escaped(), *text);
        }
    }

    #[test]
    fn refuses_text_that_it_never_writes() {
        for text in ["\\", "\\n", "\\x4", "\\x41", "\\xFF", "a\nb", "\\x\u{e9}\u{e9}"] {
            assert_eq!(RawText::from_escaped(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn reads_back_what_it_wrote(bytes in any::<Vec<u8>>()) {
            let raw = RawText::new(bytes);
            prop_assert_eq!(RawText::from_escaped(&raw.escaped()), Some(raw));
        }
    }
}
