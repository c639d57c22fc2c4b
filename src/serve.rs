use std::net::SocketAddr;

use baseline::git_places;
use exporter::{Frames, Identity, LoadOutcome, Needs, Origin, web_config_files};

use crate::arguments::{ServeOptions, Shared};
use crate::config::Config;
use crate::judge;
use crate::keeper;
use crate::log::log_to_stderr;
use crate::outcome::Outcome;
use crate::paths::Paths;
use crate::trust::{revoked_path, signers_path};

/// Starts the sensor's keeper while we still may, unless a sensor runs as a service of its own; gives all privileges away, and becomes the exporter.
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
    let frames = match options.sensor.socket.clone() {
        Some(socket) => Frames::At(socket),
        // The end of the socket tells of its end.
        None => Frames::Of(keeper::start(keeper::myself("keeper", shared))?.0),
    };
    exporter::drop_to(&identity)?;
    exporter::confine(needs(&paths, &config, &options, &identity), &exports, &identity)?;
    exporter::run(exporter::Options {
        listen: options.listen,
        web_config: options.web_config,
        telemetry_path: options.telemetry_path,
        listener_info: options.listener_info,
        state: paths.state.clone(),
        frames,
        load: Box::new(move || explained(judge::load(&paths))),
        exports,
    })?;
    Ok(Outcome::Clean)
}

/// All that configuration and baseline lead to now. What they lead to later is read where it stands in the same folders.
fn needs(paths: &Paths, config: &Config, options: &ServeOptions, identity: &Identity) -> Needs {
    let mut reads = vec![paths.config.clone(), signers_path(paths, config), revoked_path(paths, config)];
    reads.extend(paths.sources.places());
    // What is wrong with them is told when they are judged by.
    let texts = paths.sources.read().ok().flatten().unwrap_or_default();
    reads.extend(texts.first().map(|text| git_places(&text.path)).unwrap_or_default());
    reads.extend(texts.into_iter().map(|text| text.path));
    reads.extend(options.web_config.iter().flat_map(|file| web_config_files(file)));
    Needs {
        reads,
        writes: vec![paths.state.clone()],
        listens: options.listen.iter().map(SocketAddr::port).collect(),
        seen_by_user: identity.origin() == Origin::Started && options.sensor.socket.is_none(),
    }
}

/// What to do where a file is refused that others may read: it was not there, or not named, at the start.
fn explained(outcome: LoadOutcome) -> LoadOutcome {
    let explain = |told: String| match told.contains(&rustix::io::Errno::ACCESS.to_string()) {
        true => format!(
            "{told}\nif its mode lets the exporter read it: `serve` reads no folder but those that were named when it \
             started, so restart it"
        ),
        false => told,
    };
    LoadOutcome { policy: outcome.policy.map_err(explain), baseline: outcome.baseline.map_err(explain) }
}
