//! What the process holds beside its store: what clients hold, and what commands hold while they run.
//!
//! One account for all, in atomic numbers. Who holds much tells it in steps, so that requests of the
//! usual size cost it nothing.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::process;

/// One command may hold this part of the budget, and all together that one.
const ONE_COMMAND_SHARE: usize = 8;
const COMMANDS_SHARE: usize = 4;
/// What one command may hold at least, and all together.
const ONE_COMMAND_MIN: usize = 16 << 20;
const COMMANDS_MIN: usize = 2 * ONE_COMMAND_MIN;
/// What one command may hold at most: a transaction of the store has no more.
const ONE_COMMAND_MAX: usize = 1 << 30;
/// When commands have taken this part of the budget since, or clients have let go of it, memory is given
/// back.
const CHURN_PART: u64 = 16;
/// Bytes that are held before they are told, and by which a room grows.
const STEP_BYTES: usize = 64 << 10;

/// Without bounds, for stores that serve nobody else.
pub static UNBOUNDED_MEMORY: MemoryAccount = MemoryAccount::unbounded();

/// What a command holds memory for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A reply that is being made or sent.
    Reply,
    /// Elements that are gathered, sorted or combined.
    Working,
    /// Changes that are not committed yet.
    Changes,
}

/// A command would hold more than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRoom;

/// Bytes held, by purpose, and their bounds. Shared by all threads.
#[derive(Debug)]
pub struct MemoryAccount {
    clients: AtomicUsize,
    clients_max: AtomicUsize,
    /// By [`Purpose`].
    purposes: [AtomicUsize; 3],
    commands: AtomicUsize,
    one_command_max: AtomicUsize,
    commands_max: AtomicUsize,
    /// Bytes that commands have taken, and clients have let go of, since memory was given back.
    churned: AtomicUsize,
    budget: AtomicU64,
}

impl MemoryAccount {
    /// An account over a budget of so many bytes.
    #[must_use]
    pub fn new(budget_bytes: u64) -> Self {
        let account = Self::unbounded();
        account.set_budget(budget_bytes);
        account
    }

    /// An account without bounds.
    #[must_use]
    pub const fn unbounded() -> Self {
        Self {
            clients: AtomicUsize::new(0),
            clients_max: AtomicUsize::new(usize::MAX),
            purposes: [const { AtomicUsize::new(0) }; 3],
            commands: AtomicUsize::new(0),
            one_command_max: AtomicUsize::new(usize::MAX),
            commands_max: AtomicUsize::new(usize::MAX),
            churned: AtomicUsize::new(0),
            budget: AtomicU64::new(u64::MAX),
        }
    }

    /// The bounds follow another budget.
    pub fn set_budget(&self, budget_bytes: u64) {
        self.budget.store(budget_bytes, Ordering::Relaxed);
        let budget = usize::try_from(budget_bytes).unwrap_or(usize::MAX);
        let one = (budget / ONE_COMMAND_SHARE).clamp(ONE_COMMAND_MIN, ONE_COMMAND_MAX);
        self.one_command_max.store(one, Ordering::Relaxed);
        self.commands_max.store((budget / COMMANDS_SHARE).max(COMMANDS_MIN), Ordering::Relaxed);
    }

    /// Bytes of the budget.
    #[must_use]
    pub fn budget(&self) -> u64 {
        self.budget.load(Ordering::Relaxed)
    }

    /// Bytes that one command may hold for one purpose.
    #[must_use]
    pub fn one_command_max(&self) -> usize {
        self.one_command_max.load(Ordering::Relaxed)
    }

    /// Bytes that clients hold.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.clients.load(Ordering::Relaxed)
    }

    /// Bytes that commands hold for a purpose.
    #[must_use]
    pub fn held_for(&self, purpose: Purpose) -> usize {
        self.purposes[purpose as usize].load(Ordering::Relaxed)
    }

    /// Bytes that commands hold.
    #[must_use]
    pub fn commands(&self) -> usize {
        self.commands.load(Ordering::Relaxed)
    }

    /// Bytes that clients may hold together; they are not refused more, but some are to be closed.
    #[must_use]
    pub fn clients_max(&self) -> usize {
        self.clients_max.load(Ordering::Relaxed)
    }

    /// Changes what clients may hold together.
    pub fn set_clients_max(&self, bytes: u64) {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        self.clients_max.store(bytes, Ordering::Relaxed);
    }

    /// A client that has told of `before` bytes holds `now`.
    pub fn client_holds(&self, before: usize, now: usize) {
        if now >= before {
            self.clients.fetch_add(now - before, Ordering::Relaxed);
        } else {
            self.clients.fetch_sub(before - now, Ordering::Relaxed);
            self.churn(before - now);
        }
    }

    /// Notes that so many bytes were taken for a short time, or are free again.
    fn churn(&self, bytes: usize) {
        let churned = self.churned.fetch_add(bytes, Ordering::Relaxed) as u64;
        if churned > self.budget() / CHURN_PART {
            self.relieve();
        }
    }

    /// Room for what a command holds.
    #[must_use]
    pub fn room(&self, purpose: Purpose) -> Room<'_> {
        Room::new(self, purpose)
    }

    fn charge(&self, purpose: Purpose, bytes: usize) -> Result<(), NoRoom> {
        let before = self.commands.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.commands_max.load(Ordering::Relaxed) {
            self.commands.fetch_sub(bytes, Ordering::Relaxed);
            return Err(NoRoom);
        }
        self.purposes[purpose as usize].fetch_add(bytes, Ordering::Relaxed);
        self.churn(bytes);
        Ok(())
    }

    /// Has what commands have held given back to the system, where the process comes near its budget.
    pub fn relieve(&self) {
        self.churned.store(0, Ordering::Relaxed);
        process::relieve(self.budget() / 4 * 3);
    }

    fn release(&self, purpose: Purpose, bytes: usize) {
        self.commands.fetch_sub(bytes, Ordering::Relaxed);
        self.purposes[purpose as usize].fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// What one command holds for one purpose; given back when it is dropped.
#[derive(Debug)]
pub struct RoomOf<A: Deref<Target = MemoryAccount>> {
    account: A,
    purpose: Purpose,
    /// Changed by one thread at a time.
    held: AtomicUsize,
    told: AtomicUsize,
}

/// Room in an account that outlives it.
pub type Room<'a> = RoomOf<&'a MemoryAccount>;

/// Room that keeps its account.
pub type OwnedRoom = RoomOf<Arc<MemoryAccount>>;

impl<A: Deref<Target = MemoryAccount>> RoomOf<A> {
    /// Room in an account.
    #[must_use]
    pub fn new(account: A, purpose: Purpose) -> Self {
        Self { account, purpose, held: AtomicUsize::new(0), told: AtomicUsize::new(0) }
    }

    /// Takes so many bytes more.
    ///
    /// # Errors
    /// Where this command, or all together, would hold more than they may; then nothing is taken. The
    /// first bytes of a command are never refused.
    pub fn take(&self, bytes: usize) -> Result<(), NoRoom> {
        let held = self.held.load(Ordering::Relaxed).saturating_add(bytes);
        if held > self.account.one_command_max() {
            return Err(NoRoom);
        }
        let told = self.told.load(Ordering::Relaxed);
        if held > told + STEP_BYTES {
            self.account.charge(self.purpose, held - told)?;
            self.told.store(held, Ordering::Relaxed);
        }
        self.held.store(held, Ordering::Relaxed);
        Ok(())
    }

    /// Holds so many bytes from now on, whatever it held before.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn hold(&self, bytes: usize) -> Result<(), NoRoom> {
        let held = self.held.load(Ordering::Relaxed);
        if bytes > held {
            return self.take(bytes - held);
        }
        self.give_back(held - bytes);
        Ok(())
    }

    /// Gives so many bytes back that were taken.
    pub fn give_back(&self, bytes: usize) {
        let held = self.held.load(Ordering::Relaxed).saturating_sub(bytes);
        self.held.store(held, Ordering::Relaxed);
        let told = self.told.load(Ordering::Relaxed);
        if told > held + STEP_BYTES {
            self.account.release(self.purpose, told - held);
            self.told.store(held, Ordering::Relaxed);
        }
    }

    /// Bytes that are taken.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

impl<A: Deref<Target = MemoryAccount>> Drop for RoomOf<A> {
    fn drop(&mut self) {
        if self.told.load(Ordering::Relaxed) > 0 {
            self.account.release(self.purpose, self.told.load(Ordering::Relaxed));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn one_command_and_all_together_have_bounds() {
        let account = MemoryAccount::new(256 << 20);
        let first = account.room(Purpose::Working);
        assert_eq!(first.take(32 * MIB + 1), Err(NoRoom));
        assert_eq!(first.take(32 * MIB), Ok(()));
        assert_eq!(first.take(1), Err(NoRoom));
        let second = account.room(Purpose::Reply);
        assert_eq!(second.take(31 * MIB), Ok(()));
        let third = account.room(Purpose::Changes);
        assert_eq!(third.take(2 * MIB), Err(NoRoom));
        assert_eq!(third.take(STEP_BYTES), Ok(()), "a little is never refused");
        assert_eq!(account.held_for(Purpose::Working), 32 * MIB);
        assert_eq!(account.commands(), 63 * MIB);
        drop(first);
        assert_eq!(third.take(2 * MIB), Ok(()));
        second.give_back(31 * MIB);
        assert_eq!(account.held_for(Purpose::Reply), 0);
        drop((second, third));
        assert_eq!(account.commands(), 0);
    }

    #[test]
    fn small_budgets_serve_commands_of_a_common_size() {
        let account = MemoryAccount::new(32 << 20);
        let room = account.room(Purpose::Changes);
        assert_eq!(room.take(16 * MIB), Ok(()));
        assert_eq!(room.take(1), Err(NoRoom));
    }

    #[test]
    fn clients_add_up() {
        let account = MemoryAccount::unbounded();
        account.client_holds(0, 5000);
        account.client_holds(0, 700);
        account.client_holds(5000, 100);
        assert_eq!(account.clients(), 800);
    }
}
