use std::borrow::Cow;
use std::time::SystemTime;

use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

/// How long a label's value may be, in characters.
const MAX_VALUE: usize = 256;

/// The name, help and label names under which samples are told: a public interface.
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) labels: &'static [&'static str],
    counts: bool,
}

impl Family {
    pub(super) const fn gauge(
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
    ) -> Self {
        Family { name, help, labels, counts: false }
    }

    pub(super) const fn counter(
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
    ) -> Self {
        Family { name, help, labels, counts: true }
    }

    /// One sample without labels.
    pub(super) fn single(&self, value: f64) -> MetricFamily {
        self.of([Sample::new([], value)])
    }

    pub(super) fn of<const N: usize>(&self, samples: impl IntoIterator<Item = Sample<N>>) -> MetricFamily {
        const { assert!(N <= 16) };
        debug_assert_eq!(N, self.labels.len(), "{}", self.name);
        let mut family = MetricFamily::default();
        family.set_name(self.name.to_owned());
        family.set_help(self.help.to_owned());
        family.set_field_type(if self.counts { MetricType::COUNTER } else { MetricType::GAUGE });
        family.set_metric(samples.into_iter().map(|sample| self.metric(sample)).collect());
        family
    }

    fn metric<const N: usize>(&self, sample: Sample<N>) -> Metric {
        let pair = |(name, value): (&&'static str, Cow<'static, str>)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value(bounded(&value));
            pair
        };
        let mut metric = Metric::from_label(self.labels.iter().zip(sample.labels).map(pair).collect());
        if self.counts {
            let mut counter = Counter::default();
            counter.set_value(sample.value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(sample.value);
            metric.set_gauge(gauge);
        }
        metric
    }
}

/// A value under label values in the order of the family's names.
pub(super) struct Sample<const N: usize> {
    pub(super) labels: [Cow<'static, str>; N],
    pub(super) value: f64,
}

impl<const N: usize> Sample<N> {
    pub(super) fn new(labels: [&'static str; N], value: f64) -> Self {
        Sample { labels: labels.map(Cow::Borrowed), value }
    }

    pub(super) fn owned(labels: [String; N], value: f64) -> Self {
        Sample { labels: labels.map(Cow::Owned), value }
    }
}

/// A value that is no flood: cut where it is too long, and marked.
fn bounded(value: &str) -> String {
    match value.char_indices().nth(MAX_VALUE) {
        None => value.to_owned(),
        Some(_) => value.chars().take(MAX_VALUE - 1).chain(['…']).collect(),
    }
}

/// Counts of what a host can hold are far below the 2^53 up to which this is exact.
pub(super) fn number(count: usize) -> f64 {
    total(u64::try_from(count).unwrap_or(u64::MAX))
}

/// As [`number`].
#[allow(clippy::cast_precision_loss)]
pub(super) fn total(count: u64) -> f64 {
    count as f64
}

/// 0 for never.
pub(super) fn timestamp(time: Option<SystemTime>) -> f64 {
    let since_epoch = time.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    since_epoch.map_or(0.0, |since| since.as_secs_f64())
}

pub(super) fn truth(holds: bool) -> f64 {
    if holds { 1.0 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use inventory::RawText;
    use prometheus::TextEncoder;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    const FAMILY: Family = Family::gauge("portledger_test", "Of a name.", &["name"]);

    proptest! {
        #[test]
        fn no_name_breaks_out_of_its_line(name in any::<Vec<u8>>()) {
            let escaped = RawText::new(name).escaped();
            let family = FAMILY.of([Sample::owned([escaped.clone()], 1.0)]);
            let text = TextEncoder::new().encode_to_string(&[family]).unwrap();
            let lines: Vec<&str> = text.split(['\n', '\r']).filter(|line| !line.is_empty()).collect();
            prop_assert_eq!(lines.len(), 3);
            let value = lines[2].strip_prefix("portledger_test{name=\"").unwrap();
            let value = value.strip_suffix("\"} 1").unwrap().replace("\\\"", "\"").replace("\\\\", "\\");
            prop_assert!(value == escaped || escaped.starts_with(value.strip_suffix('…').unwrap()));
        }

        #[test]
        fn no_value_is_longer_than_its_bound(value in "\\PC{0,600}") {
            let shown = bounded(&value);
            prop_assert!(shown.chars().count() <= MAX_VALUE);
            prop_assert!(shown == value || shown.ends_with('…'));
        }
    }
}
