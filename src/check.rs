mod centreon;
mod looking;
mod measures;
mod nagios;
mod narrowing;
mod pandora;
mod ranges;
mod verdict;
mod xml;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use self::looking::look;
pub(crate) use self::measures::Measure;
use self::measures::{Figure, Thresholds};
use self::narrowing::narrow;
pub(crate) use self::ranges::Range;
use self::verdict::{Length, State, Verdict, decide};
use crate::arguments::{HostCheckOptions, Manner, ReportFormat, Shared};
use crate::asking::{Asked, ask};
use crate::page::shown;
use crate::say::aside;

/// Asks the running daemon how this host stands, or looks, and tells it as a monitoring plugin does.
pub(crate) fn run(shared: &Shared, options: &HostCheckOptions) -> ExitCode {
    let began = Instant::now();
    if options.disco_format {
        return print(State::Ok, options.manner, &centreon::disco_format());
    }
    let filters = options.filters();
    let patience = Duration::from_secs(options.timeout);
    let wants_listeners = options.disco_show || options.manner == Manner::Pandora || !filters.is_empty();
    let mut asked = match options.one_shot {
        false => ask(&options.socket, patience, wants_listeners),
        true => look(shared, patience),
    };
    narrow(&mut asked, &filters);
    if options.disco_show {
        return discovered(&asked);
    }
    let thresholds = Thresholds::of(options.warning().collect(), options.critical().collect());
    let mut verdict = decide(&asked, &thresholds, Length::of(options.verbose));
    verdict.figures.push(taken(began.elapsed()));
    match (options.format, options.manner) {
        (ReportFormat::Json, _) => {
            let text = document(&verdict, &asked, options);
            print(verdict.state, Manner::Nagios, &format!("{text:#}\n"))
        }
        (_, Manner::Nagios) => print(verdict.state, options.manner, &nagios::page(&verdict)),
        (_, Manner::Centreon) => print(verdict.state, options.manner, &centreon::page(&verdict)),
        (_, Manner::Pandora) => {
            print(verdict.state, options.manner, &pandora::page(&verdict, asked.listed()))
        }
    }
}

/// Nothing is discovered where nothing could be asked: an empty list would say that all is gone.
fn discovered(asked: &Asked) -> ExitCode {
    match (asked.listed(), asked.failure()) {
        (Some(listeners), _) => print(State::Ok, Manner::Centreon, &centreon::disco_show(listeners)),
        (None, failure) => {
            let line = failure.map_or("the sensor has not looked yet", |failure| &*failure.what).to_owned();
            let next = failure.map(|failure| failure.next.to_owned());
            let verdict = Verdict::unknown(line, next.into_iter().collect());
            print(State::Unknown, Manner::Centreon, &centreon::page(&verdict))
        }
    }
}

/// To the millisecond.
fn taken(time: Duration) -> Figure {
    let value = measures::count(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)) / 1000.0;
    Figure { measure: Measure::Time, instance: None, value, warning: None, critical: None }
}

/// Ends `check` whose arguments were not understood, or that was asked for help: neither tells how the host stands.
pub(crate) fn untold(error: &clap::Error, manner: Manner) -> ExitCode {
    let rendered = error.to_string();
    if !error.use_stderr() {
        // It is a person who asks; no agent is to take it for modules.
        return print(State::Unknown, Manner::Nagios, &rendered);
    }
    let mut lines = rendered.lines().map(str::to_owned);
    let line = lines.next().unwrap_or_default();
    let verdict = Verdict::unknown(line, lines.collect());
    let text = match manner {
        Manner::Nagios => nagios::page(&verdict),
        Manner::Centreon => centreon::page(&verdict),
        Manner::Pandora => pandora::page(&verdict, None),
    };
    print(verdict.state, manner, &text)
}

/// The state is in the exit code too, so that it is not lost with a text that cannot be written; but an agent of Pandora
/// drops what a command wrote that does not end with 0.
fn print(state: State, manner: Manner, text: &str) -> ExitCode {
    let mut output = io::stdout().lock();
    let written = output.write_all(text.as_bytes()).and_then(|()| output.flush());
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            aside(format_args!("portledger: the verdict cannot be written: {error}"));
            if state == State::Ok { State::Unknown.into() } else { state.into() }
        }
        _ if manner == Manner::Pandora => ExitCode::SUCCESS,
        _ => state.into(),
    }
}

fn document(verdict: &Verdict, asked: &Asked, options: &HostCheckOptions) -> Value {
    let failure = asked.failure().map(|failure| json!({"what": failure.what, "next": failure.next}));
    let socket = (!options.one_shot).then(|| shown(&options.socket.to_string_lossy()));
    let figures: BTreeMap<String, f64> = verdict.figures.iter().map(named).collect();
    json!({
        "schema": 1,
        "socket": socket,
        "filters": asked.filters,
        "state": verdict.state.word().to_ascii_lowercase(),
        "exit": verdict.state as u8,
        "summary": verdict.line,
        "failure": failure,
        "figures": figures,
        "status": asked.status.as_ref().ok(),
        "drifts": asked.told().map(|told| &told.drifts),
        "gaps": asked.told().map(|told| &told.gaps),
    })
}

fn named(figure: &Figure) -> (String, f64) {
    let instance = figure.instance.as_ref().map(|instance| format!("-{instance}")).unwrap_or_default();
    (figure.measure.word().to_owned() + &instance, figure.value)
}
