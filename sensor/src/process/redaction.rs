use std::borrow::Cow;
use std::ops::Range;

/// What stands where a secret stood.
const REDACTED: &[u8] = b"[redacted]";

/// An option, variable, header or parameter whose name ends so has a secret as its value. Names are compared in small
/// letters, without leading dashes, with `-` for `_` and `.`.
const SECRET_ENDINGS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "passwort",
    "secret",
    "token",
    "apikey",
    "api-key",
    "accesskey",
    "access-key",
    "secretkey",
    "secret-key",
    "auth-key",
    "account-key",
    "encryption-key",
    "signing-key",
    "credential",
    "credentials",
    "authorization",
    "cookie",
    "requirepass",
    "masterauth",
    "pwd",
    "pass",
];

/// After one of these words comes a secret, wherever they stand: `Authorization: Bearer …`.
const SCHEMES: &[&[u8]] = &[b"bearer"];
/// After one of these the secret is still to come, where one was expected.
const PENDING_SCHEMES: &[&[u8]] = &[b"bearer", b"basic", b"digest", b"negotiate", b"token", b"apikey"];

/// An option of certain programs whose letter says nothing by itself.
struct Short {
    /// How the name of the program begins.
    program: &'static str,
    option: &'static [u8],
    /// Also as an argument of its own after the option, and not only glued to it.
    apart: bool,
}

const SHORT: &[Short] = &[
    Short { program: "mysql", option: b"-p", apart: false },
    Short { program: "mariadb", option: b"-p", apart: false },
    Short { program: "mongo", option: b"-p", apart: true },
    Short { program: "sshpass", option: b"-p", apart: true },
    Short { program: "redis-", option: b"-a", apart: true },
    Short { program: "ldap", option: b"-w", apart: true },
    Short { program: "curl", option: b"-u", apart: true },
    Short { program: "curl", option: b"--user", apart: true },
    Short { program: "curl", option: b"--proxy-user", apart: true },
    Short { program: "smbclient", option: b"-U", apart: true },
];

/// What in a command line is a secret and must not leave the machine.
#[derive(Clone, Debug, Default)]
pub(crate) struct Redaction {
    names: Vec<String>,
}

impl Redaction {
    /// The built-in rules, and options or variables of these names besides: `--pin`, `VAULT_UNSEAL`.
    pub(crate) fn with_names<Name: AsRef<str>>(names: impl IntoIterator<Item = Name>) -> Self {
        let names = names.into_iter().map(|name| normal(name.as_ref().as_bytes()));
        Redaction { names: names.filter(|name| !name.is_empty()).collect() }
    }

    /// The arguments with each secret replaced. Where it cannot be told how far one reaches, it reaches to the end of its
    /// argument; where a program wrote its whole command line as one text, to the end of its word.
    pub(super) fn redact(&self, arguments: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut state = State { redaction: self, program: Vec::new(), expects: None };
        match arguments {
            [title] if title.contains(&b' ') => vec![state.title(title)],
            arguments => arguments.iter().map(|argument| state.argument(argument)).collect(),
        }
    }

    fn is_secret(&self, name: &[u8]) -> bool {
        let name = normal(name);
        let is_negated = name.starts_with("no-");
        let ends_so = SECRET_ENDINGS.iter().any(|ending| name.ends_with(ending));
        (ends_so && !is_negated) || self.names.contains(&name)
    }
}

/// What came before in the same command line.
struct State<'a> {
    redaction: &'a Redaction,
    /// The last part of the first argument's path.
    program: Vec<u8>,
    expects: Option<Expected>,
}

/// What the next argument is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    Secret,
    /// `user:password`, the user being none.
    Account,
}

impl State<'_> {
    fn title(&mut self, title: &[u8]) -> Vec<u8> {
        let mut shown = Vec::with_capacity(title.len());
        for word in words(title) {
            shown.extend(self.argument(&title[word.clone()]));
            shown.extend(title[word.end..].iter().take_while(|byte| **byte == b' '));
        }
        shown
    }

    fn argument(&mut self, argument: &[u8]) -> Vec<u8> {
        let is_first = self.program.is_empty();
        if is_first {
            let name = argument.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
            self.program = if name.is_empty() { b"?".to_vec() } else { name.to_vec() };
        }
        match self.expects.take() {
            Some(expected) => {
                if PENDING_SCHEMES.iter().any(|scheme| argument.trim_ascii().eq_ignore_ascii_case(scheme)) {
                    self.expects = Some(expected);
                }
                expected.hide(argument)
            }
            None if is_first => self.hide_within(argument),
            None => self.short(argument).unwrap_or_else(|| self.hide_within(argument)),
        }
    }

    fn short(&mut self, argument: &[u8]) -> Option<Vec<u8>> {
        let is_of_program = |short: &&Short| self.program.starts_with(short.program.as_bytes());
        let short = SHORT.iter().filter(is_of_program).find(|short| argument.starts_with(short.option))?;
        let expected = if short.program == "curl" { Expected::Account } else { Expected::Secret };
        let value = &argument[short.option.len()..];
        let is_glued = short.option.len() == 2 || value.starts_with(b"=");
        if value.is_empty() {
            self.expects = short.apart.then_some(expected);
            Some(argument.to_vec())
        } else if is_glued {
            Some([short.option, &expected.hide(value)].concat())
        } else {
            None
        }
    }

    fn hide_within(&mut self, argument: &[u8]) -> Vec<u8> {
        if argument.starts_with(b"-") && !argument.iter().any(|byte| matches!(byte, b'=' | b':' | b' ')) {
            self.expects = self.redaction.is_secret(argument).then_some(Expected::Secret);
            return argument.to_vec();
        }
        let argument = without_url_passwords(argument);
        match self.redaction.secret_in(&argument) {
            None => argument.into_owned(),
            Some(at) if at < argument.len() => [&argument[..at], REDACTED].concat(),
            Some(_) => {
                self.expects = Some(Expected::Secret);
                argument.into_owned()
            }
        }
    }
}

impl Expected {
    fn hide(self, value: &[u8]) -> Vec<u8> {
        match self {
            Expected::Secret => REDACTED.to_vec(),
            Expected::Account => match value.iter().position(|byte| *byte == b':') {
                Some(colon) => [&value[..=colon], REDACTED].concat(),
                None => value.to_vec(),
            },
        }
    }
}

impl Redaction {
    /// Where the first secret of an argument begins. At its very end: the next argument is one.
    fn secret_in(&self, argument: &[u8]) -> Option<usize> {
        (0..argument.len()).find_map(|at| match argument[at] {
            b'=' | b':' if self.is_secret(name_before(argument, at)) => value_at(argument, at + 1),
            b' ' | b'\t' | b'\n' => {
                let word = word_before(argument, at);
                let is_option = word.starts_with(b"-") && self.is_secret(word);
                let is_scheme = SCHEMES.iter().any(|scheme| word.eq_ignore_ascii_case(scheme));
                (is_option || is_scheme).then_some(at + 1)
            }
            _ => None,
        })
    }
}

/// `None` for `NAME=` with nothing behind it: that is no secret, and neither is what follows.
fn value_at(argument: &[u8], at: usize) -> Option<usize> {
    let is_blank = argument[at..].iter().all(u8::is_ascii_whitespace);
    match argument[at - 1] {
        b'=' if is_blank => None,
        _ if is_blank => Some(argument.len()),
        _ => Some(at),
    }
}

/// `"password` of `{"password": …`: the name that ends before a sign, without quotes.
fn name_before(argument: &[u8], end: usize) -> &[u8] {
    let before = argument[..end].trim_ascii_end();
    let before = before.strip_suffix(b"\"").or_else(|| before.strip_suffix(b"'")).unwrap_or(before);
    let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let start = before.iter().rposition(|byte| !is_of_name(byte)).map_or(0, |at| at + 1);
    &before[start..]
}

fn word_before(argument: &[u8], end: usize) -> &[u8] {
    let is_edge = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'');
    let start = argument[..end].iter().rposition(is_edge).map_or(0, |at| at + 1);
    &argument[start..end]
}

fn normal(name: &[u8]) -> String {
    let name = name.iter().map(|byte| match byte {
        b'_' | b'.' => '-',
        byte => char::from(byte.to_ascii_lowercase()),
    });
    name.skip_while(|letter| *letter == '-').collect()
}

/// `scheme://user:password@host`, with the password replaced wherever one stands.
fn without_url_passwords(argument: &[u8]) -> Cow<'_, [u8]> {
    let mut shown: Cow<'_, [u8]> = Cow::Borrowed(argument);
    let mut from = 0;
    while let Some(found) = find(&shown[from..], b"://") {
        let authority = from + found + 3;
        from = authority;
        if let Some(password) = password_in_url(&shown, authority) {
            from = password.start + REDACTED.len();
            shown = Cow::Owned([&shown[..password.start], REDACTED, &shown[password.end..]].concat());
        }
    }
    shown
}

/// A password may hold `/`, `@` or `://` though it should have been encoded; only a number up to a `/` is a port.
fn password_in_url(text: &[u8], authority: usize) -> Option<Range<usize>> {
    let is_end = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'' | b'<' | b'>');
    let end = text[authority..].iter().position(is_end).map_or(text.len(), |at| authority + at);
    let url = &text[authority..end];
    let colon = url.iter().position(|byte| *byte == b':')?;
    let next_url = next_url(&url[colon + 1..]).map_or(url.len(), |at| colon + 1 + at);
    let at = url[..next_url].iter().rposition(|byte| *byte == b'@').filter(|at| *at > colon)?;
    let slash = url.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(url.len());
    let is_port = slash > colon && slash < at && url[colon + 1..slash].iter().all(u8::is_ascii_digit);
    (slash > colon && !is_port).then(|| authority + colon + 1..authority + at)
}

/// Where what stands before another URL of a list ends.
fn next_url(text: &[u8]) -> Option<usize> {
    let is_of_scheme = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    let mut schemes = (0..text.len()).filter(|at| text[*at..].starts_with(b"://"));
    schemes.find_map(|end| {
        let before = text[..end].iter().rposition(|byte| !is_of_scheme(byte))?;
        matches!(text[before], b',' | b';' | b'|').then_some(before)
    })
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

/// Words between blanks; a blank between quotes parts nothing.
fn words(text: &[u8]) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut start = None;
    let mut quote = None;
    for (at, byte) in text.iter().enumerate() {
        match (quote, byte) {
            (None, b' ') => words.extend(start.take().map(|start| start..at)),
            (Some(open), byte) if open == *byte => quote = None,
            (None, b'"' | b'\'') => {
                quote = Some(*byte);
                start.get_or_insert(at);
            }
            _ => {
                start.get_or_insert(at);
            }
        }
    }
    words.extend(start.map(|start| start..text.len()));
    words
}

#[cfg(test)]
mod tests;
