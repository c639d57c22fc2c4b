use std::process::ExitCode;

use crate::say::aside;

/// What a verb ends with; programs read the number, so it never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// Done; of `diff` and `doctor`: nothing to tell.
    Clean = 0,
    /// There is drift; of `doctor`: the second opinion differs; of `show`: nothing is known of it;
    /// of `review`: there is something to review; of `audit`: a log is broken, or nothing vouches for a bundle.
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

/// `portledger list | head` is no failure.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let is_one = |io: &std::io::Error| io.kind() == std::io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| cause.downcast_ref().is_some_and(is_one))
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        ExitCode::from(outcome as u8)
    }
}
