//! Dense registers: six bits each, one behind the other, the lowest bit of the first byte first.

use super::REGISTERS;

const VALUE_BITS: usize = 6;
const VALUE_MASK: u32 = (1 << VALUE_BITS) - 1;

/// Bytes of all registers.
pub(super) const LEN: usize = REGISTERS * VALUE_BITS / 8;

/// The values of all registers; `bytes` are [`LEN`].
pub(super) fn values(bytes: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let (groups, _) = bytes.as_chunks::<3>();
    groups.iter().flat_map(|[a, b, c]| {
        let four = u32::from_le_bytes([*a, *b, *c, 0]);
        [0, 1, 2, 3].map(|at| {
            let [value, ..] = (four >> (at * VALUE_BITS) & VALUE_MASK).to_le_bytes();
            value
        })
    })
}

/// Raises a register to `value`; answers whether it was lower.
pub(super) fn raise(bytes: &mut [u8], register: usize, value: u8) -> bool {
    let (groups, _) = bytes.as_chunks_mut::<3>();
    let Some(group) = groups.get_mut(register / 4) else { return false };
    let shift = register % 4 * VALUE_BITS;
    let [a, b, c] = *group;
    let four = u32::from_le_bytes([a, b, c, 0]);
    let value = u32::from(value) & VALUE_MASK;
    if four >> shift & VALUE_MASK >= value {
        return false;
    }
    let [a, b, c, _] = (four & !(VALUE_MASK << shift) | value << shift).to_le_bytes();
    *group = [a, b, c];
    true
}
