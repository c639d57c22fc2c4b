//! `portledger`: what listens on this host, who holds it, who can reach it, and whether somebody approved it.
#![forbid(unsafe_code)]

mod acts;
mod alerts;
mod approve;
mod arguments;
mod asking;
mod audit;
mod backup;
mod baseline;
mod bundling;
mod check;
mod config;
mod countersign;
mod csv_rows;
mod diff;
mod dismiss;
mod doctor;
mod editing;
mod filter;
mod gaps;
mod history;
mod inventory_file;
mod judge;
mod keeper;
mod learn;
mod list;
mod loader;
mod log;
mod notify;
mod outcome;
mod owned;
mod page;
mod paths;
mod progress;
mod report;
mod restore;
mod review;
mod revoke;
mod say;
mod sensor;
mod serve;
mod show;
mod signals;
mod signer;
mod table;
mod trust;
mod watch;

use std::process::ExitCode;

use arguments::{Arguments, Verb};
use outcome::Outcome;

fn main() -> ExitCode {
    // What `serve` starts through /proc/self/exe would be `exe` to `top` and `ps -C`. A name is worth no failure.
    rustix::thread::set_name(c"portledger").unwrap_or_default();
    // What root's verbs write is read by the exporter's user; a caller's umask must not decide that. Keys say their own mode.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let Arguments { shared, verb } = match Arguments::read() {
        Ok(arguments) => arguments,
        Err(error) => match arguments::are_of_check() {
            Some(manner) => return check::untold(&error, manner),
            None => error.exit(),
        },
    };
    let outcome = match verb {
        Verb::List(options) => list::run(&shared, &options),
        Verb::Diff(options) => diff::run(&shared, &options),
        Verb::Show(options) => show::run(&shared, &options),
        Verb::Learn(options) => learn::run(&shared, &options),
        Verb::Approve(options) => approve::run(&shared, &options),
        Verb::Countersign(options) => countersign::run(&shared, &options),
        Verb::Dismiss(options) => dismiss::run(&shared, &options),
        Verb::Review(options) => review::run(&shared, &options),
        Verb::History(options) => history::run(&shared, &options),
        Verb::Report(options) => report::run(&shared, &options),
        Verb::Revoke(options) => revoke::run(&shared, &options),
        Verb::Baseline(verb) => baseline::run(&shared, &verb),
        Verb::Audit(options) => audit::run(&shared, &options),
        Verb::Backup(options) => backup::run(&shared, &options),
        Verb::Restore(options) => restore::run(&shared, &options),
        // Its exit codes are those of monitoring plugins.
        Verb::Check(options) => return check::run(&shared, &options),
        Verb::Notify(options) => notify::run(&options),
        Verb::Alerts(verb) => alerts::run(&shared, &verb),
        Verb::Watch(options) => watch::run(&shared, &options),
        Verb::Serve(options) => serve::run(&shared, options),
        Verb::Sensor(options) => sensor::run(&shared, &options),
        Verb::Keeper => keeper::run(&shared),
        Verb::Loader(options) => loader::run(&options),
        Verb::Doctor(options) => doctor::run(&shared, &options),
    };
    outcome.unwrap_or_else(|error| Outcome::failed(&error)).into()
}
