use std::time::SystemTime;

use inventory::RawText;
use jiff::Timestamp;

/// Lines are folded at this width as far as names allow.
const WIDTH: usize = 80;
/// How far a line's text stands behind the beginning of its label.
const LABEL: usize = 11;

/// What is shown: headings, and lines below them that begin with a label.
#[derive(Default)]
pub(crate) struct Page(String);

impl Page {
    pub(crate) fn heading(&mut self, text: &str) {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        self.0.push_str(&folded("", text, WIDTH));
    }

    /// A line of a list.
    pub(crate) fn entry(&mut self, text: &str) {
        self.0.push_str(&folded("", text, WIDTH));
    }

    pub(crate) fn line(&mut self, label: &str, text: impl AsRef<str>) {
        self.labelled(2, label, text.as_ref());
    }

    /// Of what the line before is about.
    pub(crate) fn detail(&mut self, label: &str, text: impl AsRef<str>) {
        self.labelled(4, label, text.as_ref());
    }

    /// Several texts under one label.
    pub(crate) fn lines<T: AsRef<str>>(&mut self, label: &str, texts: impl IntoIterator<Item = T>) {
        for (place, text) in texts.into_iter().enumerate() {
            self.line(if place == 0 { label } else { "" }, text);
        }
    }

    /// Text that stands as it is, each line escaped.
    pub(crate) fn quote(&mut self, text: &str) {
        for line in text.lines() {
            let line = format!("    {}", RawText::from(line));
            self.0.push_str(line.trim_end());
            self.0.push('\n');
        }
    }

    pub(crate) fn into_text(self) -> String {
        self.0
    }

    fn labelled(&mut self, indent: usize, label: &str, text: &str) {
        let width = LABEL + 2 - indent;
        let gap = if label.chars().count() < width { "" } else { "  " };
        let head = format!("{:indent$}{label:<width$}{gap}", "");
        self.0.push_str(&folded(&head, text, WIDTH));
    }
}

/// `head` and the words of `text`, on as many lines as they need; a word that is longer has a line of its own.
fn folded(head: &str, text: &str, width: usize) -> String {
    let margin = head.chars().count();
    let mut whole = String::new();
    let mut line = head.to_owned();
    let mut begun = false;
    for word in text.split(' ') {
        let needs = line.chars().count() + usize::from(begun) + word.chars().count();
        if begun && needs > width {
            whole.push_str(line.trim_end());
            whole.push('\n');
            line = " ".repeat(margin);
            begun = false;
        }
        if begun {
            line.push(' ');
        }
        line.push_str(word);
        begun = true;
    }
    whole.push_str(line.trim_end());
    whole.push('\n');
    whole
}

/// RFC 3339 in UTC, to the second.
pub(crate) fn moment(time: SystemTime) -> String {
    Timestamp::try_from(time).map_or_else(|_| "beyond the calendar".to_owned(), |time| format!("{time:.0}"))
}

/// Text that somebody may have made up: as it stands where it is escaped already, else escaped.
pub(crate) fn shown(text: &str) -> String {
    if is_escaped(text) { text.to_owned() } else { RawText::from(text).escaped() }
}

/// Names among other words, however many: none of them passes for more than a name.
pub(crate) fn names(names: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| inventory::quoted(&shown(name.as_ref()))).collect();
    names.join(", ")
}

/// Whether all of it is seen, and each `\` begins a byte. That byte may be one that need not be escaped: quotes within quotes.
fn is_escaped(text: &str) -> bool {
    let is_digit = |digit: &u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    let is_byte = |rest: &str| {
        let bytes = rest.as_bytes();
        bytes.first() == Some(&b'x') && bytes.get(1..3).is_some_and(|digits| digits.iter().all(is_digit))
    };
    text.chars().all(inventory::is_seen) && text.split('\\').skip(1).all(is_byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_folded_between_words() {
        let mut page = Page::default();
        page.line("why", "word ".repeat(20).trim_end());
        page.line("command", "x".repeat(90));
        page.line("", "short");
        page.line("a-longer-label", "text");
        let text = page.into_text();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("  why        word word") && lines[0].len() <= 80, "{text}");
        assert!(lines[1].starts_with("             word"), "{text}");
        assert_eq!(lines[2].trim_start(), format!("command    {}", "x".repeat(90)));
        assert_eq!(lines[3], "             short");
        assert_eq!(lines[4], "  a-longer-label  text");
    }

    #[test]
    fn no_name_passes_for_several() {
        let told = names(["/usr/sbin/sshd", "/opt/x as root, y", "a\nb"]);
        assert_eq!(told, "/usr/sbin/sshd, \"/opt/x as root, y\", a\\x0ab");
    }

    #[test]
    fn what_is_escaped_stays() {
        for text in ["a\\x0ab", "\"a\\x22 b\" 'c'", "\\xe2\\x80…", "\\x5cx41"] {
            assert_eq!(shown(text), text);
        }
        for text in ["a\\", "\\x4", "\\x4g", "\\xFF", "\\x\u{e9}\u{e9}"] {
            assert_eq!(shown(text), text.replace('\\', "\\x5c"));
        }
        assert_eq!(shown("a\u{1b}[2J"), "a\\x1b[2J");
        assert_eq!(shown("a\\nb"), "a\\x5cnb");
    }
}
