use anyhow::{Context, bail};

use crate::Arguments;
use crate::load::Load;
use crate::measure::{Run, median, pairs};
use crate::serving::{Files, Serve};

/// Runs `list` and each neighbour over one load, in pairs, and prints ratios.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let load = arguments.load(Load {
        processes: 300,
        fds: 130_000,
        listeners: 400,
        established: 100_000,
        each: 1,
        ..Load::default()
    });
    let _load = load.start()?;
    let rounds = arguments.rounds(7);
    let own = std::env::current_exe()?.display().to_string();
    let files = Files::new("")?;
    let ours = files.portledger(&arguments.portledger, &["list", "--format", "json"]);
    let crates = |name: &str| vec![own.clone(), "neighbour".to_owned(), name.to_owned()];
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let peers = [
        ("ss -tulpn", words("ss -Htulpn")),
        ("netstat -tulpn", words("netstat -tulpn")),
        ("lsof -nP -i", words("lsof -nP -i")),
        ("listeners 0.6", crates("listeners")),
        ("netstat2 0.11", crates("netstat2")),
    ];
    println!(
        "medians of {rounds} pairs\n\n{:16} {:>10} {:>10} {:>12} {:>10} {:>10}",
        "", "ms", "ours ms", "ours/theirs", "peak KiB", "ours KiB"
    );
    for (name, peer) in peers {
        let pairs = pairs(&ours, &peer, rounds).with_context(|| name.to_owned())?;
        let of = |pick: fn(&(Run, Run)) -> f64| median(pairs.iter().map(pick).collect());
        println!(
            "{name:16} {:>10.1} {:>10.1} {:>12.3} {:>10.0} {:>10.0}",
            of(|(_, theirs)| theirs.seconds) * 1e3,
            of(|(ours, _)| ours.seconds) * 1e3,
            of(|(ours, theirs)| ours.seconds / theirs.seconds),
            of(|(_, theirs)| theirs.peak_kib),
            of(|(ours, _)| ours.peak_kib)
        );
    }
    let serve = Serve::start(&files, &arguments.portledger)?;
    let sensor = serve.process("sensor")?;
    println!("\nsensor: {} KiB now, {} KiB at its peak", sensor.kib("VmRSS:")?, sensor.kib("VmHWM:")?);
    Ok(())
}

pub(crate) fn neighbour(name: &str) -> anyhow::Result<()> {
    use netstat2::{AddressFamilyFlags, ProtocolFlags, get_sockets_info};
    let found = match name {
        "listeners" => listeners::get_all().map_err(|error| anyhow::anyhow!("{error}"))?.len(),
        "netstat2" => {
            let families = AddressFamilyFlags::IPV4 | AddressFamilyFlags::IPV6;
            get_sockets_info(families, ProtocolFlags::TCP | ProtocolFlags::UDP)?.len()
        }
        _ => bail!("no neighbour is called {name}"),
    };
    println!("{found}");
    Ok(())
}
