//! Outside thread, speech: orders of a session that its recogniser has not taken yet. Adding one never waits: where there is too much
//! audio, the oldest is dropped.

use crate::services::lock::lock;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;

/// Chunks of audio that wait once a recogniser has started.
const CHUNKS_MAX: usize = 100;

/// One order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Item {
    Audio(Bytes),
    Pause,
    Close,
}

struct Waiting {
    item: Item,
    since: u64,
}

struct State {
    items: VecDeque<Waiting>,
    starting: bool,
    closing: bool,
    /// Chunks lost since the last one that was taken.
    lost_in_row: u64,
    last_order_ms: u64,
}

/// The orders.
pub(super) struct Queue {
    state: Mutex<State>,
    bell: Notify,
    /// Chunks kept while the recogniser starts, and for how long (ms).
    start_chunks: usize,
    start_ms: u64,
}

impl Queue {
    pub(super) fn new(start_chunks: u64, start_ms: u64, now: u64) -> Self {
        Self {
            state: Mutex::new(State {
                items: VecDeque::new(),
                starting: true,
                closing: false,
                lost_in_row: 0,
                last_order_ms: now,
            }),
            bell: Notify::new(),
            start_chunks: start_chunks as usize,
            start_ms,
        }
    }

    /// Takes an order; `lost` counts audio that has to go for it.
    pub(super) fn push(&self, item: Item, now: u64, lost: &AtomicU64) {
        let mut state = lock(&self.state);
        state.last_order_ms = now;
        if state.closing {
            return;
        }
        match &item {
            Item::Audio(_) => {
                let max = if state.starting {
                    self.start_chunks
                } else {
                    CHUNKS_MAX
                };
                state.make_room(max, lost);
                if max == 0 {
                    return;
                }
            }
            Item::Pause
                if state
                    .items
                    .back()
                    .is_some_and(|last| last.item == Item::Pause) =>
            {
                return;
            }
            Item::Pause => {}
            Item::Close => state.closing = true,
        }
        state.items.push_back(Waiting { item, since: now });
        drop(state);
        self.bell.notify_one();
    }

    /// Takes what waits for a recogniser that was not ready in time; it is for its successor.
    pub(super) fn hand_over(&self, successor: &Self) {
        let is_audio = |waiting: &Waiting| matches!(waiting.item, Item::Audio(_));
        let mut state = lock(&self.state);
        if !state.starting {
            return;
        }
        let all = std::mem::take(&mut state.items);
        let (audio, rest) = all.into_iter().partition(is_audio);
        state.items = rest;
        drop(state);
        lock(&successor.state).items = audio;
        successor.bell.notify_one();
    }

    /// The recogniser takes audio now; what waited for it too long goes.
    pub(super) fn ready(&self, now: u64, lost: &AtomicU64) {
        let mut state = lock(&self.state);
        if !std::mem::replace(&mut state.starting, false) {
            return;
        }
        let before = state.items.len();
        let start_ms = self.start_ms;
        state.items.retain(|waiting| {
            !matches!(waiting.item, Item::Audio(_)) || now.saturating_sub(waiting.since) < start_ms
        });
        let gone = before - state.items.len();
        lost.fetch_add(gone as u64, Ordering::Relaxed);
    }

    /// Waits until there is something to take.
    pub(super) async fn filled(&self) {
        while lock(&self.state).items.is_empty() {
            self.bell.notified().await;
        }
    }

    /// What [`Queue::take`] would return.
    pub(super) fn next_is_audio(&self) -> bool {
        let state = lock(&self.state);
        let first = state.items.front();
        first.is_some_and(|waiting| matches!(waiting.item, Item::Audio(_)))
    }

    pub(super) fn take(&self) -> Option<Item> {
        let mut state = lock(&self.state);
        let waiting = state.items.pop_front()?;
        state.lost_in_row = 0;
        Some(waiting.item)
    }

    /// Audio that a broken connection may have swallowed, in order: it is sent again.
    pub(super) fn put_back(&self, chunks: VecDeque<Bytes>, now: u64) {
        let mut state = lock(&self.state);
        for chunk in chunks.into_iter().rev() {
            let item = Item::Audio(chunk);
            state.items.push_front(Waiting { item, since: now });
        }
        drop(state);
        self.bell.notify_one();
    }

    /// Whether the session wants it to end.
    pub(super) fn closing(&self) -> bool {
        lock(&self.state).closing
    }

    /// Whether there is nothing left to do but to end.
    pub(super) fn only_close(&self) -> bool {
        let state = lock(&self.state);
        state.closing
            && state
                .items
                .front()
                .is_none_or(|one| one.item == Item::Close)
    }

    pub(super) fn lost_in_row(&self) -> u64 {
        lock(&self.state).lost_in_row
    }

    pub(super) fn last_order_ms(&self) -> u64 {
        lock(&self.state).last_order_ms
    }
}

impl State {
    fn make_room(&mut self, max: usize, lost: &AtomicU64) {
        let is_audio = |waiting: &Waiting| matches!(waiting.item, Item::Audio(_));
        let mut audio = self.items.iter().filter(|one| is_audio(one)).count();
        while audio > 0 && audio >= max {
            let oldest = self.items.iter().position(is_audio);
            self.items.remove(oldest.unwrap_or(0));
            audio -= 1;
            self.lost_in_row += 1;
            lost.fetch_add(1, Ordering::Relaxed);
        }
        if max == 0 {
            lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(at: u8) -> Item {
        Item::Audio(Bytes::copy_from_slice(&[at]))
    }

    fn rest(queue: &Queue) -> Vec<Item> {
        std::iter::from_fn(|| queue.take()).collect()
    }

    #[test]
    fn of_too_much_audio_the_oldest_goes_and_is_counted() {
        let lost = AtomicU64::new(0);
        let queue = Queue::new(2, 10_000, 0);
        queue.push(chunk(1), 0, &lost);
        queue.push(Item::Pause, 0, &lost);
        queue.push(Item::Pause, 0, &lost);
        queue.push(chunk(2), 0, &lost);
        queue.push(chunk(3), 0, &lost);
        assert_eq!(lost.load(Ordering::Relaxed), 1);
        assert_eq!(queue.lost_in_row(), 1);
        queue.ready(9999, &lost);
        for at in 4..=110 {
            queue.push(chunk(at), 0, &lost);
        }
        assert_eq!(lost.load(Ordering::Relaxed), 1 + 9);
        let items = rest(&queue);
        assert_eq!(items.len(), 1 + CHUNKS_MAX);
        assert_eq!((&items[0], items.last()), (&Item::Pause, Some(&chunk(110))));
        assert_eq!(queue.lost_in_row(), 0);
    }

    #[test]
    fn what_waited_too_long_for_the_start_goes() {
        let lost = AtomicU64::new(0);
        let queue = Queue::new(50, 10_000, 0);
        queue.push(chunk(1), 0, &lost);
        queue.push(chunk(2), 5000, &lost);
        queue.ready(10_000, &lost);
        queue.ready(99_000, &lost);
        assert_eq!(rest(&queue), [chunk(2)]);
        assert_eq!(lost.load(Ordering::Relaxed), 1);
        let none = Queue::new(0, 10_000, 0);
        none.push(chunk(1), 0, &lost);
        assert_eq!((rest(&none).len(), lost.load(Ordering::Relaxed)), (0, 2));
    }

    #[test]
    fn nothing_follows_a_close_and_what_was_swallowed_comes_first() {
        let lost = AtomicU64::new(0);
        let queue = Queue::new(50, 10_000, 0);
        assert!(!queue.only_close());
        queue.push(chunk(3), 0, &lost);
        queue.push(Item::Close, 0, &lost);
        queue.push(chunk(4), 7, &lost);
        assert!(queue.closing() && !queue.only_close());
        assert_eq!(queue.last_order_ms(), 7);
        let swallowed = [Bytes::from_static(&[1]), Bytes::from_static(&[2])];
        queue.put_back(swallowed.into_iter().collect(), 0);
        assert!(queue.next_is_audio());
        assert_eq!(rest(&queue), [chunk(1), chunk(2), chunk(3), Item::Close]);
    }
}
