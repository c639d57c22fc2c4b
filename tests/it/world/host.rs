use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::puppet::{self, Listen};
use super::{Drifts, Listing, Running, Serve, eventually, is_root, skip};

/// A machine within the machine: network, processes, mounts and host name of its own, with a public and a private
/// address. It holds configuration, baseline and state of its own, and ends, whole, with the test.
pub(crate) struct Host {
    folder: tempfile::TempDir,
    /// What runs as pid 1 there ends when this is closed.
    life: Option<ChildStdin>,
    unshare: Child,
    init: u32,
}

/// What a verb said.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Host {
    pub(crate) const PUBLIC: &str = "203.0.113.10";
    pub(crate) const PRIVATE: &str = "10.20.30.40";

    /// `None`, and says so, where we may not make namespaces.
    pub(crate) fn new() -> Option<Self> {
        if !is_root() {
            skip("needs root, to make namespaces");
            return None;
        }
        let folder = tempfile::Builder::new().prefix("portledger-it-").tempdir().unwrap();
        for inside in ["", "bin", "etc", "log"] {
            let path = folder.path().join(inside);
            fs::create_dir_all(&path).unwrap();
            // The user that `serve` drops to must be able to pass.
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let mut unshare = Command::new("unshare");
        unshare.args(["--net", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "--uts", "--"]);
        puppet::becomes(unshare.arg(std::env::current_exe().unwrap()), "init", &[]);
        let mut unshare = unshare.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let life = unshare.stdin.take();
        let init = eventually("the host has a pid 1", || {
            assert!(unshare.try_wait().unwrap().is_none(), "unshare failed");
            super::process::children(unshare.id()).first().copied()
        });
        // Until it executes us it is `unshare`, which may be at the mounts still.
        let file = |path: &str| fs::metadata(path).map(|file| (file.dev(), file.ino()));
        let own = file("/proc/self/exe").unwrap();
        eventually("the host has its mounts", || {
            (file(&format!("/proc/{init}/exe")).ok()? == own).then_some(())
        });
        let host = Host { folder, life, unshare, init };
        host.furnish();
        Some(host)
    }

    fn furnish(&self) {
        // A mount that another one covers leads nowhere, and would be a gap: those of the machine's namespaces go first, if
        // they are not deleted meanwhile.
        self.sh(&format!(
            "hostname web-17
             awk '/ - nsfs /{{print $5}}' /proc/self/mountinfo | xargs -r umount --quiet || true
             mount -t tmpfs none /run; mkdir /run/netns /run/sshd /run/lock
             echo 0 >/proc/sys/net/ipv4/ip_unprivileged_port_start
             ip link set lo up
             ip link add eth0 type veth peer name wire0
             ip link set wire0 addrgenmode none; ip link set wire0 up
             ip address add {}/24 dev eth0; ip address add {}/24 dev eth0
             ip address add 2001:db8::10/64 dev eth0 nodad
             ip link set eth0 up",
            Host::PUBLIC,
            Host::PRIVATE
        ));
        self.write("etc/portledger.toml", "[sensor]\ninterval = \"200ms\"\n");
    }

    /// From now on its kernel does not tell its types, without which it takes none of our BPF programs.
    pub(crate) fn hides_btf(&self) {
        self.write("etc/no-btf", "");
        let mount = format!("mount --bind {} /sys/kernel/btf/vmlinux", self.path("etc/no-btf").display());
        self.sh(&mount);
    }

    /// The host's name, as `furnish` set it.
    pub(crate) const NAME: &str = "web-17";

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file that only root can write, as configuration management does.
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    }

    pub(crate) fn baseline(&self) -> String {
        fs::read_to_string(self.path("etc/baseline.toml")).unwrap()
    }

    /// A command that will run on this host as root.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.init.to_string(), "--mount", "--uts", "--net", "--pid", "--"]);
        command.arg(program);
        command
    }

    /// Runs a script on this host; each of its lines must succeed.
    pub(crate) fn sh(&self, script: &str) -> String {
        let mut shell = self.command("sh");
        shell.args(["-ec", script]);
        let told = finish(shell);
        assert_eq!(told.code, 0, "{script}: {told:?}");
        told.stdout
    }

    /// Starts a program in Python, which ends when it is dropped; its standard input is open until then.
    pub(crate) fn python(&self, program: &str) -> Running {
        let mut python = self.command("python3");
        python.args(["-c", program]).stdin(Stdio::piped());
        Running::start(python)
    }

    /// Makes a network namespace under /run/netns.
    pub(crate) fn namespace(&self, name: &str) {
        self.sh(&format!("ip netns add {name}; ip -n {name} link set lo up"));
    }

    /// `tcp 0.0.0.0:22`, `udp [::1]:53`, `tcp [::]:80 v6only`, `tcp 127.0.0.1:1-1000`; several parted by `;`.
    pub(crate) fn listen(&self, sockets: &str) -> Listen<'_> {
        Listen::new(self, sockets)
    }

    /// `portledger` with this host's files, not started yet.
    pub(crate) fn portledger(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_portledger"));
        self.arguments(&mut command, arguments);
        command
    }

    /// The same as another user, without any capability.
    pub(crate) fn portledger_as(&self, uid: u32, arguments: &[&str]) -> Command {
        let mut command = self.command("setpriv");
        let id = uid.to_string();
        command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--"]);
        command.arg(env!("CARGO_BIN_EXE_portledger"));
        self.arguments(&mut command, arguments);
        command
    }

    /// The same as root with these capabilities alone.
    pub(crate) fn portledger_with(&self, capabilities: &[&str], arguments: &[&str]) -> Command {
        let mut command = self.command("setpriv");
        let given: String = capabilities.iter().map(|name| format!(",+{name}")).collect();
        command.args(["--bounding-set", &format!("-all{given}"), "--inh-caps", "-all", "--"]);
        command.arg(env!("CARGO_BIN_EXE_portledger"));
        self.arguments(&mut command, arguments);
        command
    }

    fn arguments(&self, command: &mut Command, arguments: &[&str]) {
        command.args(arguments);
        command.arg("--config").arg(self.path("etc/portledger.toml"));
        command.arg("--baseline").arg(self.path("etc/baseline.toml"));
        command.arg("--state").arg(self.path("state"));
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Told {
        finish(self.portledger(arguments))
    }

    /// Runs a verb that must succeed.
    pub(crate) fn does(&self, arguments: &[&str]) -> Told {
        let told = self.run(arguments);
        assert_eq!(told.code, 0, "{arguments:?}: {told:?}");
        told
    }

    pub(crate) fn list(&self) -> Listing {
        Listing::new(&self.does(&["list", "--format", "json"]).stdout)
    }

    pub(crate) fn learn(&self) {
        self.does(&["learn"]);
    }

    pub(crate) fn diff(&self) -> Drifts {
        Drifts::new(self.run(&["diff", "--format", "json"]))
    }

    pub(crate) fn approve(&self, drift: &str, reason: &str) -> Told {
        self.run(&["approve", drift, "--reason", reason])
    }

    /// Writes an approval as an admin does in git, also for what is not there now.
    pub(crate) fn approves_by_hand(&self, port: u16, program: &str) {
        let program = self.path("bin").join(program);
        let approval = format!(
            "\n[[approval]]\nid = \"by-hand-{port}\"\nlisten = \"tcp/*:{port}\"\nprogram = \"{}\"\n\
             reach = \"public\"\nreason = \"wanted\"\n",
            program.display()
        );
        self.write("etc/baseline.toml", self.baseline() + &approval);
    }

    /// Starts `serve` on the port that it has by default, and waits until it is ready.
    pub(crate) fn serve(&self) -> Serve<'_> {
        Serve::start(self, &[])
    }

    /// Does something on a thread of our own that stands in this host's network.
    pub(crate) fn within<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let netns = fs::File::open(format!("/proc/{}/ns/net", self.init)).unwrap();
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                use std::os::fd::AsFd;
                move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                act()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.life.take());
        let _ended = self.unshare.wait();
    }
}

/// Runs a command to its end, but no longer than a minute.
pub(crate) fn finish(mut command: Command) -> Told {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let out = std::thread::spawn(move || all(&mut out));
    let err = std::thread::spawn(move || all(&mut err));
    let deadline = Instant::now() + Duration::from_secs(60);
    let code = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status.code().unwrap_or(-1);
        }
        if Instant::now() > deadline {
            super::process::children(child.id())
                .into_iter()
                .for_each(|pid| super::process::send(pid, rustix::process::Signal::KILL));
            child.kill().unwrap();
            panic!("more than a minute: {command:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    Told { code, stdout: out.join().unwrap(), stderr: err.join().unwrap() }
}

/// Output that is not UTF-8 would be a bug of ours by itself: names in it are escaped.
fn all(stream: &mut impl Read) -> String {
    let mut text = Vec::new();
    stream.read_to_end(&mut text).unwrap();
    String::from_utf8(text).expect("what portledger prints is UTF-8")
}
