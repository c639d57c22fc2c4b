use std::path::PathBuf;

use clap::Args;

/// Where a sensor is that `serve` need not start.
#[derive(Args, Debug)]
pub(crate) struct SensorAt {
    /// Read from a sensor that is a service of its own, as unix:/run/portledger-sensor.sock, and start none
    #[arg(long = "sensor", value_name = "SOCKET", value_parser = socket)]
    pub(crate) socket: Option<PathBuf>,
}

fn socket(text: &str) -> Result<PathBuf, String> {
    let path = text.strip_prefix("unix:").map(PathBuf::from).filter(|path| path.is_absolute());
    path.ok_or_else(|| "not unix:PATH, as in unix:/run/portledger-sensor.sock".to_owned())
}
