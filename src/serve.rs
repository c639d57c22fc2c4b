use std::os::fd::OwnedFd;
use std::process::Stdio;

use anyhow::Context;
use exporter::Identity;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::arguments::{ServeOptions, Shared};
use crate::config::Config;
use crate::judge;
use crate::keeper;
use crate::log::log_to_stderr;
use crate::outcome::Outcome;
use crate::paths::Paths;

/// Starts the sensor's keeper while we still may, gives all privileges away, and becomes the exporter.
pub(crate) fn run(shared: &Shared, options: ServeOptions) -> anyhow::Result<Outcome> {
    log_to_stderr();
    let paths = Paths::of(shared)?;
    // A mistake is told before anything is started.
    Config::load(&paths)?;
    // Held until the process ends.
    let _lock = exporter::lock_state(&paths.state)?;
    let identity = Identity::find(&paths.state)?;
    exporter::prepare_state(&paths.state, &identity)?;
    let frames = start_keeper(shared)?;
    exporter::drop_to(&identity)?;
    exporter::run(exporter::Options {
        listen: options.listen,
        telemetry_path: options.telemetry_path,
        listener_info: options.listener_info,
        state: paths.state.clone(),
        frames,
        load: Box::new(move || judge::load(&paths)),
    })?;
    Ok(Outcome::Clean)
}

/// A packet socket keeps frames apart, so that a sensor which dies in the middle of one tears nothing. Ours is the
/// reading end; both ends refuse the other direction.
fn start_keeper(shared: &Shared) -> anyhow::Result<OwnedFd> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .context("cannot make the socket between exporter and sensor")?;
    rustix::net::shutdown(&ours, rustix::net::Shutdown::Write)
        .context("cannot make the socket between exporter and sensor one-way")?;
    let mut command = keeper::myself("keeper", shared);
    command.stdin(Stdio::null()).stdout(theirs);
    command.spawn().context("cannot start the keeper of the sensor")?;
    Ok(ours)
}
