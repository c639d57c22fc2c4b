use std::path::PathBuf;

use anyhow::{Context, bail};
use exporter::{AlertReceiver, AlertReceiverKeys, AlertReceiverKind, TlsFiles};
use serde::Deserialize;

use super::Config;

/// Who alerts of drift: one of them, never both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Alerting {
    /// Prometheus, by the rules in `monitoring/rules/`.
    #[default]
    Rules,
    /// `serve`, which posts.
    Post,
}

/// `[[alertmanager]]` or `[[webhook]]` as it is written. Secrets stand in files of their own.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AlertReceiverTable {
    name: String,
    url: String,
    ca: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    user: Option<String>,
    password_file: Option<PathBuf>,
    bearer_file: Option<PathBuf>,
}

impl Config {
    /// Whom alerts are posted to; `None` where rules alert. A receiver that would be told nothing is a mistake: somebody
    /// relies on it.
    pub(crate) fn post_to(&self) -> anyhow::Result<Option<Vec<AlertReceiver>>> {
        let mut receivers: Vec<AlertReceiver> = Vec::new();
        let tables = [
            (AlertReceiverKind::Alertmanager, &self.alertmanager),
            (AlertReceiverKind::Webhook, &self.webhook),
        ];
        for (kind, table) in
            tables.into_iter().flat_map(|(kind, tables)| tables.iter().map(move |table| (kind, table)))
        {
            let place = || format!("[[{}]] `{}`", kind.as_str(), table.name);
            if receivers.iter().any(|other| other.name() == table.name) {
                bail!("{}: another one has this name, under which its position is kept", place());
            }
            receivers.push(AlertReceiver::new(kind, table.clone().into()).with_context(place)?);
        }
        match (self.alerting, receivers.first()) {
            (Alerting::Rules, None) => Ok(None),
            (Alerting::Rules, Some(receiver)) => bail!(
                "receiver `{}` would have no effect, since Prometheus' rules alert: say `alerting = \"post\"`, or take it out",
                receiver.name()
            ),
            (Alerting::Post, None) => bail!(
                "`alerting = \"post\"` and nobody to post to: name somebody as [[alertmanager]] or [[webhook]]"
            ),
            (Alerting::Post, Some(_)) => Ok(Some(receivers)),
        }
    }
}

impl From<AlertReceiverTable> for AlertReceiverKeys {
    fn from(table: AlertReceiverTable) -> Self {
        let AlertReceiverTable { name, url, ca, certificate, key, user, password_file, bearer_file } = table;
        let tls = TlsFiles { ca, certificate, key };
        AlertReceiverKeys { name, url, tls, user, password_file, bearer_file }
    }
}
