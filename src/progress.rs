use std::io::{IsTerminal, Write};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Says on a terminal what takes longer than a second, and takes the words back when it is dropped.
pub(crate) struct Progress {
    running: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Progress {
    pub(crate) fn of(what: &'static str) -> Self {
        if !std::io::stderr().is_terminal() {
            return Progress { running: None };
        }
        let (stop, stopped) = channel::<()>();
        let began = Instant::now();
        let thread = std::thread::spawn(move || {
            let mut shown = false;
            while stopped.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
                shown = true;
                say(&format!("{what} … {} s", began.elapsed().as_secs()));
            }
            if shown {
                say("");
            }
        });
        Progress { running: Some((stop, thread)) }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            drop(stop);
            // A thread that only prints has nothing to tell at its end.
            drop(thread.join());
        }
    }
}

/// Replaces the terminal's current line. One that cannot be written to needs no progress.
fn say(words: &str) {
    let mut terminal = std::io::stderr().lock();
    if write!(terminal, "\r\x1b[K{words}").is_ok() {
        terminal.flush().unwrap_or_default();
    }
}
