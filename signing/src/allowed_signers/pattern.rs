/// Patterns with commas between them, as ssh_config(5) has them under PATTERNS: `*` is any bytes, `?` is one, `!` before a
/// pattern excludes what it matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PatternList(String);

/// Longer patterns match nothing in OpenSSH.
const MAX_PATTERN: usize = 1022;

impl PatternList {
    /// A sentence about `what` where one of the patterns is none.
    pub(super) fn new(text: &str, what: &str) -> Result<Self, String> {
        for pattern in text.split(',') {
            let pattern = pattern.strip_prefix('!').unwrap_or(pattern);
            if pattern.is_empty() {
                return Err(format!("an empty {what}: it would match nothing"));
            }
            if pattern.len() > MAX_PATTERN {
                return Err(format!("a {what} of more than {MAX_PATTERN} bytes"));
            }
        }
        Ok(PatternList(text.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Each as it is written.
    pub(super) fn patterns(&self) -> impl Iterator<Item = &str> {
        self.0.split(',')
    }

    /// Something must match, and nothing that is excluded.
    pub(super) fn matches(&self, text: &str) -> bool {
        let mut found = false;
        for pattern in self.patterns() {
            match pattern.strip_prefix('!') {
                Some(excluded) if matches(excluded.as_bytes(), text.as_bytes()) => return false,
                Some(_) => {}
                None => found |= matches(pattern.as_bytes(), text.as_bytes()),
            }
        }
        found
    }
}

/// Goes back to the last star alone: time grows with the product of the lengths, not beyond.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut seen) = (0, 0);
    let mut star = None;
    while seen < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[seen] => {
                at += 1;
                seen += 1;
            }
            _ => {
                let Some((place, skipped)) = star else { return false };
                star = Some((place, skipped + 1));
                (at, seen) = (place + 1, skipped + 1);
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::PatternList;

    #[test]
    fn matches_as_openssh_does() {
        let cases = [
            ("alice", "alice", true),
            ("alice", "Alice", false),
            ("alice", "alice2", false),
            ("*", "", true),
            ("*", "anybody", true),
            ("*@example.org", "bob@example.org", true),
            ("*@example.org", "bob@example.org.evil", false),
            ("?ob", "bob", true),
            ("?ob", "ob", false),
            ("a*b*c", "a--b-b--c", true),
            ("a*b*c", "a--b-b--cd", false),
            ("**", "x", true),
            ("!bob,*", "bob", false),
            ("*,!bob", "bob", false),
            ("!bob,*", "alice", true),
            ("!bob", "alice", false),
            ("!!bob", "!bob", false),
            ("alice,bob", "bob", true),
            ("alice,bob", "alice,bob", false),
        ];
        for (list, text, expected) in cases {
            assert_eq!(PatternList::new(list, "name").unwrap().matches(text), expected, "{list} on {text}");
        }
    }

    #[test]
    fn hostile_patterns_cost_no_time() {
        let list = PatternList::new(&"*a".repeat(511), "name").unwrap();
        assert!(!list.matches(&("a".repeat(100_000) + "b")));
    }

    #[test]
    fn refuses_what_can_match_nothing() {
        for text in ["", "a,,b", "a,", ",a", "!", "a,!", &"x".repeat(1023)] {
            assert!(PatternList::new(text, "name").is_err(), "{text}");
        }
    }
}
