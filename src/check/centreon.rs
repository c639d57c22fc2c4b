use std::collections::BTreeSet;

use super::measures::{Figure, Measure};
use super::nagios::written;
use super::verdict::Verdict;
use super::xml::attribute;
use crate::asking::answers::{Listener, Listeners, Told};

/// What is told of each service that is discovered: but for the first, the keys of filters that find it again.
const KEYS: [&str; 9] =
    ["id", "protocol", "address", "port", "netns", "program", "user", "workload", "reach"];

/// As [`super::nagios::page`], in the words of Centreon's plugins.
pub(super) fn page(verdict: &Verdict) -> String {
    written(verdict.state.word(), verdict, label)
}

/// `instance~sub#name.unit`.
fn label(figure: &Figure) -> String {
    let name = match figure.measure {
        Measure::Drift => "drift.count",
        Measure::Critical => "drift.critical.count",
        Measure::Warning => "drift.warning.count",
        Measure::Info => "drift.info.count",
        Measure::Gone => "drift.gone.count",
        Measure::Listeners => "portledger.listeners.count",
        Measure::Age => "portledger.sensor.age.seconds",
        Measure::Coverage => "portledger.coverage.percentage",
        Measure::Time => "portledger.check.time.seconds",
    };
    let instance = figure.instance.as_ref().map(|instance| format!("{instance}#")).unwrap_or_default();
    instance.replace(['~', ' '], "_") + name
}

/// The keys that [`disco_show`] tells of each service.
pub(super) fn disco_format() -> String {
    let elements: String = KEYS.iter().map(|key| format!("  <element>{key}</element>\n")).collect();
    format!("{HEAD}<data>\n{elements}</data>\n")
}

/// Each service that listens, once, with every key.
pub(super) fn disco_show(listeners: &Listeners) -> String {
    let mut told = BTreeSet::new();
    let services = listeners.listeners.iter().filter(|listener| listener.is_judged());
    let labels: String = services.filter(|listener| told.insert(id(listener))).map(of_service).collect();
    format!("{HEAD}<data>\n{labels}</data>\n")
}

const HEAD: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n";

/// What is not judged yet has no id.
fn id(listener: &Listener) -> String {
    let endpoint = || format!("{}/{}:{}", listener.protocol, listener.address, listener.port);
    listener.service.as_ref().map_or_else(endpoint, ToString::to_string)
}

fn of_service(listener: &Listener) -> String {
    let values = [
        id(listener),
        listener.protocol.to_string(),
        listener.address.to_string(),
        listener.port.to_string(),
        listener.netns.name.to_string(),
        list(&listener.programs()),
        list(&listener.users()),
        list(&listener.workloads()),
        listener.reach.to_string(),
    ];
    let pairs = KEYS.iter().zip(&values);
    let attributes: Vec<String> =
        pairs.map(|(key, value)| format!("{key}=\"{}\"", attribute(value))).collect();
    format!("  <label {}/>\n", attributes.join(" "))
}

/// A filter takes any of several.
fn list(texts: &[Told]) -> String {
    texts.iter().map(Told::as_str).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_service_is_told_once_with_every_key() {
        let listener = |service: Option<&str>, program: &str, verdict: &str| {
            json!({
                "service": service, "protocol": "tcp", "address": "0.0.0.0", "port": 443, "netns": {"name": "host"},
                "reach": "public", "verdict": verdict, "drift": null, "holders": [
                    {"program": program, "uid": 33, "user": "www", "workload": {"name": null}},
                    {"program": program, "uid": 0, "user": null, "workload": {"name": "a&b"}},
                ],
            })
        };
        let listeners = serde_json::from_value(json!({"schema": 1, "listeners": [
            listener(Some("s1-1"), "/a\n\"]]><x y='", "approved"),
            listener(Some("s1-1"), "/a", "approved"),
            listener(None, "/b", "drift"),
            listener(Some("s1-2"), "/dig", "unjudged"),
        ]}));
        assert_eq!(
            disco_show(&listeners.unwrap()),
            format!(
                "{HEAD}<data>\n  <label id=\"s1-1\" protocol=\"tcp\" address=\"0.0.0.0\" port=\"443\" netns=\"host\" \
                 program=\"/a\\x0a&quot;]]&gt;&lt;x y=&apos;\" user=\"www,0\" workload=\"a&amp;b\" reach=\"public\"/>\n  \
                 <label id=\"tcp/0.0.0.0:443\" protocol=\"tcp\" address=\"0.0.0.0\" port=\"443\" netns=\"host\" \
                 program=\"/b\" user=\"www,0\" workload=\"a&amp;b\" reach=\"public\"/>\n</data>\n"
            )
        );
        for key in KEYS {
            assert!(disco_format().contains(&format!("<element>{key}</element>")));
        }
    }

    #[test]
    fn figures_are_called_as_centreon_calls_them() {
        let figure = |measure, instance: Option<&str>| Figure {
            measure,
            instance: instance.map(str::to_owned),
            value: 1.0,
            warning: None,
            critical: None,
        };
        assert_eq!(label(&figure(Measure::Critical, None)), "drift.critical.count");
        assert_eq!(
            label(&figure(Measure::Coverage, Some("sockets"))),
            "sockets#portledger.coverage.percentage"
        );
    }
}
