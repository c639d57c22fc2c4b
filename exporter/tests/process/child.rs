//! The parts that this program plays when a case starts it again.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use exporter::{ApiSocket, BaselineSet, Identity, ListenAddress, LoadOutcome, Options, Web};

/// A folder that whoever a child becomes can pass.
pub(crate) fn passable_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).unwrap();
    folder
}

/// Serves on any free port where `port` is 0.
pub(crate) fn start(role: &str, state: &std::path::Path, frames: Stdio, port: u16) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env("EXPORTER_TEST_ROLE", role).env("EXPORTER_TEST_STATE", state);
    command.env("EXPORTER_TEST_PORT", port.to_string());
    command.stdin(frames).stdout(Stdio::piped()).spawn().unwrap()
}

pub(crate) fn play(role: &str) {
    let state = PathBuf::from(std::env::var_os("EXPORTER_TEST_STATE").unwrap());
    match role {
        "drop" => drop_and_report(&state),
        "drop_and_find_it_prepared" => drop_and_find_it_prepared(&state),
        "drop_in_two_threads" => {
            std::thread::spawn(|| std::thread::sleep(Duration::from_secs(60)));
            let refused = exporter::drop_to(&Identity::find(&state).unwrap());
            println!("{}", refused.unwrap_err());
        }
        "serve" => serve(state, || None),
        "serve_approved" => serve(state, || Some(super::events::approved())),
        "drop_and_serve" => {
            let _lock = exporter::lock_state(&state).unwrap();
            let identity = drop_root(&state);
            let port = std::env::var("EXPORTER_TEST_PORT").unwrap().parse().unwrap();
            confine(&state, port, &identity);
            serve(state, || None);
        }
        "dropped" => {
            drop_root(&state);
            attempt(&state);
        }
        "confined" => {
            confine(&state, 0, &drop_root(&state));
            attempt(&state);
        }
        "confined_report" => {
            confine(&state, 0, &drop_root(&state));
            print!("{}", std::fs::read_to_string("/proc/self/status").unwrap());
            print!("{}", std::fs::read_to_string("/proc/self/limits").unwrap());
            let dumpable = rustix::process::dumpable_behavior().unwrap();
            println!("Dumpable:\t{}", dumpable == rustix::process::DumpableBehavior::Dumpable);
        }
        other => panic!("no part called {other}"),
    }
}

fn drop_root(state: &std::path::Path) -> Identity {
    let identity = Identity::find(state).unwrap();
    exporter::prepare_state(state, &identity).unwrap();
    exporter::drop_to(&identity).unwrap();
    identity
}

fn confine(state: &std::path::Path, port: u16, identity: &Identity) {
    let needs = exporter::Needs { writes: vec![state.to_owned()], listens: vec![port], ..Default::default() };
    exporter::confine(needs, (&exporter::Exports::default(), &exporter::Alerting::default()), identity)
        .unwrap();
}

fn attempt(state: &std::path::Path) {
    super::confined::play(&std::env::var("EXPORTER_TEST_ATTEMPT").unwrap(), state);
}

fn drop_and_report(state: &std::path::Path) {
    if rustix::process::geteuid().is_root() {
        nix::unistd::setgroups(&[nix::unistd::Gid::from_raw(4)]).unwrap();
    }
    let identity = Identity::find(state).unwrap();
    exporter::prepare_state(state, &identity).unwrap();
    exporter::drop_to(&identity).unwrap();
    exporter::daemon::announce(state).unwrap();
    println!("Chosen:\t{} {} {:?}", identity.uid(), identity.gid(), identity.origin());
    println!("Fds:\t{}", std::fs::read_dir("/proc/self/fd").unwrap().count());
    print!("{}", std::fs::read_to_string("/proc/self/status").unwrap());
}

/// As where root prepared the folder and started the service as its user.
fn drop_and_find_it_prepared(state: &std::path::Path) {
    std::fs::create_dir(state).unwrap();
    std::fs::write(state.join("serve.lock"), "").unwrap();
    let narrow = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(state.join("serve.lock"), narrow).unwrap();
    let lock = exporter::lock_state(state).unwrap();
    let identity = Identity::find(state).unwrap();
    exporter::prepare_state(state, &identity).unwrap();
    exporter::drop_to(&identity).unwrap();
    drop(lock);
    let _lock = exporter::lock_state(state).unwrap();
    let identity = Identity::find(state).unwrap();
    exporter::prepare_state(state, &identity).unwrap();
    exporter::daemon::announce(state).unwrap();
    println!("{:?}", identity.origin());
}

/// Frames come in by standard input; each line of output is a thing that happened.
fn serve(state: PathBuf, baseline: fn() -> Option<BaselineSet>) {
    let mut loads = 0;
    let load = Box::new(move || {
        loads += 1;
        println!("load {loads}");
        std::io::stdout().flush().unwrap();
        LoadOutcome { policy: Ok(super::signals::policy()), baseline: Ok(baseline()) }
    });
    let port: u16 = std::env::var("EXPORTER_TEST_PORT").unwrap().parse().unwrap();
    let frames: OwnedFd = rustix::io::dup(std::io::stdin()).unwrap();
    let ended = exporter::run(Options {
        web: Web {
            external_url: String::new(),
            listen: vec![ListenAddress::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))],
            inherited: Vec::new(),
            config: None,
            telemetry_path: "/metrics".to_owned(),
            allow: Vec::new(),
            read_only: true,
            roles: Vec::new(),
            api_socket: ApiSocket::Off,
            textfile: None,
        },
        listener_info: false,
        state,
        frames: exporter::Frames::Of(frames),
        load,
        exports: exporter::Exports::default(),
        alerting: exporter::Alerting::default(),
    });
    if let Err(error) = ended {
        println!("{error}");
        std::process::exit(3);
    }
}
