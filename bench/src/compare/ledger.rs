use std::path::Path;
use std::time::{Duration, Instant};

use ledger::{HostKey, HostKeys, Keeping, Writer};

use crate::Arguments;
use crate::machine;
use crate::measure::Run;

const NAME: &str = "ledger";
const KEEPING: Keeping = Keeping { segment: 64 << 20, segments: None, mode: 0o600, synced: false };

/// Writes logs of signed records and verifies each in a process of its own.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    machine::print()?;
    let many = u64::from(arguments.rounds(1_000_000));
    for records in [many / 10, many] {
        let folder = tempfile::tempdir_in(".")?;
        let began = Instant::now();
        write(folder.path(), records)?;
        let took = began.elapsed().as_secs_f64();
        println!(
            "{records} records written in {took:.1} s, {:.0} a second",
            f64::from(u32::try_from(records)?) / took
        );
        let path = folder.path().to_string_lossy().into_owned();
        let ours = std::env::current_exe()?.to_string_lossy().into_owned();
        let run = Run::of(&[ours, "verify-ledger".to_owned(), path])?;
        let each_second = f64::from(u32::try_from(records)?) / run.seconds;
        println!(
            "verified in {:.2} s, {each_second:.0} a second, peak {:.0} KiB resident",
            run.seconds, run.peak_kib
        );
    }
    Ok(())
}

fn write(folder: &Path, records: u64) -> anyhow::Result<()> {
    let key = HostKey::load_or_create(&folder.join("ledger.key"))?;
    let mut writer = Writer::open(folder, NAME, key, KEEPING, Duration::ZERO)?;
    // With what the chain adds, some 600 bytes.
    let text = "x".repeat(230);
    for record in 0..records {
        writer.append(&[format!("{{\"event\":\"open\",\"cookie\":{record},\"text\":\"{text}\"}}")])?;
    }
    Ok(())
}

/// The other side of [`run`].
pub(crate) fn verify(folder: &Path) -> anyhow::Result<()> {
    let keys = HostKeys::read(&folder.join("ledger.key.pub"))?;
    println!("{:?}", ledger::verify(folder, NAME, &keys, |_| {})?);
    Ok(())
}
