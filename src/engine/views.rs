//! Which views readers still hold: what nobody can see any more may go.

use std::collections::VecDeque;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::SeqNo;
use super::tree::Published;

/// Views that are let go of in the middle are looked for when there are so many, and twice as many as
/// were left the last time.
const SWEPT_MIN: usize = 64;

/// The views that were replaced by newer ones, as far as somebody may hold them.
#[derive(Debug, Default)]
pub(super) struct Views {
    replaced: Mutex<Replaced>,
}

#[derive(Debug, Default)]
struct Replaced {
    /// Oldest first. Weak: what a view pins is let go of with its last reader.
    views: VecDeque<(SeqNo, Weak<Published>)>,
    left: usize,
}

fn is_held((_, view): &(SeqNo, Weak<Published>)) -> bool {
    view.strong_count() > 0
}

impl Views {
    /// `view` is not the newest any more. Whoever loaded it before must be counted among its owners by now.
    pub(super) fn note_replaced(&self, view: &Arc<Published>) {
        self.replaced.lock().views.push_back((view.seq, Arc::downgrade(view)));
    }

    /// What every view sees that anybody holds or will get, where the newest is at `newest`.
    pub(super) fn oldest(&self, newest: SeqNo) -> SeqNo {
        let mut replaced = self.replaced.lock();
        while replaced.views.front().is_some_and(|view| !is_held(view)) {
            replaced.views.pop_front();
        }
        if replaced.views.len() >= SWEPT_MIN.max(2 * replaced.left) {
            replaced.views.retain(is_held);
            replaced.left = replaced.views.len();
        }
        // What a reader did before it let go has happened.
        fence(Ordering::Acquire);
        replaced.views.front().map_or(newest, |(seq, _)| *seq)
    }

    /// The newest view before `seq` that somebody may hold; those to come are newer than every `seq` that
    /// is published.
    pub(super) fn newest_before(&self, seq: SeqNo) -> Option<SeqNo> {
        let replaced = self.replaced.lock();
        let before = replaced.views.partition_point(|(view, _)| *view < seq);
        let held = replaced.views.range(..before).rev().find(|view| is_held(view));
        fence(Ordering::Acquire);
        held.map(|(view, _)| *view)
    }
}
