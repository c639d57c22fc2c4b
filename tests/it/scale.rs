use std::path::PathBuf;
use std::time::{Duration, Instant};

use baseline::{NAMESPACE, SourceText, Trust, canonical, parse};
use jiff::tz::TimeZone;
use rustix::process::Signal;
use signing::Signer;

use crate::world::{Host, Serve, eventually, finish, installed, within};

fn namespaces(host: &Host, many: u32) {
    let script: String = (0..many).map(|n| format!("netns add n{n}\n")).collect();
    host.write("etc/namespaces", script);
    host.sh(&format!("ip -batch {}", host.path("etc/namespaces").display()));
}

fn lists_namespaces(many: u32, limit: u32) {
    let Some(host) = Host::new() else { return };
    namespaces(&host, many);
    host.write("etc/portledger.toml", format!("[sensor]\nnamespaces = {limit}\n"));
    let _last = host.listen("tcp 0.0.0.0:8080").by("home");
    let listing = host.list();
    listing.on(8080);
    let gaps: Vec<_> = listing.gaps().iter().filter(|gap| gap["scope"] == "namespaces").collect();
    if many < limit {
        assert!(gaps.is_empty(), "{gaps:#?}");
    } else {
        assert_eq!(gaps.len(), 1, "one gap for all that is beyond the bound: {gaps:#?}");
    }
}

#[test]
fn a_hundred_namespaces_are_all_seen() {
    lists_namespaces(100, 1000);
}

#[test]
fn namespaces_beyond_the_bound_are_one_gap() {
    lists_namespaces(100, 20);
}

#[test]
#[ignore = "makes 5,000 namespaces, which takes the kernel minutes to take down"]
fn five_thousand_namespaces() {
    lists_namespaces(5000, 1000);
}

/// Spread over several processes, for the descriptors of one are limited.
fn lists_listeners(processes: u16, each: u16) {
    let Some(host) = Host::new() else { return };
    host.write("etc/baseline.toml", "# nothing is approved\n");
    let raise = "ulimit -n $(ulimit -Hn); exec \"$@\"";
    let apps: Vec<_> = (1..=processes)
        .map(|n| {
            let sockets = format!("tcp 127.0.1.{n}:1001-{}", 1000 + each);
            host.listen(&sockets).wrapped(&["sh", "-ec", raise, "sh"]).by("app")
        })
        .collect();
    let many = processes * each;
    let rows = host.list().rows();
    assert_eq!(rows.len(), usize::from(many));
    for app in &apps {
        let own = rows.iter().filter(|row| row.pids() == [u64::from(app.pid)]).count();
        assert_eq!(own, usize::from(each));
    }
    let serve = host.serve();
    let told = eventually("all are counted", || {
        serve
            .metric("portledger_listeners{protocol=\"tcp\",reach=\"loopback\",verdict=\"drift\"}")
            .filter(|n| *n >= f64::from(many))
    });
    // `serve` itself is one more.
    assert!(told - f64::from(many) <= 1.0, "{told}");
    let (_, scrape) = serve.get("/metrics");
    assert!(scrape.matches("portledger_drift_info{").count() <= 200);
    assert!(scrape.len() < 1 << 20, "{} bytes", scrape.len());
    // They differ in port alone.
    assert!(scrape.contains("port=\"many\""), "{scrape}");
}

#[test]
fn three_thousand_listeners() {
    lists_listeners(4, 750);
}

#[test]
#[ignore = "opens 64,000 sockets; run it on a machine of your own"]
fn sixty_four_thousand_listeners() {
    lists_listeners(4, 16_000);
}

/// Approvals of services that are not there, and of one that is, on 8080; signed where there is a key.
fn approvals(host: &Host, many: usize, signer: Option<&Signer>) {
    let folder = host.path("etc/baseline.d");
    std::fs::create_dir_all(&folder).unwrap();
    let one = |n: usize| {
        let listen = match n {
            0 => "tcp/*:8080".to_owned(),
            n => format!("tcp/10.{}.{}.{}:80", n >> 16, n >> 8 & 255, n & 255),
        };
        let text = format!(
            "[[approval]]\nid = \"a{n}\"\nserial = 1\nlisten = \"{listen}\"\nprogram = \"{}\"\nreason = \"r\"\n\
             by = \"alice@example.org\"\nat = 2026-11-21T09:00:00Z\n",
            host.path("bin/app").display()
        );
        let Some(signer) = signer else { return text };
        let source = SourceText { path: PathBuf::from("a.toml"), text };
        let baseline = parse(std::slice::from_ref(&source), &Trust::in_everybody(TimeZone::UTC)).unwrap();
        let signature = signer.sign(NAMESPACE, canonical(&baseline.approvals()[0]).as_bytes()).unwrap();
        format!("{}signature = \"{}\"\n", source.text, signature.to_base64())
    };
    for (file, numbers) in (0..many).collect::<Vec<_>>().chunks(10_000).enumerate() {
        let text: String = numbers.iter().map(|n| one(*n) + "\n").collect();
        host.write(&format!("etc/baseline.d/{file:02}.toml"), text);
    }
}

fn judges_by_approvals(many: usize) {
    if !installed(&["ssh-keygen"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    let _app = host.listen("tcp 0.0.0.0:8080").by("app");
    let alice = host.person("alice");
    let signer = Signer::find(Some(&alice.key), None, |_| true, |_| unreachable!()).unwrap();
    for signer in [None, Some(&signer)] {
        let demanded = if signer.is_some() { "required" } else { "off" };
        host.write("etc/portledger.toml", format!("signatures = \"{demanded}\"\n"));
        host.allows(&alice.line(""));
        let verb = |words: &[&str]| {
            let mut command = host.command(env!("CARGO_BIN_EXE_portledger"));
            command.args(words).arg("--config").arg(host.path("etc/portledger.toml"));
            command.arg("--state").arg(host.path("state"));
            command
        };
        host.write("etc/baseline.toml", "# what is approved\n");
        std::fs::remove_dir_all(host.path("etc/baseline.d")).unwrap_or_default();
        let serve = Serve::run(&host, verb(&["serve"]));
        approvals(&host, many, signer);
        let timed = |words: &[&str], code: i32| {
            let began = Instant::now();
            let told = finish(verb(words));
            assert_eq!(told.code, code, "{words:?}: {}", &told.stderr[..told.stderr.len().min(2000)]);
            eprintln!(
                "{many} approvals, signatures {demanded}: {}: {:?}",
                words[..2].join(" "),
                began.elapsed()
            );
        };
        // What serves is approved by nobody.
        timed(&["diff", "--format", "json"], 1);
        timed(&["baseline", "check"], 0);
        let began = Instant::now();
        serve.running.signal(Signal::HUP);
        let in_force = || serve.metric("portledger_baseline_approvals").filter(|count| *count == many as f64);
        within(Duration::from_secs(300), "it is read again", in_force);
        eprintln!("{many} approvals, signatures {demanded}: reload: {:?}", began.elapsed());
        eventually("it is approved", || serve.drifts().find(8080).is_none().then_some(()));
    }
}

#[test]
fn a_thousand_approvals_signed_and_not() {
    judges_by_approvals(1000);
}

#[test]
#[ignore = "signs 100,000 approvals, which takes minutes"]
fn a_hundred_thousand_approvals_signed_and_not() {
    judges_by_approvals(100_000);
}
