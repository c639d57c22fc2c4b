use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};

use crate::world::{Host, skip};

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

/// A mount namespace shows any path that its owner likes; the file behind it is still another.
#[test]
fn a_faked_path_is_not_believed() {
    let Some(host) = Host::new() else { return };
    let honest = host.listen("tcp 0.0.0.0:7001").with_a_file_of_its_own().by("sshd");
    host.learn();
    honest.ends();
    // Another file, bound over the approved one where only the liar sees it.
    std::fs::copy(host.path("bin/sshd"), host.path("bin/backdoor")).unwrap();
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
