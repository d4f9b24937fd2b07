//! Random bytes for secrets.

use std::io;

use rustix::rand::{GetRandomFlags, getrandom};

/// Fills `bytes` with what nobody can foretell.
///
/// # Errors
/// Where the system has none.
pub fn fill_random(bytes: &mut [u8]) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let count = getrandom(&mut *rest, GetRandomFlags::empty())?;
        rest = rest.get_mut(count..).unwrap_or_default();
    }
    Ok(())
}
