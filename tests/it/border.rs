use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::world::{Host, Running, Serve, eventually, send};

const STRANGER: u32 = 65_534;

/// As systemd does with a socket unit: it holds the socket, and starts the sensor again when that ends.
const MANAGER: &str = r#"
import os, socket, sys, time
path, gid, mode, words = sys.argv[1], int(sys.argv[2]), int(sys.argv[3], 8), sys.argv[4:]
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.bind(path)
os.chown(path, 0, gid)
os.chmod(path, mode)
s.listen(8)
while True:
    pid = os.fork()
    if pid == 0:
        if s.fileno() != 3:
            os.dup2(s.fileno(), 3)
        os.set_inheritable(3, True)
        os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
        os.execv(words[0], words)
    os.waitpid(pid, 0)
    time.sleep(0.2)
"#;

/// Connects as another user, and says how that ended.
const PEER: &str = r#"
import os, socket, sys
os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.settimeout(60)
s.connect(sys.argv[1])
print("told" if s.recv(1 << 20) else "turned away")
try:
    s.send(b"a word")
    print("heard")
except BrokenPipeError:
    print("not heard")
"#;

fn manager(host: &Host, mode: &str) -> Running {
    manager_who_hears(host, mode, None)
}

/// One that wants to hear every second, at `hears`.
fn manager_who_hears(host: &Host, mode: &str, hears: Option<&Path>) -> Running {
    let sensor = host.portledger(&["sensor"]);
    let words: Vec<_> = sensor.get_args().collect();
    let end = words.iter().position(|word| *word == "--").unwrap();
    let mut command = Command::new(sensor.get_program());
    command.args(&words[..=end]).args(["python3", "-c", MANAGER]).arg(host.path("sensor.sock"));
    command.args([&STRANGER.to_string(), mode]).args(&words[end + 1..]);
    if let Some(hears) = hears {
        command.env("NOTIFY_SOCKET", hears).env("WATCHDOG_USEC", "3000000");
    }
    let log = std::fs::File::create(host.path("log/sensor")).unwrap();
    let manager = Running::start({
        command.stderr(log);
        command
    });
    eventually("the socket is there", || host.path("sensor.sock").exists().then_some(()));
    manager
}

fn sensor_of(manager: &Running) -> u32 {
    let is_it = |pid: &u32| {
        let words = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.split('\0').nth(1) == Some("sensor")
    };
    eventually("there is a sensor", || {
        let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", manager.outer)).ok()?;
        children.split_whitespace().filter_map(|pid| pid.parse().ok()).find(is_it)
    })
}

fn serve(host: &Host) -> Serve<'_> {
    let socket = format!("unix:{}", host.path("sensor.sock").display());
    Serve::run(host, host.portledger_as(STRANGER, &["serve", "--sensor", &socket]))
}

fn furnished(mode: &str) -> Option<(Host, Running)> {
    let host = Host::new()?;
    host.sh(&format!("install -d -o {STRANGER} -m 750 {}", host.path("state").display()));
    let manager = manager(&host, mode);
    Some((host, manager))
}

fn restarts(serve: &Serve<'_>) -> f64 {
    serve.metric("portledger_sensor_restarts_total").unwrap()
}

/// The one who reads needs no privilege and starts nobody, and sees all that the other sees.
#[test]
fn sensor_and_exporter_restart_alone() {
    let Some((host, manager)) = furnished("660") else { return };
    let _nc = host.listen("tcp 0.0.0.0:8080").by("nc");
    let mut exporter = serve(&host);
    assert_eq!(exporter.child("keeper"), None);
    assert_eq!(exporter.metric("portledger_coverage{scope=\"holders\"}"), Some(1.0));
    eventually("it drifts", || exporter.drifts().find(8080));

    let first = sensor_of(&manager);
    send(first, Signal::KILL);
    eventually("a restart is counted", || (restarts(&exporter) == 1.0).then_some(()));
    assert_ne!(sensor_of(&manager), first);
    let told = exporter.json("/api/v1/listeners").to_string();
    assert!(told.contains("the sensor was started again"), "{told}");
    exporter.drifts().find(8080).unwrap().has("state", "present");
    let _other = host.listen("tcp 0.0.0.0:8081").by("nc");
    eventually("what opens later is told", || exporter.drifts().find(8081));

    let second = sensor_of(&manager);
    exporter.running.kill();
    let _third = host.listen("tcp 0.0.0.0:8082").by("nc");
    exporter = serve(&host);
    eventually("what opened meanwhile is told", || exporter.drifts().find(8082));
    assert_eq!(sensor_of(&manager), second, "it outlives its reader");
    assert_eq!(restarts(&exporter), 0.0);
}

/// The last drift stays where no sensor is left, and serve waits for the next.
#[test]
fn an_exporter_waits_for_its_sensor() {
    let Some((host, manager)) = furnished("660") else { return };
    let _nc = host.listen("tcp 0.0.0.0:8080").by("nc");
    let exporter = serve(&host);
    eventually("it drifts", || exporter.drifts().find(8080));
    let sensor = sensor_of(&manager);
    manager.kill();
    send(sensor, Signal::KILL);
    let socket = host.path("sensor.sock");
    eventually("it is told", || exporter.log().contains("no sensor is read from at").then_some(()));
    exporter.drifts().find(8080).unwrap().has("state", "present");
    std::fs::remove_file(socket).unwrap();
    let _manager = self::manager(&host, "660");
    eventually("it is read again", || (restarts(&exporter) == 1.0).then_some(()));
    exporter.drifts().find(8080).unwrap().has("state", "present");
}

/// Whatever the mode of the socket lets in; and nobody is listened to.
#[test]
fn a_stranger_is_told_nothing_and_nobody_is_heard() {
    let Some((host, manager)) = furnished("666") else { return };
    let peer = |uid: u32| {
        let mut peer = host.command("python3");
        peer.args(["-c", PEER]).arg(host.path("sensor.sock")).arg(uid.to_string());
        crate::world::finish(peer).stdout
    };
    assert_eq!(peer(1_234), "turned away\nnot heard\n");
    assert_eq!(peer(STRANGER), "told\nnot heard\n");
    assert_eq!(peer(0), "told\nnot heard\n");
    let log = std::fs::read_to_string(host.path("log/sensor")).unwrap();
    assert!(log.contains("uid 1234 and gid 1234 wanted to read"), "{log}");
    assert_eq!(crate::world::status(sensor_of(&manager), "Seccomp"), "2");
}

/// From inside its box, which makes no more sockets of that kind.
#[test]
fn the_service_manager_hears_of_the_sensor() {
    let Some(host) = Host::new() else { return };
    let path = host.path("notify");
    let ear = UnixDatagram::bind(&path).unwrap();
    ear.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let manager = manager_who_hears(&host, "660", Some(&path));
    for word in ["READY=1\n", "WATCHDOG=1\n", "WATCHDOG=1\n"] {
        let mut heard = [0; 64];
        let length = ear.recv(&mut heard).expect("the manager is told something");
        assert_eq!(std::str::from_utf8(&heard[..length]), Ok(word));
    }
    assert_eq!(crate::world::status(sensor_of(&manager), "Seccomp"), "2");
}
