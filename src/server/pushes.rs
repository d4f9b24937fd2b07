//! What is pushed to a connection, on its way to the socket.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};

use super::output::{Full, Output};
use super::stream::WriteHalf;
use crate::commands::{FANOUT_STEP, Outbox, Portion, ServerState};

/// Messages taken from an outbox at a time.
const BATCH_MAX: usize = 64;
/// Bytes of messages taken at a time, but for the last one.
const BATCH_BYTES_MAX: usize = 256 << 10;
/// Messages up to so many bytes together are copied into one piece: that costs less than to have the
/// system gather them.
const JOINED_BYTES_MAX: usize = 16 << 10;
/// Time between two looks whether what waits has been too much for too long.
const PATIENCE: Duration = Duration::from_secs(1);

/// Carries out the fan-outs to many, one behind the other; others run between the steps of each.
/// Runs until the server stops.
pub(crate) async fn run_lane(state: Arc<ServerState>) {
    let Some(mut lane) = state.pubsub.take_lane_end() else { return };
    while let Some(mut next) = lane.recv().await {
        while !next.fanout.advance(&state, FANOUT_STEP) {
            tokio::task::yield_now().await;
        }
        // Whoever has published may be gone.
        let _gone = next.done.send(());
    }
}

/// Gives out the turns of those who are pushed to. Runs until the server stops.
pub(crate) async fn give_turns(state: Arc<ServerState>) {
    state.pubsub.turns.give().await;
}

/// Waits until there is something that may stand behind so many replies, and it is the connection's
/// turn to write. May be dropped at any time.
pub(crate) async fn ready(state: &ServerState, outbox: &Outbox, replies: u64) {
    outbox.ready(replies).await;
    state.pubsub.turns.take().await;
}

/// Writes a batch of what waits in the outbox and may stand behind so many replies, at most so many
/// messages; waits for the peer where it has to.
///
/// # Errors
/// Where the peer is gone, or does not keep up.
pub(crate) async fn deliver(
    state: &ServerState,
    stream: &WriteHalf,
    outbox: &Outbox,
    (replies, most): (u64, usize),
) -> Result<(), Full> {
    let mut batch = VecDeque::with_capacity(BATCH_MAX);
    let portion =
        Portion { most: most.min(BATCH_MAX), most_bytes: BATCH_BYTES_MAX, ..Portion::all(replies) };
    outbox.take(&mut batch, portion);
    let mut left = batch.iter().map(Bytes::len).sum::<usize>();
    state.metrics.net_out_bytes.add(left as u64);
    state.metrics.socket_writes.add((left > 0).into());
    outbox.client.net_out_bytes.fetch_add(left as u64, Ordering::Relaxed);
    let joined = join(&mut batch, left);
    while left > 0 {
        let count = match write_some(stream, &batch) {
            Ok(0) => return Err(Full::Io(std::io::ErrorKind::WriteZero.into())),
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                writable(state, stream, outbox).await?;
                continue;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Full::Io(error)),
        };
        left -= count;
        outbox.written(advance(&mut batch, count), count);
    }
    outbox.written(joined, 0);
    state.client_holds(&outbox.client);
    Ok(())
}

/// Makes one piece of messages of so many bytes together, where these are few; how many fewer messages
/// there are then.
fn join(batch: &mut VecDeque<Bytes>, bytes: usize) -> usize {
    let messages = batch.len();
    if messages <= 1 || bytes > JOINED_BYTES_MAX {
        return 0;
    }
    let mut piece = BytesMut::with_capacity(bytes);
    batch.drain(..).for_each(|message| piece.extend_from_slice(&message));
    batch.push_back(piece.freeze());
    messages - 1
}

/// Writes what the socket takes now.
fn write_some(stream: &WriteHalf, batch: &VecDeque<Bytes>) -> std::io::Result<usize> {
    if let [only] = batch.as_slices().0 {
        return stream.try_write(only);
    }
    let mut slices = [IoSlice::new(&[]); BATCH_MAX];
    for (slice, message) in slices.iter_mut().zip(batch) {
        *slice = IoSlice::new(message);
    }
    stream.try_write_vectored(slices.get(..batch.len()).unwrap_or(&slices))
}

/// Takes the first `count` bytes off the batch; how many messages that ends.
fn advance(batch: &mut VecDeque<Bytes>, mut count: usize) -> usize {
    let mut ended = 0;
    while let Some(first) = batch.front_mut() {
        if first.len() > count {
            first.advance(count);
            break;
        }
        count -= first.len();
        batch.pop_front();
        ended += 1;
    }
    ended
}

/// Waits until the socket takes bytes, as long as the soft limit allows.
async fn writable(state: &ServerState, stream: &WriteHalf, outbox: &Outbox) -> Result<(), Full> {
    loop {
        let limit = state.config.load().client_output_buffer_limit.pubsub;
        if outbox.is_overdue(limit) {
            return Err(Full::Limit);
        }
        if let Ok(writable) = tokio::time::timeout(PATIENCE, stream.writable()).await {
            return writable.map_err(Full::Io);
        }
    }
}

/// Moves what waits in the outbox behind the replies, as far as it may stand there.
pub(crate) fn append(outbox: &Outbox, output: &mut Output, mut portion: Portion) {
    let mut batch = VecDeque::new();
    loop {
        outbox.take(&mut batch, Portion { most: portion.most.min(BATCH_MAX), ..portion });
        if batch.is_empty() {
            return;
        }
        portion.most -= batch.len();
        let bytes = batch.iter().map(Bytes::len).sum();
        outbox.written(batch.len(), bytes);
        batch.drain(..).for_each(|message| output.push_encoded(&message));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_messages_leave_as_one_piece() {
        let messages = |texts: &[&'static str]| -> VecDeque<Bytes> {
            texts.iter().map(|text| Bytes::from_static(text.as_bytes())).collect()
        };
        let mut batch = messages(&["ab", "", "c"]);
        assert_eq!(join(&mut batch, 3), 2);
        assert_eq!(batch, ["abc"]);
        assert_eq!(join(&mut batch, 3), 0);
        let mut batch = messages(&["ab", "c"]);
        assert_eq!(join(&mut batch, JOINED_BYTES_MAX + 1), 0);
        assert_eq!(batch, ["ab", "c"]);
    }

    #[test]
    fn a_batch_is_taken_off_by_the_byte() {
        let texts = ["abc", "", "de", "f"];
        let mut batch: VecDeque<Bytes> = texts.map(|t| Bytes::from_static(t.as_bytes())).into();
        assert_eq!(advance(&mut batch, 2), 0);
        assert_eq!(batch, ["c", "", "de", "f"]);
        assert_eq!(advance(&mut batch, 2), 2);
        assert_eq!(batch, ["e", "f"]);
        assert_eq!(advance(&mut batch, 2), 2);
        assert!(batch.is_empty());
    }
}
