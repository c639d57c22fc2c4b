use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use inventory::frame::{Closing, Message, encode, messages_of_inventory};
use inventory::{Coverage, Inventory, RawText, Share, Shares};
use rustix::net::{SendFlags, send};
use rustix::process::{Pid, Resource, Rlimit, Signal};

use super::child;
use super::signals::Serving;

/// A port that was free a moment ago, for the next `serve`.
pub(crate) fn choose_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// A port that nobody is given who asks for any.
pub(crate) fn choose_high_port() -> u16 {
    (61_000..65_000).find(|port| std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()).unwrap()
}

pub(crate) fn ask(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn empty_inventory() -> Vec<Message> {
    let all = Share { seen: 1, of: 1 };
    let shares = Shares { sockets: all, holders: all, namespaces: all, addresses: all, events: all };
    let coverage = Coverage { gaps: Vec::new(), shares, events: inventory::EventSource::Polls };
    let (host, taken_at) = (RawText::from("web-1"), SystemTime::now());
    let inventory = Inventory { host, taken_at, listeners: Vec::new(), coverage };
    messages_of_inventory(&inventory, Closing::default()).collect()
}

/// Over the real sockets on both sides, as the user that it becomes.
pub(crate) fn serves_what_the_sensor_tells() {
    let (above, port) = (child::passable_folder(), choose_port());
    let mut serving = Serving::start_as("drop_and_serve", &above.path().join("state"), port);
    assert!(ask(port, "/-/ready").starts_with("HTTP/1.1 503 "));
    let sensor = serving.sensor.take().unwrap();
    let tell = |frame: &[u8]| send(&sensor, frame, SendFlags::empty()).unwrap();
    tell(b"no frame at all");
    tell(&vec![0; 200 * 1024][..]);
    for message in empty_inventory() {
        tell(&encode(&message).unwrap());
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    while !ask(port, "/-/ready").starts_with("HTTP/1.1 200 ") {
        assert!(Instant::now() < deadline, "{}", ask(port, "/-/ready"));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(ask(port, "/api/v1/listeners").contains(r#""host":"web-1""#));
    let metrics = ask(port, "/metrics");
    assert!(metrics.contains("\nportledger_coverage{scope=\"sockets\"} 1\n"), "{metrics}");
    assert!(metrics.contains("\nprocess_open_fds "), "its own figures can be read without root: {metrics}");
    serving.send(Signal::TERM);
    assert_eq!(serving.exit_code(), Some(0));
}

pub(crate) fn says_that_the_port_is_taken() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let folder = child::passable_folder();
    let output = child::start("serve", folder.path(), Stdio::null(), port).wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(said.contains(&format!("127.0.0.1:{port}")) && said.contains("--web.listen-address"), "{said}");
}

/// More come than there are descriptors: those who wait go, and whoever asks is answered.
pub(crate) fn serves_with_few_descriptors() {
    let (state, port) = (tempfile::tempdir().unwrap(), choose_port());
    let serving = Serving::start_as("serve", state.path(), port);
    ask(port, "/metrics");
    // So few are left that they do not suffice for the seats, of which there are as many as it began with descriptors for.
    let pid = serving.pid();
    let held = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count() as u64;
    let before = rustix::process::getrlimit(Resource::Nofile);
    let limit = Rlimit { current: Some(held + 6), ..before };
    rustix::process::prlimit(Pid::from_raw(pid.cast_signed()), Resource::Nofile, limit).unwrap();
    let idle: Vec<_> = (0..60).map(|_| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap()).collect();
    let deadline = Instant::now() + Duration::from_secs(60);
    let refused = loop {
        let metrics = ask(port, "/metrics");
        assert!(metrics.starts_with("HTTP/1.1 200 "), "{metrics}");
        let series = "\nportledger_http_refused_total{reason=\"descriptors\"} ";
        let count = metrics.split(series).nth(1).and_then(|rest| rest.lines().next()).unwrap();
        if count != "0" {
            break count.to_owned();
        }
        assert!(Instant::now() < deadline, "{metrics}");
    };
    assert!(refused.parse::<u32>().unwrap() < 60, "{refused}");
    drop(idle);
    serving.send(Signal::TERM);
    assert_eq!(serving.exit_code(), Some(0));
}
