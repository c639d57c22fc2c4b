//! Tests on the kernel. Other tests and other programs listen too: only what the own threads did counts.

use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::MutexGuard;
use std::thread;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketType, getsockname, listen};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::sample::SocketKey;
use super::*;
use crate::testing::{alone, in_new_namespace, is_root, socket};

/// Enough that nothing is lost to what else goes on.
const AMPLE: usize = 64;
const TCP: u16 = 6;

/// With what keeps those away who would fill the rings.
fn perf(test: &str, pages: usize) -> Option<(Perf, MutexGuard<'static, ()>)> {
    let alone = alone();
    let perf = Perf::open(pages).map_err(|refusal| eprintln!("SKIP {test}: {refusal}")).ok()?;
    Some((perf, alone))
}

fn this_thread() -> u32 {
    u32::try_from(rustix::thread::gettid().as_raw_nonzero().get()).unwrap()
}

fn by(thread: u32, samples: Vec<Sample>) -> Vec<Sample> {
    let its = |sample: &Sample| sample.pid == Some(std::process::id()) && sample.tid == Some(thread);
    samples.into_iter().filter(its).collect()
}

/// What this thread did since the last time, of which nothing was lost.
fn ours(perf: &mut Perf) -> Vec<Sample> {
    let drained = perf.drain();
    assert_eq!(drained.lost, 0);
    by(this_thread(), drained.samples)
}

fn bind(address: &str) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(address).unwrap();
    let bound = listener.local_addr().unwrap();
    (listener, bound)
}

fn told(sample: &Sample) -> (bool, u16, IpAddr, u16) {
    (sample.opened, sample.protocol, sample.address, sample.port)
}

#[test]
fn tells_an_open_and_its_close_once_each() {
    let Some((mut perf, _alone)) = perf("tells_an_open_and_its_close_once_each", AMPLE) else { return };
    for address in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"] {
        let before = nanos(ClockId::Boottime);
        let (listener, bound) = bind(address);
        let opened = ours(&mut perf);
        drop(listener);
        let closed = ours(&mut perf);
        let after = nanos(ClockId::Boottime);
        assert_eq!(opened.iter().map(told).collect::<Vec<_>>(), [(true, TCP, bound.ip(), bound.port())]);
        assert_eq!(closed.iter().map(|one| one.opened).collect::<Vec<_>>(), [false], "{address}");
        assert_eq!(opened[0].socket, closed[0].socket);
        // The clocks are compared with some leeway: their difference is not read at one instant.
        let leeway = 1_000_000;
        assert!(before < opened[0].boot_nanos + leeway && closed[0].boot_nanos < after + leeway);
        assert!(opened[0].boot_nanos < closed[0].boot_nanos);
    }
}

#[test]
fn a_connection_that_is_accepted_and_closed_tells_nothing() {
    let Some((mut perf, _alone)) = perf("a_connection_that_is_accepted_and_closed_tells_nothing", AMPLE)
    else {
        return;
    };
    let (listener, bound) = bind("127.0.0.1:0");
    assert_eq!(ours(&mut perf).len(), 1);
    for _ in 0..20 {
        let mut client = TcpStream::connect(bound).unwrap();
        drop(listener.accept().unwrap());
        assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
    }
    assert_eq!(ours(&mut perf), []);
}

#[test]
fn listening_without_a_bind_tells_port_0_at_the_open() {
    let Some((mut perf, _alone)) = perf("listening_without_a_bind_tells_port_0_at_the_open", AMPLE) else {
        return;
    };
    for (family, address) in [
        (AddressFamily::INET, IpAddr::from(Ipv4Addr::UNSPECIFIED)),
        (AddressFamily::INET6, IpAddr::from(Ipv6Addr::UNSPECIFIED)),
    ] {
        let socket = socket(family, SocketType::STREAM, None);
        listen(&socket, 1).unwrap();
        let opened = ours(&mut perf);
        assert_eq!(opened.iter().map(told).collect::<Vec<_>>(), [(true, TCP, address, 0)]);
        let bound = SocketAddr::try_from(getsockname(&socket).unwrap()).unwrap();
        assert_ne!(bound.port(), 0);
        drop(socket);
        let closed = ours(&mut perf);
        assert_eq!(
            closed.iter().map(|one| (one.opened, one.socket)).collect::<Vec<_>>(),
            [(false, opened[0].socket)]
        );
    }
}

#[test]
fn tells_what_happens_in_another_network_namespace() {
    const NAME: &str = "tells_what_happens_in_another_network_namespace";
    if !is_root(NAME) {
        return;
    }
    let Some((mut perf, _alone)) = perf(NAME, AMPLE) else { return };
    let there = in_new_namespace(|| {
        let listener = TcpListener::bind("0.0.0.0:7001").unwrap();
        drop(listener);
        this_thread()
    });
    let drained = perf.drain();
    assert_eq!(drained.lost, 0);
    let ports: Vec<_> = by(there, drained.samples).iter().map(|one| (one.opened, one.port)).collect();
    assert_eq!(ports[0], (true, 7001));
    assert_eq!(ports.len(), 2);
}

#[test]
fn a_descriptor_is_readable_when_something_waits() {
    let Some((mut perf, _alone)) = perf("a_descriptor_is_readable_when_something_waits", AMPLE) else {
        return;
    };
    for _ in 0..100 {
        perf.drain();
        let (_listener, bound) = bind("127.0.0.1:0");
        let readable = {
            let mut polled: Vec<_> =
                perf.descriptors().map(|event| PollFd::from_borrowed_fd(event, PollFlags::IN)).collect();
            poll(&mut polled, Some(&Timespec { tv_sec: 10, tv_nsec: 0 })).unwrap()
        };
        assert!(readable > 0);
        assert!(ours(&mut perf).iter().any(|one| one.opened && one.port == bound.port()));
    }
}

#[test]
fn two_thousand_listeners_are_told_or_counted() {
    let Some((mut perf, _alone)) = perf("two_thousand_listeners_are_told_or_counted", 8) else { return };
    let (mut samples, mut lost) = (Vec::new(), 0);
    for round in 0..2000 {
        drop(bind("127.0.0.1:0"));
        if round % 50 == 49 {
            let drained = perf.drain();
            samples.extend(by(this_thread(), drained.samples));
            lost += drained.lost;
        }
    }
    assert!(samples.len() as u64 + lost >= 4000, "{} told, {lost} lost", samples.len());
    assert!(samples.len() <= 4000, "{} told", samples.len());
    if lost == 0 {
        assert_in_order(&samples);
    }
}

#[test]
fn what_found_no_room_is_counted() {
    let Some((mut perf, _alone)) = perf("what_found_no_room_is_counted", 1) else { return };
    (0..500).for_each(|_| drop(bind("127.0.0.1:0")));
    if perf.rings.iter().any(|of_cpu| matches!(of_cpu.lost, Lost::InTheRing)) {
        eprintln!("SKIP what_found_no_room_is_counted: this kernel counts by the next record only");
        return;
    }
    let drained = perf.drain();
    let told = by(this_thread(), drained.samples).len() as u64;
    assert!(told > 0 && drained.lost > 0, "{told} told, {} lost", drained.lost);
    assert!(told + drained.lost >= 1000, "{told} told, {} lost", drained.lost);
    // Others may fill the small rings at any time, but not each time.
    let found_room = (0..100).any(|_| {
        perf.drain();
        drop(bind("127.0.0.1:0"));
        let drained = perf.drain();
        drained.lost == 0 && by(this_thread(), drained.samples).len() == 2
    });
    assert!(found_room);
}

#[test]
fn what_was_lost_is_counted_by_records_where_the_kernel_has_no_counter() {
    let name = "what_was_lost_is_counted_by_records_where_the_kernel_has_no_counter";
    let Some((mut perf, _alone)) = perf(name, 1) else { return };
    perf.rings.iter_mut().for_each(|of_cpu| of_cpu.lost = Lost::InTheRing);
    let (mut told, mut lost) = (0, 0);
    for _ in 0..2 {
        on_each_cpu(|| (0..250).for_each(|_| drop(bind("127.0.0.1:0"))));
        let drained = perf.drain();
        told += by(this_thread(), drained.samples).len() as u64;
        lost += drained.lost;
    }
    let before = lost;
    on_each_cpu(|| drop(bind("127.0.0.1:0")));
    lost += perf.drain().lost;
    assert!(told > 0 && before > 0 && lost > before, "{told} told, {before} and then {lost} lost");
    assert!(told + lost >= 1000, "{told} told, {lost} lost");
}

#[test]
fn no_close_overtakes_its_open_on_another_cpu() {
    const NAME: &str = "no_close_overtakes_its_open_on_another_cpu";
    let Some((mut perf, _alone)) = perf(NAME, AMPLE) else { return };
    let &[first, .., last] = &our_cpus()[..] else {
        eprintln!("SKIP {NAME}: one CPU");
        return;
    };
    let to_boot = monotonic_to_boot();
    let mut drained = Drained::default();
    // The first ring is read, then a listener opens there and closes where the ring is yet to be read.
    perf.rings[0].read_until(u64::MAX, to_boot, &perf.format, &mut drained);
    on_a_thread(|| {
        run_on(first);
        let (listener, bound) = bind("127.0.0.1:0");
        run_on(last);
        drop(listener);
        for of_cpu in &mut perf.rings[1..] {
            of_cpu.read_until(u64::MAX, to_boot, &perf.format, &mut drained);
        }
        run_on(first);
        let (later, _) = bind("127.0.0.1:0");
        perf.settle(to_boot, &mut drained);
        let told = |sample: &Sample| (sample.opened, sample.port);
        let in_between: Vec<_> = by(this_thread(), drained.samples).iter().map(told).collect();
        assert_eq!(in_between, [(true, bound.port()), (false, bound.port())]);
        let next = ours(&mut perf);
        assert_eq!(next.iter().map(told).collect::<Vec<_>>(), [(true, later.local_addr().unwrap().port())]);
    });
}

#[test]
fn leaves_nothing_mounted() {
    let mounts = || {
        let all = fs::read_to_string("/proc/self/mountinfo").unwrap();
        all.lines().filter(|line| line.contains("tracefs")).count()
    };
    let before = mounts();
    if perf("leaves_nothing_mounted", 1).is_some() {
        assert_eq!(mounts(), before);
    }
}

#[test]
fn a_refusal_names_the_hook_and_the_reason() {
    let denied = io::Error::from_raw_os_error(libc::EACCES);
    let said = refused("perf_event_open", 3, &denied).to_string();
    assert!(
        said.starts_with("perf_event_open for sock:inet_sock_set_state on CPU 3: Permission denied"),
        "{said}"
    );
}

/// Each socket opens and closes by turns.
fn assert_in_order(samples: &[Sample]) {
    let mut open: HashMap<SocketKey, bool> = HashMap::new();
    for (at, sample) in samples.iter().enumerate() {
        let is_open = open.entry(sample.socket).or_default();
        assert_ne!(*is_open, sample.opened, "{at}: {sample:?}");
        *is_open = sample.opened;
    }
}

fn our_cpus() -> Vec<usize> {
    let set = sched_getaffinity(None).unwrap();
    (0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect()
}

/// Its affinity ends with it.
fn on_a_thread(act: impl FnOnce() + Send) {
    thread::scope(|scope| scope.spawn(act).join().unwrap());
}

fn run_on(cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set).unwrap();
}

fn on_each_cpu(act: impl Fn()) {
    let before = sched_getaffinity(None).unwrap();
    for cpu in our_cpus() {
        run_on(cpu);
        act();
    }
    sched_setaffinity(None, &before).unwrap();
}
