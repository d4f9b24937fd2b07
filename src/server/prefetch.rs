//! Keys of commands that come next, and elements that these name, asked for before these run: a look-up of one that is in memory waits
//! twice for it, and here the waits overlap.

use smallvec::SmallVec;

use crate::commands::gates;
use crate::engine;
use crate::protocol::Request;

/// Keys from which on it is worth it, and about how many at a time: what is asked for has to be there
/// still when its turn comes.
const KEYS_MIN: usize = 4;
const KEYS_MAX: usize = 32;

/// Whether a request is alone and has too few keys.
pub(super) fn is_futile(request: &Request, others: usize) -> bool {
    others == 0 && request.args.len() <= KEYS_MIN
}

/// Has the keys of the first of `requests` brought into the cache of the processor that runs this, and
/// the elements that they name, by `bring`; of how many requests.
pub(super) fn prefetch<'r>(
    requests: impl Iterator<Item = &'r Request>,
    bring: impl FnOnce(&[&[u8]], &[(&[u8], &[u8])]) -> engine::Result<()>,
) -> usize {
    let mut keys = SmallVec::<[&[u8]; KEYS_MAX]>::new();
    let mut elements = SmallVec::<[(&[u8], &[u8]); KEYS_MAX]>::new();
    let mut seen = 0;
    for request in requests {
        seen += 1;
        let before = keys.last().copied();
        push_keys(request, &mut keys);
        if before.is_some() && before == keys.last().copied() {
            elements.extend(element(request));
        }
        if keys.len() >= KEYS_MAX {
            break;
        }
    }
    if keys.len() >= KEYS_MIN {
        // What cannot be read the commands tell.
        drop(bring(&keys, &elements));
    }
    seen
}

/// The key of a request that names an element, and that: worth it where requests have one key, which
/// are about one large collection then.
fn element(request: &Request) -> Option<(&[u8], &[u8])> {
    let words = &request.args;
    let at = gates::known(words).ok()?.element_at?;
    Some((words.get(1)?, words.get(at)?))
}

/// The keys of a request, as far as that is cheap to tell.
fn push_keys<'r>(request: &'r Request, keys: &mut SmallVec<[&'r [u8]; KEYS_MAX]>) {
    let words = &request.args;
    if words.len() <= 3 {
        // Where it is no key nothing is found.
        keys.extend(words.get(1).map(|word| &word[..]));
    } else if words.len() <= 4 * KEYS_MAX
        && let Ok(command) = gates::known(&request.args)
        && let Some(found) = command.keys_of(words)
    {
        keys.extend(found.iter().filter_map(|(number, _)| words.get(*number)).map(|key| &key[..]));
    }
}
