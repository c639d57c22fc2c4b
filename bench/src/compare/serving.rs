use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use ledger::{Position, Reader, Told};
use rustix::process::{Pid, Signal, kill_process};

const ADDRESS: &str = "127.0.0.1:10433";
/// On the file system that came with our namespaces: it goes with them.
const FOLDER: &str = "/run/portledger-bench";

/// Configuration, baseline and state that the runs share.
pub(crate) struct Files {
    folder: PathBuf,
}

impl Files {
    pub(crate) fn new(configuration: &str) -> anyhow::Result<Self> {
        let folder = PathBuf::from(FOLDER);
        fs::create_dir(&folder)?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))?;
        for (name, text) in [("portledger.toml", configuration), ("baseline.toml", "# nothing is approved\n")]
        {
            fs::write(folder.join(name), text)?;
            fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o644))?;
        }
        Ok(Files { folder })
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

    /// Approves what listens now.
    pub(crate) fn learn(&self, program: &Path) -> anyhow::Result<()> {
        let baseline = self.folder.join("baseline.toml");
        fs::remove_file(&baseline)?;
        let command = self.portledger(program, &["learn"]);
        let output = Command::new(&command[0]).args(&command[1..]).stdin(Stdio::null()).output()?;
        if !baseline.exists() {
            bail!("learn: {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
        }
        fs::set_permissions(&baseline, fs::Permissions::from_mode(0o644))?;
        Ok(())
    }

    /// Once no `serve` runs that they are of.
    pub(crate) fn remove(self) -> anyhow::Result<()> {
        Ok(fs::remove_dir_all(self.folder)?)
    }

    /// What `serve` warned of, the first hundred lines.
    pub(crate) fn warnings(&self) -> anyhow::Result<Vec<String>> {
        let log = fs::read_to_string(self.folder.join("log"))?;
        let is_warning = |line: &&str| line.contains(" WARN ") || line.contains(" ERROR ");
        Ok(log.lines().filter(is_warning).take(100).map(str::to_owned).collect())
    }

    pub(crate) fn baseline(&self) -> anyhow::Result<String> {
        Ok(fs::read_to_string(self.folder.join("baseline.toml"))?)
    }

    /// As an admin does: nobody reads half of it.
    pub(crate) fn replace_baseline(&self, text: &str) -> anyhow::Result<()> {
        let beside = self.folder.join("baseline.new");
        fs::write(&beside, text)?;
        fs::set_permissions(&beside, fs::Permissions::from_mode(0o644))?;
        Ok(fs::rename(beside, self.folder.join("baseline.toml"))?)
    }

    /// The log of events, as far back as it goes.
    pub(crate) fn events(&self) -> anyhow::Result<String> {
        let mut reader = Reader::new(&self.folder.join("state"), "events", Position::default());
        let mut text = String::new();
        while let Some(told) = reader.read()? {
            if let Told::Line(line) = told {
                text.push_str(&String::from_utf8(line.body)?);
                text.push('\n');
            }
        }
        Ok(text)
    }
}

/// A `serve` that is ready; it ends with this.
pub(crate) struct Serve {
    child: Child,
    processes: Vec<(String, Process)>,
}

impl Serve {
    pub(crate) fn start(files: &Files, program: &Path) -> anyhow::Result<Self> {
        let command = files.portledger(program, &["serve", "--web.listen-address", ADDRESS]);
        let log = fs::File::create(files.folder.join("log"))?;
        let mut starting = Command::new(&command[0]);
        starting.args(&command[1..]).stdin(Stdio::null()).stderr(log);
        let mut serve = Serve { child: starting.spawn().context("serve")?, processes: Vec::new() };
        serve.wait_until_ready()?;
        serve.processes = below(serve.child.id());
        Ok(serve)
    }

    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(120);
        while !get("/-/ready").is_ok_and(|(status, _)| status == 200) {
            if Instant::now() > deadline {
                bail!("serve did not become ready");
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("serve ended: {status}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The one that runs this verb.
    pub(crate) fn process(&self, verb: &str) -> anyhow::Result<Process> {
        let found = self.processes.iter().find(|(known, _)| known == verb);
        Ok(found.with_context(|| format!("serve has no {verb}"))?.1)
    }

    /// Has it read its configuration and baseline again.
    pub(crate) fn reload(&self) -> anyhow::Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?).context("a pid")?;
        Ok(kill_process(pid, Signal::HUP)?)
    }

    pub(crate) fn processes(&self) -> &[(String, Process)] {
        &self.processes
    }
}

impl Drop for Serve {
    /// Nothing of it is attached any more when this returns.
    fn drop(&mut self) {
        let ended = self.child.kill().and_then(|()| self.child.wait());
        if let Err(error) = ended {
            eprintln!("serve: {error}");
        }
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.processes.iter().any(|(_, process)| process.is_alive()) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A process and those below it, with their verbs.
fn below(first: u32) -> Vec<(String, Process)> {
    let mut found = Vec::new();
    let mut pids = vec![first];
    while let Some(pid) = pids.pop() {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let verb = line.split(|byte| *byte == 0).nth(1).unwrap_or_default();
        found.push((String::from_utf8_lossy(verb).into_owned(), Process(pid)));
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        pids.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    found
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Process(u32);

impl Process {
    pub(crate) fn kib(self, field: &str) -> anyhow::Result<u64> {
        status(&format!("/proc/{}/status", self.0), field)
    }

    /// Memory that it has written to and shares with nobody.
    pub(crate) fn private_kib(self) -> anyhow::Result<u64> {
        status(&format!("/proc/{}/smaps_rollup", self.0), "Private_Dirty:")
    }

    pub(crate) fn descriptors(self) -> anyhow::Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.0))?.count())
    }

    /// How often its threads waited for something, those alone that are there.
    pub(crate) fn wakes(self) -> anyhow::Result<u64> {
        let mut wakes = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.0))? {
            let path = thread?.path().join("status");
            wakes += status(&path.display().to_string(), "voluntary_ctxt_switches:")?;
        }
        Ok(wakes)
    }

    /// Hundredths of a second that it and its children that ended have taken of a processor.
    pub(crate) fn ticks(self) -> anyhow::Result<u64> {
        let fields = self.stat().context("a process of serve ended")?;
        let times = fields.get(11..15).context("/proc/PID/stat is short")?;
        times.iter().map(|time| Ok(time.parse::<u64>()?)).sum()
    }

    fn is_alive(self) -> bool {
        // Nobody waits for those whose parent ended before them.
        self.stat().is_some_and(|fields| fields.first().is_some_and(|state| state != "Z"))
    }

    /// The fields after the name, which may hold anything.
    fn stat(self) -> Option<Vec<String>> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0)).ok()?;
        Some(stat.rsplit_once(") ")?.1.split(' ').map(str::to_owned).collect())
    }
}

fn status(path: &str, field: &str) -> anyhow::Result<u64> {
    let status = fs::read_to_string(path)?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)).context("no such field")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// Status and body. The exporter closes each connection after its answer.
pub(crate) fn get(path: &str) -> anyhow::Result<(u16, String)> {
    let mut stream = TcpStream::connect(ADDRESS)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n").as_bytes())?;
    let mut answer = Vec::with_capacity(1 << 18);
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8(answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("half an answer")?;
    Ok((head.split(' ').nth(1).context("no status")?.parse()?, body.to_owned()))
}

pub(crate) fn scrape() -> anyhow::Result<Scrape> {
    match get("/metrics")? {
        (200, text) => Ok(Scrape(text)),
        (status, _) => bail!("/metrics answers {status}"),
    }
}

/// What /metrics said.
pub(crate) struct Scrape(pub(crate) String);

impl Scrape {
    /// The sum over all series of a family.
    pub(crate) fn sum(&self, family: &str) -> anyhow::Result<f64> {
        let series = |line: &&str| {
            line.strip_prefix(family).is_some_and(|rest| rest.starts_with(' ') || rest.starts_with('{'))
        };
        let values: Vec<&str> =
            self.0.lines().filter(series).filter_map(|line| line.rsplit(' ').next()).collect();
        if values.is_empty() {
            bail!("no {family} in the scrape");
        }
        values.into_iter().map(|value| Ok(value.parse::<f64>()?)).sum()
    }
}
