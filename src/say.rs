use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, Write};

/// A line on the standard output; a closed or full one is an error, which the caller hands on.
pub(crate) fn out(line: impl Display) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{}", harmless(&line.to_string()))
}

/// A line that tells what is done already: where nobody takes it on the standard output, it goes to the standard error.
pub(crate) fn done(line: impl Display) {
    if out(&line).is_err() {
        aside(line);
    }
}

/// A line on the standard error. One that is full or closed must not end what goes well otherwise.
pub(crate) fn aside(line: impl Display) {
    writeln!(io::stderr().lock(), "{}", harmless(&line.to_string())).unwrap_or_default();
}

/// The text without anything that a terminal obeys or a reader does not see: files and names in messages are somebody
/// else's, and what is signed must look like no other text. Ends of lines stay.
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    if !text.contains(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let escaped = text.chars().map(|letter| match letter {
        letter if is_obeyed(letter) => letter.escape_unicode().to_string(),
        letter => letter.to_string(),
    });
    Cow::Owned(escaped.collect())
}

/// What nobody sees, and what moves or hides other text.
fn is_obeyed(letter: char) -> bool {
    !inventory::is_seen(letter) && !matches!(letter, '\n' | '\t')
}

#[cfg(test)]
mod tests {
    use super::harmless;

    #[test]
    fn a_terminal_is_told_nothing() {
        assert_eq!(harmless("a line\nand\ta tab, é"), "a line\nand\ta tab, é");
        assert_eq!(
            harmless("a\u{2028}b\u{200b}\u{feff}\u{2060}\u{ad}"),
            "a\\u{2028}b\\u{200b}\\u{feff}\\u{2060}\\u{ad}"
        );
        assert_eq!(harmless("\"it's\" \\x1b 語"), "\"it's\" \\x1b 語");
        assert_eq!(harmless("\u{1b}[2J\r\u{202e}x\u{9b}"), "\\u{1b}[2J\\u{d}\\u{202e}x\\u{9b}");
    }
}
