//! The listeners of the stories are this test binary itself, started again under other names with a part to play.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};

use rustix::net::{AddressFamily, SocketType, bind, getsockname, listen, socket, sockopt};
use rustix::process::WaitOptions;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::process::Running;
use super::{Host, copy, finish};

const PART: &str = "PORTLEDGER_TEST_PART";
const SOCKETS: &str = "PORTLEDGER_TEST_SOCKETS";
const SAYS: &str = "puppet: ";

/// Makes `command`, which ends with this binary's path, play a part.
pub(crate) fn becomes(command: &mut Command, part: &str, arguments: &[&OsStr]) {
    command.args(["--exact", "world::puppet::puppet", "--nocapture", "--test-threads=1", "--"]);
    // Filters to libtest, which match no other test.
    command.args(arguments);
    command.env(PART, part);
}

/// A listener that is about to be.
pub(crate) struct Listen<'a> {
    host: &'a Host,
    sockets: String,
    wrappers: Vec<String>,
    arguments: Vec<std::ffi::OsString>,
    copied: bool,
    part: String,
}

/// A process with listening sockets, on its host until it is dropped.
pub(crate) struct Puppet {
    /// The process.
    pub(crate) running: Running,
    /// Where its sockets are bound, in the order in which they were asked for.
    pub(crate) bound: Vec<SocketAddr>,
    /// As its host counts.
    pub(crate) pid: u32,
    /// What it executes.
    pub(crate) program: std::path::PathBuf,
}

impl Puppet {
    /// The port of its first socket.
    pub(crate) fn port(&self) -> u16 {
        self.bound[0].port()
    }

    /// Ends it.
    pub(crate) fn ends(self) {
        self.running.kill();
    }
}

impl<'a> Listen<'a> {
    pub(crate) fn new(host: &'a Host, sockets: &str) -> Self {
        Listen {
            host,
            sockets: sockets.to_owned(),
            wrappers: Vec::new(),
            arguments: Vec::new(),
            copied: false,
            part: "listen".to_owned(),
        }
    }

    /// In a namespace that `Host::namespace` made.
    pub(crate) fn inside(mut self, netns: &str) -> Self {
        self.wrappers.extend(["nsenter".to_owned(), format!("--net=/run/netns/{netns}")]);
        self
    }

    /// In a network namespace that has no name.
    pub(crate) fn apart(mut self) -> Self {
        self.wrappers.extend(["unshare".to_owned(), "--net".to_owned()]);
        self
    }

    /// As an ordinary user.
    pub(crate) fn user(mut self, uid: u32) -> Self {
        let id = uid.to_string();
        self.wrappers
            .extend(["setpriv", "--clear-groups", "--reuid", &id, "--regid", &id].map(str::to_owned));
        self
    }

    /// Started by these words.
    pub(crate) fn wrapped(mut self, words: &[&str]) -> Self {
        self.wrappers.extend(words.iter().map(|word| (*word).to_owned()));
        self
    }

    /// Opens its sockets in this namespace and goes back home: the sockets stay, nobody lives there.
    pub(crate) fn reaching_into(mut self, netns: &str) -> Self {
        self.part = format!("listen in /run/netns/{netns}");
        self
    }

    /// With a word on its command line.
    pub(crate) fn argument(mut self, word: impl Into<std::ffi::OsString>) -> Self {
        self.arguments.push(word.into());
        self
    }

    /// Runs a file of its own, not another name of the one that all share.
    pub(crate) fn with_a_file_of_its_own(mut self) -> Self {
        self.copied = true;
        self
    }

    /// Starts it as a program of this name and waits until its sockets are open.
    pub(crate) fn by(self, name: impl AsRef<OsStr>) -> Puppet {
        let program = self.program(name.as_ref());
        let mut command = self.command(&program);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut running = Running::start(command);
        let mut lines = BufReader::new(running.entered.stdout.take().unwrap()).lines();
        let bound = lines.find_map(|line| Some(line.unwrap().strip_prefix(SAYS)?.to_owned()));
        let bound = bound.unwrap_or_else(|| panic!("{} could not open {}", program.display(), self.sockets));
        let bound = bound.split_whitespace().map(|address| address.parse().unwrap()).collect();
        let pid = running.inner();
        Puppet { running, bound, pid, program }
    }

    /// Has a program of this name open its sockets, close them at once and end; the pid that it had.
    pub(crate) fn for_a_moment_by(mut self, name: impl AsRef<OsStr>) -> u32 {
        self.part = "listen for a moment".to_owned();
        let program = self.program(name.as_ref());
        let told = finish(self.command(&program));
        let said = told.stdout.lines().find_map(|line| line.strip_prefix(SAYS));
        said.unwrap_or_else(|| panic!("{} could not open {}: {told:?}", program.display(), self.sockets))
            .parse()
            .unwrap()
    }

    /// Sees to it that there is a program of this name.
    fn program(&self, name: &OsStr) -> std::path::PathBuf {
        let program = self.host.path("bin").join(name);
        let own = std::env::current_exe().unwrap();
        if fs::symlink_metadata(&program).is_err() && (self.copied || fs::hard_link(&own, &program).is_err())
        {
            copy(&own, &program);
        }
        program
    }

    fn command(&self, program: &std::path::Path) -> Command {
        let mut words = self.wrappers.iter();
        let arguments: Vec<&OsStr> = self.arguments.iter().map(|word| word.as_os_str()).collect();
        let mut command = match words.next() {
            Some(first) => {
                let mut command = self.host.command(first);
                command.args(words).arg(program);
                command
            }
            None if program.to_str().is_some() => self.host.command(program),
            // libtest takes no name that is not UTF-8; the kernel and bash do.
            None => {
                let mut command = self.host.command("bash");
                command.args(["-c", "exec -a puppet \"$@\"", "bash"]).arg(program);
                command
            }
        };
        becomes(&mut command, &self.part, &arguments);
        command.env(SOCKETS, &self.sockets);
        command
    }
}

/// Not a test: where the parts are played.
#[test]
fn puppet() {
    match std::env::var(PART).as_deref() {
        Err(_) => {}
        Ok("init") => init(),
        Ok("listen") => hold(open(&std::env::var(SOCKETS).unwrap())),
        Ok("listen for a moment") => {
            drop(open(&std::env::var(SOCKETS).unwrap()));
            writeln!(std::io::stdout(), "\n{SAYS}{}", std::process::id()).unwrap();
        }
        Ok(part) => {
            let netns = part.strip_prefix("listen in ").expect("a part that is known");
            let home = fs::File::open("/proc/thread-self/ns/net").unwrap();
            let there = fs::File::open(netns).unwrap();
            move_into_link_name_space(there.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            let sockets = open(&std::env::var(SOCKETS).unwrap());
            move_into_link_name_space(home.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            drop(there);
            hold(sockets);
        }
    }
}

/// Pid 1 of a host: buries the orphans, and ends with everything that is there when the test closes its input.
fn init() {
    std::thread::spawn(|| {
        loop {
            if rustix::process::wait(WaitOptions::empty()).is_err() {
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        }
    });
    let _end = std::io::stdin().read(&mut [0]);
    std::process::exit(0);
}

fn hold(sockets: Vec<OwnedFd>) {
    let bound: Vec<String> = sockets
        .iter()
        .map(|socket| SocketAddr::try_from(getsockname(socket).unwrap()).unwrap().to_string())
        .collect();
    writeln!(std::io::stdout(), "\n{SAYS}{}", bound.join(" ")).unwrap();
    let _end = std::io::stdin().read(&mut [0]);
    std::process::exit(0);
}

fn open(sockets: &str) -> Vec<OwnedFd> {
    let mut opened = Vec::new();
    for socket in sockets.split(';') {
        let words: Vec<&str> = socket.split_whitespace().collect();
        let (protocol, address, options) = (words[0], words[1], &words[2..]);
        let (address, ports) = address.rsplit_once(':').unwrap();
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        for port in first.parse::<u16>().unwrap()..=last.parse().unwrap() {
            opened.push(open_one(protocol, format!("{address}:{port}").parse().unwrap(), options));
        }
    }
    opened
}

fn open_one(protocol: &str, address: SocketAddr, options: &[&str]) -> OwnedFd {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let kind = if protocol == "tcp" { SocketType::STREAM } else { SocketType::DGRAM };
    let opened = socket(family, kind, None).unwrap();
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&opened, options.contains(&"v6only")).unwrap();
    }
    if options.contains(&"reuseport") {
        sockopt::set_socket_reuseport(&opened, true).unwrap();
    }
    sockopt::set_socket_reuseaddr(&opened, protocol == "tcp").unwrap();
    bind(&opened, &address).unwrap_or_else(|error| panic!("{protocol} {address}: {error}"));
    if protocol == "tcp" {
        listen(&opened, 16).unwrap();
    }
    opened
}
