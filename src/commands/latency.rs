//! `LATENCY`: the monitor of slow events, and the histograms of the commands.

use std::fmt::Write as _;

use super::client::CALLABLE_ANYTIME;
use super::table::{self, Lookup};
use super::{
    Arg, Args, Arity, CommandResult, CommandSpec, Error, Flags, Group, ServerState, Session,
    SessionHandler, help,
};
use crate::observe::{CommandStats, LatencyEvent};
use crate::protocol::Reply;

const ADMIN: Flags = CALLABLE_ANYTIME.or(Flags::ADMIN);
const TIPS: &[&str] =
    &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"];
/// Rows of a graph.
const GRAPH_ROWS: u64 = 4;
/// Most samples in a graph, the newest.
const GRAPH_COLUMNS: usize = 80;

/// The family's table.
pub(super) const COMMANDS: &[CommandSpec] = &[CommandSpec::container("latency", SUBCOMMANDS)
    .group(Group::Server)
    .since("2.8.13")
    .summary("Commands about latency.")];

const fn sub(name: &'static str, arity: Arity, run: SessionHandler) -> CommandSpec {
    CommandSpec::session(name, arity, run).group(Group::Server).since("2.8.13")
}

const SUBCOMMANDS: &[CommandSpec] = &[
    sub("doctor", Arity::Exactly(2), doctor)
        .summary("Reports in words what was slow.")
        .tips(TIPS)
        .flags(ADMIN),
    sub("graph", Arity::Exactly(3), graph)
        .summary("Draws the samples of an event.")
        .tips(TIPS)
        .flags(ADMIN)
        .args(&[Arg::string("event")]),
    help::subcommand(Group::Server, "2.8.13"),
    sub("histogram", Arity::AtLeast(2), histogram)
        .since("7.0.0")
        .complexity("O(N) with N commands answered")
        .summary("Answers the distribution of durations of commands, or of all.")
        .tips(TIPS)
        .flags(ADMIN)
        .args(&[Arg::string("command").optional().multiple()]),
    sub("history", Arity::Exactly(3), history)
        .summary("Answers the samples of an event.")
        .tips(TIPS)
        .flags(ADMIN)
        .args(&[Arg::string("event")]),
    sub("latest", Arity::Exactly(2), latest)
        .summary("Answers the newest and the worst sample of each event.")
        .tips(TIPS)
        .flags(ADMIN),
    sub("reset", Arity::AtLeast(2), reset)
        .summary("Forgets the samples of events, or of all.")
        .tips(&["request_policy:all_nodes", "response_policy:agg_sum"])
        .flags(ADMIN)
        .args(&[Arg::string("event").optional().multiple()]),
];

fn number(n: u64) -> Reply {
    Reply::Integer(i64::try_from(n).unwrap_or(i64::MAX))
}

fn latest(_: &mut Session, state: &ServerState, _: &mut Args<'_>) -> CommandResult {
    let entry = |(name, event): (&'static str, LatencyEvent)| {
        let last = event.samples.back()?;
        Some(Reply::Array(vec![
            Reply::bulk(name),
            number(last.unix_s),
            number(last.ms),
            number(event.max_ms),
        ]))
    };
    Ok(Reply::Array(state.latency.events().into_iter().filter_map(entry).collect()))
}

fn history(_: &mut Session, state: &ServerState, args: &mut Args<'_>) -> CommandResult {
    let event = state.latency.event(args.next_bytes()?).map(|(_, event)| event).unwrap_or_default();
    let samples = event.samples.iter();
    let sample = samples.map(|s| Reply::Array(vec![number(s.unix_s), number(s.ms)]));
    Ok(Reply::Array(sample.collect()))
}

fn reset(_: &mut Session, state: &ServerState, args: &mut Args<'_>) -> CommandResult {
    let count = match args.rest() {
        [] => state.latency.reset(),
        events => events.iter().filter(|event| state.latency.reset_event(event)).count(),
    };
    Ok(Reply::Integer(i64::try_from(count).unwrap_or(i64::MAX)))
}

fn histogram(_: &mut Session, state: &ServerState, args: &mut Args<'_>) -> CommandResult {
    let mut wanted: Vec<&table::Command> = Vec::new();
    if args.is_empty() {
        wanted.extend(table::all());
    }
    for name in args.rest() {
        let mut words = name.splitn(2, |byte| *byte == b'|');
        let (first, second) = (words.next().unwrap_or_default(), words.next());
        if let Lookup::Found(command) = table::lookup(first, second) {
            wanted.push(command);
            let subcommands = command.subcommands.iter().filter_map(|id| table::by_id(*id));
            wanted.extend(subcommands);
        }
    }
    let entries = wanted.into_iter().filter_map(|command| {
        let stats = state.metrics.command(command.id)?;
        let distribution = distribution(stats)?;
        Some((Reply::bulk(command.full_name), distribution))
    });
    Ok(Reply::Map(entries.collect()))
}

fn distribution(stats: &CommandStats) -> Option<Reply> {
    let latency = stats.latency().filter(|latency| latency.count() > 0)?;
    let buckets =
        latency.cumulative_us().into_iter().map(|(us, count)| (number(us), number(count)));
    Some(Reply::Map(vec![
        (Reply::bulk("calls"), number(latency.count())),
        (Reply::bulk("histogram_usec"), Reply::Map(buckets.collect())),
    ]))
}

fn graph(_: &mut Session, state: &ServerState, args: &mut Args<'_>) -> CommandResult {
    let name = args.next_bytes()?;
    let Some((name, event)) = state.latency.event(name) else {
        return Err(Error::quoting("ERR No samples available for event '{}'", &[name]));
    };
    let text = draw(name, &event, state.clock.unix_ms() / 1000);
    Ok(Reply::Verbatim("txt", text.into()))
}

/// One column per sample, oldest left; below it how long ago it was.
fn draw(name: &str, event: &LatencyEvent, now_s: u64) -> String {
    let skipped = event.samples.len().saturating_sub(GRAPH_COLUMNS);
    let samples: Vec<_> = event.samples.iter().skip(skipped).collect();
    let high = samples.iter().map(|sample| sample.ms).max().unwrap_or(0);
    let low = samples.iter().map(|sample| sample.ms).min().unwrap_or(0);
    let title =
        format!("{name} - high {high} ms, low {low} ms (all time high {} ms)", event.max_ms);
    let mut text = format!("{title}\n{}\n", "-".repeat(title.len().min(80)));
    for row in (0..GRAPH_ROWS).rev() {
        let line: String = samples
            .iter()
            .map(|sample| {
                let height = (sample.ms - low) * GRAPH_ROWS / (high - low + 1);
                match height.cmp(&row) {
                    std::cmp::Ordering::Equal => '#',
                    std::cmp::Ordering::Greater => '|',
                    std::cmp::Ordering::Less if row == 0 => '_',
                    std::cmp::Ordering::Less => ' ',
                }
            })
            .collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.push('\n');
    let ages: Vec<Vec<char>> = samples
        .iter()
        .map(|sample| age(now_s.saturating_sub(sample.unix_s)).chars().collect())
        .collect();
    for row in 0..ages.iter().map(Vec::len).max().unwrap_or(0) {
        let line: String = ages.iter().map(|age| age.get(row).copied().unwrap_or(' ')).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

fn doctor(_: &mut Session, state: &ServerState, _: &mut Args<'_>) -> CommandResult {
    let threshold_ms = state.config.load().latency_monitor_threshold;
    let events = state.latency.events();
    let mut text = String::new();
    if threshold_ms == 0 {
        text.push_str(
            "I'm sorry: latency monitoring is disabled. CONFIG SET latency-monitor-threshold \
             <milliseconds> enables it.\n",
        );
    } else if events.is_empty() {
        let _ = writeln!(text, "No event took {threshold_ms} ms or longer since the last reset.");
    }
    for (index, (name, event)) in events.iter().enumerate() {
        let count = event.samples.len() as u64;
        let average = event.samples.iter().map(|s| s.ms).sum::<u64>() / count.max(1);
        let advice = match *name {
            "command" | "fast-command" => "look at SLOWLOG GET for the commands.",
            "wal-fsync" | "wal-write" => "the disk syncs slowly; look at what else writes to it.",
            _ => "look at INFO lsm for what the tree was busy with.",
        };
        let _ = writeln!(
            text,
            "{}. {name}: {count} slow seconds, {average} ms on average, worst {} ms: {advice}",
            index + 1,
            event.max_ms,
        );
    }
    Ok(Reply::Verbatim("txt", text.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::LatencySample;

    #[test]
    fn a_graph_has_a_column_per_sample() {
        let samples = [(90, 10), (95, 50), (99, 30)];
        let event = LatencyEvent {
            samples: samples.map(|(unix_s, ms)| LatencySample { unix_s, ms }).into(),
            max_ms: 70,
        };
        let text = draw("command", &event, 100);
        let rows: Vec<&str> = text.lines().collect();
        assert_eq!(rows[0], "command - high 50 ms, low 10 ms (all time high 70 ms)");
        assert_eq!(rows[2..], [" #", " |", " |#", "#||", "", "151", "0ss", "s"]);
    }
}
