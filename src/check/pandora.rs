use super::measures::{Figure, Measure};
use super::verdict::{State, Verdict};
use super::xml::cdata;
use crate::asking::answers::{Listener, Listeners, Told};

/// Modules and inventory as Pandora FMS takes them from a plugin of its agent.
///
/// What is not known has no value, so that the server takes a module for unknown when its interval has passed twice. Until
/// then, and for whoever does not look at unknown modules, `Portledger known` is critical at once: an agent that stays green
/// because nobody looks would be a lie.
pub(super) fn page(verdict: &Verdict, listeners: Option<&Listeners>) -> String {
    let is_known = verdict.state != State::Unknown;
    let mut page = Module {
        name: "Portledger known",
        kind: "generic_proc",
        data: u8::from(is_known).to_string(),
        description: "1: it could be told how the host stands; 0: it could not, see Portledger verdict",
        figure: None,
    }
    .written();
    if is_known {
        page += &Module {
            name: "Portledger approved",
            kind: "generic_proc",
            data: u8::from(verdict.state != State::Critical).to_string(),
            description: "0: CRITICAL; 1: not. Drift of severity warning has a module of its own",
            figure: None,
        }
        .written();
    }
    page += &Module {
        name: "Portledger verdict",
        kind: "generic_data_string",
        data: format!("{}: {}", verdict.state.word(), verdict.line),
        description: "In one line",
        figure: None,
    }
    .written();
    page.extend(verdict.figures.iter().filter_map(of_figure));
    page + &listeners.map(inventory).unwrap_or_default()
}

struct Module<'a> {
    name: &'a str,
    kind: &'a str,
    data: String,
    description: &'a str,
    figure: Option<&'a Figure>,
}

impl Module<'_> {
    fn written(&self) -> String {
        let Module { name, kind, data, description, figure } = self;
        let least = |element: &str, range: Option<&super::ranges::Range>| {
            let least = range.and_then(super::ranges::Range::least);
            least.map(|least| format!("<{element}>{least}</{element}>\n")).unwrap_or_default()
        };
        format!(
            "<module>\n<name>{}</name>\n<type>{kind}</type>\n<data>{}</data>\n<description>{}</description>\n\
             <module_group>Security</module_group>\n{}{}</module>\n",
            cdata(name),
            cdata(data),
            cdata(description),
            least("min_warning", figure.and_then(|figure| figure.warning.as_ref())),
            least("min_critical", figure.and_then(|figure| figure.critical.as_ref())),
        )
    }
}

fn of_figure(figure: &Figure) -> Option<String> {
    let (name, description) = match figure.measure {
        Measure::Critical => ("drift critical", "Open drift of severity critical"),
        Measure::Warning => ("drift warning", "Open drift of severity warning"),
        Measure::Info => ("drift info", "Open drift of severity info"),
        Measure::Gone => ("drift gone", "Open drift that is gone, until it is approved or dismissed"),
        Measure::Drift => ("drift", "Open drift of severity critical and warning"),
        Measure::Listeners => ("listeners", "Sockets that wait for others"),
        Measure::Age => ("sensor age", "Seconds since the sensor was heard of"),
        Measure::Coverage => ("coverage", "Percent of what was looked for that was seen"),
        Measure::Time => return None,
    };
    let instance = figure.instance.as_ref().map(|instance| format!(" {instance}")).unwrap_or_default();
    let name = format!("Portledger {name}{instance}");
    let data = figure.value.to_string();
    Some(Module { name: &name, kind: "generic_data", data, description, figure: Some(figure) }.written())
}

/// A listener a row: `protocol;address;port;netns;program;user;workload;reach;verdict`.
fn inventory(listeners: &Listeners) -> String {
    let rows: String = listeners
        .listeners
        .iter()
        .map(|listener| format!("<data>{}</data>\n", cdata(&row(listener))))
        .collect();
    format!(
        "<inventory>\n<inventory_module>\n<name>{}</name>\n<datalist>\n{rows}</datalist>\n</inventory_module>\n\
         </inventory>\n",
        cdata("Portledger listeners")
    )
}

fn row(listener: &Listener) -> String {
    let list = |texts: Vec<Told>| texts.iter().map(Told::as_str).collect::<Vec<_>>().join(", ");
    let columns = [
        listener.protocol.to_string(),
        listener.address.to_string(),
        listener.port.to_string(),
        listener.netns.name.to_string(),
        list(listener.programs()),
        list(listener.users()),
        list(listener.workloads()),
        listener.reach.to_string(),
        listener.verdict.to_string(),
    ];
    // It parts the columns.
    columns.map(|column| column.replace(';', "\\x3b")).join(";")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::check::ranges::Range;

    fn verdict(state: State, figures: Vec<Figure>) -> Verdict {
        Verdict { state, line: "x]]>y\u{1b}".to_owned(), details: Vec::new(), figures }
    }

    #[test]
    fn what_is_not_known_does_not_look_good() {
        let unknown = page(&verdict(State::Unknown, Vec::new()), None);
        assert!(unknown.starts_with("<module>\n<name><![CDATA[Portledger known]]></name>\n<type>generic_proc</type>\n<data><![CDATA[0]]></data>"), "{unknown}");
        assert!(!unknown.contains("Portledger approved"), "{unknown}");
        assert!(unknown.contains("<data><![CDATA[UNKNOWN: x]]]]><![CDATA[>y\\u{1b}]]></data>"), "{unknown}");
        for (state, approved) in [(State::Ok, 1), (State::Warning, 1), (State::Critical, 0)] {
            let page = page(&verdict(state, Vec::new()), None);
            let module = format!(
                "[Portledger approved]]></name>\n<type>generic_proc</type>\n<data><![CDATA[{approved}]]>"
            );
            assert!(
                page.contains("[Portledger known]]></name>\n<type>generic_proc</type>\n<data><![CDATA[1]]>"),
                "{page}"
            );
            assert!(page.contains(&module), "{page}");
        }
    }

    #[test]
    fn thresholds_are_the_servers_too() {
        let figure = Figure {
            measure: Measure::Critical,
            instance: None,
            value: 3.0,
            warning: Some(Range::up_to(0)),
            critical: Some("@3".parse().unwrap()),
        };
        let page = page(&verdict(State::Critical, vec![figure]), None);
        assert!(page.contains("<data><![CDATA[3]]></data>"), "{page}");
        assert!(page.contains("<min_warning>1</min_warning>\n</module>"), "{page}");
    }

    #[test]
    fn a_row_has_nine_columns_whatever_is_in_them() {
        let listeners: Listeners = serde_json::from_value(json!({"schema": 1, "listeners": [{
            "service": null, "protocol": "tcp", "address": "::", "port": 1, "netns": {"name": "a;b"}, "reach": "public",
            "verdict": "drift", "drift": null,
            "holders": [{"program": "/x;]]>\u{1b}'|%\n", "uid": 5, "user": null, "workload": {"name": "w"}}],
        }]}))
        .unwrap();
        let inventory = inventory(&listeners);
        assert!(
            inventory.contains(
                "<data><![CDATA[tcp;::;1;a\\x3bb;/x\\x3b]]]]><![CDATA[>\\x1b'|%\\x0a;5;w;public;drift]]></data>\n"
            ),
            "{inventory}"
        );
    }
}
