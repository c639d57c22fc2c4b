//! What `monitoring/` gives to Prometheus, Alertmanager and Grafana: that it is whole, and that it works with the real ones.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::peers::{Webhook, start_alertmanager, start_prometheus};
use crate::world::{Host, Serve, eventually, finish, installed};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files of rules.
fn rule_files() -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("monitoring/rules")).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|end| end == "yml")).collect();
    assert!(files.len() >= 3, "{files:?}");
    files
}

fn parsed(path: impl AsRef<Path>) -> Value {
    let path = path.as_ref();
    serde_saphyr::from_str(&read(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn alerts() -> Vec<Value> {
    let groups = rule_files().iter().flat_map(|path| list(&parsed(path), "groups")).collect::<Vec<_>>();
    let rules = groups.iter().flat_map(|group| list(group, "rules"));
    rules.filter(|rule| rule.get("alert").is_some()).collect()
}

fn list(value: &Value, key: &str) -> Vec<Value> {
    value[key].as_array().unwrap_or_else(|| panic!("no {key}: {value:#}")).clone()
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no {pointer}: {value:#}"))
}

#[test]
fn each_alert_says_what_it_is_how_grave_and_what_to_do() {
    let page = read("docs/monitoring.md");
    let tests: String = ["drift", "fleet", "health"]
        .iter()
        .map(|name| read(format!("monitoring/tests/{name}.yml")))
        .collect();
    let mut known = BTreeSet::new();
    for alert in alerts() {
        let name = text(&alert, "/alert").to_owned();
        assert!(name.starts_with("Portledger"), "{name}");
        for annotation in ["summary", "description"] {
            assert!(!text(&alert, &format!("/annotations/{annotation}")).is_empty(), "{name}");
        }
        // Of drift it is a label of the series.
        let of_series = text(&alert, "/expr").contains("severity");
        assert!(of_series != alert.pointer("/labels/severity").is_some(), "{name} has no severity, or two");
        // That of many hosts names one of them.
        let link = text(&alert, "/annotations/runbook_url");
        assert!(link.contains(&format!("}}/runbooks/{name}")), "{link}");
        let runbook = read(format!("docs/runbooks/{name}.md"));
        let title = format!("# {name}");
        let headings: Vec<_> =
            runbook.lines().filter(|line| *line == title || line.starts_with("## ")).collect();
        assert_eq!(
            headings,
            [&title, "## What it means", "## Look first", "## How it ends", "## False alarms"],
            "{name}"
        );
        assert!(page.contains(&format!("[`{name}`](runbooks/{name}.md)")), "docs/monitoring.md lacks {name}");
        assert!(tests.contains(&name), "no test of {name}");
        assert!(known.insert(name.clone()), "two alerts {name}");
    }
    let runbooks = fs::read_dir(root().join("docs/runbooks")).unwrap();
    let runbooks: BTreeSet<_> = runbooks
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(runbooks, known);
}

/// Links lead to pages that are there.
#[test]
fn runbooks_link_to_what_is_there() {
    let folder = root().join("docs/runbooks");
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        for link in text.split("](").skip(1).map(|rest| rest.split_once(')').unwrap().0) {
            let file = link.split('#').next().unwrap();
            assert!(folder.join(file).exists(), "{} links to {link}", path.display());
        }
    }
}

#[test]
fn the_mixin_has_the_rules_that_everybody_reads() {
    for path in rule_files() {
        let json: Value = serde_json::from_str(&read(path.with_extension("json"))).unwrap();
        assert!(json == parsed(&path), "{}: `make mixin` was not run", path.display());
    }
}

fn dashboard() -> Value {
    serde_json::from_str(&read("monitoring/dashboards/portledger.json")).unwrap()
}

/// What Grafana asks: title of the panel and query.
fn queries(dashboard: &Value) -> Vec<(String, String)> {
    let panels = list(dashboard, "panels").into_iter().filter(|panel| panel["type"] != "row");
    let queries = panels.flat_map(|panel| {
        let title = text(&panel, "/title").to_owned();
        list(&panel, "targets")
            .into_iter()
            .map(move |target| (title.clone(), text(&target, "/expr").to_owned()))
    });
    queries.collect()
}

/// What its schema does not say and Grafana, or who reads it, needs.
#[test]
fn the_dashboard_is_whole() {
    let dashboard = dashboard();
    let panels = list(&dashboard, "panels");
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "ids are unique");
    let mut taken = BTreeSet::new();
    for panel in &panels {
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
        assert!(w > 0 && h > 0 && x + w <= 24, "{panel:#}");
        for place in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(place), "{} overlaps", text(panel, "/title"));
        }
        if panel["type"] == "row" {
            continue;
        }
        for key in ["/title", "/description", "/fieldConfig/defaults/unit"] {
            assert!(!text(panel, key).is_empty(), "{panel:#}");
        }
        let refs: BTreeSet<_> =
            list(panel, "targets").iter().map(|target| text(target, "/refId").to_owned()).collect();
        assert_eq!(refs.len(), list(panel, "targets").len(), "{panel:#}");
    }
    let variables = list(&dashboard["templating"], "list");
    let names: Vec<_> = variables.iter().map(|variable| text(variable, "/name")).collect();
    assert_eq!(names, ["datasource", "job", "instance"]);
    // Each selector is of the chosen job and instances.
    let queries = queries(&dashboard);
    assert!(queries.len() > 30);
    for (title, query) in &queries {
        let selectors: Vec<_> = query.split("portledger_").skip(1).collect();
        assert!(!selectors.is_empty(), "{title}");
        let chosen = query.matches(r#"{job=~"$job", instance=~"$instance""#).count();
        assert_eq!(chosen, selectors.len(), "{title}: {query}");
    }
}

/// As Grafana does with the job and the instance of a story chosen, and a panel of ten seconds.
fn substituted(query: &str) -> String {
    query.replace("$job", ".+").replace("$instance", ".+").replace("$__rate_interval", "10s")
}

/// What Prometheus of the host answers.
fn ask_prometheus(host: &Host, query: &str) -> Vec<Value> {
    let mut promtool = host.command("promtool");
    promtool.args(["query", "-o", "json", "instant", "http://127.0.0.1:9090", query]);
    let told = finish(promtool);
    assert_eq!(told.code, 0, "{query}: {told:?}");
    let answer: Value =
        serde_json::from_str(&told.stdout).unwrap_or_else(|error| panic!("{error}: {told:?}"));
    answer.as_array().unwrap_or_else(|| panic!("{query}: {answer:#}")).clone()
}

/// A host with drift that is overdue, an approval that ends, and alerts that wait for a receiver who is not there.
#[test]
fn each_query_of_the_dashboard_returns_data() {
    if !installed(&["prometheus", "promtool"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    host.write(
        "etc/portledger.toml",
        "alerting = \"post\"\n\n[sensor]\ninterval = \"200ms\"\n\n[remedy]\ncritical = \"1s\"\n\n\
         [[webhook]]\nname = \"nobody\"\nurl = \"http://127.0.0.1:9/\"\n",
    );
    let _prometheus = start_prometheus(&host, &[&format!("127.0.0.1:{}", Serve::PORT)]);
    host.learn();
    let serve = host.serve();
    let _nc = host.listen("tcp 0.0.0.0:8080").by("nc");
    eventually("it drifts", || serve.drifts().find(8080));
    let short = host.listen("tcp 127.0.0.1:8081").by("short");
    let drift = eventually("the other drifts", || serve.drifts().find(8081)).id();
    host.does(&["approve", &drift, "--reason", "wanted for a while", "--for", "3d"]);
    serve.running.signal(rustix::process::Signal::HUP);

    let mut empty: Vec<_> =
        queries(&dashboard()).iter().map(|(title, query)| (title.clone(), substituted(query))).collect();
    let deadline = Instant::now() + Duration::from_secs(90);
    while !empty.is_empty() && Instant::now() < deadline {
        empty.retain(|(_, query)| ask_prometheus(&host, query).is_empty());
    }
    assert!(empty.is_empty(), "no data: {empty:#?}");
    for variable in list(&dashboard()["templating"], "list").iter().skip(1) {
        // label_values(SELECTOR, LABEL)
        let (selector, label) = text(variable, "/query")
            .strip_prefix("label_values(")
            .and_then(|rest| rest.strip_suffix(')')?.rsplit_once(", "))
            .unwrap();
        let values = ask_prometheus(&host, &format!("group by ({label}) ({})", substituted(selector)));
        assert!(!text(&values[0], &format!("/metric/{label}")).is_empty(), "{values:#?}");
    }
    // Both were there all the time.
    drop(short);
}

/// Six exporters, each at an address of its own of the host's loopback, as far as the rules see them.
struct Fleet {
    /// On how many of them, from the first on, the drift is.
    drifting: Arc<AtomicUsize>,
}

impl Fleet {
    const PORT: u16 = 10433;

    fn start(host: &Host) -> Self {
        let listener = host.within(|| TcpListener::bind(("0.0.0.0", Self::PORT)).unwrap());
        let drifting = Arc::new(AtomicUsize::new(0));
        let told = Arc::clone(&drifting);
        // It ends with the story's process, as no request ever comes once the host is gone.
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let octets = match stream.local_addr().unwrap().ip() {
                    std::net::IpAddr::V4(address) => address.octets(),
                    std::net::IpAddr::V6(_) => continue,
                };
                let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
                if !lines.any(|line| line.is_empty()) {
                    continue;
                }
                let body = Self::metrics(usize::from(octets[3]) <= told.load(Ordering::Relaxed));
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close";
                // Who asked may have given up.
                write!(&stream, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap_or_default();
            }
        });
        Fleet { drifting }
    }

    fn targets() -> Vec<String> {
        (1..=6).map(|last| format!("127.0.0.{last}:{}", Self::PORT)).collect()
    }

    fn metrics(drifts: bool) -> String {
        let mut text = "portledger_sensor_last_frame_timestamp_seconds 4e9\n".to_owned();
        if drifts {
            text += "portledger_drift_info{drift=\"s1-0123456789ab\",kind=\"unapproved\",severity=\"critical\",\
                     protocol=\"tcp\",address=\"*\",port=\"8080\",program=\"/usr/bin/nc\",user=\"root\",\
                     netns=\"host\",reach=\"public\"} 1\n\
                     portledger_drift_present{drift=\"s1-0123456789ab\"} 1\n\
                     portledger_drift_first_seen_timestamp_seconds{drift=\"s1-0123456789ab\"} 1.8e9\n";
        }
        text
    }
}

/// All alerts of the calls that came until one is as wanted.
fn told_until(webhook: &Webhook, what: &str, is_wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
    let mut all = Vec::new();
    eventually(what, || {
        let alerts = list(&webhook.call()?, "alerts");
        let found = alerts.iter().any(&is_wanted);
        all.extend(alerts);
        found.then_some(())
    });
    all
}

fn is(alert: &Value, name: &str, status: &str) -> bool {
    alert["labels"]["alertname"] == name && alert["status"] == status
}

#[test]
fn six_hosts_with_one_drift_are_one_page_and_none_is_forgotten() {
    if !installed(&["prometheus", "prometheus-alertmanager"]) {
        return;
    }
    let Some(host) = Host::new() else { return };
    let webhook = Webhook::new(&host);
    // Longer than Prometheus takes to see all six, also on a machine that stalls.
    let _alertmanager = start_alertmanager(&host, &webhook, Duration::from_secs(10));
    let fleet = Fleet::start(&host);
    let targets = Fleet::targets();
    let _prometheus = start_prometheus(&host, &targets.iter().map(String::as_str).collect::<Vec<_>>());
    fleet.drifting.store(6, Ordering::Relaxed);

    let mut told =
        told_until(&webhook, "the fleet's page", |alert| is(alert, "PortledgerFleetDrift", "firing"));
    let page = told.iter().find(|alert| is(alert, "PortledgerFleetDrift", "firing")).unwrap().clone();
    assert_eq!(page["labels"]["severity"], "critical");
    // As many as had been scraped when the rule was evaluated: the sixth may come after it.
    let said = |count: usize| format!("{count} hosts: drift tcp/*:8080 open to everyone, nc as root");
    assert!([5, 6].iter().any(|count| page["annotations"]["summary"] == said(*count)), "{page:#}");
    assert!(text(&page, "/annotations/description").contains("127.0.0.1 (unapproved)"), "{page:#}");
    let deadline = Instant::now() + Duration::from_secs(15);
    while Instant::now() < deadline {
        told.extend(webhook.call().map(|call| list(&call, "alerts")).unwrap_or_default());
        std::thread::sleep(Duration::from_millis(100));
    }
    let single: Vec<_> =
        told.iter().filter(|alert| alert["labels"]["alertname"] == "PortledgerDrift").collect();
    assert!(single.is_empty(), "{single:#?}");

    // Four are no fleet: each is told by name.
    fleet.drifting.store(4, Ordering::Relaxed);
    // The page may go out just when the end of the fleet's alert is known and that of the last single one is not yet.
    let mut single = BTreeMap::new();
    eventually("the four single ones fire, and no others", || {
        for alert in list(&webhook.call()?, "alerts") {
            if alert["labels"]["alertname"] == "PortledgerDrift" {
                let fires = alert["status"] == "firing";
                single.insert(text(&alert, "/labels/instance").to_owned(), fires);
            }
        }
        let firing = single.iter().filter(|(_, fires)| **fires).map(|(instance, _)| instance);
        firing.eq(&targets[..4]).then_some(())
    });
}
