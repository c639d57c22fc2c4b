use std::fmt::Display;
use std::io::{self, Write};

/// A line on the standard output; a closed or full one is an error, which the caller hands on.
pub(crate) fn out(line: impl Display) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{line}")
}

/// A line that tells what is done already: where nobody takes it on the standard output, it goes to the standard error.
pub(crate) fn done(line: impl Display) {
    if out(&line).is_err() {
        aside(line);
    }
}

/// A line on the standard error. One that is full or closed must not end what goes well otherwise.
pub(crate) fn aside(line: impl Display) {
    writeln!(io::stderr().lock(), "{line}").unwrap_or_default();
}
