//! The outside world: file system and clock, each in a real and a simulated form.
//!
//! Nothing outside this module touches disk or time, so that a test can drop unsynced data,
//! fail the n-th operation, and move the clock.

mod account;
pub mod background;
mod clock;
mod fs;
mod log_file;
mod memory;
pub mod process;
mod random;
mod real_fs;
mod sim_fs;
mod socket;

pub use account::{MemoryAccount, NoRoom, OwnedRoom, Purpose, Room, UNBOUNDED_MEMORY};
pub use clock::{Clock, SimClock, SystemClock};
pub use fs::{DirectoryLock, File, Fs};
pub use log_file::open_for_append;
pub use memory::{memory_limit_bytes, system_memory_bytes};
pub use random::fill_random;
pub use real_fs::RealFs;
pub use sim_fs::SimFs;
pub use socket::{remove_socket, set_permissions};
