mod answers;
mod asking;
mod verdict;

use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::{Value, json};

use self::asking::{Asked, ask};
use self::verdict::{State, Verdict, decide};
use crate::arguments::{HostCheckOptions, ReportFormat};
use crate::page::shown;
use crate::say::{aside, harmless};

/// Asks the running daemon how this host stands, and tells it as a monitoring plugin does.
pub(crate) fn run(options: &HostCheckOptions) -> ExitCode {
    let asked = ask(&options.socket);
    let verdict = decide(&asked);
    let text = match options.format {
        ReportFormat::Table => page(&verdict),
        ReportFormat::Json => {
            format!("{:#}\n", document(&verdict, &asked, &options.socket.to_string_lossy()))
        }
    };
    print(verdict.state, &text)
}

/// Ends `check` whose arguments were not understood, or that was asked for help: neither tells how the host stands.
pub(crate) fn untold(error: &clap::Error) -> ExitCode {
    let rendered = error.to_string();
    if !error.use_stderr() {
        return print(State::Unknown, &rendered);
    }
    let mut lines = rendered.lines().map(str::to_owned);
    let line = lines.next().unwrap_or_default();
    print(State::Unknown, &page(&Verdict { state: State::Unknown, line, details: lines.collect() }))
}

/// The state is in the exit code too, so that it is not lost with a text that cannot be written.
fn print(state: State, text: &str) -> ExitCode {
    let mut output = io::stdout().lock();
    let written = output.write_all(text.as_bytes()).and_then(|()| output.flush());
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            aside(format_args!("portledger: the verdict cannot be written: {error}"));
            if state == State::Ok { State::Unknown.into() } else { state.into() }
        }
        _ => state.into(),
    }
}

fn page(verdict: &Verdict) -> String {
    let first = format!("PORTLEDGER {}: {}", verdict.state.word(), verdict.line);
    let lines = std::iter::once(first).chain(verdict.details.iter().cloned());
    lines.map(|text| line(&text) + "\n").collect()
}

/// What stays one line whatever is in it. Behind `|` monitoring would look for figures.
fn line(text: &str) -> String {
    harmless(text).replace('\n', "\\u{a}").replace('\t', "\\u{9}").replace('|', "\\u{7c}")
}

fn document(verdict: &Verdict, asked: &Asked, socket: &str) -> Value {
    let failure = asked.failure().map(|failure| json!({"what": failure.what, "next": failure.next}));
    json!({
        "schema": 1,
        "socket": shown(socket),
        "state": verdict.state.word().to_ascii_lowercase(),
        "exit": verdict.state as u8,
        "summary": verdict.line,
        "failure": failure,
        "status": asked.status.as_ref().ok(),
        "drifts": asked.told().map(|told| &told.drifts),
        "gaps": asked.told().map(|told| &told.gaps),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_one_and_has_no_figures() {
        let text = "a\nPORTLEDGER OK: no drift\r|x=1\u{2028}\u{202e}\t\u{1b}[2J é";
        assert_eq!(
            line(text),
            "a\\u{a}PORTLEDGER OK: no drift\\u{d}\\u{7c}x=1\\u{2028}\\u{202e}\\u{9}\\u{1b}[2J é"
        );
    }
}
