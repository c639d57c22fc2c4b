use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use rustix::net::Shutdown;

use crate::arguments::Shared;
use crate::keeper;

/// How long a sensor may take to see that nobody reads.
const FAREWELL: Duration = Duration::from_secs(1);

/// The process that looks. It ends by itself when nobody reads, and is ended where it does not.
pub(crate) struct Sensor {
    pub(crate) frames: OwnedFd,
    child: Child,
}

impl Sensor {
    /// In a process group of its own: Ctrl-C is for us alone, and we end it. What it would log we tell by ourselves.
    pub(crate) fn start(shared: &Shared) -> anyhow::Result<Self> {
        let mut command = keeper::myself("sensor", shared);
        command.process_group(0);
        if std::env::var_os("RUST_LOG").is_none() {
            command.env("RUST_LOG", "error");
        }
        let (frames, child) = keeper::start(command)?;
        Ok(Sensor { frames, child })
    }

    /// What it ended with; `None` where it had to be killed.
    pub(crate) fn end(&mut self) -> std::io::Result<Option<ExitStatus>> {
        rustix::net::shutdown(&self.frames, Shutdown::Both)?;
        let deadline = Instant::now() + FAREWELL;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some(status));
            }
            if Instant::now() >= deadline {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.child.kill()?;
        self.child.wait()?;
        Ok(None)
    }
}
