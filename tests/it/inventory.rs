use std::collections::BTreeSet;
use std::net::IpAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::world::{Host, Listing, is_root, skip};

/// A row of `ss -Htulpn`, in the words of `list`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    protocol: String,
    address: IpAddr,
    port: u16,
    pids: BTreeSet<u64>,
}

/// A program's name may have ends of lines in it, which ss writes as they are.
fn seen_by_ss(output: &str) -> BTreeSet<Seen> {
    let is_row = |line: &&str| ["tcp ", "udp "].iter().any(|protocol| line.starts_with(protocol));
    output.lines().filter(is_row).map(seen_in).collect()
}

/// `tcp LISTEN 0 16 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=7,fd=3),("sshd",pid=9,fd=3))`
fn seen_in(line: &str) -> Seen {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (address, port) = words[4].rsplit_once(':').unwrap();
    let address = address.split('%').next().unwrap().trim_matches(['[', ']']);
    // `*` is how ss writes a `::` that takes v4 too.
    let address = if address == "*" { "::" } else { address };
    let pids = line.split("pid=").skip(1).map(|rest| rest.split(',').next().unwrap().parse().unwrap());
    Seen {
        protocol: words[0].to_owned(),
        address: address.parse().unwrap_or_else(|_| panic!("{line}")),
        port: port.parse().unwrap(),
        pids: pids.collect(),
    }
}

#[track_caller]
fn holds_all_of(listing: &Listing, seen: &BTreeSet<Seen>) {
    let rows = listing.rows();
    for one in seen {
        let same = |row: &&crate::world::Row| {
            row.value["protocol"] == one.protocol.as_str()
                && row.value["address"] == one.address.to_string()
                && row.value["port"] == one.port
        };
        // Twins that share a port by SO_REUSEPORT are rows of their own in both.
        let named = rows
            .iter()
            .filter(same)
            .any(|row| row.pids().into_iter().collect::<BTreeSet<_>>().is_superset(&one.pids));
        assert!(named, "ss has {one:?}, list has {:#?}", rows.iter().filter(same).collect::<Vec<_>>());
    }
}

#[test]
fn list_finds_what_ss_finds_and_names_whom_it_names() {
    let Some(host) = Host::new() else { return };
    let _sshd = host.listen("tcp 0.0.0.0:22; tcp [::]:22 v6only").by("sshd");
    let _dual = host.listen("tcp [::]:8080").by("java");
    let _dns =
        host.listen("udp 127.0.0.1:53; tcp 127.0.0.1:53; udp [::1]:53 v6only").user(101).by("resolver");
    let _one = host.listen("tcp 0.0.0.0:9000 reuseport").by("twin");
    let _two = host.listen("tcp 0.0.0.0:9000 reuseport").by("twin");
    let seen = seen_by_ss(&host.sh("ss -Htulpn"));
    assert_eq!(seen.len(), 8, "{seen:#?}");
    let listing = host.list();
    assert_eq!(listing.rows().len(), seen.len(), "{:#}", listing.document);
    holds_all_of(&listing, &seen);
    // Where the kernel lacks raw_diag that is a gap of its own, as it should be.
    let gaps: Vec<_> =
        listing.gaps().iter().filter(|gap| gap["scope"] != "events" && gap["protocol"] != "raw").collect();
    assert!(gaps.is_empty(), "{gaps:#?}");
}

/// The machine that the tests run on changes while we look: what stood there before and after must be in between.
#[test]
fn list_finds_what_ss_finds_on_this_machine() {
    if !is_root() {
        return skip("needs root, to see the holders of others");
    }
    let ss = || {
        seen_by_ss(&String::from_utf8(Command::new("ss").arg("-Htulpn").output().unwrap().stdout).unwrap())
    };
    let before = ss();
    let output =
        Command::new(env!("CARGO_BIN_EXE_portledger")).args(["list", "--format", "json"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let after = ss();
    let stayed = before.intersection(&after).cloned().collect();
    holds_all_of(&Listing::new(std::str::from_utf8(&output.stdout).unwrap()), &stayed);
}

#[test]
fn list_sees_other_namespaces() {
    let Some(host) = Host::new() else { return };
    host.namespace("blue");
    host.namespace("empty");
    let named = host.listen("tcp 0.0.0.0:8001").inside("blue").by("named");
    let anonymous = host.listen("tcp [::]:8002").apart().by("anonymous");
    let outsider = host.listen("tcp 127.0.0.1:8003").reaching_into("empty").by("outsider");
    host.sh("ip netns delete empty");

    let listing = host.list();
    let row = listing.on(8001).has("netns/kind", "named").has("netns/name", "blue");
    assert_eq!(row.pids(), [u64::from(named.pid)]);
    // Nothing leads into blue but its own loopback.
    row.has("wildcard", true).has("reach", "loopback");
    let row = listing.on(8002).has("netns/kind", "anonymous");
    assert_eq!(row.pids(), [u64::from(anonymous.pid)]);
    let row = listing.on(8003).has("netns/kind", "anonymous");
    assert_eq!(row.pids(), [u64::from(outsider.pid)]);
}

#[test]
fn reach_follows_address_and_family() {
    let Some(host) = Host::new() else { return };
    let private = Host::PRIVATE;
    let public = Host::PUBLIC;
    let _app = host
        .listen(&format!(
            "tcp 127.0.0.1:7001; tcp {private}:7002; tcp {public}:7003; tcp 0.0.0.0:7004; tcp [::]:7005 v6only; tcp [::]:7006"
        ))
        .by("app");
    let listing = host.list();
    for (port, reach, wildcard) in [
        (7001, "loopback", false),
        (7002, "private", false),
        (7003, "public", false),
        (7004, "public", true),
        (7005, "public", true),
        (7006, "public", true),
    ] {
        listing.on(port).has("reach", reach).has("wildcard", wildcard);
    }
    listing.on(7005).has("ipv6_only", true);
    listing.on(7006).has("ipv6_only", false);
}

#[test]
fn every_process_that_shares_a_socket_is_named() {
    let Some(host) = Host::new() else { return };
    let _running = host.python(
        "import os, socket, sys\n\
         s = socket.socket(); s.bind(('0.0.0.0', 7000)); s.listen()\n\
         os.fork(); os.fork()\n\
         sys.stdin.read()",
    );
    let four = crate::world::eventually("four processes hold it", || {
        let rows = host.list().all_on(7000);
        rows.into_iter().next().filter(|row| row.pids().len() == 4)
    });
    let ss = seen_by_ss(&host.sh("ss -Htulpn"));
    assert_eq!(four.pids().into_iter().collect::<BTreeSet<_>>(), ss.first().unwrap().pids);
}

#[test]
fn secrets_of_a_command_line_are_not_shown() {
    let Some(host) = Host::new() else { return };
    let app = host.listen("tcp 0.0.0.0:7000").argument("--password=hunter2").argument("API_TOKEN=hunter2");
    let _app = app.argument("postgres://me:hunter2@db/x").by("app");
    let row = host.list().on(7000);
    let arguments = row.get("holders/0/arguments").to_string();
    assert!(arguments.contains("--password="), "{arguments}");
    for format in ["json", "csv", "table"] {
        let told = host.does(&["list", "--format", format]);
        assert!(!told.stdout.contains("hunter2"), "{}", told.stdout);
    }
}

#[test]
fn what_ends_while_it_is_read_breaks_nothing() {
    let Some(host) = Host::new() else { return };
    let _stays = host.listen("tcp 0.0.0.0:7000").by("stays");
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                host.listen("tcp 127.0.0.1:0; udp 127.0.0.1:0").by("mayfly").ends();
            }
        });
        for _ in 0..20 {
            host.list().on(7000).has("holders/0/name", "stays");
        }
        over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn rows_can_be_chosen() {
    let Some(host) = Host::new() else { return };
    let _web = host.listen("tcp 0.0.0.0:7002; tcp 127.0.0.1:7001").by("web");
    let _db = host.listen("tcp 127.0.0.1:7003").by("db");
    let ports = |filters: &[&str]| {
        let mut words = vec!["list", "--format", "json"];
        words.extend(filters.iter().flat_map(|filter| ["--filter", filter]));
        let rows = Listing::new(&host.does(&words).stdout).rows();
        rows.iter().map(|row| row.get("port").as_u64().unwrap()).collect::<BTreeSet<_>>()
    };
    assert_eq!(ports(&[]), BTreeSet::from([7001, 7002, 7003]));
    assert_eq!(ports(&["port=7002-7003"]), BTreeSet::from([7002, 7003]));
    assert_eq!(ports(&["program=*/web", "reach=loopback"]), BTreeSet::from([7001]));
    assert_eq!(ports(&["reach=private,public"]), BTreeSet::from([7002]));
    assert_eq!(host.run(&["list", "--filter", "colour=red"]).code, 2);
    let shown = host.does(&["list", "--sort", "reach"]).stdout;
    let places: Vec<_> = [":7002", ":7001", ":7003"].map(|port| shown.find(port).unwrap()).into();
    assert!(places.is_sorted(), "the widest first: {shown}");
    for line in host.does(&["list"]).stdout.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}
