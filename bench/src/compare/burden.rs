use std::fs::File;
use std::hint::black_box;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use rustix::net::sockopt::set_socket_linger;

use crate::Arguments;
use crate::load::Load;
use crate::measure::median;
use crate::serving::{Files, Serve};

/// What is told of comes last: it is still being judged and written down while the next one is at work.
const WORKS: [&str; 6] =
    ["getppid", "open+close", "udp sendto", "tcp connect+accept", "spawn+exec", "bind+listen+close"];
/// Each work is done in so many parts, of which the median counts.
const PARTS: u32 = 15;
const PART: Duration = Duration::from_millis(30);

/// Does the same with `serve` and without, in turn.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let load = Load { processes: 50, fds: 1_000, listeners: 50, each: 1, ..Load::default() };
    let _load = arguments.load(load).start()?;
    let files = Files::new("")?;
    files.learn(&arguments.portledger)?;
    let rounds = arguments.rounds(15);
    let mut pairs = Vec::new();
    for round in 0..rounds {
        // Which of both comes first takes turns too.
        let (with, without) = if round % 2 == 0 {
            let with = all(Some((&files, arguments)))?;
            (with, all(None)?)
        } else {
            let without = all(None)?;
            (all(Some((&files, arguments)))?, without)
        };
        pairs.push((with, without));
    }
    println!("medians of {rounds} pairs\n");
    println!(
        "{:20} {:>10} {:>10} {:>8} {:>12} {:>12} {:>8}",
        "", "with us", "without us", "ratio", "cpu with us", "without us", "ratio"
    );
    for (place, name) in WORKS.iter().enumerate() {
        let of = |pick: &dyn Fn(Cost, Cost) -> f64| {
            median(pairs.iter().map(|(with, without)| pick(with[place], without[place])).collect())
        };
        println!(
            "{name:20} {:>10.3} {:>10.3} {:>8.3} {:>12.3} {:>12.3} {:>8.3}",
            of(&|with, _| with.wall),
            of(&|_, without| without.wall),
            of(&|with, without| with.wall / without.wall),
            of(&|with, _| with.cpu),
            of(&|_, without| without.cpu),
            of(&|with, without| with.cpu / without.cpu)
        );
    }
    println!("in µs; `cpu` is user and system time of whoever does it, and of its children");
    Ok(())
}

/// Microseconds of one turn.
#[derive(Clone, Copy, Debug)]
struct Cost {
    wall: f64,
    cpu: f64,
}

fn all(served: Option<(&Files, &Arguments)>) -> anyhow::Result<Vec<Cost>> {
    let _serve = served.map(|(files, arguments)| Serve::start(files, &arguments.portledger)).transpose()?;
    std::thread::sleep(Duration::from_millis(500));
    WORKS.iter().map(|name| one(name)).collect()
}

fn one(name: &str) -> anyhow::Result<Cost> {
    let output = Command::new(std::env::current_exe()?).args(["work", name]).output()?;
    let text = String::from_utf8(output.stdout)?;
    if !output.status.success() {
        bail!("{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let (wall, cpu) = text.trim().split_once(' ').context("no cost")?;
    Ok(Cost { wall: wall.parse()?, cpu: cpu.parse()? })
}

/// The other side of [`one`].
pub(crate) fn work(name: &str) -> anyhow::Result<()> {
    match name {
        "bind+listen+close" => {
            let mut ports = (13_000..18_000).cycle();
            repeat(|| {
                TcpListener::bind(("127.0.0.1", ports.next().unwrap_or_default()))?;
                Ok(())
            })
        }
        "getppid" => repeat(|| {
            black_box(rustix::process::getppid());
            Ok(())
        }),
        "open+close" => repeat(|| {
            File::open("/dev/null")?;
            Ok(())
        }),
        "udp sendto" => {
            let (from, to) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
            let address = to.local_addr()?;
            let mut received = [0; 64];
            repeat(|| {
                from.send_to(&[1; 64], address)?;
                to.recv(&mut received)?;
                Ok(())
            })
        }
        "tcp connect+accept" => {
            let server = TcpListener::bind("127.0.0.1:12999")?;
            let address = server.local_addr()?;
            repeat(|| {
                let client = TcpStream::connect(address)?;
                // Ends at once: ports that wait would run out.
                set_socket_linger(&client, Some(Duration::ZERO))?;
                let (accepted, _) = server.accept()?;
                drop((client, accepted));
                Ok(())
            })
        }
        "spawn+exec" => repeat(|| match Command::new("/bin/true").status()?.success() {
            true => Ok(()),
            false => bail!("/bin/true failed"),
        }),
        _ => bail!("no work is called {name}"),
    }
}

fn repeat(mut turn: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut turns = 0;
    let began = Instant::now();
    while began.elapsed() < PART {
        turn()?;
        turns += 1;
    }
    let (mut walls, mut cpus) = (Vec::new(), Vec::new());
    for _ in 0..PARTS {
        let (began, cpu) = (Instant::now(), cpu()?);
        for _ in 0..turns {
            turn()?;
        }
        walls.push(began.elapsed().as_secs_f64() * 1e6 / f64::from(turns));
        cpus.push((self::cpu()? - cpu) / f64::from(turns));
    }
    println!("{} {}", median(walls), median(cpus));
    Ok(())
}

/// Microseconds.
fn cpu() -> anyhow::Result<f64> {
    let mut all = 0.0;
    for who in [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN] {
        let usage = getrusage(who)?;
        let micros = (usage.user_time() + usage.system_time()).num_microseconds();
        all += micros as f64;
    }
    Ok(all)
}
