use std::time::Duration;

use crate::Arguments;
use crate::load::Load;
use crate::serving::{Files, Serve};

/// What each process of `serve` keeps in memory after a while.
pub(crate) fn run(arguments: &Arguments, seconds: u64) -> anyhow::Result<()> {
    let _load = arguments.load(Load::LISTENERS).start()?;
    let files = Files::new("")?;
    files.learn(&arguments.portledger)?;
    let serve = Serve::start(&files, &arguments.portledger)?;
    std::thread::sleep(Duration::from_secs(seconds));
    println!("\n{:8} {:>12} {:>12} {:>12}", "", "VmRSS KiB", "VmHWM KiB", "RssAnon KiB");
    for (verb, process) in serve.processes() {
        let [now, peak, own] = ["VmRSS:", "VmHWM:", "RssAnon:"].map(|field| process.kib(field));
        println!("{verb:8} {:>12} {:>12} {:>12}", now?, peak?, own?);
    }
    println!("after {seconds} s");
    Ok(())
}
