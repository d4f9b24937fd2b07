//! The numbers of the server as a text of OpenMetrics, which Prometheus reads.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, LabelSetEncoder, LabelValueEncoder, MetricEncoder,
    NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::commands::{Durations, Measured, NumberKind, Numbers, ServerState, Value};

/// In front of each name.
const PREFIX: &str = "siltdb";

/// The type of the text.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics, as they are now.
///
/// # Errors
/// Where the text cannot be written, which a string does not have.
pub(super) fn text(state: &ServerState) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(Snapshot(Numbers::take(state))));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Snapshot(Numbers);

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Numbers { measured, commands, wal_syncs } = &self.0;
        let version = Labels(&[("version", env!("CARGO_PKG_VERSION"))]);
        let build = encoder.encode_descriptor("build", "What runs.", None, MetricType::Info);
        build?.encode_info(&version)?;
        for metric in measured.iter().filter(|metric| !metric.values.is_empty()) {
            number(&mut encoder, metric)?;
        }
        let times = [
            ("command_duration_seconds", "Times of calls.", &commands[..]),
            (
                "wal_sync_duration_seconds",
                "Times of syncs of the log.",
                std::slice::from_ref(wal_syncs),
            ),
        ];
        for (name, help, all) in times {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
            for durations in all {
                with_label(&mut metric, &durations.label, |mut encoder| {
                    histogram(&mut encoder, durations)
                })?;
            }
        }
        Ok(())
    }
}

fn number(encoder: &mut DescriptorEncoder<'_>, metric: &Measured) -> fmt::Result {
    let number = metric.number;
    let kind = match number.kind {
        NumberKind::Counter => MetricType::Counter,
        NumberKind::Gauge => MetricType::Gauge,
    };
    let help = format!("{}.", number.help);
    let mut encoder = encoder.encode_descriptor(number.name, &help, None, kind)?;
    for (label, value) in &metric.values {
        with_label(&mut encoder, label, |mut encoder| match (number.kind, value) {
            (NumberKind::Counter, Value::Whole(value)) => {
                encoder.encode_counter::<NoLabelSet, _, u64>(value, None)
            }
            (NumberKind::Counter, Value::Real(value)) => {
                encoder.encode_counter::<NoLabelSet, _, u64>(value, None)
            }
            (NumberKind::Gauge, Value::Whole(value)) => encoder.encode_gauge(value),
            (NumberKind::Gauge, Value::Real(value)) => encoder.encode_gauge(value),
        })?;
    }
    Ok(())
}

fn histogram(encoder: &mut MetricEncoder<'_>, durations: &Durations) -> fmt::Result {
    let seconds = |ns: u64| ns as f64 / 1e9;
    let bound = |ns: u64| if ns == u64::MAX { f64::MAX } else { seconds(ns) };
    let buckets: Vec<(f64, u64)> =
        durations.octaves.iter().map(|(ns, count)| (bound(*ns), *count)).collect();
    let count = buckets.iter().map(|(_, count)| count).sum();
    encoder.encode_histogram::<NoLabelSet>(seconds(durations.total_ns), count, &buckets, None)
}

fn with_label(
    encoder: &mut MetricEncoder<'_>,
    label: &Option<(&'static str, String)>,
    encode: impl FnOnce(MetricEncoder<'_>) -> fmt::Result,
) -> fmt::Result {
    match label {
        Some((name, value)) => encode(encoder.encode_family(&Labels(&[(name, value)]))?),
        None => encode(encoder.encode_family(&Labels(&[]))?),
    }
}

/// Labels whose values may be any text: the crate writes them as they are.
#[derive(Debug)]
struct Labels<'a>(&'a [(&'a str, &'a str)]);

impl EncodeLabelSet for Labels<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        for (name, value) in self.0 {
            let mut label = encoder.encode_label();
            let mut key = label.encode_label_key()?;
            fmt::Write::write_str(&mut key, name)?;
            let mut text = key.encode_label_value()?;
            escaped(&mut text, value)?;
            text.finish()?;
        }
        Ok(())
    }
}

fn escaped(out: &mut LabelValueEncoder<'_>, value: &str) -> fmt::Result {
    for c in value.chars() {
        match c {
            '\\' => fmt::Write::write_str(out, "\\\\")?,
            '"' => fmt::Write::write_str(out, "\\\"")?,
            '\n' => fmt::Write::write_str(out, "\\n")?,
            c => fmt::Write::write_char(out, c)?,
        }
    }
    Ok(())
}
