use std::collections::BTreeSet;

/// Pieces past these are counted, not named.
const NAMED: usize = 4;

/// Hosts as a person reads them: `web-001..web-120, db-1 (121 hosts)`. What is numbered without a gap is one piece.
pub(crate) fn folded<'a>(hosts: impl IntoIterator<Item = &'a str>) -> String {
    let names: BTreeSet<&str> = hosts.into_iter().collect();
    let count = names.len();
    let mut numbered: Vec<Numbered<'_>> = names.iter().map(|name| Numbered::of(name)).collect();
    numbered.sort();
    let mut runs: Vec<(Numbered<'_>, Numbered<'_>)> = Vec::new();
    for name in numbered {
        match runs.last_mut() {
            Some((_, last)) if name.follows(last) => *last = name,
            _ => runs.push((name, name)),
        }
    }
    let mut pieces: Vec<String> = Vec::new();
    for (first, last) in runs {
        match last.number.zip(first.number).map(|(last, first)| last - first) {
            None | Some(0) => pieces.push(first.name.to_owned()),
            Some(1) => pieces.extend([first.name.to_owned(), last.name.to_owned()]),
            Some(_) => pieces.push(format!("{}..{}", first.name, last.name)),
        }
    }
    let more = pieces.len().saturating_sub(NAMED);
    pieces.truncate(NAMED);
    if more > 0 {
        pieces.push("...".to_owned());
    }
    let all = pieces.join(", ");
    if count > pieces.len() || more > 0 { format!("{all} ({count} hosts)") } else { all }
}

/// A name with its last number: `web-017.example.org` is `web-`, 17 of three digits, `.example.org`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Numbered<'a> {
    before: &'a str,
    after: &'a str,
    number: Option<u64>,
    /// How many, where zeroes stand before it; else it may have any length.
    digits: usize,
    name: &'a str,
}

impl<'a> Numbered<'a> {
    fn of(name: &'a str) -> Self {
        // The number of a host stands in its own name, not in that of its domain.
        let own = name.find('.').unwrap_or(name.len());
        let end = name[..own].rfind(|letter: char| letter.is_ascii_digit()).map_or(own, |at| at + 1);
        let start = name[..end].rfind(|letter: char| !letter.is_ascii_digit());
        let start = start.map_or(0, |at| at + name[at..].chars().next().map_or(1, char::len_utf8));
        let number = name[start..end].parse().ok();
        let digits = if name[start..end].starts_with('0') { end - start } else { 0 };
        Numbered { before: &name[..start], after: &name[end..], number, digits, name }
    }

    /// It is the next one, written alike.
    fn follows(&self, other: &Self) -> bool {
        let alike = match (other.digits, self.digits) {
            // 100 after 099.
            (before, 0) if before > 0 => self.number.is_some_and(|number| number.to_string().len() == before),
            (before, own) => before == own,
        };
        let next = other.number.and_then(|number| number.checked_add(1));
        alike
            && next.is_some()
            && self.number == next
            && self.before == other.before
            && self.after == other.after
    }
}

#[cfg(test)]
mod tests {
    use super::folded;

    #[test]
    fn what_is_numbered_without_a_gap_is_one_piece() {
        let numbered =
            |from: u32, to: u32| -> Vec<String> { (from..=to).map(|n| format!("web-{n:03}")).collect() };
        let all = |names: &[String]| folded(names.iter().map(String::as_str));
        assert_eq!(all(&numbered(1, 120)), "web-001..web-120 (120 hosts)");
        assert_eq!(
            all(&[numbered(1, 3), numbered(7, 8)].concat()),
            "web-001..web-003, web-007, web-008 (5 hosts)"
        );
        for (hosts, expected) in [
            (&["db"][..], "db"),
            (&["db", "db"], "db"),
            (&["web-2", "web-1"], "web-1, web-2"),
            (&["web-9", "web-10", "web-11"], "web-9..web-11 (3 hosts)"),
            (&["web-1.a", "web-2.a", "web-3.b"], "web-1.a, web-2.a, web-3.b"),
            (&["10.0.0.1", "x\u{e9}1y"], "10.0.0.1, x\u{e9}1y"),
            (&["a", "b", "c", "d", "e"], "a, b, c, d, ... (5 hosts)"),
            (&["9", "99999999999999999999999"], "99999999999999999999999, 9"),
            (&[], ""),
        ] {
            assert_eq!(folded(hosts.iter().copied()), expected);
        }
    }
}
