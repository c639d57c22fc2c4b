//! The vocabulary of the stories.

mod drift;
mod host;
mod limits;
mod listing;
mod people;
mod process;
mod puppet;
mod secured;
mod serve;
mod tampered;
mod watch;

pub(crate) use drift::Drifts;
pub(crate) use host::{Host, Told, finish};
pub(crate) use limits::{Cage, Cgroup, fill, limit_descriptors, next_descriptor};
pub(crate) use listing::{Listing, Row};
pub(crate) use people::Person;
pub(crate) use process::{Running, send, status, statuses};
pub(crate) use puppet::Puppet;
pub(crate) use secured::{ALICE, Secured, certificates};
pub(crate) use serve::{Serve, ask};
pub(crate) use tampered::CALLS;
pub(crate) use watch::Watch;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// The story's own name: libtest calls its threads after the tests.
pub(crate) fn story() -> String {
    std::thread::current().name().unwrap_or("a test").to_owned()
}

/// Says that the story is not told here, and why.
pub(crate) fn skip(why: &str) {
    eprintln!("SKIP {}: {why}", story());
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// False, and says so, where one of the programs is not installed.
pub(crate) fn installed(programs: &[&str]) -> bool {
    let folders = ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/lib/nagios/plugins"];
    let is_there = |program: &&&str| folders.iter().any(|folder| Path::new(folder).join(program).exists());
    let missing: Vec<_> = programs.iter().filter(|program| !is_there(program)).collect();
    if !missing.is_empty() {
        skip(&format!("{missing:?} not installed; `make peers` as root does it"));
    }
    missing.is_empty()
}

/// Copies a program by a process of its own: were it open for writing here, a child that another story forks meanwhile
/// would have it open too, and nobody could run it.
pub(crate) fn copy(program: impl AsRef<Path>, to: impl AsRef<Path>) {
    assert!(
        Command::new("cp")
            .arg("--preserve=mode")
            .arg(program.as_ref())
            .arg(to.as_ref())
            .status()
            .unwrap()
            .success()
    );
}

/// Asks until there is an answer; fails with `what` after a minute.
pub(crate) fn eventually<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    within(Duration::from_secs(60), what, ask)
}

/// Asks until there is an answer; fails with `what` when the time is over.
pub(crate) fn within<T>(time: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + time;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {time:?}: {what}");
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}
/// What the stories rely on: a host is alone, and its listeners are where they were asked for.
#[test]
fn a_host_has_its_own_listeners_and_no_others() {
    let Some(host) = Host::new() else { return };
    host.namespace("blue");
    let sshd = host.listen("tcp 0.0.0.0:22; tcp [::]:22 v6only").by("sshd");
    let _away = host.listen("udp 127.0.0.1:0").inside("blue").user(101).by("na\nme");
    let shown = host.sh("ss -Htulpn");
    assert_eq!(shown.lines().count(), 2, "{shown}");
    assert_eq!(shown.matches(&format!("((\"sshd\",pid={},", sshd.pid)).count(), 2, "{shown}");
    sshd.ends();
    assert_eq!(host.sh("ss -Htulpn"), "");
    assert_eq!(host.sh("hostname").trim(), Host::NAME);
}
