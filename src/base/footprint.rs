//! Layer 0: how much heap memory a value holds, for the memory report (behaviour.md §10.4). An estimate: what is shared is
//! divided by its owners, what the allocator adds is left out. Nothing is counted until somebody asks.

use bytes::{Bytes, BytesMut};
use serde_json::{Map, Value};
use smallvec::SmallVec;
use std::collections::{HashMap, VecDeque};
use std::mem::size_of;
use std::sync::Arc;

/// A value that may hold heap memory.
pub trait Footprint {
    /// Bytes of heap that it holds; its own size is not among them.
    fn heap_bytes(&self) -> usize;
}

/// Implements [`Footprint`] for types that hold no heap memory.
macro_rules! flat {
    ($($ty:ty),* $(,)?) => { $(
        impl $crate::base::footprint::Footprint for $ty {
            fn heap_bytes(&self) -> usize { 0 }
        }
    )* };
}

/// Implements [`Footprint`] for types that hold what the named fields hold.
macro_rules! owns {
    ($($ty:ty: $($field:ident),+;)*) => { $(
        impl $crate::base::footprint::Footprint for $ty {
            fn heap_bytes(&self) -> usize {
                0 $(+ $crate::base::footprint::Footprint::heap_bytes(&self.$field))+
            }
        }
    )* };
}

pub(crate) use {flat, owns};

flat!(
    u8,
    u32,
    u64,
    bool,
    &'static str,
    super::ids::ConnId,
    super::ids::CallId,
    super::ids::ReplyTo,
);

impl Footprint for super::ids::Package {
    // Shared by everything that names the app.
    fn heap_bytes(&self) -> usize {
        0
    }
}

impl Footprint for super::ids::UserId {
    fn heap_bytes(&self) -> usize {
        self.len()
    }
}

impl Footprint for String {
    fn heap_bytes(&self) -> usize {
        self.capacity()
    }
}

impl Footprint for Box<str> {
    fn heap_bytes(&self) -> usize {
        self.len()
    }
}

impl Footprint for Bytes {
    fn heap_bytes(&self) -> usize {
        self.len()
    }
}

impl Footprint for BytesMut {
    fn heap_bytes(&self) -> usize {
        self.capacity()
    }
}

impl<T: Footprint> Footprint for Box<T> {
    fn heap_bytes(&self) -> usize {
        size_of::<T>() + (**self).heap_bytes()
    }
}

impl<T: Footprint> Footprint for Box<[T]> {
    fn heap_bytes(&self) -> usize {
        size_of::<T>() * self.len() + sum(self.iter())
    }
}

impl<T: Footprint> Footprint for Arc<[T]> {
    fn heap_bytes(&self) -> usize {
        (size_of::<T>() * self.len() + sum(self.iter())) / Arc::strong_count(self)
    }
}

impl<T: Footprint> Footprint for Option<T> {
    fn heap_bytes(&self) -> usize {
        self.as_ref().map_or(0, Footprint::heap_bytes)
    }
}

impl<T: Footprint> Footprint for Vec<T> {
    fn heap_bytes(&self) -> usize {
        size_of::<T>() * self.capacity() + sum(self.iter())
    }
}

impl<T: Footprint> Footprint for VecDeque<T> {
    fn heap_bytes(&self) -> usize {
        size_of::<T>() * self.capacity() + sum(self.iter())
    }
}

impl<T: Footprint, const N: usize> Footprint for SmallVec<[T; N]> {
    fn heap_bytes(&self) -> usize {
        let own = if self.spilled() { self.capacity() } else { 0 };
        size_of::<T>() * own + sum(self.iter())
    }
}

impl<T: Footprint, const N: usize> Footprint for [T; N] {
    fn heap_bytes(&self) -> usize {
        sum(self.iter())
    }
}

impl<A: Footprint, B: Footprint> Footprint for (A, B) {
    fn heap_bytes(&self) -> usize {
        self.0.heap_bytes() + self.1.heap_bytes()
    }
}

impl<A: Footprint, B: Footprint, C: Footprint> Footprint for (A, B, C) {
    fn heap_bytes(&self) -> usize {
        self.0.heap_bytes() + self.1.heap_bytes() + self.2.heap_bytes()
    }
}

impl<K: Footprint, V: Footprint, S> Footprint for HashMap<K, V, S> {
    fn heap_bytes(&self) -> usize {
        let held: usize = self
            .iter()
            .map(|(key, value)| key.heap_bytes() + value.heap_bytes())
            .sum();
        size_of::<(K, V)>() * self.capacity() + held
    }
}

impl Footprint for Map<String, Value> {
    fn heap_bytes(&self) -> usize {
        self.iter()
            .map(|(key, value)| size_of::<(String, Value)>() + key.len() + value.heap_bytes())
            .sum()
    }
}

impl Footprint for Value {
    fn heap_bytes(&self) -> usize {
        match self {
            Self::Null | Self::Bool(_) | Self::Number(_) => 0,
            Self::String(text) => text.heap_bytes(),
            Self::Array(list) => list.heap_bytes(),
            Self::Object(map) => map.heap_bytes(),
        }
    }
}

fn sum<'a, T: Footprint + 'a>(items: impl Iterator<Item = &'a T>) -> usize {
    items.map(Footprint::heap_bytes).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nested_things_count_whole_and_shared_ones_once() {
        let text = |len: usize| "x".repeat(len);
        let list = vec![text(1000), text(500)];
        assert_eq!(list.heap_bytes(), 1500 + 2 * size_of::<String>());
        let object = json!({"a": [text(1000)], "b": {"c": text(2000)}, "n": 1});
        assert!((3000..3500).contains(&object.heap_bytes()));
        let shared: Arc<[String]> = vec![text(4000)].into();
        let whole = shared.heap_bytes();
        let both = [Arc::clone(&shared), shared];
        assert_eq!(both.heap_bytes(), whole / 2 * 2);
    }
}
