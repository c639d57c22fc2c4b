use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use inventory::{Holders, Listener, Protocol};

use super::*;
use crate::fixtures::{self, now};
use crate::judge::tests::snapshot_after;
use baseline::Register;

fn listener(port: u16, program: &str) -> Listener {
    let holders = Holders::Known(vec![fixtures::holder(program.as_bytes())]);
    fixtures::listener(port.into(), Protocol::Tcp, Ipv4Addr::UNSPECIFIED, port, holders)
}

/// What is open where the first were there, and ten seconds later the others.
fn register(first: Vec<Listener>, then: Vec<Listener>) -> Arc<Register> {
    snapshot_after(first, then, now() + Duration::from_secs(10)).register
}

fn nc(ports: std::ops::Range<u16>) -> Vec<Listener> {
    ports.map(|port| listener(port, "/opt/nc")).collect()
}

fn ids(register: &Register) -> Vec<String> {
    let drifts: Vec<&Drift> = register.drifts().collect();
    told(&drifts).iter().map(Told::id).collect()
}

#[test]
fn tells_twenty_that_differ_in_port_alone_one_by_one() {
    assert_eq!(ids(&register(Vec::new(), nc(7000..7020))).len(), 20);
}

#[test]
fn tells_more_of_them_as_one_and_leaves_the_others() {
    let mut then = vec![listener(80, "/opt/nginx")];
    then.extend(nc(7001..7021));
    then.push(listener(8080, "/opt/tomcat"));
    // The first of them is gone by then.
    let register = register(nc(7000..7001), then);
    let drifts: Vec<&Drift> = register.drifts().collect();
    let told = told(&drifts);
    assert_eq!(told.len(), 3);
    let [many] = told.iter().filter(|line| line.many).collect::<Vec<_>>()[..] else { panic!("one group") };
    assert_eq!(many.labels()[4], "many");
    assert_eq!(many.first_seen, now(), "the oldest");
    assert!(many.present, "one of them is");
    assert!(told.iter().filter(|line| !line.many).all(|line| line.labels()[4].ends_with("80")));
}

#[test]
fn calls_them_the_same_while_they_come_and_go() {
    let of = |listeners| ids(&register(Vec::new(), listeners));
    assert_eq!(of(nc(1..31)), of(nc(6..61)));
    let others = (1..31).map(|port| listener(port, "/opt/socat")).collect();
    assert_ne!(of(nc(1..31)), of(others));
}

#[test]
fn what_is_late_is_counted_from_when_it_was_first_seen() {
    // All of it is critical, and the first one is gone.
    let register = register(vec![listener(80, "/opt/nginx")], nc(7000..7002));
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    let late = |remedy: Remedy, after: u64| {
        let drifts: Vec<&Drift> = register.by_id().collect();
        let family = overdue(&drifts, &remedy, now() + Duration::from_secs(after));
        let values = family.get_metric().iter().map(|metric| metric.get_gauge().get_value());
        values.collect::<Vec<_>>()
    };
    let remedy = Remedy { critical: seconds(100), warning: None };
    for (after, critical) in [(99, 0.0), (100, 1.0), (109, 1.0), (110, 3.0)] {
        assert_eq!(late(remedy, after), [critical, 0.0], "after {after} s");
    }
    assert_eq!(late(Remedy { critical: None, warning: seconds(1) }, 1000), [0.0, 0.0]);
    assert_eq!(late(Remedy::default(), 1_000_000), [0.0, 0.0]);
}
