use super::measures::{Figure, Measure};
use super::verdict::Verdict;
use crate::say::harmless;

/// As the Monitoring Plugins Development Guidelines have it: `PORTLEDGER OK: text | 'label'=value…`, and the details.
pub(super) fn page(verdict: &Verdict) -> String {
    written(&format!("PORTLEDGER {}", verdict.state.word()), verdict, label)
}

/// The first line with figures by these names, and the details.
pub(super) fn written(head: &str, verdict: &Verdict, label: impl Fn(&Figure) -> String) -> String {
    let figures: Vec<String> = verdict
        .figures
        .iter()
        .map(|figure| format!("{}={}", quoted(&label(figure)), value(figure)))
        .collect();
    let figures = if figures.is_empty() { String::new() } else { format!(" | {}", figures.join(" ")) };
    let first = line(&format!("{head}: {}", verdict.line)) + &figures + "\n";
    verdict.details.iter().fold(first, |page, details| page + &line(details) + "\n")
}

fn label(figure: &Figure) -> String {
    let word = match figure.measure {
        Measure::Drift => "drift",
        Measure::Critical => "critical",
        Measure::Warning => "warning",
        Measure::Info => "info",
        Measure::Gone => "gone",
        Measure::Listeners => "listeners",
        Measure::Age => "age",
        Measure::Coverage => "coverage",
        Measure::Time => "time",
    };
    let instance = figure.instance.as_ref().map(|instance| format!("_{instance}"));
    word.to_owned() + &instance.unwrap_or_default()
}

/// Between quotes; one within is doubled. What would end it or begin its value is not put in it.
fn quoted(label: &str) -> String {
    format!("'{}'", line(label).replace('=', "_").replace('\'', "''"))
}

/// `value[UOM];warn;crit;min;max`.
fn value(figure: &Figure) -> String {
    let (unit, max) = match figure.measure {
        Measure::Age | Measure::Time => ("s", ""),
        Measure::Coverage => ("%", ";100"),
        _ => ("", ""),
    };
    let of = |range: &Option<_>| range.as_ref().map(ToString::to_string).unwrap_or_default();
    let (warning, critical): (String, String) = (of(&figure.warning), of(&figure.critical));
    format!("{}{unit};{warning};{critical};0{max}", figure.value)
}

/// What stays one line whatever is in it. Behind `|` monitoring looks for figures.
fn line(text: &str) -> String {
    harmless(text).replace('\n', "\\u{a}").replace('\t', "\\u{9}").replace('|', "\\u{7c}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::verdict::State;

    #[test]
    fn a_line_stays_one_and_has_no_figures() {
        let text = "a\nPORTLEDGER OK: no drift\r|x=1\u{2028}\u{202e}\t\u{1b}[2J é %'];]>";
        assert_eq!(
            line(text),
            "a\\u{a}PORTLEDGER OK: no drift\\u{d}\\u{7c}x=1\\u{2028}\\u{202e}\\u{9}\\u{1b}[2J é %'];]>"
        );
    }

    #[test]
    fn figures_stand_behind_the_first_line() {
        let figure = |measure, instance: Option<&str>, value, warning: Option<&str>| Figure {
            measure,
            instance: instance.map(str::to_owned),
            value,
            warning: warning.map(|range| range.parse().unwrap()),
            critical: None,
        };
        let verdict = Verdict {
            state: State::Critical,
            line: "1 | 2".to_owned(),
            details: vec!["x\n|y".to_owned()],
            figures: vec![
                figure(Measure::Critical, None, 1.0, Some("@1:2")),
                figure(Measure::Age, None, 3.0, None),
                figure(Measure::Coverage, Some("a'=|\n"), 99.9, None),
                figure(Measure::Time, None, 0.012, None),
            ],
        };
        assert_eq!(
            page(&verdict),
            "PORTLEDGER CRITICAL: 1 \\u{7c} 2 | 'critical'=1;@1:2;;0 'age'=3s;;;0 \
             'coverage_a''_\\u{7c}\\u{a}'=99.9%;;;0;100 'time'=0.012s;;;0\nx\\u{a}\\u{7c}y\n"
        );
    }
}
