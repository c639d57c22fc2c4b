use std::collections::HashSet;
use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::Arguments;
use crate::load::Load;
use crate::measure::Spread;
use crate::serving::{Files, Serve};
use crate::sink::Sink;

/// So many that differ in port alone are told singly, and no more.
const ALIKE: u32 = 20;
/// As many drifts as can be open.
const MANY: u32 = 10_000;
/// After so long without a call there is none to come.
const QUIET: Duration = Duration::from_secs(3);

/// Opens listeners that nobody approved and waits for the webhook's call that tells them: one after the other, then as
/// many as can be open at once, each unlike the others, and then as many that differ in port alone.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    add_addresses(MANY / ALIKE)?;
    let _load = arguments.load(Load::LISTENERS).start()?;
    one_by_one(arguments)?;
    for (what, alike) in [("each told by itself", false), ("alike but for the port", true)] {
        at_once(arguments, what, alike)?;
    }
    Ok(())
}

fn one_by_one(arguments: &Arguments) -> anyhow::Result<()> {
    posting(arguments, |sink, _| {
        let mut taken = Vec::new();
        for round in 0..arguments.rounds(300) {
            let (address, port) = unlike(round)?;
            let _listener = TcpListener::bind((address, port))?;
            taken.push(until_told(sink, address, port)?);
            // By another part of a millisecond each time, so that nothing falls into step.
            std::thread::sleep(Duration::from_micros(40_000 + u64::from(round) * 37 % 10_000));
        }
        println!("from listen(2) to the webhook's call: {}", Spread::of(taken));
        Ok(())
    })
}

fn until_told(sink: &Sink, address: Ipv4Addr, port: u16) -> anyhow::Result<f64> {
    let opened = Instant::now();
    while let Some(call) = sink.next(Duration::from_secs(10))? {
        let is_it = |(_, told_address, told_port): &(String, String, String)| {
            *told_address == address.to_string() && *told_port == port.to_string()
        };
        if call.firing()?.iter().any(is_it) {
            return Ok(call.at.saturating_duration_since(opened).as_secs_f64());
        }
    }
    bail!("{address}:{port} was not told within ten seconds")
}

fn at_once(arguments: &Arguments, what: &str, alike: bool) -> anyhow::Result<()> {
    posting(arguments, |sink, serve| {
        let exporter = serve.process("serve")?;
        let before = exporter.kib("VmRSS:")?;
        let began = Instant::now();
        let listeners: Vec<TcpListener> =
            (0..MANY).map(|place| open(place, alike)).collect::<anyhow::Result<_>>()?;
        let opened = began.elapsed();
        let wanted = usize::try_from(if alike { ALIKE + 1 } else { MANY })?;
        let (mut told, mut calls) = (HashSet::new(), Vec::new());
        while let Some(call) = sink.next(if told.len() < wanted { QUIET * 10 } else { QUIET })? {
            calls.push(call.at.saturating_duration_since(began).as_secs_f64());
            // What else is told is of us: a program below /tmp is grave on any address.
            let ours = call.firing()?.into_iter().filter(|(_, address, _)| !address.starts_with("127."));
            told.extend(ours.map(|(id, _, _)| id));
        }
        let (after, peak) = (exporter.kib("VmRSS:")?, exporter.kib("VmHWM:")?);
        println!(
            "{} drifts at once, {what}: {} alerts in {} calls, the first {:.2} s after the first listen(2), \
             the last {:.2} s (opening took {opened:.2?})",
            listeners.len(),
            told.len(),
            calls.len(),
            calls.first().context("no call")?,
            calls.last().context("no call")?,
        );
        println!("resident set of serve: {before} KiB before, {after} KiB after, {peak} KiB at most");
        Ok(())
    })
}

/// Beside a `serve` of its own, which posts and knows of no drift yet.
fn posting(
    arguments: &Arguments,
    measure: impl FnOnce(&Sink, &Serve) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let sink = Sink::start()?;
    let files = Files::new(&sink.configuration())?;
    files.learn(&arguments.portledger)?;
    let serve = Serve::start(&files, &arguments.portledger)?;
    std::thread::sleep(Duration::from_secs(2));
    measure(&sink, &serve)?;
    drop(serve);
    files.remove()
}

fn open(place: u32, alike: bool) -> anyhow::Result<TcpListener> {
    let (address, port) = match alike {
        true => (Ipv4Addr::UNSPECIFIED, u16::try_from(21_000 + place)?),
        false => unlike(place)?,
    };
    TcpListener::bind((address, port)).with_context(|| format!("{address}:{port}"))
}

/// So many at an address that they are no crowd.
fn unlike(place: u32) -> anyhow::Result<(Ipv4Addr, u16)> {
    Ok((address(place / ALIKE), u16::try_from(11_000 + place % ALIKE)?))
}

fn address(number: u32) -> Ipv4Addr {
    let [_, _, high, low] = (number + 1).to_be_bytes();
    Ipv4Addr::new(10, 77, high, low)
}

/// Others could reach these: what listens there is grave.
fn add_addresses(count: u32) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let batch = folder.path().join("batch");
    let mut text =
        "link add bench0 type veth peer name bench1\nlink set bench0 up\nlink set bench1 up\n".to_owned();
    for number in 0..count {
        text += &format!("address add {}/16 dev bench0\n", address(number));
    }
    std::fs::write(&batch, text)?;
    let output = Command::new("ip").arg("-batch").arg(&batch).output().context("ip")?;
    if !output.status.success() {
        bail!("no addresses to listen on: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
