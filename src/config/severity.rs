use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use baseline::{
    DriftKind, Pattern, PortPattern, ProgramPattern, Remedy, RunningFile, Severity, SeverityRule,
    SeverityRules, Traits,
};
use inventory::{Protocol, Reach};
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::some_duration;

/// `[[severity]]` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SeverityTable {
    is: Severity,
    #[serde(default, deserialize_with = "kinds")]
    kind: Vec<DriftKind>,
    #[serde(default, deserialize_with = "words")]
    reach: Vec<Reach>,
    wildcard: Option<bool>,
    #[serde(default, deserialize_with = "users")]
    user: Vec<Pattern>,
    root: Option<bool>,
    #[serde(default, deserialize_with = "programs")]
    program: Vec<ProgramPattern>,
    #[serde(default, deserialize_with = "words")]
    file: Vec<RunningFile>,
    interpreter: Option<bool>,
    home: Option<bool>,
    temporary: Option<bool>,
    #[serde(default, deserialize_with = "ports")]
    port: Vec<PortPattern>,
    #[serde(default, deserialize_with = "words")]
    protocol: Vec<Protocol>,
    #[serde(default, deserialize_with = "teams")]
    team: Vec<String>,
}

/// `[remedy]` as it is written.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RemedyTable {
    #[serde(deserialize_with = "some_duration")]
    critical: Option<Duration>,
    #[serde(deserialize_with = "some_duration")]
    warning: Option<Duration>,
}

/// The rules in their order, and those that are built in behind them.
pub(super) fn rules<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SeverityRules, D::Error> {
    let tables = Vec::<SeverityTable>::deserialize(deserializer)?;
    let rules: Vec<SeverityRule> = tables.into_iter().map(SeverityTable::rule).collect();
    if let Some((place, rule)) = rules.iter().enumerate().find(|(_, rule)| rule.of.is_empty()) {
        return Err(D::Error::custom(format!(
            "[[severity]] number {}: it names no condition, so that no rule behind it would ever be asked: say what is {}",
            place + 1,
            rule.is
        )));
    }
    Ok(SeverityRules::before_built_in(rules))
}

impl SeverityTable {
    fn rule(self) -> SeverityRule {
        let SeverityTable { is, kind, reach, wildcard, user, root, program, file, .. } = self;
        let SeverityTable { interpreter, home, temporary, port, protocol, team, .. } = self;
        let of = Traits {
            kind,
            reach,
            wildcard,
            user,
            root,
            program,
            file,
            interpreter,
            home,
            temporary,
            port,
            protocol,
            team,
        };
        SeverityRule { of, is }
    }
}

impl RemedyTable {
    pub(super) fn read(self) -> Remedy {
        Remedy { critical: self.critical, warning: self.warning }
    }
}

fn kinds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<DriftKind>, D::Error> {
    some(Vec::deserialize(deserializer)?)
}

fn teams<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    some(Vec::deserialize(deserializer)?)
}

fn words<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    each(deserializer, |text: String| text.parse().map_err(|wrong: T::Err| wrong.to_string()))
}

fn users<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Pattern>, D::Error> {
    each(deserializer, |text: String| Pattern::new(&text).map_err(|wrong| format!("`{text}`: {wrong}")))
}

fn programs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ProgramPattern>, D::Error> {
    each(deserializer, |text: String| {
        ProgramPattern::new(&text).map_err(|wrong| format!("`{text}`: {wrong}"))
    })
}

/// Numbers as they are, ranges and words as texts.
fn ports<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PortPattern>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a port such as 22, \"8000-8999\" or \"kernel\" is wanted")]
    enum Port {
        Number(u16),
        Text(String),
    }
    each(deserializer, |port: Port| match port {
        Port::Number(port) => Ok(PortPattern::Range(port, port)),
        Port::Text(text) => text.parse(),
    })
}

fn each<'de, D: Deserializer<'de>, W: Deserialize<'de>, T>(
    deserializer: D,
    read: impl Fn(W) -> Result<T, String>,
) -> Result<Vec<T>, D::Error> {
    let written = Vec::<W>::deserialize(deserializer)?;
    some(written.into_iter().map(read).collect::<Result<_, _>>().map_err(D::Error::custom)?)
}

fn some<T, E: Error>(listed: Vec<T>) -> Result<Vec<T>, E> {
    if listed.is_empty() { Err(E::custom("nothing is in an empty list: leave it out")) } else { Ok(listed) }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    fn read(text: &str) -> anyhow::Result<SeverityRules> {
        Ok(Config::parse(Path::new("c.toml"), text)?.severity)
    }

    /// The built-in rules are written as what they would be in the file.
    #[test]
    fn rules_are_read_as_they_are_printed() {
        let every_key = "[[severity]]\nkind = [\"unapproved\", \"widened\"]\nreach = [\"private\"]\n\
            wildcard = false\nuser = [\"svc-*\", \"33\"]\nroot = false\nprogram = [\"/opt/**\", \"kernel\"]\n\
            file = [\"host\", \"memfd\"]\ninterpreter = true\nhome = false\ntemporary = true\n\
            port = [\"22\", \"8000-8999\", \"kernel\"]\nprotocol = [\"tcp\"]\nteam = [\"web\"]\nis = \"info\"\n";
        let printed = |rules: &[SeverityRule]| rules.iter().map(ToString::to_string).collect::<String>();
        assert_eq!(printed(&read(every_key).unwrap().rules()[..1]), every_key);
        let built_in = SeverityRules::default();
        let count = built_in.rules().len();
        let twice = read(&printed(built_in.rules())).unwrap();
        assert_eq!((twice.rules().len(), &twice.rules()[..count]), (2 * count, built_in.rules()));
        let numbers = read("[[severity]]\nis = 'info'\nport = [22]").unwrap();
        assert_eq!(numbers.rules()[0].of.port, [PortPattern::Range(22, 22)]);
        assert_eq!(read("").unwrap(), built_in);
    }

    #[test]
    fn times_are_for_what_pages() {
        let read = |text: &str| Config::parse(Path::new("c.toml"), text).map(|config| config.remedy());
        let hours = |hours: u64| Some(Duration::from_secs(hours * 3600));
        let both = read("[remedy]\ncritical = '4h'\nwarning = '3d'").unwrap();
        assert_eq!(both, Remedy { critical: hours(4), warning: hours(72) });
        assert_eq!(read("").unwrap(), Remedy::default());
        let wrong = format!("{:#}", read("[remedy]\ninfo = '3d'").unwrap_err());
        assert!(wrong.contains("unknown field `info`, expected `critical` or `warning`"), "{wrong}");
    }

    #[test]
    fn a_mistake_is_told_with_its_place() {
        for (text, told) in [
            ("\n[[severity]]\nis = 'info'\nkinds = ['expired']", "line 4"),
            ("[[severity]]\nis = 'info'\nkinds = ['expired']", "unknown field `kinds`"),
            ("[[severity]]\nkind = ['expired']", "missing field `is`"),
            ("[[severity]]\nis = 'grave'\nroot = true", "unknown variant `grave`"),
            (
                "[[severity]]\nis = 'info'\nroot = true\n[[severity]]\nis = 'info'",
                "number 2: it names no condition",
            ),
            (
                "[[severity]]\nis = 'info'\nkind = ['open']",
                "unknown variant `open`, expected one of `binary_changed`",
            ),
            ("[[severity]]\nis = 'info'\nkind = []", "leave it out"),
            ("[[severity]]\nis = 'info'\nreach = ['world']", "`world`"),
            ("[[severity]]\nis = 'info'\nprotocol = ['icmp']", "`icmp`"),
            ("[[severity]]\nis = 'info'\nfile = ['gone']", "`gone` is none of host, replaced"),
            ("[[severity]]\nis = 'info'\nprogram = ['/opt/[']", "`/opt/[`: "),
            ("[[severity]]\nis = 'info'\nprogram = ['nc']", "no path from the root"),
            ("[[severity]]\nis = 'info'\nuser = ['a[']", "`a[`: "),
            ("[[severity]]\nis = 'info'\nport = [70000]", "a port such as 22"),
            ("[[severity]]\nis = 'info'\nport = ['9-1']", "the range `9-1` is empty"),
            ("[remedy]\ncritical = '0s'", "not between"),
        ] {
            let message = format!("{:#}", read(text).unwrap_err());
            assert!(message.starts_with("c.toml") && message.contains(told), "{message}");
        }
    }
}
