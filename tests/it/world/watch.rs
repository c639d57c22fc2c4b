use std::fs::File;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::process::{Running, arguments, descendants};
use super::{Host, eventually};

/// `portledger watch` on a host, until it is dropped.
pub(crate) struct Watch<'a> {
    host: &'a Host,
    pub(crate) running: Running,
}

impl<'a> Watch<'a> {
    /// Starts it with JSON lines, and waits until it has begun.
    pub(crate) fn start(host: &'a Host, flags: &[&str]) -> Self {
        let mut words = vec!["watch", "--format", "json"];
        words.extend(flags);
        Watch::run(host, host.portledger(&words))
    }

    /// Starts it in another way.
    pub(crate) fn run(host: &'a Host, mut command: Command) -> Self {
        let file = |name: &str| File::create(host.path(name)).unwrap();
        command.stdin(Stdio::null()).stdout(file("log/watch")).stderr(file("log/watch.err"));
        let watch = Watch { host, running: Running::start(command) };
        eventually("the watch has begun", || watch.first("began"));
        watch
    }

    /// What it wrote to its standard error so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.host.path("log/watch.err")).unwrap()
    }

    /// Each whole line so far.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.host.path("log/watch")).unwrap();
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        whole
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .collect()
    }

    /// The first line of an event that is not about a socket.
    pub(crate) fn first(&self, event: &str) -> Option<Value> {
        self.lines().into_iter().find(|line| line["event"] == event)
    }

    /// Waits for what is told of a socket on a port.
    pub(crate) fn tells(&self, event: &str, port: u16) -> Value {
        eventually(&format!("{event} of {port} is told"), || {
            self.lines().into_iter().find(|line| line["event"] == event && line["port"] == port)
        })
    }

    /// The pid of its sensor, as the machine counts.
    pub(crate) fn sensor(&self) -> u32 {
        let is_it = |pid: &u32| arguments(*pid).get(1).is_some_and(|word| word == "sensor");
        eventually("there is a sensor", || descendants(self.running.outer).into_iter().find(is_it))
    }
}
