use std::time::Duration;

use anyhow::bail;
use serde_json::Value;

use crate::arguments::{AlertsStatusOptions, AlertsTestOptions, AlertsVerb, ReportFormat, Shared};
use crate::asking::ask_for;
use crate::config::Config;
use crate::judge;
use crate::outcome::Outcome;
use crate::paths::Paths;
use crate::say::{aside, out};

/// How long the daemon may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Tries whether alerts arrive, or asks the daemon how posting goes.
pub(crate) fn run(shared: &Shared, verb: &AlertsVerb) -> anyhow::Result<Outcome> {
    match verb {
        AlertsVerb::Test(options) => test(shared, options),
        AlertsVerb::Status(options) => status(options),
    }
}

fn test(shared: &Shared, options: &AlertsTestOptions) -> anyhow::Result<Outcome> {
    let config = Config::load(&Paths::of(shared)?)?;
    let host = judge::host(&config).name.escaped();
    let Some(mut receivers) = config.post_to()? else {
        bail!(
            "nothing is posted, since Prometheus' rules alert: say `alerting = \"post\"` in portledger.toml first"
        );
    };
    if let Some(name) = &options.receiver {
        receivers.retain(|receiver| receiver.name() == name);
        if receivers.is_empty() {
            bail!("no receiver is called `{name}` in portledger.toml");
        }
    }
    if rustix::process::geteuid().is_root() {
        aside(
            "Tried as root; `serve` reads the files as user portledger: `portledger alerts status` tells whether it can.",
        );
    }
    let mut outcome = Outcome::Clean;
    for receiver in &receivers {
        match exporter::try_receiver(receiver, &host) {
            Ok(told) => out(format_args!("{}: taken by {told}", receiver.name()))?,
            Err(why) => {
                aside(format_args!("portledger: {}: not taken: {why}", receiver.name()));
                outcome = Outcome::Failed;
            }
        }
    }
    Ok(outcome)
}

fn status(options: &AlertsStatusOptions) -> anyhow::Result<Outcome> {
    let told: Value = ask_for(&options.socket, "/api/v1/alerts", ANSWER_WITHIN)?;
    if told["schema"] != 1 {
        bail!(
            "the answer is of another schema: update `portledger`, or restart `portledger serve` after an update"
        );
    }
    let receivers = told["receivers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_told = |receiver: &Value| receiver["last_error"].is_null() && receiver["refusing"] == 0;
    let fails = !receivers.iter().all(is_told);
    let outcome = if fails { Outcome::Drift } else { Outcome::Clean };
    if options.format == ReportFormat::Json {
        out(format_args!("{told:#}"))?;
        return Ok(outcome);
    }
    let firing = &told["firing"];
    if told["path"] != "post" {
        out(format_args!("{firing} fire. Prometheus' rules alert of them; nothing is posted."))?;
        return Ok(Outcome::Clean);
    }
    out(format_args!("{firing} fire, and are posted to:"))?;
    for receiver in receivers {
        tell(receiver)?;
    }
    Ok(outcome)
}

fn tell(receiver: &Value) -> anyhow::Result<()> {
    let text = |key: &str| receiver[key].as_str().unwrap_or("never").to_owned();
    out(format_args!("{} ({}, {})", text("name"), text("kind"), text("url")))?;
    let (delivered, refused, pending) = (&receiver["delivered"], &receiver["refused"], &receiver["pending"]);
    // It is not kept over a restart.
    let last =
        receiver["last_success"].as_str().map(|last| format!("last taken {last}; ")).unwrap_or_default();
    out(format_args!("  {last}since `serve` began {delivered} delivered, {refused} refused"))?;
    if receiver["refused_because"].is_string() {
        out(format_args!("  refused {}: {}", text("last_refusal"), text("refused_because")))?;
    }
    if receiver["refusing"].as_u64().is_some_and(|refusing| refusing > 0) {
        out(format_args!("  {} that fire are refused, and posted again each minute", receiver["refusing"]))?;
    }
    if receiver["last_error"].is_string() {
        out(format_args!("  failed {}: {}", text("last_failure"), text("last_error")))?;
    }
    if receiver["pending"].as_u64().is_some_and(|pending| pending > 0) {
        out(format_args!("  {pending} wait, the first since {}", text("pending_since")))?;
    }
    Ok(())
}
