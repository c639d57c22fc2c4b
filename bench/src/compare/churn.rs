//! Listeners and programs that come and go, none like another.

use std::collections::VecDeque;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

const THREADS: u32 = 4;
/// How many listeners of each thread stay for a while: a look finds them.
const STAYING: usize = 50;
/// How often another program starts, and how many of them are there at a time.
const NEXT_PROGRAM: Duration = Duration::from_millis(200);
const PROGRAMS: usize = 20;
const BIN: &str = "/run/portledger-bench/bin";

/// A process that does it.
pub(crate) struct Churn(Child);

/// What it has done.
pub(crate) struct Done {
    pub(crate) sockets: u64,
    pub(crate) services: u64,
}

impl Churn {
    pub(crate) fn start(each_second: f64) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["churn", "--each-second", &each_second.to_string()]);
        Ok(Churn(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?))
    }

    pub(crate) fn ends(mut self) -> anyhow::Result<Done> {
        drop(self.0.stdin.take());
        let mut text = String::new();
        self.0.stdout.take().context("no output")?.read_to_string(&mut text)?;
        let status = self.0.wait()?;
        let Some((sockets, services)) = text.trim().split_once(' ').filter(|_| status.success()) else {
            bail!("listeners and programs could not be made: {status}");
        };
        Ok(Done { sockets: sockets.parse()?, services: services.parse()? })
    }
}

/// The other side of [`Churn`], until its standard input is closed.
pub(crate) fn run(each_second: f64) -> anyhow::Result<()> {
    let (ends, sockets, services) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let slices = Slices::make()?;
    std::thread::scope(|scope| {
        let (ends, sockets, services, slices) = (&ends, &sockets, &services, &slices);
        let openers: Vec<_> = (0..THREADS)
            .map(|number| scope.spawn(move || open(number, each_second / f64::from(THREADS), ends, sockets)))
            .collect();
        let programs = scope.spawn(move || start_programs(slices, ends, services));
        let _end = std::io::stdin().read(&mut [0]);
        ends.store(true, Ordering::Relaxed);
        for thread in openers.into_iter().chain([programs]) {
            thread.join().map_err(|_| anyhow::anyhow!("a thread failed"))??;
        }
        anyhow::Ok(())
    })?;
    slices.remove();
    println!("{} {}", sockets.into_inner(), services.into_inner());
    Ok(())
}

/// As many programs as drifts can be open, one after the other, each with a port of its own.
pub(crate) fn fill(programs: u32) -> anyhow::Result<()> {
    fs::create_dir_all(BIN)?;
    let whole = Path::new(BIN).join("whole");
    fs::copy(std::env::current_exe()?, &whole)?;
    for number in 0..programs {
        let file = Path::new(BIN).join(format!("fill-{number}"));
        fs::hard_link(&whole, &file)?;
        let words = words(&file, number);
        Program { child: start(&words)?, file, netns: None, cgroup: None }.end()?;
    }
    Ok(fs::remove_file(whole)?)
}

/// Listens until standard input is closed; one of the programs.
pub(crate) fn listen(port: u16) -> anyhow::Result<()> {
    // Something else may have the port.
    let Ok(_listener) = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)) else { return Ok(()) };
    std::io::stdout().write_all(b"ready\n")?;
    let _end = std::io::stdin().read(&mut [0]);
    Ok(())
}

#[expect(dead_code, reason = "held open")]
enum Opened {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

fn open(number: u32, each_second: f64, ends: &AtomicBool, sockets: &AtomicU64) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut staying = VecDeque::new();
    for place in 0_u32.. {
        if ends.load(Ordering::Relaxed) {
            break;
        }
        // Each port on each address in its turn, the threads apart.
        let [_, high, middle, low] = (place / 60_000).to_be_bytes();
        let address = Ipv4Addr::new(127, u8::try_from(10 + number)?.wrapping_add(high), middle, low.max(1));
        let port = u16::try_from(1_024 + place.wrapping_mul(7_919) % 60_000)?;
        let opened = match place % 4 {
            0 => UdpSocket::bind((address, port)).map(Opened::Udp),
            1 => TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).map(Opened::Tcp),
            _ => TcpListener::bind((address, port)).map(Opened::Tcp),
        };
        // Something else may have the port.
        let Ok(opened) = opened else { continue };
        sockets.fetch_add(1, Ordering::Relaxed);
        if place % 10 == 0 {
            staying.push_back(opened);
            if staying.len() > STAYING {
                staying.pop_front();
            }
        }
        let next = began + Duration::from_secs_f64(f64::from(place + 1) / each_second);
        let pause = next.saturating_duration_since(Instant::now());
        if pause > Duration::from_millis(2) {
            std::thread::sleep(pause);
        }
    }
    Ok(())
}

fn start_programs(slices: &Slices, ends: &AtomicBool, services: &AtomicU64) -> anyhow::Result<()> {
    fs::create_dir_all(BIN)?;
    let mut there = VecDeque::new();
    for number in 0_u32.. {
        if ends.load(Ordering::Relaxed) {
            break;
        }
        there.push_back(Program::start(number, slices)?);
        services.fetch_add(1, Ordering::Relaxed);
        if there.len() > PROGRAMS
            && let Some(oldest) = there.pop_front()
        {
            oldest.end()?;
        }
        std::thread::sleep(NEXT_PROGRAM);
    }
    there.into_iter().try_for_each(Program::end)
}

/// One with a name, a file, a port of its own; and here a namespace, there a cgroup.
struct Program {
    child: Child,
    file: PathBuf,
    netns: Option<String>,
    cgroup: Option<PathBuf>,
}

impl Program {
    fn start(number: u32, slices: &Slices) -> anyhow::Result<Self> {
        let file = Path::new(BIN).join(format!("soak-{number}"));
        fs::copy(std::env::current_exe()?, &file)?;
        let netns = (number % 4 == 1).then(|| format!("soak-{number}"));
        let cgroup = slices.cgroup(number)?;
        let mut words: Vec<String> = Vec::new();
        if let Some(cgroup) = &cgroup {
            let join = format!("echo $$ >{}/cgroup.procs; exec \"$@\"", cgroup.display());
            words.extend(["sh", "-ec", &join, "sh"].map(str::to_owned));
        }
        match &netns {
            Some(name) => {
                ip(&["netns", "add", name])?;
                words.extend(["ip", "netns", "exec", name].map(str::to_owned));
            }
            None if number % 4 == 3 => words.extend(["unshare", "--net"].map(str::to_owned)),
            None => {}
        }
        words.extend(self::words(&file, number));
        Ok(Program { child: start(&words)?, file, netns, cgroup })
    }

    fn end(mut self) -> anyhow::Result<()> {
        drop(self.child.stdin.take());
        self.child.wait()?;
        fs::remove_file(self.file)?;
        if let Some(name) = self.netns {
            ip(&["netns", "delete", &name])?;
        }
        if let Some(cgroup) = self.cgroup {
            fs::remove_dir(cgroup)?;
        }
        Ok(())
    }
}

fn words(file: &Path, number: u32) -> [String; 5] {
    let port = (1_024 + number * 13 % 60_000).to_string();
    let note = format!("--note=program {number}");
    [file.display().to_string(), "listen".to_owned(), "--port".to_owned(), port, note]
}

/// Waits until it listens.
fn start(words: &[String]) -> anyhow::Result<Child> {
    let mut command = Command::new(&words[0]);
    let mut child = command.args(&words[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    // One that cannot listen, for something else has its port, ends without a word.
    let _ready = child.stdout.as_mut().context("no output")?.read(&mut [0; 6])?;
    Ok(child)
}

fn ip(words: &[&str]) -> anyhow::Result<()> {
    let status = Command::new("ip").args(words).status()?;
    if !status.success() {
        bail!("ip {words:?}: {status}");
    }
    Ok(())
}

/// Where cgroups can be made: units and containers.
struct Slices(Option<PathBuf>);

impl Slices {
    fn make() -> anyhow::Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let unified = mounts.lines().find_map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            (words.get(2) == Some(&"cgroup2")).then(|| words[1].to_owned())
        });
        let slice = unified
            .map(|root| Path::new(&root).join(format!("portledger_bench_{}.slice", std::process::id())));
        let made = slice.filter(|slice| fs::create_dir(slice).is_ok());
        if made.is_none() {
            eprintln!("no cgroups of version 2 can be made: programs are all in one");
        }
        Ok(Slices(made))
    }

    fn cgroup(&self, number: u32) -> anyhow::Result<Option<PathBuf>> {
        let name = match number % 3 {
            0 => return Ok(None),
            1 => format!("soak-{number}.service"),
            _ => format!("docker-{number:064x}.scope"),
        };
        let Some(cgroup) = self.0.as_ref().map(|slice| slice.join(name)) else { return Ok(None) };
        fs::create_dir(&cgroup)?;
        Ok(Some(cgroup))
    }

    fn remove(self) {
        if let Some(slice) = self.0
            && let Err(error) = fs::remove_dir(&slice)
        {
            eprintln!("{}: {error}", slice.display());
        }
    }
}
