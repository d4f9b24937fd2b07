//! The median of the expiries of a table, in bounded memory.

/// Kept at most; exact up to here.
const KEPT_MAX: usize = 4096;

/// Keeps every n-th expiry, with n doubled whenever the space is full.
#[derive(Debug)]
pub(super) struct ExpirySample {
    kept: Vec<u64>,
    step: u64,
    count: u64,
}

impl Default for ExpirySample {
    fn default() -> Self {
        Self { kept: Vec::new(), step: 1, count: 0 }
    }
}

impl ExpirySample {
    pub(super) fn add(&mut self, expiry_ms: u64) {
        if self.count.is_multiple_of(self.step) {
            if self.kept.len() == KEPT_MAX {
                let mut place = 0;
                self.kept.retain(|_| {
                    place += 1;
                    place % 2 == 1
                });
                self.step *= 2;
            }
            self.kept.push(expiry_ms);
        }
        self.count += 1;
    }

    /// How many were added.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Their median, 0 without any.
    pub(super) fn median(&mut self) -> u64 {
        self.kept.sort_unstable();
        self.kept.get(self.kept.len() / 2).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::ExpirySample;

    fn sample(expiries: impl IntoIterator<Item = u64>) -> ExpirySample {
        let mut sample = ExpirySample::default();
        expiries.into_iter().for_each(|expiry| sample.add(expiry));
        sample
    }

    #[test]
    fn median_is_exact_when_few_and_near_when_many() {
        assert_eq!(sample([]).median(), 0);
        assert_eq!(sample([9, 1, 5]).median(), 5);
        let mut many = sample((0..1_000_000).map(|n| n * 7919 % 1_000_003));
        assert_eq!(many.count(), 1_000_000);
        assert!((450_000..550_000).contains(&many.median()));
    }
}
