use std::path::PathBuf;
use std::process::Command;

use super::{Host, Told, finish, installed, skip};

/// The calls to the kernel by which files are read and written, on whatever machine.
pub(crate) const CALLS: [&str; 18] = [
    "open",
    "openat",
    "read",
    "flock",
    "mkdir",
    "mkdirat",
    "unlink",
    "unlinkat",
    "write",
    "fchmod",
    "fchown",
    "ftruncate",
    "fsync",
    "fdatasync",
    "rename",
    "renameat",
    "renameat2",
    "close",
];

/// What a verb said, to one of whose calls something was done.
pub(crate) struct Tampered {
    pub(crate) told: Told,
    /// Which call it was, as strace writes it; `None` where the verb made fewer.
    pub(crate) call: Option<String>,
}

impl Host {
    /// False, and says so, where strace cannot do what it is asked for.
    pub(crate) fn lets_tamper(&self) -> bool {
        if !installed(&["strace"]) {
            return false;
        }
        let mut strace = self.command("strace");
        strace.args(["-qq", "-o", "/dev/null", "true"]);
        let told = finish(strace);
        if told.code != 0 {
            skip(&format!("strace may not trace: {}", told.stderr.trim()));
        }
        told.code == 0
    }

    /// Runs a verb, and has strace do something (`signal=SIGKILL`, `error=EIO`) to the nth time it makes a call on the
    /// files of the configuration, the baseline and the state. What it does to look at the host is left alone.
    pub(crate) fn tampered(&self, call: &str, nth: usize, done: &str, verb: &[&str]) -> Tampered {
        let trace = self.path("log/trace");
        let mut strace = self.command("strace");
        strace.args(["-qq", "-o"]).arg(&trace);
        for path in self.files() {
            strace.arg("-P").arg(path);
        }
        strace.args(["-e", &format!("trace=?{call}"), "-e", &format!("inject=?{call}:{done}:when={nth}")]);
        let plain: Command = self.portledger(verb);
        // After nsenter's own words.
        let words: Vec<_> = plain.get_args().skip_while(|word| *word != "--").skip(1).collect();
        let told = finish({
            strace.args(words);
            strace
        });
        let trace = std::fs::read_to_string(trace).unwrap_or_default();
        let mut calls = trace.lines().filter(|line| line.contains("= ?") || line.contains("INJECTED"));
        Tampered { told, call: calls.next().map(str::to_owned) }
    }

    fn files(&self) -> Vec<PathBuf> {
        let beside = |name: &str| {
            let (folder, name) = name.rsplit_once('/').unwrap();
            ["", ".new", ".lock"].map(|end| match end {
                "" => format!("{folder}/{name}"),
                end => format!("{folder}/.{name}{end}"),
            })
        };
        let ledger =
            ["jsonl", "key", "key.pub", "head", "revoked.json"].map(|end| format!("state/ledger.{end}"));
        let names = ["etc/baseline.toml"].into_iter().chain(ledger.iter().map(String::as_str));
        let mut files: Vec<String> = names.flat_map(beside).collect();
        files.extend(["etc", "state", "state/.ledger.lock", "state/serve.pid"].map(str::to_owned));
        files.into_iter().map(|name| self.path(name)).collect()
    }
}
