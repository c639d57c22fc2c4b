mod at;
mod bundle;
mod filter;
mod history;
mod kept;
mod lines;
mod moment;
mod person;
mod place;
mod records;
mod remembered;
mod rows;
mod scratch;
mod streams;
mod told;
mod unacted;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::Path;

use anyhow::{Context, bail};
use baseline::Host;
use inventory::RawText;
use jiff::Timestamp;
use jiff::tz::TimeZone;

pub(crate) use self::at::told_who;
pub(crate) use self::bundle::tell_written;
use self::filter::Filter;
use self::history::Source;
pub(crate) use self::kept::Kept;
pub(crate) use self::moment::Moment;
pub(crate) use self::place::{
    ALERTS, EVENTS, EVENTS_KEY, LEDGER_KEY, LOGINS, Place, RELOADS, STATE, fetched,
};
pub(crate) use self::records::{Entry, Log, Record, Soundness};
pub(crate) use self::remembered::Remembered;
use self::rows::Rows;
pub(crate) use self::scratch::Scratch;
use self::streams::Stream;
pub(crate) use self::told::{Span, soundness};
use self::unacted::Unacted;
use crate::acts;
use crate::arguments::{AuditOptions, AuditVerb, ReportFormat, Shared};
use crate::config::Config;
use crate::outcome::Outcome;
use crate::paths::Paths;
use crate::say::aside;

/// Shows what people did, and says whether the logs that tell it are whole.
pub(crate) fn run(shared: &Shared, options: &AuditOptions) -> anyhow::Result<Outcome> {
    match &options.verb {
        Some(AuditVerb::Export(options)) => return bundle::export(shared, options),
        Some(AuditVerb::Verify(options)) => return bundle::verify(options),
        None => {}
    }
    let place = place(shared, options)?;
    if options.verify {
        return verify_here(&place, options);
    }
    if let Some(name) = &options.person {
        return person::run(shared, &place, name, options.format);
    }
    let (now, zone) = (Timestamp::now(), TimeZone::system());
    if let Some(at) = options.at {
        let wanted = options.endpoint.clone();
        let wanted = wanted.context("--at wants an --endpoint: what was approved of it then?")?;
        // Today has not ended yet.
        let at = at.end(now, &zone).min(at.begin(now, &zone).max(now));
        return at::run(&place, wanted, at, host(shared, &place)?, options.format);
    }
    let filter = Filter {
        user: options.user.clone(),
        since: options.since.map(|since| since.begin(now, &zone)),
        until: options.until.map(|until| until.end(now, &zone)),
        acts: options.act.clone(),
        endpoint: options.endpoint.clone(),
        approval: options.approval.clone(),
    };
    list(&place, &filter, options)
}

fn place(shared: &Shared, options: &AuditOptions) -> anyhow::Result<Place> {
    match (&options.from, &options.host_keys) {
        (Some(file), Some(keys)) => {
            bundle::check_is_bundle(file)?;
            Place::of_bundle(file, fetched(keys)?)
        }
        (Some(_), None) => {
            bail!("--from wants --host-keys: whoever made the bundle could have made up all of it")
        }
        (None, _) => {
            let folder = Paths::of(shared)?.state;
            check_folder(&folder, shared.state.is_some())?;
            Place::of_state(&folder)
        }
    }
}

/// Fails where there is no state folder: nothing was looked at then. Says whose logs an ordinary user looks at.
fn check_folder(folder: &Path, was_named: bool) -> anyhow::Result<()> {
    let system = Path::new(SYSTEM);
    let is_closed = || {
        let ledger = system.join(format!("{}.jsonl", acts::LEDGER));
        File::open(ledger).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
    };
    let closed = !was_named && folder != system && is_closed();
    let hint = format!("This host's ledger is in {SYSTEM}, and only root reads it: run this as root");
    let exists = folder.try_exists().with_context(|| folder.display().to_string())?;
    if !exists && closed {
        bail!("{}: there is no such folder. {hint}", folder.display());
    }
    if !exists {
        bail!(
            "{}: there is no such folder, and so no record to look at: --state names another",
            folder.display()
        );
    }
    if closed {
        aside(format_args!("Looked at {}. {hint}.", folder.display()));
    }
    Ok(())
}

/// The state folder of root's verbs and of the service.
const SYSTEM: &str = "/var/lib/portledger";

/// Which host the logs are of, and its groups, as far as this one's configuration tells them.
fn host(shared: &Shared, place: &Place) -> anyhow::Result<Option<Host>> {
    if let Some(manifest) = &place.manifest {
        let name = RawText::from_escaped(&manifest.host);
        return Ok(name.map(|name| Host { name, groups: Default::default() }));
    }
    let config = Config::load(&Paths::of(shared)?)?;
    Ok(Some(crate::judge::host(&config)))
}

fn list(place: &Place, filter: &Filter, options: &AuditOptions) -> anyhow::Result<Outcome> {
    let (ledger, reloads) = (place.ledger(), place.reloads());
    let kept = Kept::of(place)?;
    let of_ledger = ledger.verify()?;
    // What became of one approval or endpoint is not told by acts alone.
    let is_history = filter.approval.is_some() || filter.endpoint.is_some();
    let of_reloads = is_history.then(|| reloads.verify()).transpose()?;
    let mut streams = vec![Stream::of(Source::Ledger, ledger.records(&of_ledger))?];
    if let Some(soundness) = &of_reloads {
        streams.push(Stream::of(Source::Reloads, reloads.records(soundness))?);
    }
    let mut output = Output::new(options.format, options.limit);
    let mut unacted = Unacted::default();
    while let Some((source, record)) = streams::next(&mut streams)? {
        let is_told = unacted.take(source, &record) || source == Source::Ledger;
        if is_told && filter.passes(&record) {
            output.take(if source == Source::Reloads { rows::as_row(record) } else { record })?;
        }
    }
    output.finish()?;
    if output.taken == 0 && !filter.takes_all() {
        aside("No act is as these flags say.");
    }
    let mut gravest = Outcome::Clean;
    // The ledger's line is the last one.
    if let (Some(soundness), Some(stream)) = (&of_reloads, streams.get(1)) {
        tell(place, &reloads, soundness, stream, "reloads: ")?;
        gravest = outcome(soundness);
    }
    if let Some(stream) = streams.first() {
        tell(place, &ledger, &of_ledger, stream, "")?;
    }
    if let Some(lost) = kept.lost(&ledger, &of_ledger)? {
        aside(lost);
        gravest = Outcome::Drift;
    }
    Ok(outcome(&of_ledger).max(gravest).max(remembered(&ledger, &of_ledger, options)?))
}

fn tell(
    place: &Place,
    log: &Log,
    soundness: &Soundness,
    stream: &Stream<'_>,
    name: &str,
) -> anyhow::Result<()> {
    tell_strangers(log, name)?;
    for note in stream.span.notes() {
        aside(format_args!("Note: {name}{note}."));
    }
    if stream.damaged > 0 {
        aside(format_args!("Note: {name}{} lines are no records and are not shown.", stream.damaged));
    }
    aside(format_args!("{name}{}", told::soundness(place, log, soundness, &stream.span)));
    Ok(())
}

/// What is left out of the log: it says nothing against what is in it.
fn tell_strangers(log: &Log, name: &str) -> anyhow::Result<()> {
    log.strangers()?.iter().for_each(|stranger| aside(format_args!("Note: {name}{stranger}.")));
    Ok(())
}

/// Whether the log still has the record that somebody remembers: what was cut off its end leaves no other trace.
fn remembered(log: &Log, soundness: &Soundness, options: &AuditOptions) -> anyhow::Result<Outcome> {
    let (Some(head), Soundness::Sound(_)) = (&options.head, soundness) else { return Ok(Outcome::Clean) };
    if log.head_at(head.record)?.is_some_and(|found| head.is(&found)) {
        return Ok(Outcome::Clean);
    }
    aside(format_args!(
        "BROKEN: the ledger does not have {head}, which --head names: its end was cut off, or it was written anew. Hold it \
         against what left this host"
    ));
    Ok(Outcome::Drift)
}

fn outcome(soundness: &Soundness) -> Outcome {
    match soundness {
        Soundness::Sound(_) => Outcome::Clean,
        Soundness::Broken(_) => Outcome::Drift,
    }
}

fn verify_here(place: &Place, options: &AuditOptions) -> anyhow::Result<Outcome> {
    let ledger = place.ledger();
    let remembered = match options.head {
        Some(_) => remembered(&ledger, &ledger.verify()?, options)?,
        None => Outcome::Clean,
    };
    Ok(verify_all(place)?.max(remembered))
}

/// A line for each log; the gravest outcome of all.
fn verify_all(place: &Place) -> anyhow::Result<Outcome> {
    let mut gravest = Outcome::Clean;
    for log in place.logs() {
        let kept = (log.name == acts::LEDGER).then(|| Kept::of(place)).transpose()?;
        let soundness = log.verify()?;
        let mut span = Span::default();
        for entry in log.records(&soundness) {
            if let Entry::Record(record) = entry? {
                span.take(&record);
            }
        }
        crate::say::out(format_args!("{}: {}", log.name, told::soundness(place, &log, &soundness, &span)))?;
        for note in span.notes() {
            crate::say::out(format_args!("{}: {note}", log.name))?;
        }
        for stranger in log.strangers()? {
            crate::say::out(format_args!("{}: {stranger}", log.name))?;
        }
        let lost = kept.map_or(Ok(None), |kept| kept.lost(&log, &soundness))?;
        if let Some(lost) = &lost {
            crate::say::out(format_args!("{}: {lost}", log.name))?;
        }
        if outcome(&soundness) != Outcome::Clean || lost.is_some() {
            gravest = Outcome::Drift;
        }
    }
    Ok(gravest)
}

/// Prints records, all as they come or the newest so many at the end.
struct Output {
    format: ReportFormat,
    rows: Rows,
    taken: u64,
    newest: Option<(usize, VecDeque<Record>)>,
}

impl Output {
    fn new(format: ReportFormat, limit: Option<usize>) -> Self {
        Output { format, rows: Rows::new(), taken: 0, newest: limit.map(|limit| (limit, VecDeque::new())) }
    }

    fn take(&mut self, record: Record) -> anyhow::Result<()> {
        self.taken += 1;
        let Some((limit, newest)) = &mut self.newest else { return self.print(&record) };
        newest.push_back(record);
        if newest.len() > *limit {
            newest.pop_front();
        }
        Ok(())
    }

    fn print(&mut self, record: &Record) -> anyhow::Result<()> {
        match self.format {
            ReportFormat::Table => self.rows.print(record),
            ReportFormat::Json => {
                writeln!(std::io::stdout().lock(), "{}", rows::json_line(record))?;
                Ok(())
            }
        }
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        let (_, newest) = self.newest.take().unwrap_or_default();
        newest.iter().try_for_each(|record| self.print(record))
    }
}
