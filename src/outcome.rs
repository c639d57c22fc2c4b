use std::process::ExitCode;

use crate::say::aside;

/// What a verb ends with; programs read the number, so it never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// Done; of `diff` and `doctor`: nothing to tell.
    Clean = 0,
    /// There is drift; of `doctor`: the second opinion differs; of `show`: nothing is known of it;
    /// of `review`: there is something to review; of `audit`: a log is broken, or nothing vouches for a bundle;
    /// of `alerts status`: a receiver could not be told of late.
    Drift = 1,
    /// It could not be done; the message says what failed.
    Failed = 2,
    /// Nothing to tell in what was seen, but not all was seen.
    Partial = 3,
}

impl Outcome {
    /// Prints an error with its causes, escaped: paths and names in it may be somebody else's.
    pub(crate) fn failed(error: &anyhow::Error) -> Self {
        if is_closed_pipe(error) {
            return Outcome::Clean;
        }
        aside(format_args!("portledger: {error:#}"));
        Outcome::Failed
    }
}

/// `portledger list | head` is no failure. An agent that went away, which is told with what was asked of it, is one.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    use std::io;
    let plain = error.downcast_ref::<io::Error>().map(io::Error::kind);
    let json = || error.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind);
    let csv = || match error.downcast_ref::<csv::Error>().map(csv::Error::kind) {
        Some(csv::ErrorKind::Io(error)) => Some(error.kind()),
        _ => None,
    };
    plain.or_else(json).or_else(csv) == Some(io::ErrorKind::BrokenPipe)
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        ExitCode::from(outcome as u8)
    }
}
