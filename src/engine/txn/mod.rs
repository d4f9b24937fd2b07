//! A transaction: a view of the newest state, and the changes on top of it.

use bytes::Bytes;

pub use self::writes::Writes;

mod writes;

use self::writes::Write;
use super::read::visit_each;
use super::snapshot::{Head, range_is_empty};
use super::{Direction, Error, Found, KeyRange, Pair, Read, Result, Scan, SeqNo, Writer};
use crate::env::Room;

/// What a transaction does when it is committed.
#[derive(Debug, Default)]
pub struct Changes {
    /// New value per key.
    pub writes: Writes,
    /// The new root record, where it changes.
    pub root: Option<Bytes>,
}

impl Changes {
    /// Whether nothing is changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.root.is_none()
    }
}

/// A transaction over the newest state. Nothing is seen by others, and nothing reaches the log,
/// before the owner takes [`Txn::into_changes`] to the writer. Dropping it undoes everything.
pub struct Txn<'a> {
    base: Base<'a>,
    seq: SeqNo,
    changes: Changes,
    /// What the changes may take, where that is bounded, and whether it was enough so far.
    room: Option<Room<'a>>,
    is_full: bool,
    /// How many keys it may write.
    writes_max: usize,
    standing: Standing,
    /// Whether it is within another transaction, wherever that stands.
    is_inner: bool,
}

/// Where a transaction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// On the newest state itself.
    Newest,
    /// Within a transaction that does.
    Within,
    /// On any other view.
    Aside,
}

/// What a transaction stands on.
enum Base<'a> {
    /// The newest state, as the writer gives it.
    Head(Head<'a>),
    /// Any other view.
    View(&'a dyn Read),
}

impl Base<'_> {
    fn view(&self) -> &dyn Read {
        match self {
            Self::Head(head) => head,
            Self::View(view) => *view,
        }
    }

    /// The writer, where it was lent to commit to.
    fn writer_mut(&mut self) -> Option<&mut Writer> {
        match self {
            Self::Head(head) => head.writer_mut(),
            Self::View(_) => None,
        }
    }
}

impl<'a> Txn<'a> {
    /// A transaction on top of `base` that will take sequence number `seq`.
    pub fn new(base: &'a dyn Read, seq: SeqNo) -> Self {
        Self {
            base: Base::View(base),
            seq,
            changes: Changes::default(),
            room: None,
            is_full: false,
            writes_max: usize::MAX,
            standing: Standing::Aside,
            is_inner: false,
        }
    }

    /// The same, where `base` is the newest state itself: all that it shows is committed, and nobody
    /// else changes it meanwhile.
    #[must_use]
    pub fn over_newest(base: &'a dyn Read, seq: SeqNo) -> Self {
        Self { standing: Standing::Newest, ..Self::new(base, seq) }
    }

    /// A transaction within this one, which may [`Self::absorb`] what it changes.
    #[must_use]
    pub fn inner(&'a self) -> Self {
        let standing = match self.standing {
            Standing::Newest | Standing::Within => Standing::Within,
            Standing::Aside => Standing::Aside,
        };
        Self { standing, writes_max: self.writes_max, is_inner: true, ..Self::new(self, self.seq) }
    }

    /// From more writes than these on every look-up fails with [`Error::WouldBlock`]: for transactions
    /// that others wait for.
    #[must_use]
    pub fn with_writes_max(mut self, writes_max: usize) -> Self {
        self.writes_max = writes_max;
        self
    }

    /// Runs something the walks of which may take so many steps of the writer at most; where that fails
    /// with [`Error::WouldBlock`] for them, the transaction is not exhausted.
    pub fn within_steps<T>(&self, steps: u32, run: impl FnOnce() -> T) -> T {
        let Base::Head(head) = &self.base else { return run() };
        let spared = head.spare_steps(steps);
        let answer = run();
        head.return_steps(spared);
        answer
    }

    /// Whether look-ups fail, or may have failed, because it does more than it may: it has made too many
    /// writes, or its walks have taken all the steps of the writer.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        let walked = match &self.base {
            Base::Head(head) => head.is_exhausted(),
            Base::View(_) => false,
        };
        walked || self.has_written_too_much()
    }

    fn has_written_too_much(&self) -> bool {
        self.changes.writes.len() > self.writes_max
    }

    /// Fails where nothing may be looked up any more.
    fn check_going(&self) -> Result<()> {
        self.check_room()?;
        if self.has_written_too_much() { Err(Error::WouldBlock) } else { Ok(()) }
    }

    pub(super) fn over(head: Head<'a>, seq: SeqNo) -> Self {
        Self {
            base: Base::Head(head),
            seq,
            changes: Changes::default(),
            room: None,
            is_full: false,
            writes_max: usize::MAX,
            standing: Standing::Newest,
            is_inner: false,
        }
    }

    /// The sequence number that this transaction takes if it commits: unique, increasing.
    #[must_use]
    pub fn seq(&self) -> SeqNo {
        self.seq
    }

    /// Whether it stands on the newest state itself, not on another transaction or a view.
    #[must_use]
    pub fn is_over_newest(&self) -> bool {
        self.standing == Standing::Newest
    }

    /// Whether it stands on another transaction, which may take over what it changes.
    #[must_use]
    pub fn is_inner(&self) -> bool {
        self.is_inner
    }

    /// Whether its number is that of the next commit: it stands on the newest state, or within a
    /// transaction that does.
    #[must_use]
    pub fn is_of_writer(&self) -> bool {
        self.standing != Standing::Aside
    }

    /// Sets `key` to `value`.
    pub fn put(&mut self, key: Bytes, value: Bytes) {
        self.changes.writes.set(key, Some(value));
        self.measure();
    }

    /// Makes room for so many changes that follow.
    pub fn expect(&mut self, changes: usize) {
        self.changes.writes.expect(changes);
    }

    /// Deletes `key`, whether or not it exists.
    pub fn delete(&mut self, key: Bytes) {
        self.changes.writes.set(key, None);
        self.measure();
    }

    /// Bounds what the changes may take. From the change on with which they are too many every
    /// look-up fails with [`Error::NoRoom`], and so does [`Self::check_room`].
    pub fn set_room(&mut self, room: Room<'a>) {
        self.room = Some(room);
        self.measure();
    }

    /// As [`Self::set_room`].
    #[must_use]
    pub fn with_room(mut self, room: Room<'a>) -> Self {
        self.set_room(room);
        self
    }

    /// Fails with [`Error::NoRoom`] where the changes are too many: they must not be committed.
    pub fn check_room(&self) -> Result<()> {
        if self.is_full { Err(Error::NoRoom) } else { Ok(()) }
    }

    fn measure(&mut self) {
        if let Some(room) = &self.room {
            self.is_full |= room.hold(self.changes.writes.bytes()).is_err();
        }
    }

    /// Replaces the root record (at most 64 KiB).
    pub fn set_root(&mut self, root: Bytes) {
        self.changes.root = Some(root);
    }

    /// Takes over what an inner transaction, one on top of this, has changed.
    pub fn absorb(&mut self, changes: Changes) {
        if self.changes.writes.is_empty() {
            self.changes.writes = changes.writes;
        } else {
            for (key, value) in changes.writes {
                self.changes.writes.set(key, value);
            }
        }
        if changes.root.is_some() {
            self.changes.root = changes.root;
        }
        self.measure();
    }

    /// What this transaction itself has written at `key`, without a look at what lies below: for keys
    /// that nobody else can have written.
    #[must_use]
    pub fn own(&self, key: &[u8]) -> Option<&Bytes> {
        self.changes.writes.get(key).flatten()
    }

    /// Puts `changes` in the place of those made so far, and answers these.
    pub fn exchange(&mut self, changes: Changes) -> Changes {
        let before = std::mem::replace(&mut self.changes, changes);
        self.measure();
        before
    }

    /// Whether nothing was changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Commits the changes of this transaction of a [`super::Writer::begin_run`], if there are any, and
    /// begins the next one. Where it fails nothing is committed: [`Self::undo`] goes on.
    ///
    /// # Panics
    /// Where it is of no run.
    pub fn commit(&mut self) -> Result<()> {
        self.check_room()?;
        if !self.changes.is_empty() {
            Writer::check_limits(&self.changes)?;
            let writer = self.base.writer_mut().expect("it is one of a run");
            self.seq = writer.take_over(&mut self.changes) + 1;
        }
        self.begin_anew();
        Ok(())
    }

    /// Undoes the changes and begins anew.
    pub fn undo(&mut self) {
        self.changes = Changes::default();
        self.begin_anew();
    }

    fn begin_anew(&mut self) {
        self.is_full = false;
        self.measure();
        if let Base::Head(head) = &mut self.base {
            head.refill();
        }
    }

    /// The writer, of a transaction that it has begun.
    #[must_use]
    pub fn writer(&self) -> Option<&Writer> {
        match &self.base {
            Base::Head(head) => Some(head.writer()),
            Base::View(_) => None,
        }
    }

    /// Ends the transaction and hands out its changes.
    #[must_use]
    pub fn into_changes(self) -> Changes {
        self.changes
    }
}

impl std::fmt::Debug for Txn<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Txn").field("seq", &self.seq).field("changes", &self.changes).finish()
    }
}

impl Read for Txn<'_> {
    fn newest(&self, key: &[u8]) -> Result<Option<Found>> {
        self.check_going()?;
        match self.changes.writes.get(key) {
            Some(value) => Ok(Some(Found { seq: self.seq, value: value.cloned() })),
            None => self.base.view().newest(key),
        }
    }

    fn scan(&self, range: KeyRange, direction: Direction) -> Scan<'_> {
        if let Err(error) = self.check_going() {
            return Box::new(std::iter::once(Err(error)));
        }
        let base = self.base.view().scan(range.clone(), direction);
        if self.changes.writes.is_empty() || range_is_empty(&range) {
            return base;
        }
        Overlay::lay(&self.changes.writes, base, &range, direction)
    }

    fn visit(
        &self,
        range: KeyRange,
        direction: Direction,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<()> {
        if self.changes.writes.is_empty() {
            return self.base.view().visit(range, direction, visit);
        }
        visit_each(self.scan(range, direction), visit)
    }

    fn seq(&self) -> SeqNo {
        self.seq.saturating_sub(1)
    }

    fn is_committed(&self) -> bool {
        self.is_over_newest() && self.changes.writes.is_empty()
    }

    fn root(&self) -> &[u8] {
        self.changes.root.as_deref().unwrap_or_else(|| self.base.view().root())
    }

    fn prefetch(&self, keys: &[&[u8]]) {
        self.base.view().prefetch(keys);
    }
}

/// Lays writes over the pairs below them.
pub(super) struct Overlay<'a> {
    base: std::iter::Peekable<Scan<'a>>,
    own: std::iter::Peekable<Box<dyn Iterator<Item = &'a Write> + 'a>>,
    direction: Direction,
}

impl<'a> Overlay<'a> {
    /// Lays what `writes` has within `range`, which is not empty, over what is `below`.
    pub(super) fn lay(
        writes: &'a Writes,
        below: Scan<'a>,
        range: &KeyRange,
        direction: Direction,
    ) -> Scan<'a> {
        let mut own = writes.in_order(range, direction).peekable();
        if own.peek().is_none() {
            return below;
        }
        Box::new(Self { base: below.peekable(), own, direction })
    }
}

impl Iterator for Overlay<'_> {
    type Item = Result<Pair>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some(&(own_key, _)) = self.own.peek() else { return self.base.next() };
            let order = match self.base.peek() {
                None => std::cmp::Ordering::Greater,
                Some(Err(_)) => return self.base.next(),
                Some(Ok((base_key, _))) => match self.direction {
                    Direction::Forward => base_key.cmp(own_key),
                    Direction::Reverse => own_key.cmp(base_key),
                },
            };
            match order {
                std::cmp::Ordering::Less => return self.base.next(),
                std::cmp::Ordering::Equal => drop(self.base.next()),
                std::cmp::Ordering::Greater => {}
            }
            if let Some((key, Some(value))) = self.own.next() {
                return Some(Ok((key.clone(), value.clone())));
            }
        }
    }
}
