use crate::RawText;

/// An escaped name as it stands among other words: a process chooses its name, and one that could pass for more than a name
/// stands in double quotes, which nothing in it ends.
pub fn quoted(name: &str) -> String {
    quoted_within(name, usize::MAX)
}

/// The same in at most so many characters: what is cut off leaves a `…`, and quotes their end.
pub fn quoted_within(name: &str, most: usize) -> String {
    fitted(name, is_word(name, ""), most)
}

/// Several escaped names joined by `,`, likewise: all of them are in the same quotes.
pub fn quoted_list(names: &str) -> String {
    quoted_list_within(names, usize::MAX)
}

/// Both.
pub fn quoted_list_within(names: &str, most: usize) -> String {
    fitted(names, is_word(names, ","), most)
}

/// Of letters, digits, bytes that are escaped, and what stands in paths, addresses and units.
fn is_word(text: &str, more: &str) -> bool {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || r"/._+@:-\".contains(letter);
    !text.is_empty() && text.chars().all(|letter| is_plain(letter) || more.contains(letter))
}

fn fitted(text: &str, is_word: bool, most: usize) -> String {
    match is_word {
        true => cut(text, most),
        false => format!("\"{}\"", cut(&text.replace('"', "\\x22"), most.saturating_sub(2))),
    }
}

/// The beginning of an escaped text, in at most so many characters, with a `…` in place of what is cut off. No byte that is
/// escaped is cut in two: the rest of it would be text that nobody wrote.
pub fn cut(text: &str, most: usize) -> String {
    if text.char_indices().nth(most).is_none() {
        return text.to_owned();
    }
    let mut begin: String = text.chars().take(most.saturating_sub(1)).collect();
    if let Some(at) = begin.rfind('\\').filter(|at| begin.len() - at < ESCAPE) {
        begin.truncate(at);
    }
    begin + "…"
}

/// Letters of `\xNN`.
const ESCAPE: usize = 4;

impl RawText {
    /// The escaped form as it stands among other words: see [`quoted`].
    pub fn quoted(&self) -> String {
        quoted(&self.escaped())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, proptest};

    use super::{quoted_list, quoted_list_within, quoted_within};
    use crate::RawText;

    #[test]
    fn what_could_pass_for_more_than_a_name_stands_in_quotes() {
        for (name, told) in [
            ("/usr/bin/python3.11", "/usr/bin/python3.11"),
            ("user@1000.service/g++_a:b-c", "user@1000.service/g++_a:b-c"),
            ("a\nb\u{202e}", r"a\x0ab\xe2\x80\xae"),
            ("sshd as root", r#""sshd as root""#),
            ("x,y", r#""x,y""#),
            ("a\", b", r#""a\x22, b""#),
            ("caf\u{e9}", "\"caf\u{e9}\""),
            ("", r#""""#),
        ] {
            assert_eq!(RawText::from(name).quoted(), told);
        }
        assert_eq!(quoted_list("x,y"), "x,y");
        assert_eq!(quoted_list("x,y z"), "\"x,y z\"");
        assert_eq!(quoted_within("a-long-name", 7), "a-long…");
        for (most, told) in [(9, r"a\xe2…"), (10, r"a\xe2\x80…"), (13, r"a\xe2\x80\xae")] {
            assert_eq!(quoted_within(r"a\xe2\x80\xae", most), told);
        }
        assert_eq!(quoted_within("a long name", 7), "\"a lo…\"");
        assert_eq!(quoted_list_within("x,y z,and more", 7), "\"x,y …\"");
    }

    proptest! {
        #[test]
        fn nothing_in_a_name_ends_its_quotes(name in any::<Vec<u8>>(), most in 3_usize..40) {
            let told = quoted_within(&RawText::new(name).escaped(), most);
            prop_assert!(told.chars().count() <= most, "{told}");
            let within = told.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            prop_assert!(!within.unwrap_or(&told).contains('"'), "{told}");
            prop_assert!(within.is_some() || !told.contains([' ', ',', '(', ';']), "{told}");
        }
    }
}
