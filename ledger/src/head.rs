use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::LogError;
use crate::files::LogFiles;
use crate::tail;

/// SHA-256 of a line without its newline; of nothing, 32 zeros.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct LineHash(pub [u8; 32]);

/// The newest record of a log. Whoever knows it knows all before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Its number; 0 where there is none yet.
    pub record: u64,
    /// What `previous` will be of the next.
    pub hash: LineHash,
}

/// The newest signed record, found at the end of the files; `None` where there is no log. Proves nothing: see
/// [`verify`](crate::verify()).
pub fn head(folder: &Path, name: &str) -> Result<Option<Head>, LogError> {
    tail::newest(&LogFiles::new(folder, name)).map(|end| end.map(|end| end.head))
}

impl Head {
    /// The first 48 bits of the hash: a float64 holds each exactly.
    pub fn short(&self) -> u64 {
        self.hash.0[..6].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    }
}

impl fmt::Display for Head {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.record {
            0 => to.write_str("no record"),
            record => write!(to, "record {record} ({})", self.hash),
        }
    }
}

impl LineHash {
    /// Lower case only: one text for each hash.
    pub(crate) fn from_hex(text: &[u8]) -> Option<Self> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let mut hash = [0; 32];
        if text.len() != 64 {
            return None;
        }
        for (byte, pair) in hash.iter_mut().zip(text.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(LineHash(hash))
    }
}

impl fmt::Display for LineHash {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digits = self.0.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        let text: String = digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect();
        to.write_str(&text)
    }
}

impl fmt::Debug for LineHash {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, to)
    }
}

impl From<LineHash> for String {
    fn from(hash: LineHash) -> Self {
        hash.to_string()
    }
}

impl TryFrom<String> for LineHash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        LineHash::from_hex(text.as_bytes()).ok_or("not 64 hexadecimal digits in lower case")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_form_is_the_first_48_bits() {
        let mut hash = [0xff; 32];
        hash[..6].copy_from_slice(&[0x01, 0x23, 0x45, 0x67, 0x89, 0xab]);
        assert_eq!(Head { record: 1, hash: LineHash(hash) }.short(), 0x0123_4567_89ab);
        let most = Head { record: 1, hash: LineHash([0xff; 32]) };
        assert_eq!(most.short(), (1 << 48) - 1);
    }

    #[test]
    fn a_hash_is_read_as_it_is_written() {
        let hash = crate::line::hash(b"x");
        assert_eq!(LineHash::from_hex(hash.to_string().as_bytes()), Some(hash));
        assert_eq!(LineHash::from_hex(&[b'0'; 63]), None);
        assert_eq!(LineHash::from_hex(&[b'g'; 64]), None);
    }
}
