use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::measure::median;

const ADDRESS: &str = "127.0.0.1:10433";
/// One of the exporter's families: how long the last pass of the sensor took.
const DURATION: &str = "portledger_reconcile_duration_seconds ";

/// Configuration, baseline and state that the runs share.
pub(crate) struct Files {
    folder: PathBuf,
}

impl Files {
    pub(crate) fn new(folder: &Path) -> anyhow::Result<Self> {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
        for (name, text) in [("portledger.toml", ""), ("baseline.toml", "# nothing is approved\n")] {
            fs::write(folder.join(name), text)?;
            fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o644))?;
        }
        Ok(Files { folder: folder.to_owned() })
    }

    pub(crate) fn portledger(&self, program: &Path, verb: &[&str]) -> Vec<String> {
        let mut command = vec![program.display().to_string()];
        command.extend(verb.iter().map(|word| (*word).to_owned()));
        for (flag, name) in
            [("--config", "portledger.toml"), ("--baseline", "baseline.toml"), ("--state", "state")]
        {
            command.extend([flag.to_owned(), self.folder.join(name).display().to_string()]);
        }
        command
    }
}

pub(crate) struct Served {
    pub(crate) seconds: f64,
    pub(crate) resident_kib: u64,
    pub(crate) peak_kib: u64,
}

/// Runs `serve` until it has looked a few times, and takes the median of the passes after the first.
pub(crate) fn second_inventory(files: &Files, program: &Path) -> anyhow::Result<Served> {
    let command = files.portledger(program, &["serve", "--web.listen-address", ADDRESS]);
    let log = fs::File::create(files.folder.join("log"))?;
    let mut serve = Command::new(&command[0])
        .args(&command[1..])
        .stdin(Stdio::null())
        .stderr(log)
        .spawn()
        .context("serve")?;
    let measured = passes(&mut serve).and_then(|seconds| {
        let sensor = sensor(serve.id())?;
        Ok(Served { seconds, resident_kib: status(sensor, "VmRSS:")?, peak_kib: status(sensor, "VmHWM:")? })
    });
    serve.kill()?;
    serve.wait()?;
    measured
}

fn passes(serve: &mut Child) -> anyhow::Result<f64> {
    let deadline = Instant::now() + Duration::from_secs(120);
    while get("/-/ready").is_none_or(|answer| !answer.starts_with("HTTP/1.1 200")) {
        if Instant::now() > deadline {
            bail!("serve did not become ready");
        }
        if let Some(status) = serve.try_wait()? {
            bail!("serve ended: {status}");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    // The sensor looks every two seconds.
    let mut seconds = Vec::new();
    for _ in 0..6 {
        std::thread::sleep(Duration::from_millis(2500));
        let scrape = get("/metrics").context("no scrape")?;
        let value = scrape
            .lines()
            .find_map(|line| line.strip_prefix(DURATION))
            .context("no duration in the scrape")?;
        seconds.push(value.parse()?);
    }
    Ok(median(seconds))
}

fn get(path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(ADDRESS).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn sensor(serve: u32) -> anyhow::Result<u32> {
    let mut below = vec![serve];
    let mut next = 0;
    while let Some(&pid) = below.get(next) {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if line.split(|byte| *byte == 0).nth(1) == Some(b"sensor") {
            return Ok(pid);
        }
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        below.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        next += 1;
    }
    bail!("serve has no sensor")
}

fn status(pid: u32, field: &str) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)).context("no such field")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
