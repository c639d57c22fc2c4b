use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::arguments::Shared;
use crate::log::log_to_stderr;
use crate::outcome::Outcome;

const FIRST_DELAY: Duration = Duration::from_millis(500);
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// A sensor that ran so long was well: the next restart is quick again.
const WELL_AFTER: Duration = Duration::from_secs(60);

/// Starts the sensor on our standard output and starts it again, with back-off, for as long as somebody reads there.
/// `serve` cannot: it has given its privileges away for good. For the same reason its end gives no signal to us, who
/// are root: the end of the socket tells.
pub(crate) fn run(shared: &Shared) -> anyhow::Result<Outcome> {
    log_to_stderr();
    let mut delay = FIRST_DELAY;
    let mut again = false;
    while somebody_reads_for(Duration::ZERO)? {
        let began = Instant::now();
        let mut sensor = sensor(shared, again).spawn().context("cannot start the sensor")?;
        let status = match wait(&mut sensor)? {
            Some(status) => status,
            None => break,
        };
        if began.elapsed() >= WELL_AFTER {
            delay = FIRST_DELAY;
        }
        if !somebody_reads_for(Duration::ZERO)? {
            break;
        }
        tracing::warn!("the sensor ended ({status}); it is started again in {:.1} s", delay.as_secs_f32());
        somebody_reads_for(delay)?;
        again = true;
        delay = (delay * 2).min(LONGEST_DELAY);
    }
    Ok(Outcome::Clean)
}

/// Waits for the sensor's end, or for that of the reader: then the sensor is ended, also where it hangs or is stopped.
fn wait(sensor: &mut Child) -> anyhow::Result<Option<ExitStatus>> {
    let output = std::io::stdout();
    let process =
        pidfd_open(Pid::from_child(sensor), PidfdFlags::empty()).context("cannot watch the sensor")?;
    loop {
        let mut polled = [PollFd::new(&process, PollFlags::IN), PollFd::new(&output, PollFlags::empty())];
        match poll(&mut polled, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot watch the sensor"),
        }
        if !polled[0].revents().is_empty() {
            return Ok(Some(sensor.wait()?));
        }
        if polled[1].revents().intersects(PollFlags::HUP | PollFlags::ERR) {
            sensor.kill()?;
            sensor.wait()?;
            return Ok(None);
        }
    }
}

/// Waits so long, or until the other end of our standard output is closed.
fn somebody_reads_for(wait: Duration) -> anyhow::Result<bool> {
    let output = std::io::stdout();
    let mut polled = [PollFd::new(&output, PollFlags::empty())];
    let wait = Timespec { tv_sec: wait.as_secs().try_into()?, tv_nsec: wait.subsec_nanos().into() };
    match poll(&mut polled, Some(&wait)) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error).context("cannot watch the standard output"),
    }
    Ok(!polled[0].revents().intersects(PollFlags::HUP | PollFlags::ERR))
}

/// Starts what writes frames. They come from the socket that it gives back: a packet socket keeps them apart, so that a
/// sensor which dies in the middle of one tears nothing. Both ends refuse the other direction.
pub(crate) fn start(mut writer: Command) -> anyhow::Result<(OwnedFd, Child)> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .context("cannot make the socket that frames come from")?;
    rustix::net::shutdown(&ours, rustix::net::Shutdown::Write)
        .context("cannot make the socket that frames come from one-way")?;
    let child = writer.stdin(Stdio::null()).stdout(theirs).spawn().context("cannot start the sensor")?;
    Ok((ours, child))
}

/// The running program itself, also where its file was replaced: both ends of the frames must be one release.
fn sensor(shared: &Shared, again: bool) -> Command {
    let mut command = myself("sensor", shared);
    command.stdin(Stdio::null());
    if again {
        command.arg("--again");
    }
    command
}

/// This program with another verb and the same shared flags.
pub(crate) fn myself(verb: &str, shared: &Shared) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("portledger").arg(verb);
    if let Some(file) = &shared.config {
        command.arg("--config").arg(file);
    }
    if let Some(folder) = &shared.state {
        command.arg("--state").arg(folder);
    }
    for file in &shared.baseline {
        command.arg("--baseline").arg(file);
    }
    command
}
