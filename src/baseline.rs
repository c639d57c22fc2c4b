//! Baselines as files: what wants no look at a host.

mod check;
mod explain;
mod format;
mod hosts;
mod plan;
mod repository;

pub(crate) use hosts::folded;
pub(crate) use repository::Repository;

use crate::arguments::{BaselineVerb, Shared};
use crate::outcome::Outcome;

/// Runs one of the verbs of `portledger baseline`.
pub(crate) fn run(shared: &Shared, verb: &BaselineVerb) -> anyhow::Result<Outcome> {
    match verb {
        BaselineVerb::Check(options) => check::run(shared, options),
        BaselineVerb::Explain(options) => explain::run(shared, options),
        BaselineVerb::Plan(options) => plan::run(shared, options),
        BaselineVerb::Format(options) => format::run(shared, options),
    }
}
