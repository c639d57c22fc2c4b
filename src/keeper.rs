use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use inventory::frame::{Message, encode};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socketpair};
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
    sensor::confine_keeper()?;
    let mut delay = FIRST_DELAY;
    let mut restarts = Restarts::default();
    while somebody_reads_for(Duration::ZERO)? {
        let began = Instant::now();
        let mut sensor = sensor(shared, restarts.times > 0).spawn().context("cannot start the sensor")?;
        let status = match wait(&mut sensor, &mut restarts)? {
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
        restarts.times = restarts.times.saturating_add(1);
        delay = (delay * 2).min(LONGEST_DELAY);
    }
    Ok(Outcome::Clean)
}

/// How often the sensor was started again. Whoever killed it hid what happened meanwhile, so the reader is told.
#[derive(Default)]
struct Restarts {
    times: u32,
    told: u32,
}

impl Restarts {
    /// Waits for nothing: a reader that hangs keeps the sensor as little.
    fn tell(&mut self) -> anyhow::Result<()> {
        let frame = encode(&Message::StartedAgain(self.times)).context("cannot tell of a restart")?;
        match send(std::io::stdout(), &frame, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(_) => self.told = self.times,
            // The end of the reader is seen by whoever waits for it.
            Err(Errno::AGAIN | Errno::INTR | Errno::PIPE | Errno::CONNRESET) => {}
            Err(error) => return Err(error).context("cannot tell of a restart"),
        }
        Ok(())
    }
}

/// Waits for the sensor's end, or for that of the reader: then the sensor is ended, also where it hangs or is stopped.
/// What is not told of restarts is told as soon as there is room.
fn wait(sensor: &mut Child, restarts: &mut Restarts) -> anyhow::Result<Option<ExitStatus>> {
    let output = std::io::stdout();
    let process =
        pidfd_open(Pid::from_child(sensor), PidfdFlags::empty()).context("cannot watch the sensor")?;
    loop {
        let of_output = if restarts.told < restarts.times { PollFlags::OUT } else { PollFlags::empty() };
        let mut polled = [PollFd::new(&process, PollFlags::IN), PollFd::new(&output, of_output)];
        match poll(&mut polled, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot watch the sensor"),
        }
        if polled[1].revents().contains(PollFlags::OUT) {
            restarts.tell()?;
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
