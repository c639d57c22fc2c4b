use anyhow::bail;
use baseline::git_places;
use exporter::{ApiSocket, Frames, Identity, Inherited, LoadOutcome, Needs, Origin, web_config_files};

use crate::arguments::{ServeOptions, Shared};
use crate::config::Config;
use crate::judge;
use crate::keeper;
use crate::log::log_to_stderr;
use crate::outcome::Outcome;
use crate::paths::Paths;
use crate::trust::{revoked_path, signers_path};

/// sd_listen_fds(3): the first descriptor that is passed.
pub(crate) const FIRST_PASSED: u32 = 3;

/// Starts the sensor's keeper while we still may, unless a sensor runs as a service of its own; gives all privileges away, and becomes the exporter.
pub(crate) fn run(shared: &Shared, options: ServeOptions) -> anyhow::Result<Outcome> {
    // First of all: what is started below must not have them.
    let inherited = exporter::take_inherited()?;
    close_what_is_not_ours(FIRST_PASSED.saturating_add(u32::try_from(inherited.len())?));
    log_to_stderr();
    let paths = Paths::of(shared)?;
    // A mistake is told before anything is started.
    let config = Config::load(&paths)?;
    let inherited = wanted(inherited, options.systemd_socket)?;
    if options.systemd_socket && options.names_addresses() {
        tracing::warn!(
            "--web.listen-address has no effect: --web.systemd-socket takes the sockets of systemd alone"
        );
    }
    let web = config.web()?;
    let exports =
        exporter::Exports { host: judge::host(&config).name.escaped(), receivers: config.receivers()? };
    let alerting = exporter::Alerting { post_to: config.post_to()? };
    // Held until the process ends.
    let _lock = exporter::lock_state(&paths.state)?;
    let identity = Identity::find(&paths.state)?;
    exporter::prepare_state(&paths.state, &identity)?;
    let frames = match options.sensor.socket.clone() {
        Some(socket) => Frames::At(socket),
        // The end of the socket tells of its end.
        None => Frames::Of(keeper::start(keeper::myself("keeper", shared))?.0),
    };
    let listen = options.listen();
    if web.api_socket == ApiSocket::Usual && identity.origin() != Origin::Started && !listen.is_empty() {
        // Without it there is no socket for users of this host, and all else.
        if let Err(error) = exporter::prepare_runtime_folder(&identity) {
            tracing::warn!("/run/portledger cannot be made: {error}");
        }
    }
    let web = exporter::Web {
        listen,
        inherited,
        config: options.web_config,
        telemetry_path: options.telemetry_path,
        external_url: options.external_url.unwrap_or_default(),
        allow: web.allow,
        read_only: web.read_only,
        roles: web.roles,
        api_socket: web.api_socket,
        textfile: options.textfile,
    };
    let seen_by_user = identity.origin() == Origin::Started && options.sensor.socket.is_none();
    exporter::drop_to(&identity)?;
    let needs = Needs { seen_by_user, ..needs(&paths, &config, &web) };
    exporter::confine(needs, (&exports, &alerting), &identity)?;
    exporter::run(exporter::Options {
        web,
        listener_info: options.listener_info,
        state: paths.state.clone(),
        frames,
        load: Box::new(move || explained(judge::load(&paths))),
        exports,
        alerting,
    })?;
    Ok(Outcome::Clean)
}

/// What a shell or a cron job left open may be more than the exporter's user may read, and no box closes it.
pub(crate) fn close_what_is_not_ours(first: u32) {
    if let Err(error) = sensor::close_inherited(first) {
        eprintln!("portledger: descriptors that this process was started with stay open: {error}");
    }
}

/// All that configuration and baseline lead to now. What they lead to later is read where it stands in the same folders.
fn needs(paths: &Paths, config: &Config, web: &exporter::Web) -> Needs {
    let mut reads = vec![paths.config.clone(), signers_path(paths, config), revoked_path(paths, config)];
    reads.extend(paths.sources.places());
    // What is wrong with them is told when they are judged by.
    let texts = paths.sources.read().ok().flatten().unwrap_or_default();
    reads.extend(texts.first().map(|text| git_places(&text.path)).unwrap_or_default());
    reads.extend(texts.into_iter().map(|text| text.path));
    reads.extend(web.config.iter().flat_map(|file| web_config_files(file)));
    let mut writes = vec![paths.state.clone()];
    writes.extend(web.writes());
    Needs { reads, writes, listens: web.ports(), seen_by_user: false }
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

/// Sockets that nobody asked for are closed.
fn wanted(inherited: Vec<Inherited>, wanted: bool) -> anyhow::Result<Vec<Inherited>> {
    match (wanted, inherited.is_empty()) {
        (true, true) => bail!(
            "--web.systemd-socket: systemd gave no socket: start the service by its socket unit, or leave the flag out"
        ),
        (true, false) => Ok(inherited),
        (false, true) => Ok(Vec::new()),
        (false, false) => {
            tracing::warn!("the sockets that systemd opened are not used: say --web.systemd-socket");
            Ok(Vec::new())
        }
    }
}
