use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::sensing::SensorAt;

#[derive(Args, Debug)]
pub(crate) struct ServeOptions {
    /// Address to serve on; may be given several times
    #[arg(long = "web.listen-address", value_name = "ADDRESS", default_value = "127.0.0.1:10433")]
    #[arg(value_parser = listen_address)]
    pub(crate) listen: Vec<SocketAddr>,
    /// File with TLS, users and headers, as other exporters take it
    #[arg(long = "web.config.file", value_name = "FILE")]
    pub(crate) web_config: Option<PathBuf>,
    /// Path of the metrics
    #[arg(long = "web.telemetry-path", value_name = "PATH", default_value = "/metrics", value_parser = telemetry_path)]
    pub(crate) telemetry_path: String,
    #[command(flatten)]
    pub(crate) sensor: SensorAt,
    /// Also export a series for each listener
    #[arg(long = "metrics.listener-info")]
    pub(crate) listener_info: bool,
}

#[derive(Args, Debug)]
pub(crate) struct SensorOptions {
    /// Another sensor ended before this one began
    #[arg(long)]
    pub(crate) again: bool,
}

#[derive(Args, Debug)]
pub(crate) struct LoaderOptions {
    /// Also what tells opens and closes
    #[arg(long)]
    pub(crate) events: bool,
}

/// As exporters write it: `:9100` is every address.
fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let full = if text.starts_with(':') { format!("[::]{text}") } else { text.to_owned() };
    full.parse().map_err(|_| "not ADDRESS:PORT, as in 127.0.0.1:10433, [::1]:10433 or :10433".to_owned())
}

fn telemetry_path(text: &str) -> Result<String, String> {
    let fits = text.starts_with('/')
        && text.len() > 1
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/_-.".contains(&byte));
    let taken = text.starts_with("/-/") || text.starts_with("/api/");
    if fits && !taken { Ok(text.to_owned()) } else { Err("not a path such as /metrics".to_owned()) }
}
