use std::process::Command;

use anyhow::Context;

/// When, where and by which command: a figure without these is none.
pub(crate) fn print() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let mut options = words.iter().peekable();
    let mut shown = Vec::new();
    while let Some(word) = options.next() {
        match word.as_str() {
            // `make bench` adds it.
            "--portledger" => drop(options.next()),
            word => shown.push(word),
        }
    }
    let cpu = field("/proc/cpuinfo", "model name")?;
    let memory: u64 = field("/proc/meminfo", "MemTotal")?.trim_end_matches(" kB").parse()?;
    let load = std::fs::read_to_string("/proc/loadavg")?;
    let load = load.split(' ').next().unwrap_or_default();
    println!("make bench BENCH=\"{}\"", shown.join(" "));
    println!(
        "{}: {} processors ({cpu}), {} GiB, Linux {}, load average {load}",
        said("date", &["-u", "+%F %R UTC"])?,
        std::thread::available_parallelism()?,
        memory >> 20,
        said("uname", &["-r"])?,
    );
    Ok(())
}

fn said(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program).args(arguments).output().with_context(|| program.to_owned())?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn field(path: &str, name: &str) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| path.to_owned())?;
    let line = text.lines().find(|line| line.starts_with(name)).context("no such field")?;
    Ok(line.split_once(':').context("no value")?.1.trim().to_owned())
}
