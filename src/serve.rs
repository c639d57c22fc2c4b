use exporter::Identity;

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
    let config = Config::load(&paths)?;
    let exports =
        exporter::Exports { host: judge::host(&config).name.escaped(), receivers: config.receivers()? };
    // Held until the process ends.
    let _lock = exporter::lock_state(&paths.state)?;
    let identity = Identity::find(&paths.state)?;
    exporter::prepare_state(&paths.state, &identity)?;
    // The end of the socket tells of its end.
    let (frames, _keeper) = keeper::start(keeper::myself("keeper", shared))?;
    exporter::drop_to(&identity)?;
    exporter::run(exporter::Options {
        listen: options.listen,
        web_config: options.web_config,
        telemetry_path: options.telemetry_path,
        listener_info: options.listener_info,
        state: paths.state.clone(),
        frames,
        load: Box::new(move || judge::load(&paths)),
        exports,
    })?;
    Ok(Outcome::Clean)
}
