use std::net::Ipv4Addr;
use std::path::PathBuf;

use clap::Args;
use exporter::ListenAddress;

use super::sensing::SensorAt;

#[derive(Args, Debug)]
pub(crate) struct ServeOptions {
    /// Address or name, and port, to serve on, or unix:/PATH of a socket; may be given several times [default: 127.0.0.1:10433]
    #[arg(long = "web.listen-address", value_name = "ADDRESS", value_parser = ListenAddress::look_up)]
    listen: Vec<ListenAddress>,
    /// Serve on the sockets that systemd opened, in place of addresses: --web.listen-address has no effect then
    #[arg(long = "web.systemd-socket")]
    pub(crate) systemd_socket: bool,
    /// File with TLS, users and headers, as other exporters take it
    #[arg(long = "web.config.file", value_name = "FILE")]
    pub(crate) web_config: Option<PathBuf>,
    /// Write the metrics as DIR/portledger.prom for node_exporter; nothing listens then unless an address is named
    #[arg(long, value_name = "DIR")]
    pub(crate) textfile: Option<PathBuf>,
    /// Path of the metrics
    #[arg(long = "web.telemetry-path", value_name = "PATH", default_value = "/metrics", value_parser = telemetry_path)]
    pub(crate) telemetry_path: String,
    /// By which address others reach these pages: links in alerts begin with it
    #[arg(long = "web.external-url", value_name = "URL", value_parser = external_url)]
    pub(crate) external_url: Option<String>,
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

/// Nobody else uses this port (Prometheus' wiki of default ports).
const PORT: u16 = 10433;

impl ServeOptions {
    /// Whether an address is named.
    pub(crate) fn names_addresses(&self) -> bool {
        !self.listen.is_empty()
    }

    /// Where to listen.
    pub(crate) fn listen(&self) -> Vec<ListenAddress> {
        match self.listen.as_slice() {
            [] if self.textfile.is_some() => Vec::new(),
            [] => vec![ListenAddress::Tcp((Ipv4Addr::LOCALHOST, PORT).into())],
            named => named.to_vec(),
        }
    }
}

/// Without a `/` at its end. It stands in what is sent to others, so it is plain.
pub(super) fn external_url(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_plain = |rest: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/[]%".contains(&byte);
        !rest.is_empty() && !rest.starts_with('/') && rest.bytes().all(fits)
    };
    match rest.is_some_and(is_plain) {
        true => Ok(text.trim_end_matches('/').to_owned()),
        false => Err("not a URL such as https://web-17.example.org/portledger".to_owned()),
    }
}

fn telemetry_path(text: &str) -> Result<String, String> {
    let fits = text.starts_with('/')
        && text.len() > 1
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/_-.".contains(&byte));
    let taken = ["/-/", "/api/", "/drift/", "/runbooks/"].iter().any(|taken| text.starts_with(taken));
    if fits && !taken { Ok(text.to_owned()) } else { Err("not a path such as /metrics".to_owned()) }
}
