use std::fmt;
use std::str::FromStr;

use ledger::Head;

/// A head of the ledger as somebody wrote it down, with at least the first 48 bits of its hash: `portledger_log_head` has no
/// more.
#[derive(Clone, Debug)]
pub(crate) struct Remembered {
    pub(crate) record: u64,
    /// Hexadecimal, the beginning of the hash.
    hash: String,
}

const DIGITS: std::ops::RangeInclusive<usize> = 12..=64;

impl Remembered {
    pub(super) fn is(&self, head: &Head) -> bool {
        head.record == self.record && head.hash.to_string().starts_with(&self.hash)
    }
}

impl FromStr for Remembered {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let (record, hash) = text.split_once(':')?;
            let is_hash = DIGITS.contains(&hash.len()) && hash.bytes().all(|digit| digit.is_ascii_hexdigit());
            let record = record.parse().ok().filter(|_| is_hash)?;
            Some(Remembered { record, hash: hash.to_ascii_lowercase() })
        };
        read().ok_or_else(|| {
            "not RECORD:HASH, as `audit` ends with it, at least 12 digits of the hash".to_owned()
        })
    }
}

impl fmt::Display for Remembered {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "record {} ({})", self.record, self.hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_a_hash_is_enough_from_48_bits_on() {
        let hash = "0123456789ab".repeat(5) + "cdef";
        let head = Head { record: 7, hash: hash.clone().try_into().unwrap() };
        let is = |text: &str| text.parse::<Remembered>().map(|remembered| remembered.is(&head));
        assert_eq!(is(&format!("7:{hash}")), Ok(true));
        assert_eq!(is("7:0123456789AB"), Ok(true));
        assert_eq!(is("8:0123456789ab"), Ok(false));
        assert_eq!(is("7:0123456789ac"), Ok(false));
        for wrong in
            ["", "7", "7:", "7:0123456789a", "x:0123456789ab", "7:0123456789ag", &format!("7:{hash}0")]
        {
            assert!(is(wrong).is_err(), "{wrong}");
        }
    }
}
