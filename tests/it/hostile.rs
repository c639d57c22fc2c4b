use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};

use crate::world::{Cgroup, Host, copy, eventually, skip};

/// What programs can be called: each would forge a line, an owner, a label, a tag or a terminal's state if it could.
const NAMES: [&[u8]; 6] = [
    b"a\",pid=1,fd=9))",
    b"two\nlines 0.0.0.0:22 sshd",
    b"esc\x1b[2J\x07\r",
    b"\xff\xfe not utf-8",
    b"<script>1<img src=x>",
    b"\"} 1\nportledger_drift{kind=\"none\"} 0",
];

#[test]
fn names_of_programs_forge_nothing() {
    let Some(host) = Host::new() else { return };
    host.write("etc/baseline.toml", "# nothing is approved\n");
    let puppets: Vec<_> = (7001..)
        .zip(NAMES)
        .map(|(port, name)| {
            let name = OsStr::from_bytes(name);
            let listen = host.listen(&format!("tcp 0.0.0.0:{port}"));
            let said = name.to_str().unwrap_or_default();
            listen.argument(said).by(name)
        })
        .collect();

    let listing = host.list();
    assert_eq!(listing.rows().len(), NAMES.len(), "{:#}", listing.document);
    for puppet in &puppets {
        assert_eq!(listing.on(puppet.port()).pids(), [u64::from(puppet.pid)]);
    }
    for format in ["table", "csv"] {
        let shown = host.does(&["list", "--format", format]).stdout;
        is_printable(&shown);
    }
    is_printable(&host.run(&["diff"]).stdout);

    let serve = host.serve();
    let drifts = crate::world::eventually("all drift is told", || {
        let drifts = serve.drifts();
        puppets.iter().all(|puppet| drifts.find(puppet.port()).is_some()).then_some(drifts)
    });
    assert_eq!(drifts.code, 1);
    let (_, scrape) = serve.get("/metrics");
    is_printable(&scrape);
    for line in scrape.lines() {
        assert!(
            line.starts_with("# ") || line.starts_with("portledger_") || line.starts_with("process_"),
            "{line}"
        );
    }
    let told = scrape
        .lines()
        .filter(|line| line.starts_with("portledger_drift_info{") && line.contains("port=\"700"));
    assert_eq!(told.count(), NAMES.len(), "{scrape}");
    let (_, page) = serve.get("/");
    is_printable(&page);
    assert!(!page.contains("<img") && !page.contains("<script"), "{page}");
    promtool_takes(&scrape);
}

/// A terminal would obey nothing in it.
#[track_caller]
fn is_printable(text: &str) {
    let odd = text.chars().find(|c| c.is_control() && *c != '\n' || *c == '\u{fffd}');
    assert!(odd.is_none(), "{odd:?} in {text}");
}

fn promtool_takes(scrape: &str) {
    let command = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = command else { return skip("no promtool (package prometheus)") };
    promtool.stdin.take().unwrap().write_all(scrape.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The first is a line of its own, which kernels do not take for a cgroup.
const CGROUPS: [&[u8]; 5] = [
    b"two\n0::/system.slice/sshd.service",
    b"back\\slash\\n\\x0a.service",
    b"\"} 1 portledger_drift{kind=\"none\"} 0.service",
    b"esc\x1b[2J\x07\r (deleted).service",
    b"\xff\xfe\x80.service",
];

#[test]
fn names_of_cgroups_forge_nothing() {
    let Some(host) = Host::new() else { return };
    let made: Vec<_> = CGROUPS.iter().filter_map(|name| Cgroup::named(name)).collect();
    if made.is_empty() {
        return skip("needs cgroups of version 2");
    }
    let puppets: Vec<_> =
        (7001..).zip(&made).map(|(port, _)| host.listen(&format!("tcp 0.0.0.0:{port}")).by("app")).collect();
    made.iter().zip(&puppets).for_each(|(cgroup, puppet)| cgroup.takes_in(puppet.running.outer));
    let listing = host.list();
    for puppet in &puppets {
        let row = listing.on(puppet.port());
        let unit = row.get("holders/0/workload/name").as_str().unwrap().to_owned();
        assert!(unit.ends_with(".service") && unit != "sshd.service", "{unit}");
        is_printable(&unit);
    }
    for format in ["table", "csv"] {
        is_printable(&host.does(&["list", "--format", format]).stdout);
    }
    host.learn();
    is_printable(&host.baseline());
    host.diff().is_clean();
    host.write("etc/baseline.toml", "# nothing is approved\n");
    let serve = host.serve();
    for puppet in &puppets {
        eventually("it drifts", || serve.drifts().find(puppet.port()));
    }
    let (_, scrape) = serve.get("/metrics");
    is_printable(&scrape);
    promtool_takes(&scrape);
    let _late = host.listen("tcp 0.0.0.0:7100").by("late");
    eventually("it is logged", || serve.logged("open", 7100).pop());
    is_printable(&std::fs::read_to_string(host.path("state/events.jsonl")).unwrap());
    drop(puppets);
}

/// What a program says of itself is bounded, however long it is; its file may be gone.
#[test]
fn a_long_command_line_and_a_file_that_is_gone_are_told_in_a_line() {
    let Some(host) = Host::new() else { return };
    host.write("etc/baseline.toml", "# nothing is approved\n");
    let long = format!("\"}} 1\n{}", "x\n".repeat(32 << 10));
    let name = OsStr::from_bytes(b"gone\n0.0.0.0:22 sshd (deleted)");
    let _gone = host.listen("tcp 0.0.0.0:7001").argument(long).with_a_file_of_its_own().by(name);
    std::fs::remove_file(host.path("bin").join(name)).unwrap();
    let row = host.list().on(7001);
    let program = row.get("holders/0/program").as_str().unwrap();
    assert!(program.contains("gone\\x0a0.0.0.0:22 sshd"), "{program}");
    assert!(row.value.to_string().len() < 64 << 10, "{} bytes", row.value.to_string().len());
    for format in ["table", "csv"] {
        is_printable(&host.does(&["list", "--format", format]).stdout);
    }
    let serve = host.serve();
    eventually("it drifts", || serve.drifts().find(7001));
    let (_, scrape) = serve.get("/metrics");
    is_printable(&scrape);
    assert!(scrape.lines().all(|line| line.len() < 8 << 10), "{scrape}");
    promtool_takes(&scrape);
    let _late = host
        .listen("tcp 0.0.0.0:7002")
        .argument("y\n".repeat(32 << 10))
        .with_a_file_of_its_own()
        .by("two\nlines");
    let line = eventually("it is logged", || serve.logged("open", 7002).pop());
    assert!(line.value.to_string().len() < 64 << 10, "{}", line.value);
}

/// As deep as the kernel lets an ordinary user go.
#[test]
fn listeners_in_deep_namespaces_are_seen() {
    let Some(host) = Host::new() else { return };
    let level = ["unshare", "--user", "--map-root-user", "--net", "--pid", "--fork", "--kill-child", "--"];
    let levels = (1..=29).rev().find(|levels| {
        let mut deep = host.command("unshare");
        deep.args(&level[1..]).args(level.repeat(levels - 1)).arg("true");
        crate::world::finish(deep).code == 0
    });
    let Some(levels) = levels else { return skip("users may make no namespaces here") };
    let deep = level.repeat(levels);
    let _deep = host.listen("tcp 0.0.0.0:7001; udp 127.0.0.1:7002").wrapped(&deep).by("deep");
    let listing = host.list();
    for port in [7001, 7002] {
        listing.on(port).has("holders/0/name", "deep");
    }
    let serve = host.serve();
    let _event = host.listen("tcp 0.0.0.0:7003").wrapped(&deep).by("deeper");
    let row = eventually("what opens there is told", || {
        serve.listeners_on(7003).into_iter().find(|row| !row.pids().is_empty())
    });
    row.has("holders/0/name", "deeper");
    eprintln!("{levels} levels");
}

/// As many descriptors as one process may have here, of which the last is a listener.
const MANY: &str = r#"
import os, resource, socket, sys
most = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 200_000)
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
null = os.open('/dev/null', os.O_RDONLY)
while null < most - 10: null = os.dup(null)
s = socket.socket(); s.bind(('0.0.0.0', 7001)); s.listen()
sys.stdin.read()
"#;

#[test]
fn a_listener_behind_all_descriptors_there_may_be_is_found() {
    if !crate::world::installed(&["python3"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    let many = host.python(MANY);
    let pid = u64::from(many.inner());
    let row =
        eventually("it listens", || host.list().all_on(7001).into_iter().find(|row| !row.pids().is_empty()));
    assert_eq!(row.pids(), [pid]);
    let serve = host.serve();
    let row =
        eventually("it is told", || serve.listeners_on(7001).into_iter().find(|row| !row.pids().is_empty()));
    assert_eq!(row.pids(), [pid]);
    assert_eq!(serve.metric("portledger_coverage{scope=\"holders\"}"), Some(1.0));
}

/// A mount namespace shows any path that its owner likes; the file behind it is still another.
#[test]
fn a_faked_path_is_not_believed() {
    let Some(host) = Host::new() else { return };
    let honest = host.listen("tcp 0.0.0.0:7001").with_a_file_of_its_own().by("sshd");
    host.learn();
    honest.ends();
    // Another file, bound over the approved one where only the liar sees it.
    copy(host.path("bin/sshd"), host.path("bin/backdoor"));
    let bin = host.path("bin");
    let bin = bin.display();
    let script = format!("mount --bind {bin}/backdoor {bin}/sshd; exec \"$@\"");
    let _liar = host
        .listen("tcp 0.0.0.0:7001")
        .wrapped(&["unshare", "--mount", "sh", "-ec", &script, "sh"])
        .by("sshd");
    let program = host.path("bin/sshd");
    let row = host.list().on(7001).has("holders/0/file", "foreign");
    row.has("holders/0/program", program.to_str().unwrap());
    host.diff().on(7001).shows("program_changed").has("severity", "critical");
}
