use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};

use exporter::daemon;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Pid, Signal, kill_process};

use super::child;

/// A `serve` of this program, and the sensor's end of its socket.
pub(crate) struct Serving {
    process: Child,
    output: BufReader<ChildStdout>,
    pub(crate) sensor: Option<OwnedFd>,
}

impl Serving {
    pub(crate) fn start(state: &Path) -> Self {
        Serving::start_as("serve", state, 0)
    }

    pub(crate) fn start_as(role: &str, state: &Path, port: u16) -> Self {
        let (near, far) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let mut process = child::start(role, state, Stdio::from(far), port);
        let output = BufReader::new(process.stdout.take().unwrap());
        let mut serving = Serving { process, output, sensor: Some(near) };
        assert_eq!(serving.line(), "load 1");
        // It announces itself once everything stands.
        while !state.join("serve.pid").exists() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        serving
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// `RssAnon` and `RssFile`.
    pub(crate) fn resident(&self) -> String {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let lines = status.lines().filter(|line| line.starts_with("RssAnon") || line.starts_with("RssFile"));
        lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join(", ")
    }

    pub(crate) fn send(&self, signal: Signal) {
        let pid = Pid::from_raw(self.process.id().cast_signed()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    pub(crate) fn exit_code(mut self) -> Option<i32> {
        self.process.wait().unwrap().code()
    }
}

pub(crate) fn ends_cleanly_when_told_to() {
    for signal in [Signal::TERM, Signal::INT] {
        let state = tempfile::tempdir().unwrap();
        let serving = Serving::start(state.path());
        serving.send(signal);
        assert_eq!(serving.exit_code(), Some(0));
    }
}

/// Who ends all processes of a service at once ends the keeper before us, now and then.
pub(crate) fn ends_cleanly_when_the_keeper_heard_it_first() {
    let state = tempfile::tempdir().unwrap();
    let mut serving = Serving::start(state.path());
    drop(serving.sensor.take());
    serving.send(Signal::TERM);
    assert_eq!(serving.exit_code(), Some(0));
}

pub(crate) fn fails_when_the_sensor_is_gone() {
    let state = tempfile::tempdir().unwrap();
    let mut serving = Serving::start(state.path());
    drop(serving.sensor.take());
    assert_eq!(serving.line(), "the sensor's keeper is gone: no inventory comes any more");
    assert_eq!(serving.exit_code(), Some(3));
}

pub(crate) fn reads_again_when_told_to() {
    let state = tempfile::tempdir().unwrap();
    assert_eq!(daemon::reload_running(state.path()).unwrap(), None, "none was ever started");
    let mut serving = Serving::start(state.path());
    let pid = serving.process.id();
    assert_eq!(daemon::reload_running(state.path()).unwrap(), Some(pid));
    assert_eq!(serving.line(), "load 2");
    serving.send(Signal::TERM);
    assert_eq!(serving.exit_code(), Some(0));
    assert_eq!(daemon::reload_running(state.path()).unwrap(), None, "it has ended");
}

pub(crate) fn tells_no_stranger_to_read_again() {
    let state = tempfile::tempdir().unwrap();
    let write = |content: &str| {
        std::fs::File::create(state.path().join("serve.pid")).unwrap().write_all(content.as_bytes()).unwrap();
    };
    // A process that would die of it: this one.
    let own = procfs::process::Process::myself().unwrap().stat().unwrap();
    write(&format!("{} {}\n", own.pid, own.starttime + 1));
    assert_eq!(daemon::reload_running(state.path()).unwrap(), None, "another process had this pid");
    if rustix::process::geteuid().is_root() {
        let nobody = rustix::fs::Uid::from_raw(65_534);
        write(&format!("{} {}\n", own.pid, own.starttime));
        rustix::fs::chown(state.path().join("serve.pid"), Some(nobody), None).unwrap();
        assert!(matches!(daemon::reload_running(state.path()), Err(daemon::ReloadError::Stranger { .. })));
    } else {
        eprintln!("SKIP tells_no_stranger_to_read_again: its second half needs root");
    }
    for content in ["", "1", "x y", "-1 5", "0 5", "99999999999 1"] {
        write(content);
        assert!(
            matches!(daemon::reload_running(state.path()), Err(daemon::ReloadError::Malformed(_))),
            "{content}"
        );
    }
}

pub(crate) fn policy() -> baseline::Policy {
    baseline::Policy::new(
        None,
        baseline::Host::default(),
        baseline::Trust::in_everybody(jiff::tz::TimeZone::UTC).into(),
    )
}
