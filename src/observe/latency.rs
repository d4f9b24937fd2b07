//! The latency monitor: per event, the worst of each second.

use std::collections::{BTreeMap, VecDeque};

use parking_lot::Mutex;

/// Samples kept per event.
const SAMPLES_MAX: usize = 160;

/// The worst of one second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LatencySample {
    /// The second, in Unix time.
    pub unix_s: u64,
    /// The longest in it, in milliseconds.
    pub ms: u64,
}

/// What is known of an event.
#[derive(Debug, Clone, Default)]
pub struct LatencyEvent {
    /// Oldest first.
    pub samples: VecDeque<LatencySample>,
    /// The longest ever, in milliseconds.
    pub max_ms: u64,
}

/// The latency monitor. The caller compares with the threshold before it records.
#[derive(Debug, Default)]
pub struct LatencyMonitor {
    events: Mutex<BTreeMap<&'static str, LatencyEvent>>,
}

impl LatencyMonitor {
    /// Records that `event` took `ms` milliseconds.
    pub fn record(&self, event: &'static str, unix_s: u64, ms: u64) {
        let mut events = self.events.lock();
        let entry = events.entry(event).or_default();
        entry.max_ms = entry.max_ms.max(ms);
        match entry.samples.back_mut() {
            Some(last) if last.unix_s == unix_s => last.ms = last.ms.max(ms),
            _ => {
                if entry.samples.len() == SAMPLES_MAX {
                    entry.samples.pop_front();
                }
                entry.samples.push_back(LatencySample { unix_s, ms });
            }
        }
    }

    /// All events by name.
    #[must_use]
    pub fn events(&self) -> Vec<(&'static str, LatencyEvent)> {
        self.events.lock().iter().map(|(name, event)| (*name, event.clone())).collect()
    }

    /// One event; any case.
    #[must_use]
    pub fn event(&self, name: &[u8]) -> Option<(&'static str, LatencyEvent)> {
        let events = self.events.lock();
        events
            .iter()
            .find(|(event, _)| event.as_bytes().eq_ignore_ascii_case(name))
            .map(|(name, event)| (*name, event.clone()))
    }

    /// Forgets an event; false where it is not known.
    pub fn reset_event(&self, name: &[u8]) -> bool {
        let mut events = self.events.lock();
        let before = events.len();
        events.retain(|event, _| !event.as_bytes().eq_ignore_ascii_case(name));
        events.len() < before
    }

    /// Forgets all events; how many there were.
    pub fn reset(&self) -> usize {
        std::mem::take(&mut *self.events.lock()).len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sample_per_second_keeps_the_worst() {
        let monitor = LatencyMonitor::default();
        for (second, ms) in [(1, 5), (1, 9), (1, 3), (2, 4)] {
            monitor.record("command", second, ms);
        }
        let (_, event) = monitor.event(b"COMMAND").expect("was recorded");
        let samples: Vec<_> = event.samples.iter().map(|s| (s.unix_s, s.ms)).collect();
        assert_eq!((samples, event.max_ms), (vec![(1, 9), (2, 4)], 9));
        for second in 3..1000 {
            monitor.record("command", second, 1);
        }
        assert_eq!(monitor.events()[0].1.samples.len(), SAMPLES_MAX);
        assert!(monitor.reset_event(b"command") && !monitor.reset_event(b"command"));
    }
}
