use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use baseline::{Mode, Remedy, SeverityRules, Signatures};
use exporter::{Receiver, TlsFiles};
use ipnet::IpNet;
use serde::{Deserialize, Deserializer};

use crate::paths::{Paths, trusted_owner};

/// portledger.toml. Every key may be left out.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// The host's name in `hosts` of approvals, in place of the kernel's.
    pub(crate) host: Option<String>,
    /// What `@group` in an approval's `hosts` refers to.
    pub(crate) groups: Vec<String>,
    /// `observe` tells all drift as info; left out, it is `observe` until there is a baseline.
    #[serde(deserialize_with = "mode")]
    pub(crate) mode: Option<Mode>,
    /// How long something required may be absent.
    #[serde(deserialize_with = "some_duration")]
    pub(crate) missing_after: Option<Duration>,
    /// Whether approvals must be signed.
    #[serde(deserialize_with = "signatures")]
    pub(crate) signatures: Signatures,
    /// How many people it takes to approve something: 1 or 2.
    #[serde(deserialize_with = "approvers")]
    pub(crate) approvers: Count,
    /// What it takes two of them for.
    pub(crate) approvers_for: ApproversFor,
    /// Who may sign; default: `allowed_signers` beside this file.
    pub(crate) allowed_signers: Option<PathBuf>,
    /// Keys that never count; default: `revoked_keys` beside this file.
    pub(crate) revoked_keys: Option<PathBuf>,
    /// How long an approval holds that is written on the host itself, where nobody says so.
    #[serde(deserialize_with = "some_duration")]
    pub(crate) local_approvals: Option<Duration>,
    pub(crate) reach: Reach,
    pub(crate) sensor: Sensor,
    /// How grave drift is.
    #[serde(deserialize_with = "severity::rules")]
    pub(crate) severity: SeverityRules,
    /// How long it may be open.
    remedy: RemedyTable,
    web: WebTable,
    /// To whom the logs go.
    export: Vec<Export>,
    /// Who alerts of drift.
    alerting: Alerting,
    alertmanager: Vec<AlertReceiverTable>,
    webhook: Vec<AlertReceiverTable>,
}

mod alerting;
mod severity;
mod web;

use alerting::{AlertReceiverTable, Alerting};
use severity::RemedyTable;
pub(crate) use web::Web;
use web::WebTable;

/// One receiver of logs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Export {
    name: String,
    to: String,
    ca: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    logs: Option<Vec<String>>,
    facility: Option<String>,
}

/// How many people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Count {
    #[default]
    One,
    Two,
}

/// What two people are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ApproversFor {
    /// Every approval.
    #[default]
    All,
    /// What is bound to all addresses or reaches the public.
    Exposed,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Reach {
    /// Networks that are public although their addresses are private: those behind 1:1 NAT.
    pub(crate) public: Vec<IpNet>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Sensor {
    /// How often `serve` looks.
    #[serde(deserialize_with = "a_duration")]
    pub(crate) interval: Duration,
    /// How often `serve` looks where events tell the rest.
    #[serde(deserialize_with = "a_duration")]
    pub(crate) reconcile: Duration,
    /// How many network namespaces one pass looks into.
    pub(crate) namespaces: usize,
    /// Names of further options and variables whose values are secret.
    pub(crate) redact: Vec<String>,
}

impl Default for Sensor {
    fn default() -> Self {
        Sensor {
            interval: Duration::from_secs(2),
            reconcile: Duration::from_secs(300),
            namespaces: 1000,
            redact: Vec::new(),
        }
    }
}

impl Config {
    /// Reads the configuration; without a file, the defaults.
    pub(crate) fn load(paths: &Paths) -> anyhow::Result<Self> {
        let path = &paths.config;
        let Some(source) = baseline::read_trusted(path, trusted_owner())? else {
            if paths.config_was_named {
                bail!("{}: no such file", path.display());
            }
            return Ok(Config::default());
        };
        Config::parse(path, &source.text)
    }

    fn parse(path: &Path, text: &str) -> anyhow::Result<Self> {
        let config: Config = toml::from_str(text).with_context(|| path.display().to_string())?;
        let interval = config.sensor.interval;
        if !(Duration::from_millis(100)..=Duration::from_secs(3600)).contains(&interval) {
            bail!("{}: sensor.interval must lie between 100ms and 1h", path.display());
        }
        if !(Duration::from_secs(1)..=Duration::from_secs(86_400)).contains(&config.sensor.reconcile) {
            bail!("{}: sensor.reconcile must lie between 1s and 1d", path.display());
        }
        if config.approvers == Count::Two && config.signatures != Signatures::Required {
            bail!(
                "{}: `approvers = 2` wants `signatures = \"required\"`: without signatures one person can write two names",
                path.display()
            );
        }
        if config.sensor.namespaces == 0 {
            bail!("{}: sensor.namespaces must be at least 1", path.display());
        }
        config.receivers().with_context(|| path.display().to_string())?;
        config.web().with_context(|| path.display().to_string())?;
        config.post_to().with_context(|| path.display().to_string())?;
        Ok(config)
    }

    /// To whom the logs go.
    pub(crate) fn receivers(&self) -> anyhow::Result<Vec<Receiver>> {
        let mut receivers: Vec<Receiver> = Vec::new();
        for export in &self.export {
            let Export { name, to, ca, certificate, key, logs, facility } = export.clone();
            let files = TlsFiles { ca, certificate, key };
            let receiver = Receiver::new(&name, &to, files, logs.as_deref(), facility.as_deref())
                .with_context(|| format!("[[export]] `{name}`"))?;
            if receivers.iter().any(|other| other.name() == name) {
                bail!("[[export]] `{name}`: another one has this name, under which its position is kept");
            }
            receivers.push(receiver);
        }
        Ok(receivers)
    }

    /// How long it may be open.
    pub(crate) fn remedy(&self) -> Remedy {
        self.remedy.read()
    }

    /// Who may ask by HTTP, and what for.
    pub(crate) fn web(&self) -> anyhow::Result<Web> {
        self.web.read()
    }
}

/// Reads `90s`, `5m`, `12h`, `30d` or `8w`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let millis: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "w" => 604_800_000,
        _ => return Err(format!("`{text}` is no time such as 90s, 5m, 12h, 30d or 8w")),
    };
    let amount = number.parse::<u64>().ok().and_then(|number| number.checked_mul(millis));
    // A century: what is added to today's date must stay a date.
    match amount {
        Some(amount @ 1..=3_155_760_000_000) => Ok(Duration::from_millis(amount)),
        _ => Err(format!("`{text}` is not between 1ms and a hundred years")),
    }
}

fn a_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    duration(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

fn some_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    a_duration(deserializer).map(Some)
}

fn signatures<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Signatures, D::Error> {
    const WORDS: [Signatures; 3] = [Signatures::Required, Signatures::Recorded, Signatures::Off];
    let word = String::deserialize(deserializer)?;
    let known = WORDS.into_iter().find(|known| known.as_str() == word);
    known.ok_or_else(|| serde::de::Error::unknown_variant(&word, &["required", "recorded", "off"]))
}

fn approvers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Count, D::Error> {
    match u64::deserialize(deserializer)? {
        1 => Ok(Count::One),
        2 => Ok(Count::Two),
        other => Err(serde::de::Error::custom(format!("`approvers` is 1 or 2, not {other}"))),
    }
}

fn mode<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Mode>, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "observe" => Ok(Some(Mode::Observe)),
        "enforce" => Ok(Some(Mode::Enforce)),
        other => Err(serde::de::Error::unknown_variant(other, &["observe", "enforce"])),
    }
}

#[cfg(test)]
mod tests {
    use exporter::Right;

    use super::*;

    #[test]
    fn every_key_is_read() {
        let text = r#"
            host = "web-017"
            groups = ["web"]
            mode = "observe"
            missing_after = "10m"
            [reach]
            public = ["10.1.0.0/16"]
            [sensor]
            interval = "500ms"
            namespaces = 7
            redact = ["--pin"]
            [web]
            allow = ["10.1.0.0/16", "2001:db8::/32", "127.0.0.1", "::1"]
            read_only = false
            [[web.role]]
            users = ["prom"]
            certificates = ["prom.example.org"]
            may = ["metrics", "health"]
            [[export]]
            name = "siem"
            to = "syslog+tls://logs.example.org:6514"
            ca = "/etc/portledger/logs-ca.pem"
            logs = ["ledger"]
            facility = "local3"
            [[export]]
            name = "here"
            to = "journald"
        "#;
        let config = Config::parse(Path::new("c.toml"), text).unwrap();
        assert_eq!(config.host.as_deref(), Some("web-017"));
        assert_eq!(config.mode, Some(Mode::Observe));
        assert_eq!(config.missing_after, Some(Duration::from_secs(600)));
        assert_eq!(config.reach.public, ["10.1.0.0/16".parse().unwrap()]);
        assert_eq!(config.sensor.interval, Duration::from_millis(500));
        let web = config.web().unwrap();
        let allowed: Vec<String> = web.allow.iter().map(ToString::to_string).collect();
        assert_eq!(allowed, ["10.1.0.0/16", "2001:db8::/32", "127.0.0.1/32", "::1/128"]);
        assert!(!web.read_only);
        assert_eq!(web.roles[0].may, [Right::Metrics, Right::Health].into());
        let receivers = config.receivers().unwrap();
        assert_eq!(receivers.iter().map(Receiver::name).collect::<Vec<_>>(), ["siem", "here"]);
        assert_eq!((config.sensor.namespaces, config.sensor.redact), (7, vec!["--pin".to_owned()]));
    }

    #[test]
    fn a_mistake_is_told_with_its_place() {
        for (text, told) in [
            ("mood = 'observe'", "unknown field `mood`"),
            ("mode = 'off'", "unknown variant `off`"),
            ("\n[sensor]\ninterval = '5 minutes'", "line 3"),
            ("[sensor]\ninterval = '1ms'", "between 100ms and 1h"),
            ("[sensor]\nnamespaces = 0", "at least 1"),
            ("[web]\nallow = ['10.1.0.0/99']", "line 2"),
            (
                "[web]\nallow = ['10.1.0.999']",
                "`10.1.0.999` is no network such as 10.0.0.0/8, nor an address",
            ),
            ("[web]\nallow = ['::ffff:10.1.0.1']", "write it as one of IPv4"),
            ("[web]\nallow = ['::ffff:10.1.0.0/112']", "write it as one of IPv4"),
            ("[web]\nallow = []", "nobody could ask"),
            ("[web]\napi_socket = 'api.sock'", "neither an absolute path nor"),
            ("[web]\nports = 1", "unknown field `ports`"),
            ("[[web.role]]\nusers = ['a']\nmay = ['all']", "`all` is none of metrics, drift"),
            ("[[web.role]]\nmay = ['drift']", "neither `users` nor `certificates`"),
            ("[reach]\npublic = ['10.1.0.0/99']", "line 2"),
            ("[[export]]\nname = 'a'", "missing field `to`"),
            ("[[export]]\nname = 'a'\nto = 'journald'\nport = 1", "unknown field `port`"),
            ("[[export]]\nname = 'a'\nto = 'udp://a:1'", "[[export]] `a`: `to` is syslog+tls://"),
            ("alerting = 'both'", "unknown variant `both`"),
            ("alerting = 'post'", "nobody to post to"),
            ("[[webhook]]\nname = 'a'\nurl = 'http://a'", "would have no effect"),
            ("alerting = 'post'\n[[webhook]]\nname = 'a'\nurl = 'a'", "[[webhook]] `a`: `url` is http://"),
            (
                "alerting = 'post'\n[[webhook]]\nname = 'a'\nurl = 'http://a'\npassword = 'x'",
                "unknown field `password`",
            ),
            (
                "alerting = 'post'\nwebhook = [{name = 'a', url = 'http://a'}]\nalertmanager = [{name = 'a', url = 'http://b'}]",
                "another one has this name",
            ),
            (
                "export = [{name = 'a', to = 'journald'}, {name = 'a', to = 'journald'}]",
                "another one has this name",
            ),
        ] {
            let error = Config::parse(Path::new("c.toml"), text).unwrap_err();
            let message = format!("{error:#}");
            assert!(message.starts_with("c.toml") && message.contains(told), "{message}");
        }
    }

    #[test]
    fn times_are_read_in_units() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("30d"), Ok(Duration::from_secs(30 * 86_400)));
        for text in ["", "0s", "5", "d", "-1d", "1y", "99999999999999999999d", "9999999w"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
