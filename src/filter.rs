use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use baseline::{DriftKind, Verdict};
use glob::Pattern;
use inventory::{Protocol, Reach};

use crate::table::Row;

/// One `--filter KEY=VALUE[,VALUE]`: passes what matches any of its values.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    test: Test,
    /// As it was given.
    written: String,
}

#[derive(Clone, Debug)]
enum Test {
    Port(Vec<RangeInclusive<u16>>),
    Text(Key, Vec<Pattern>),
}

/// What a pattern is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Protocol,
    Address,
    Program,
    Name,
    User,
    Workload,
    Netns,
    Reach,
    Verdict,
}

const KEYS: [(&str, Key); 9] = [
    ("protocol", Key::Protocol),
    ("address", Key::Address),
    ("program", Key::Program),
    ("name", Key::Name),
    ("user", Key::User),
    ("workload", Key::Workload),
    ("netns", Key::Netns),
    ("reach", Key::Reach),
    ("verdict", Key::Verdict),
];

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, values) = text.split_once('=').ok_or("not KEY=VALUE, as in port=22")?;
        if key == "port" {
            let ranges = values.split(',').map(port_range).collect::<Result<_, _>>()?;
            return Ok(Filter { test: Test::Port(ranges), written: text.to_owned() });
        }
        let key = KEYS.iter().find(|(name, _)| *name == key).map(|(_, key)| *key).ok_or_else(|| {
            let known: Vec<_> = KEYS.iter().map(|(name, _)| *name).collect();
            format!("`{key}` is no key; there are port, {}", known.join(", "))
        })?;
        let known = closed_set(key);
        for value in values.split(',').filter(|value| !known.is_empty() && is_plain(value)) {
            if !known.contains(&value) {
                return Err(format!("`{value}` is none of {}", known.join(", ")));
            }
        }
        let patterns = values.split(',').map(Pattern::new).collect::<Result<_, _>>();
        let patterns = patterns.map_err(|error| error.to_string())?;
        Ok(Filter { test: Test::Text(key, patterns), written: text.to_owned() })
    }
}

/// The words that a key can have, where it can have no others.
fn closed_set(key: Key) -> Vec<&'static str> {
    match key {
        Key::Protocol => Protocol::ALL.iter().map(|protocol| protocol.as_str()).collect(),
        Key::Reach => Reach::ALL.iter().map(|reach| reach.as_str()).collect(),
        Key::Verdict => {
            Verdict::WORDS.into_iter().chain(DriftKind::ALL.iter().map(|kind| kind.as_str())).collect()
        }
        _ => Vec::new(),
    }
}

fn is_plain(value: &str) -> bool {
    !value.contains(['*', '?', '['])
}

fn port_range(text: &str) -> Result<RangeInclusive<u16>, String> {
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    match (low.parse(), high.parse()) {
        (Ok(low), Ok(high)) if low <= high => Ok(low..=high),
        _ => Err(format!("`{text}` is neither a port nor a range of ports, as in 8000-8999")),
    }
}

impl Filter {
    /// Whether a row is to be shown.
    pub(crate) fn passes(&self, row: &Row<'_>) -> bool {
        self.matches(Some(row.listener.endpoint.port), |key| texts(key, row))
    }

    /// Whether what has this port, and these texts under a key, passes.
    pub(crate) fn matches<T: AsRef<str>>(&self, port: Option<u16>, texts: impl Fn(Key) -> Vec<T>) -> bool {
        match &self.test {
            Test::Port(ranges) => port.is_some_and(|port| ranges.iter().any(|range| range.contains(&port))),
            Test::Text(key, patterns) => {
                let texts = texts(*key);
                patterns.iter().any(|pattern| texts.iter().any(|text| pattern.matches(text.as_ref())))
            }
        }
    }

    /// What it looks at; `None` is the port.
    pub(crate) fn key(&self) -> Option<Key> {
        match &self.test {
            Test::Port(_) => None,
            Test::Text(key, _) => Some(*key),
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.written.fmt(f)
    }
}

/// What a row says under a key: one text, or one for each holder.
fn texts(key: Key, row: &Row<'_>) -> Vec<String> {
    let of_holders = |text: &dyn Fn(&inventory::Holder) -> Option<String>| {
        row.listener.holders.known().iter().filter_map(|holder| text(holder)).collect()
    };
    match key {
        Key::Protocol => vec![row.listener.endpoint.protocol.to_string()],
        Key::Address => vec![row.listener.endpoint.address.to_string(), row.address()],
        Key::Program => of_holders(&|holder| holder.program.as_ref().map(|program| program.path.escaped())),
        Key::Name => of_holders(&|holder| Some(holder.name.escaped())),
        Key::User => {
            let numbers = of_holders(&|holder| Some(holder.uid.to_string()));
            of_holders(&|holder| Some(row.user(holder))).into_iter().chain(numbers).collect()
        }
        Key::Workload => of_holders(&|holder| holder.workload.stable_name().map(|name| name.escaped())),
        Key::Netns => vec![row.listener.netns.name.escaped(), row.listener.netns.kind.as_str().to_owned()],
        Key::Reach => vec![row.listener.reach.to_string()],
        Key::Verdict => match row.verdict {
            Verdict::Drift(finding) => vec![row.verdict.as_str().to_owned(), finding.kind.to_string()],
            _ => vec![row.verdict.as_str().to_owned()],
        },
    }
}

#[cfg(test)]
mod tests {
    use super::Filter;

    #[test]
    fn a_word_that_no_row_can_have_is_refused() {
        for text in ["verdict=bogus", "reach=privat", "protocol=UDP", "port=x", "colour=red", "port"] {
            assert!(text.parse::<Filter>().is_err(), "{text}");
        }
        for text in
            ["verdict=drift,unapproved", "reach=pub*", "protocol=udp", "port=1-2,9", "program=*/nginx"]
        {
            assert!(text.parse::<Filter>().is_ok(), "{text}");
        }
    }
}
