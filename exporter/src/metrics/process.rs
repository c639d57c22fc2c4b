use std::time::{Duration, SystemTime};

use procfs::process::{LimitValue, Process};
use procfs::{ProcError, ProcResult};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use rustix::time::{ClockId, clock_gettime};
use tracing::debug;

use super::family::{Family, number, total};

const CPU: Family =
    Family::counter("process_cpu_seconds_total", "User and system CPU time spent in seconds.", &[]);
const OPEN_FDS: Family = Family::gauge("process_open_fds", "Open file descriptors.", &[]);
const MAX_FDS: Family = Family::gauge("process_max_fds", "The most file descriptors that can be open.", &[]);
const VIRTUAL: Family = Family::gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.", &[]);
const RESIDENT: Family =
    Family::gauge("process_resident_memory_bytes", "Resident memory size in bytes.", &[]);
const START: Family =
    Family::gauge("process_start_time_seconds", "When the process started, in seconds since the epoch.", &[]);

const ALL: [&Family; 6] = [&CPU, &OPEN_FDS, &MAX_FDS, &VIRTUAL, &RESIDENT, &START];

/// The standard process metrics of the exporter itself. What cannot be read is left out.
pub(super) struct ProcessMetrics {
    descriptions: Vec<Desc>,
    /// In seconds since the epoch, by the clock as it was when this was made.
    started_at: Option<f64>,
}

impl ProcessMetrics {
    pub(super) fn new() -> Result<Self, prometheus::Error> {
        let describe = |family: &&Family| {
            Desc::new(family.name.to_owned(), family.help.to_owned(), Vec::new(), Default::default())
        };
        Ok(ProcessMetrics {
            descriptions: ALL.iter().map(describe).collect::<Result<_, _>>()?,
            started_at: started_at(),
        })
    }
}

impl Collector for ProcessMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let read = Process::myself().map(|process| [usage(&process), descriptors(&process)]);
        let (families, errors) = match read {
            Ok(parts) => split(parts),
            Err(error) => (Vec::new(), vec![error]),
        };
        let started_at = self.started_at.map(|seconds| START.single(seconds));
        for error in errors {
            debug!("a part of the exporter's own process metrics is left out: {error}");
        }
        families.into_iter().chain(started_at).collect()
    }
}

/// Without /proc/stat, which a unit with `ProcSubset=pid` takes away.
fn started_at() -> Option<f64> {
    let ticks = Process::myself().and_then(|process| process.stat()).ok()?.starttime;
    let since_boot = Duration::try_from(clock_gettime(ClockId::Boottime)).ok()?;
    let age = since_boot.as_secs_f64() - total(ticks) / total(procfs::ticks_per_second());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(((now.as_secs_f64() - age) * 100.0).round() / 100.0)
}

fn split(parts: [ProcResult<Vec<MetricFamily>>; 2]) -> (Vec<MetricFamily>, Vec<ProcError>) {
    let (mut families, mut errors) = (Vec::new(), Vec::new());
    for part in parts {
        match part {
            Ok(part) => families.extend(part),
            Err(error) => errors.push(error),
        }
    }
    (families, errors)
}

fn usage(process: &Process) -> ProcResult<Vec<MetricFamily>> {
    let stat = process.stat()?;
    let ticks = total(procfs::ticks_per_second());
    Ok(vec![
        CPU.single((total(stat.utime) + total(stat.stime)) / ticks),
        VIRTUAL.single(total(stat.vsize)),
        RESIDENT.single(total(stat.rss.saturating_mul(procfs::page_size()))),
    ])
}

fn descriptors(process: &Process) -> ProcResult<Vec<MetricFamily>> {
    let mut families = vec![OPEN_FDS.single(number(process.fd_count()?))];
    // No limit is no sample.
    if let LimitValue::Value(most) = process.limits()?.max_open_files.soft_limit {
        families.push(MAX_FDS.single(total(most)));
    }
    Ok(families)
}
