use std::ops::Range;

use toml::de::DeTable;

use super::Reader;
use super::approval::Defaults;
use super::fields::Fields;
use crate::ScopeRule;

const KEYS: [&str; 5] = ["listen", "netns", "judged", "reason", "hosts"];

impl Reader<'_> {
    pub(super) fn read_scope(
        &mut self,
        table: &DeTable<'_>,
        span: Range<usize>,
        defaults: &Defaults,
    ) -> Option<ScopeRule> {
        let mut fields = Fields::new(self, table, span.clone());
        fields.only(&KEYS, "a scope");
        if !fields.has("listen") && !fields.has("netns") {
            fields.complain(
                span.clone(),
                "a scope wants `listen`, `netns` or both: without them it is for everything",
            );
        }
        let judged = fields.flag("judged");
        if !fields.has("judged") {
            fields.complain(span.clone(), "a scope wants `judged = true` or `judged = false`");
        }
        let reason = fields.text("reason");
        if judged == Some(false) && !fields.has("reason") {
            fields.complain(
                span,
                "a scope that is not judged wants a `reason`: somebody will ask why nobody looked",
            );
        }
        let hosts = if fields.has("hosts") { fields.hosts() } else { defaults.hosts.clone() };
        Some(ScopeRule { listen: fields.listen(), netns: fields.netns(), judged: judged?, reason, hosts })
    }
}
