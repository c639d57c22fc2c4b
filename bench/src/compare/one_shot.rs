use crate::Arguments;
use crate::load::Load;
use crate::measure::{Run, median, pairs};
use crate::serving::Files;

/// Runs `list` and `ss -tulpn` in turn, over a million descriptors and where next to nothing runs.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let files = Files::new("")?;
    let ours = files.portledger(&arguments.portledger, &["list"]);
    let theirs: Vec<String> = ["ss", "-tulpn"].map(str::to_owned).to_vec();
    let nothing = Load { processes: 1, listeners: 1, each: 1, ..Load::default() };
    let usual = Load { processes: 100, fds: 2_000, listeners: 30, shared: 5, each: 1, ..Load::default() };
    let million = Load { fds: 1_000_000, ..Load::LISTENERS };
    for (load, rounds) in [(nothing, 40), (usual, 40), (million, 5)] {
        let _load = arguments.load(load).start()?;
        let rounds = arguments.rounds(rounds);
        let pairs = pairs(&ours, &theirs, rounds)?;
        let of = |pick: fn(&(Run, Run)) -> f64| median(pairs.iter().map(pick).collect());
        println!(
            "list: median {:.2} ms, ss -tulpn {:.2} ms, {:.2} times as fast (median of {rounds} pairs)\n",
            of(|(ours, _)| ours.seconds) * 1e3,
            of(|(_, theirs)| theirs.seconds) * 1e3,
            of(|(ours, theirs)| theirs.seconds / ours.seconds)
        );
    }
    Ok(())
}
