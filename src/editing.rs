use std::time::Duration;

use exporter::daemon;

use crate::paths::Paths;
use crate::say::aside;

/// How long another run of ours that edits the baseline is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// Has a running `serve` read the baseline again. What was written stands either way.
pub(crate) fn tell_daemon(paths: &Paths) {
    match daemon::reload_running(&paths.state) {
        Ok(Some(pid)) => aside(format_args!("Process {pid} serves, and reads it again.")),
        Ok(None) => {}
        Err(error) => aside(format_args!("portledger: a running `serve` was not told: {error}")),
    }
}
