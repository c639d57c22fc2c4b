//! Network namespaces of a test's own, gone when it ends.

use std::process::{Child, Command, Stdio};
use std::thread;

use rustix::thread::UnshareFlags;

/// Moves the calling thread to a new network namespace with `lo` up.
pub(crate) fn enter_new_namespace() {
    // The safe one is deprecated for the sake of flags that are not given here.
    #[allow(deprecated)]
    rustix::thread::unshare(UnshareFlags::NEWNET).unwrap();
    ip("link set lo up");
}

/// Runs `inside` on a thread of its own in a new namespace.
pub(crate) fn in_new_namespace<T: Send>(inside: impl FnOnce() -> T + Send) -> T {
    let run = || {
        enter_new_namespace();
        inside()
    };
    thread::scope(|scope| scope.spawn(run).join().unwrap())
}

/// Runs `ip` in the calling thread's namespace.
pub(crate) fn ip(arguments: &str) {
    let run = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(run.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&run.stderr));
}

/// A process that sleeps in the calling thread's namespace until dropped.
pub(crate) struct Sleeper(Child);

impl Sleeper {
    pub(crate) fn start() -> Self {
        Sleeper(Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// A namespace under /run/netns until dropped.
pub(crate) struct Named(pub(crate) String);

impl Named {
    pub(crate) fn add(word: &str) -> Self {
        let name = format!("portledger-{}-{word}", std::process::id());
        ip(&format!("netns add {name}"));
        Named(name)
    }

    pub(crate) fn delete(&self) {
        ip(&format!("netns del {}", self.0));
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        // It fails where the test has deleted it.
        drop(Command::new("ip").args(["netns", "del", &self.0]).stderr(Stdio::null()).status());
    }
}
