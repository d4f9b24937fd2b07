//! Settings of several words.

use crate::config::kind::{Source, WRONG_COUNT};
use crate::config::units::parse_memory;
use crate::config::{OutputLimit, Settings};
use crate::protocol::format_double;

/// Most addresses of `bind`.
const ADDRESSES_MAX: usize = 16;

pub(super) fn get_bind(settings: &Settings) -> String {
    settings.bind.join(" ")
}

pub(super) fn set_bind(settings: &mut Settings, words: &[&str], _: Source) -> Result<(), String> {
    if words.len() > ADDRESSES_MAX {
        return Err("Too many bind addresses specified.".to_owned());
    }
    settings.bind = words.iter().map(|word| (*word).to_owned()).collect();
    Ok(())
}

pub(super) fn get_replicaof(_: &Settings) -> String {
    String::new()
}

/// `no one`, as failovers write it, is what every server here is.
pub(super) fn set_replicaof(_: &mut Settings, words: &[&str], _: Source) -> Result<(), String> {
    match words {
        [] => Ok(()),
        [no, one] if no.eq_ignore_ascii_case("no") && one.eq_ignore_ascii_case("one") => Ok(()),
        [_, _] => Err("replication is not supported".to_owned()),
        _ => Err(WRONG_COUNT.to_owned()),
    }
}

pub(super) fn get_save(settings: &Settings) -> String {
    let points = settings.save.iter().map(|(seconds, changes)| format!("{seconds} {changes}"));
    points.collect::<Vec<_>>().join(" ")
}

/// Lines add up; `save ""` forgets those before it.
pub(super) fn set_save(
    settings: &mut Settings,
    words: &[&str],
    source: Source,
) -> Result<(), String> {
    if !words.len().is_multiple_of(2) {
        return Err("Invalid save parameters".to_owned());
    }
    let mut points = Vec::with_capacity(words.len() / 2);
    for pair in words.chunks_exact(2) {
        let [seconds, changes] = pair else { continue };
        match (seconds.parse::<u64>(), changes.parse::<u64>()) {
            (Ok(seconds), Ok(changes)) if seconds >= 1 => points.push((seconds, changes)),
            _ => return Err("Invalid save parameters".to_owned()),
        }
    }
    if source == Source::Command || points.is_empty() {
        settings.save = points;
    } else {
        settings.save.append(&mut points);
    }
    Ok(())
}

pub(super) fn get_output_limits(settings: &Settings) -> String {
    let limits = &settings.client_output_buffer_limit;
    let classes = [("normal", limits.normal), ("slave", limits.replica), ("pubsub", limits.pubsub)];
    let classes = classes.map(|(name, limit)| {
        format!("{name} {} {} {}", limit.hard_bytes, limit.soft_bytes, limit.soft_seconds)
    });
    classes.join(" ")
}

/// Classes that are not named keep their limits.
pub(super) fn set_output_limits(
    settings: &mut Settings,
    words: &[&str],
    _: Source,
) -> Result<(), String> {
    if words.is_empty() || !words.len().is_multiple_of(4) {
        return Err("Wrong number of arguments in buffer limit configuration.".to_owned());
    }
    let mut limits = settings.client_output_buffer_limit;
    for class in words.chunks_exact(4) {
        let [name, hard, soft, seconds] = class else { continue };
        let place = match name.to_ascii_lowercase().as_str() {
            "normal" => &mut limits.normal,
            "slave" | "replica" => &mut limits.replica,
            "pubsub" => &mut limits.pubsub,
            _ => return Err("Invalid client class specified in buffer limit configuration.".into()),
        };
        match (parse_memory(hard), parse_memory(soft), seconds.parse()) {
            (Some(hard_bytes), Some(soft_bytes), Ok(soft_seconds)) => {
                *place = OutputLimit { hard_bytes, soft_bytes, soft_seconds };
            }
            _ => {
                let why =
                    "Error in hard, soft or soft_seconds setting in buffer limit configuration.";
                return Err(why.to_owned());
            }
        }
    }
    settings.client_output_buffer_limit = limits;
    Ok(())
}

pub(super) fn get_percentiles(settings: &Settings) -> String {
    let percentiles = settings.latency_tracking_info_percentiles.iter();
    percentiles.map(|percentile| format_double(*percentile)).collect::<Vec<_>>().join(" ")
}

pub(super) fn set_percentiles(
    settings: &mut Settings,
    words: &[&str],
    _: Source,
) -> Result<(), String> {
    let percentiles = words.iter().map(|word| match word.parse::<f64>() {
        Ok(percentile) if (0.0..=100.0).contains(&percentile) => Ok(percentile),
        Ok(_) => Err("latency-tracking-info-percentiles parameters should sit between [0.0,100.0]"),
        Err(_) => Err("Invalid latency-tracking-info-percentiles parameters"),
    });
    settings.latency_tracking_info_percentiles = percentiles.collect::<Result<_, _>>()?;
    Ok(())
}

pub(super) fn get_events(settings: &Settings) -> String {
    settings.notify_keyspace_events.clone()
}

/// Classes that `A` stands for.
const EVENTS_ALL: &str = "g$lshzxetd";
/// Classes that stand alone.
const EVENTS_OTHER: &str = "nKEm";

pub(super) fn set_events(settings: &mut Settings, words: &[&str], _: Source) -> Result<(), String> {
    let written = words.concat();
    let known = |class| class == 'A' || EVENTS_ALL.contains(class) || EVENTS_OTHER.contains(class);
    if !written.chars().all(known) {
        return Err("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".to_owned());
    }
    let has = |class| written.contains(class);
    let mut classes = String::new();
    if has('A') || EVENTS_ALL.chars().all(has) {
        classes.push('A');
    } else {
        classes.extend(EVENTS_ALL.chars().filter(|class| has(*class)));
    }
    classes.extend(EVENTS_OTHER.chars().filter(|class| has(*class)));
    settings.notify_keyspace_events = classes;
    Ok(())
}
