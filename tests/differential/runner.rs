//! Sends calls and compares, batch by batch.

use super::compare::same;
use super::exceptions::prelude;
use super::generator::{Generator, Step};
use super::servers::Servers;
use super::shrink::shrink;
use super::state::inspections;
use super::value::Value;

/// Calls in one pipeline.
const PIPELINE_MAX: usize = 24;
/// Calls between two looks at all keys.
const STATE_EVERY: u64 = 1500;
/// Characters of a reply that are shown.
const SHOWN_MAX: usize = 2000;

/// A run.
pub(crate) struct Runner {
    generator: Generator,
    servers: Servers,
    /// Everything since both servers were empty.
    history: Vec<Step>,
    differences: u64,
}

impl Runner {
    pub(crate) fn new(seed: u64) -> Self {
        let generator = Generator::new(seed);
        Self { generator, servers: Servers::start(), history: Vec::new(), differences: 0 }
    }

    /// Sends so many calls, and stops after `most` differences. Answers the number of differences.
    pub(crate) fn run(&mut self, steps: u64, most: u64) -> u64 {
        let (mut done, mut looked) = (0, 0);
        while done < steps && self.differences < most {
            let batch = self.batch();
            done += batch.len() as u64;
            self.send(&batch);
            if done - looked >= STATE_EVERY || done >= steps {
                looked = done;
                self.compare_all();
            }
        }
        println!("{done} calls, {} differences", self.differences);
        self.differences
    }

    /// The next calls, which go out together.
    fn batch(&mut self) -> Vec<Step> {
        let random = self.generator.random();
        let resp3 = random.bool();
        let count = if random.bool() { 1 } else { random.usize(1..=PIPELINE_MAX) };
        let mut batch: Vec<Step> = Vec::new();
        while batch.len() < count {
            let step = self.generator.step(resp3);
            if step.stands_alone() {
                // It goes first, the others of the batch are forgotten.
                return vec![step];
            }
            batch.extend(prelude(&step));
            batch.push(step);
        }
        batch
    }

    fn send(&mut self, batch: &[Step]) {
        let replies = self.servers.run(batch);
        for (step, (redis, siltdb)) in batch.iter().zip(&replies) {
            self.history.push(step.clone());
            if !same(step, redis, siltdb) {
                self.report(redis, siltdb);
                return;
            }
        }
        let is_error = |reply: &Value| matches!(reply, Value::Error(_));
        if let ([step], [(redis, siltdb)]) = (batch, &replies[..])
            && (step.check.deletes || step.check.alone && is_error(redis) != is_error(siltdb))
            && let Some(key) = step.words.get(1)
        {
            let last = step.words.last().unwrap_or(key);
            let mut delete = Step::exact(&[b"DEL", key, last]);
            delete.resp3 = step.resp3;
            self.servers.run(std::slice::from_ref(&delete));
            self.history.push(delete);
        }
    }

    /// Compares all keys and their values; both servers are empty afterwards half of the time.
    fn compare_all(&mut self) {
        match self.generator.random().u8(..4) {
            0 => self.servers.reload_siltdb(false),
            1 => self.servers.reload_siltdb(true),
            _ => {}
        }
        for db in ["0", "1"] {
            self.history.push(Step::exact(&[b"SELECT", db.as_bytes()]));
            self.servers.run(&self.history[self.history.len() - 1..]);
            for step in inspections(&mut self.servers) {
                let replies = self.servers.run(std::slice::from_ref(&step));
                let (redis, siltdb) = &replies[0];
                if !same(&step, redis, siltdb) {
                    self.history.push(step);
                    self.report(redis, siltdb);
                    return;
                }
            }
        }
        if self.generator.random().bool() {
            self.reset();
        }
    }

    fn reset(&mut self) {
        self.servers.reset();
        self.history.clear();
    }

    /// Shows the difference in the reply to the last call of the history, and goes on from nothing.
    fn report(&mut self, redis: &Value, siltdb: &Value) {
        self.differences += 1;
        println!("\n--- difference {}", self.differences);
        show(redis, siltdb);
        let last = self.history.last().expect("what differs");
        println!("  to {last}");
        match shrink(&mut self.servers, &self.history) {
            Some((steps, redis, siltdb)) => {
                println!("  these calls show it:");
                steps.iter().for_each(|step| println!("    {step}"));
                show(&redis, &siltdb);
            }
            None => {
                println!("  it does not show again; the last calls about these keys:");
                let related = super::shrink::related(&self.history);
                related.iter().rev().take(20).rev().for_each(|step| println!("    {step}"));
            }
        }
        self.reset();
    }
}

fn show(redis: &Value, siltdb: &Value) {
    let cut = |value: &Value| value.to_string().chars().take(SHOWN_MAX).collect::<String>();
    println!("  redis:  {}", cut(redis));
    println!("  siltdb: {}", cut(siltdb));
}
