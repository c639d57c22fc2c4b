use jiff::tz::TimeZone;

use super::options::{self, Options};
use super::pattern::PatternList;
use super::{Mistake, Rule};
use crate::PublicKey;
use crate::key::is_type;

/// What one line says.
#[derive(Debug)]
pub(super) enum Line {
    /// It is blank, or a comment.
    Nothing,
    /// It has no effect.
    Warning(Mistake),
    /// It speaks of a key.
    Rule(Box<PublicKey>, Rule),
}

/// Reads `principals [options] type base64 [comment]`.
pub(super) fn parse(number: usize, bytes: &[u8], zone: &TimeZone) -> Result<Line, Vec<Mistake>> {
    let at = |column, message: &str| Mistake { line: number, column, message: message.to_owned() };
    let trimmed = bytes.trim_ascii();
    if trimmed.is_empty() || trimmed.starts_with(b"#") {
        return Ok(Line::Nothing);
    }
    if bytes.contains(&0) {
        return Err(vec![at(1, "the line holds a NUL byte")]);
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let column = String::from_utf8_lossy(&bytes[..error.valid_up_to()]).chars().count() + 1;
        vec![at(column, "the line is no UTF-8")]
    })?;
    let reader = Reader { text, zone };
    let column = |place: usize| text[..place].chars().count() + 1;
    match reader.read() {
        Ok((_, _, options)) if options.is_cert_authority => Ok(Line::Warning(at(
            column(reader.begin()),
            "cert-authority trusts nobody here: certificates are not supported, name each key on a line of its own",
        ))),
        Ok((principals, key, Options { namespaces, after, before, .. })) => {
            Ok(Line::Rule(Box::new(key), Rule { principals, namespaces, after, before }))
        }
        Err(mistakes) => {
            Err(mistakes.into_iter().map(|(place, message)| at(column(place), &message)).collect())
        }
    }
}

/// A mistake and the place in the line, in bytes, where it is.
type Placed = (usize, String);

struct Reader<'a> {
    text: &'a str,
    zone: &'a TimeZone,
}

impl Reader<'_> {
    fn begin(&self) -> usize {
        self.text.len() - self.text.trim_ascii_start().len()
    }

    fn read(&self) -> Result<(PatternList, PublicKey, Options), Vec<Placed>> {
        let begin = self.begin();
        let (principals, mut at) =
            principals(&self.text[begin..]).map_err(|message| vec![(begin, message)])?;
        at += begin;
        let mut mistakes = Vec::new();
        let principals = gather(&mut mistakes, begin, PatternList::new(&principals, "principal"));
        let mut options = Some(Options::default());
        if !is_type(first_word(&self.text[at..])) {
            let Some(length) = options::end(&self.text[at..]) else {
                mistakes.push((at, "the quotes that begin here do not end".to_owned()));
                return Err(mistakes);
            };
            options = match options::parse(&self.text[at..at + length], self.zone) {
                _ if length == 0 => None,
                Ok(options) => Some(options),
                Err(more) => {
                    mistakes.extend(more.into_iter().map(|(place, message)| (at + place, message)));
                    None
                }
            };
            at = skip_blanks(self.text, at + length);
        }
        let key = gather(&mut mistakes, at, read_key(&self.text[at..]));
        match (principals, key, options) {
            (Some(principals), Some(key), Some(options)) => Ok((principals, key, options)),
            _ => Err(mistakes),
        }
    }
}

fn gather<T>(mistakes: &mut Vec<Placed>, at: usize, read: Result<T, String>) -> Option<T> {
    read.map_err(|message| mistakes.push((at, message))).ok()
}

/// The first word without the quotes that may be around a part of it, and where the next begins: OpenSSH's strdelimw().
fn principals(text: &str) -> Result<(String, usize), String> {
    let end = text.find([' ', '\t', '\r', '"']).unwrap_or(text.len());
    if !text[end..].starts_with('"') {
        return Ok((text[..end].to_owned(), skip_blanks(text, end)));
    }
    let quoted = &text[end + 1..];
    let length = quoted.find('"').ok_or("the quotes around the principals do not end")?;
    Ok((format!("{}{}", &text[..end], &quoted[..length]), skip_blanks(text, end + 1 + length + 1)))
}

fn read_key(text: &str) -> Result<PublicKey, String> {
    if text.trim_ascii().is_empty() {
        return Err("the key is missing: `principals type base64` is wanted".to_owned());
    }
    let key: PublicKey = text.parse().map_err(|error: crate::KeyError| error.to_string())?;
    match key.weakness() {
        Some(why) => Err(format!("this key can sign nothing: {why}")),
        None => Ok(key),
    }
}

fn first_word(text: &str) -> &str {
    text.split([' ', '\t', '\r']).next().unwrap_or(text)
}

fn skip_blanks(text: &str, at: usize) -> usize {
    text.len() - text[at..].trim_start_matches([' ', '\t', '\r']).len()
}

#[cfg(test)]
mod tests {
    use super::{first_word, principals};

    #[test]
    fn principals_may_stand_in_quotes() {
        let cases = [
            ("alice ssh-rsa", "alice", "ssh-rsa"),
            ("\"alice,bob c\" \t ssh-rsa", "alice,bob c", "ssh-rsa"),
            ("\"alice\"ssh-rsa", "alice", "ssh-rsa"),
            ("a\"b c\"d", "ab c", "d"),
            ("alice", "alice", ""),
        ];
        for (text, name, next) in cases {
            let (read, at) = principals(text).unwrap();
            assert_eq!((read.as_str(), first_word(&text[at..])), (name, next), "{text}");
        }
        assert!(principals("\"alice ssh-rsa").is_err());
    }
}
