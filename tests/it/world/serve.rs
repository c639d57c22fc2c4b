use std::fs::File;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::process::{Running, arguments, descendants};
use super::{Drifts, Host, Listing, Row, eventually, skip};

/// `portledger serve` on a host, until it is dropped.
pub(crate) struct Serve<'a> {
    host: &'a Host,
    pub(crate) running: Running,
}

impl<'a> Serve<'a> {
    pub(crate) const PORT: u16 = 10433;

    pub(crate) fn start(host: &'a Host, flags: &[&str]) -> Self {
        let mut words = vec!["serve"];
        words.extend(flags);
        Serve::run(host, host.portledger(&words))
    }

    /// Starts it in another way.
    pub(crate) fn run(host: &'a Host, mut command: Command) -> Self {
        let log = File::options().create(true).append(true).open(host.path("log/serve")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let serve = Serve { host, running: Running::start(command) };
        eventually("serve is ready", || {
            let exited = std::fs::metadata(format!("/proc/{}", serve.running.outer)).is_err();
            assert!(!exited, "serve ended: {}", serve.log());
            serve.try_get("/-/ready").filter(|(status, _)| *status == 200)
        });
        serve
    }

    /// What it wrote to its standard error so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.host.path("log/serve")).unwrap()
    }

    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        self.ask(path).unwrap_or_else(|error| panic!("no answer for {path}: {error}; log: {}", self.log()))
    }

    /// `None` where nobody answers.
    pub(crate) fn try_get(&self, path: &str) -> Option<(u16, String)> {
        self.ask(path).ok()
    }

    fn ask(&self, path: &str) -> io::Result<(u16, String)> {
        ask(self.host, &format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", Host::NAME))
    }

    pub(crate) fn json(&self, path: &str) -> Value {
        let (status, body) = self.get(path);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"))
    }

    pub(crate) fn drifts(&self) -> Drifts {
        Drifts::of(self.json("/api/v1/drift"))
    }

    /// What is bound to a port is no drift, and was none since it was started.
    #[track_caller]
    pub(crate) fn never_drifted(&self, port: u16) {
        let drifts = self.drifts();
        if drifts.find(port).is_some() {
            let opened = self.logged("open", port);
            panic!("{:#}\nits log: {}\nopened: {opened:#?}", drifts.document, self.log());
        }
    }

    /// The value of a series, its name and labels written as in the scrape.
    pub(crate) fn metric(&self, series: &str) -> Option<f64> {
        let (status, text) = self.get("/metrics");
        assert_eq!(status, 200, "{text}");
        let line =
            text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ').map(str::to_owned))?;
        Some(line.parse().unwrap())
    }

    /// What tells it of opens and closes.
    pub(crate) fn source(&self) -> &'static str {
        let in_force = |source: &&str| {
            self.metric(&format!("portledger_event_source{{source=\"{source}\"}}")) == Some(1.0)
        };
        ["bpf", "tracepoint", "perf", "polls"].into_iter().find(in_force).expect("one source is in force")
    }

    /// False, and says so, where the kernel does not tell of everything that opens and closes.
    pub(crate) fn follows_events(&self) -> bool {
        let source = self.source();
        if source != "bpf" {
            skip(&format!("needs BPF, and the source of events is {source}; `portledger doctor` tells why"));
        }
        source == "bpf"
    }

    /// The listeners on a port, in whatever namespace.
    pub(crate) fn listeners_on(&self, port: u16) -> Vec<Row> {
        Listing { document: self.json("/api/v1/listeners") }.all_on(port)
    }

    /// Waits until it knows itself, the last that opened when it started.
    pub(crate) fn settles(&self) {
        eventually("it knows itself", || self.listeners_on(Serve::PORT).pop());
    }

    /// How many TCP sockets opened and closed since it started.
    pub(crate) fn opened_and_closed(&self) -> (f64, f64) {
        let total =
            |name: &str| self.metric(&format!("portledger_{name}_total{{protocol=\"tcp\"}}")).unwrap();
        (total("opened"), total("closed"))
    }

    /// What its log of events says of a port, oldest first: `open` or `close`.
    pub(crate) fn logged(&self, event: &str, port: u16) -> Vec<Row> {
        let log = std::fs::read_to_string(self.host.path("state/events.jsonl")).unwrap_or_default();
        // The last line may be on its way.
        let lines = log.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let rows = lines.map(|line| Row { value: serde_json::from_str(line).expect(line) });
        rows.filter(|row| row.value["event"] == event && row.value["port"] == port).collect()
    }

    /// The pid of the sensor, as the machine counts.
    pub(crate) fn sensor(&self) -> u32 {
        eventually("there is a sensor", || self.child("sensor"))
    }

    /// The pid of the keeper that starts the sensor.
    pub(crate) fn keeper(&self) -> u32 {
        eventually("there is a keeper", || self.child("keeper"))
    }

    /// The process below it that runs a verb.
    pub(crate) fn child(&self, verb: &str) -> Option<u32> {
        let is_it = |pid: &u32| arguments(*pid).get(1).is_some_and(|word| word == verb);
        descendants(self.running.outer).into_iter().find(is_it)
    }
}

/// Asks over a host's loopback.
pub(crate) fn ask(host: &Host, head: &str) -> io::Result<(u16, String)> {
    loop {
        let began = Instant::now();
        match host.within(|| request(head)) {
            // On a machine that stalls we may be too slow: whoever takes two seconds to ask is cut off.
            Err((asked, _)) if asked.duration_since(began) > Duration::from_secs(1) => {}
            answered => return answered.map_err(|(_, error)| error),
        }
    }
}

/// Of a request that is not answered also when it had been sent.
fn request(head: &str) -> Result<(u16, String), (Instant, io::Error)> {
    let sent = TcpStream::connect(("127.0.0.1", Serve::PORT)).and_then(|mut stream| {
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        stream.write_all(head.as_bytes())?;
        Ok(stream)
    });
    let asked = Instant::now();
    let answer = sent.and_then(|mut stream| {
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    });
    let answer = answer.map_err(|error| (asked, error))?;
    let broken = || (asked, io::Error::other(format!("it ends with {answer:?}")));
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(broken)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(broken)?;
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    Ok((status, if chunked { unchunked(body) } else { body.to_owned() }))
}

fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((length, rest)) = body.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap();
        if length == 0 {
            break;
        }
        whole.push_str(&rest[..length]);
        body = &rest[length + 2..];
    }
    whole
}
