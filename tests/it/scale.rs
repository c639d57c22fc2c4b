use crate::world::{Host, eventually};

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
