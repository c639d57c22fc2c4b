use baseline::{Listen, Wanted};
use inventory::RawText;
use jiff::Timestamp;
use ledger::ActKind;

use super::records::Record;
use crate::learn;

/// Which records are asked for; what is not said lets all pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    /// A user, a principal or the fingerprint of a key.
    pub(crate) user: Option<String>,
    pub(crate) since: Option<Timestamp>,
    pub(crate) until: Option<Timestamp>,
    /// Any of them; empty for all.
    pub(crate) acts: Vec<ActKind>,
    pub(crate) endpoint: Option<Wanted>,
    pub(crate) approval: Option<String>,
}

impl Filter {
    /// It asks for nothing in particular.
    pub(crate) fn takes_all(&self) -> bool {
        *self == Filter::default()
    }

    pub(crate) fn passes(&self, record: &Record) -> bool {
        self.is_timely(record)
            && self.user.as_ref().is_none_or(|user| is_by(record, user))
            && (self.acts.is_empty() || self.acts.iter().any(|act| record.text("act") == Some(act.as_str())))
            && self.approval.as_ref().is_none_or(|id| record.text("approval") == Some(id))
            && self.endpoint.as_ref().is_none_or(|wanted| is_about(record, wanted))
    }

    /// A record that does not say when may be of any time.
    fn is_timely(&self, record: &Record) -> bool {
        let Some(time) = record.time() else { return true };
        self.since.is_none_or(|since| since <= time) && self.until.is_none_or(|until| time <= until)
    }
}

fn is_by(record: &Record, user: &str) -> bool {
    let told = |field| record.text_in("who", field);
    told("user") == Some(&RawText::from(user).escaped())
        || told("principal") == Some(user)
        || told("key") == Some(user)
}

/// What is no endpoint as this release reads them may be any. So may be what a long act did not name.
fn is_about(record: &Record, wanted: &Wanted) -> bool {
    let mut listens = Vec::new();
    let forms =
        ["old", "new"].iter().filter_map(|field| record.fields.get(*field)?.get("listen")?.as_array());
    let in_forms = forms.flatten().filter_map(serde_json::Value::as_str);
    // A record of `serve` has them in the approval alone.
    let in_forms = in_forms.filter(|_| record.text("event").is_some());
    for text in record.texts("endpoints").chain(in_forms) {
        match text.parse::<Listen>() {
            Ok(listen) => listens.push(listen),
            Err(_) => return true,
        }
    }
    listens.len() >= learn::RECORDED || wanted.covered_by(&listens).is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record() -> Record {
        let fields = json!({
            "time": "2026-03-14T09:00:00Z", "act": "approve", "approval": "web",
            "who": {"user": "alice", "uid": 0, "principal": "alice@example.org", "key": "SHA256:abc"},
            "endpoints": ["tcp/*:8443"],
        });
        Record { number: 1, vouched: true, fields: fields.as_object().unwrap().clone() }
    }

    #[test]
    fn each_filter_lets_pass_what_it_names() {
        let none = Filter::default;
        let time = |text: &str| text.parse().ok();
        let cases = [
            ("nothing", none(), true),
            ("user", Filter { user: Some("alice".into()), ..none() }, true),
            ("principal", Filter { user: Some("alice@example.org".into()), ..none() }, true),
            ("key", Filter { user: Some("SHA256:abc".into()), ..none() }, true),
            ("another user", Filter { user: Some("alic".into()), ..none() }, false),
            ("since", Filter { since: time("2026-03-14T09:00:00Z"), ..none() }, true),
            ("since later", Filter { since: time("2026-03-14T09:00:01Z"), ..none() }, false),
            ("until", Filter { until: time("2026-03-14T09:00:00Z"), ..none() }, true),
            ("until before", Filter { until: time("2026-03-14T08:59:59Z"), ..none() }, false),
            ("act", Filter { acts: vec![ActKind::Revoke, ActKind::Approve], ..none() }, true),
            ("another act", Filter { acts: vec![ActKind::Revoke], ..none() }, false),
            ("approval", Filter { approval: Some("web".into()), ..none() }, true),
            ("another approval", Filter { approval: Some("we".into()), ..none() }, false),
            ("port", Filter { endpoint: "8443".parse().ok(), ..none() }, true),
            ("address", Filter { endpoint: "10.0.0.1".parse().ok(), ..none() }, true),
            ("another port", Filter { endpoint: "tcp/443".parse().ok(), ..none() }, false),
        ];
        for (what, filter, passes) in cases {
            assert_eq!(filter.passes(&record()), passes, "{what}");
        }
    }

    #[test]
    fn a_change_that_serve_read_is_about_what_the_approval_names() {
        let fields = json!({
            "event": "approval", "approval": "web", "old": {"listen": ["tcp/*:8443"]}, "new": {"listen": ["tcp/*:9443"]},
        });
        let record = Record { number: 1, vouched: true, fields: fields.as_object().unwrap().clone() };
        for (endpoint, passes) in [("tcp/8443", true), ("tcp/9443", true), ("tcp/443", false)] {
            let filter = Filter { endpoint: endpoint.parse().ok(), ..Filter::default() };
            assert_eq!(filter.passes(&record), passes, "{endpoint}");
        }
    }

    #[test]
    fn what_may_be_meant_is_shown() {
        let filter = Filter { endpoint: "tcp/443".parse().ok(), ..Filter::default() };
        let mut odd = record();
        odd.fields["endpoints"] = json!(["quic/*:8443"]);
        assert!(filter.passes(&odd), "an endpoint of a later release");
        odd.fields["endpoints"] = json!(vec!["tcp/*:1"; learn::RECORDED]);
        assert!(filter.passes(&odd), "not all endpoints are named");
        odd.fields.remove("time");
        let filter = Filter { since: "2027-01-01T00:00:00Z".parse().ok(), ..Filter::default() };
        assert!(filter.passes(&odd), "no time");
    }
}
