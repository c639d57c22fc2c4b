use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::Value;

/// A receiver of alerts that takes all that it is told.
pub(crate) struct Sink {
    port: u16,
    calls: Receiver<Call>,
}

/// What was posted at once, and when all of it was there.
pub(crate) struct Call {
    pub(crate) at: Instant,
    body: Vec<u8>,
}

impl Sink {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        let (sender, calls) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let sender = sender.clone();
                std::thread::spawn(move || {
                    if let Err(error) = answer(stream, &sender) {
                        eprintln!("the receiver of alerts: {error:#}");
                    }
                });
            }
        });
        Ok(Sink { port, calls })
    }

    /// What portledger.toml says of it.
    pub(crate) fn configuration(&self) -> String {
        let port = self.port;
        format!("alerting = \"post\"\n\n[[webhook]]\nname = \"sink\"\nurl = \"http://127.0.0.1:{port}/\"\n")
    }

    /// The next call; `None` where none comes for so long.
    pub(crate) fn next(&self, within: Duration) -> anyhow::Result<Option<Call>> {
        match self.calls.recv_timeout(within) {
            Ok(call) => Ok(Some(call)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => bail!("nobody receives alerts any more"),
        }
    }
}

impl Call {
    /// Which drifts fire by it: their ids, addresses and ports.
    pub(crate) fn firing(&self) -> anyhow::Result<Vec<(String, String, String)>> {
        let body: Value = serde_json::from_slice(&self.body)?;
        let alerts = body["alerts"].as_array().context("a call without alerts")?;
        let firing = alerts.iter().filter(|alert| alert["status"] == "firing");
        firing.map(|alert| Ok((text(alert, "id")?, text(alert, "address")?, text(alert, "port")?))).collect()
    }
}

fn text(alert: &Value, field: &str) -> anyhow::Result<String> {
    Ok(alert[field].as_str().with_context(|| format!("an alert without {field}"))?.to_owned())
}

/// One request after the other, until the other side has no more.
fn answer(stream: TcpStream, calls: &Sender<Call>) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    while let Some(length) = head(&mut reader)? {
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let at = Instant::now();
        writer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
        // Nobody asks any more: the measurement is over.
        let _over = calls.send(Call { at, body });
    }
    Ok(())
}

/// The length of the body that follows.
fn head(reader: &mut impl BufRead) -> anyhow::Result<Option<usize>> {
    let mut length = None;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        match line.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = Some(value.trim().parse()?);
            }
            Some(_) => {}
            None if line.trim_end().is_empty() => return Ok(Some(length.context("no length")?)),
            None => {}
        }
    }
}
