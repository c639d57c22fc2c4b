use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use inventory::{Holders, Listener, Protocol};

use super::*;
use crate::fixtures::{self, now};
use crate::judge::tests::snapshot_after;

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
    let id = |line: &Line<'_>| {
        if line.many { group_id(&line.labels()) } else { line.drift.id().to_string() }
    };
    collapse(&drifts).iter().map(id).collect()
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
    let told = collapse(&drifts);
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
