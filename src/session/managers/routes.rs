//! Layer 2, manager: a cache of routes. The route of a stream name lists the sockets that get the phone's events of that name, each
//! with the beginning of its envelope. `flow::relay` derives it from subscriptions, open sockets and permissions once; after that
//! the hot path only walks it.

use crate::base::footprint::{flat, owns};
use crate::base::ids::ConnId;
use smallvec::SmallVec;
use std::cell::Cell;

/// Names remembered per user; one more takes the place of the oldest.
const ROUTES_MAX: usize = 8;
/// Longer names are worked out every time (bytes).
const NAME_BYTES_MAX: usize = 64;

flat!(Hop);
owns! {
    Route: hops, bytes;
    Routes: list;
}

/// Of a route's bytes no more cache lines are fetched ahead.
const BYTES_LINES_MAX: usize = 10;

/// One receiver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hop {
    /// Its socket.
    conn: ConnId,
    /// Where its envelope head ends in [`Route::bytes`]; it begins where the one before ends.
    end: u32,
}

/// All receivers of one name. Two cache lines.
#[derive(Clone, PartialEq, Eq, Debug)]
#[repr(align(64))]
pub struct Route {
    hops: SmallVec<[Hop; 4]>,
    /// The name, then the envelope heads.
    bytes: Vec<u8>,
    name_len: u32,
}

impl Route {
    /// The route of `name`, to nobody yet.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            hops: SmallVec::new(),
            bytes: name.as_bytes().to_vec(),
            name_len: name.len() as u32,
        }
    }

    /// Adds a receiver; `head` appends what stands before the event's own JSON.
    pub fn add(&mut self, conn: ConnId, head: impl FnOnce(&mut Vec<u8>)) {
        head(&mut self.bytes);
        let end = self.bytes.len() as u32;
        self.hops.push(Hop { conn, end });
    }

    /// Every receiver with its envelope head.
    pub fn iter(&self) -> impl Iterator<Item = (ConnId, &[u8])> {
        let mut from = self.name_len as usize;
        self.hops.iter().map(move |hop| {
            let end = hop.end as usize;
            let head = &self.bytes[from..end];
            from = end;
            (hop.conn, head)
        })
    }

    fn is_of(&self, name: &str) -> bool {
        self.bytes[..self.name_len as usize] == *name.as_bytes()
    }
}

/// The routes of one user.
#[derive(Default)]
pub struct Routes {
    list: Vec<Route>,
    /// Index of the route that the next new one replaces.
    oldest: u8,
    /// Index of the route that was asked for last.
    recent: Cell<u8>,
    /// Version of the app registry from which they were derived.
    registry: u64,
}

impl Routes {
    /// The route of `name`, if it is known and follows this version of the registry.
    #[must_use]
    #[inline]
    pub fn get(&self, name: &str, registry: u64) -> Option<&Route> {
        let at = self.list.iter().position(|route| route.is_of(name))?;
        self.recent.set(at as u8);
        (self.registry == registry).then_some(&self.list[at])
    }

    /// Remembers a route.
    pub fn keep(&mut self, route: Route, registry: u64) {
        if self.registry != registry {
            self.forget();
            self.registry = registry;
        }
        if route.name_len as usize > NAME_BYTES_MAX {
        } else if self.list.len() < ROUTES_MAX {
            // Most phones say few things.
            self.list.reserve_exact(1);
            self.list.push(route);
        } else {
            self.list[usize::from(self.oldest)] = route;
            self.oldest = (self.oldest + 1) % ROUTES_MAX as u8;
        }
    }

    /// Forgets all routes: subscriptions, sockets or permissions have changed.
    pub fn forget(&mut self) {
        self.list.clear();
        self.oldest = 0;
    }

    /// Where the route that was asked for last and its bytes lie, and how many cache lines they take.
    #[must_use]
    #[inline]
    pub fn places(&self) -> [(*const u8, usize); 2] {
        let Some(route) = self.list.get(usize::from(self.recent.get())) else {
            return [(std::ptr::null(), 0); 2];
        };
        let lines = (route.bytes.len() / 64 + 2).min(BYTES_LINES_MAX);
        [
            ((&raw const *route).cast(), size_of::<Route>() / 64),
            (route.bytes.as_ptr(), lines),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::footprint::Footprint;

    fn route(name: &str, receivers: u64) -> Route {
        let mut route = Route::new(name);
        for conn in 0..receivers {
            route.add(ConnId(conn), |out| {
                out.extend_from_slice(format!("{name}{conn}").as_bytes())
            });
        }
        route
    }

    #[test]
    fn a_route_is_found_by_its_whole_name_with_every_head() {
        let mut routes = Routes::default();
        routes.keep(route("button_press", 3), 1);
        routes.keep(route("button", 0), 1);
        let found: Vec<_> = routes
            .get("button_press", 1)
            .expect("kept")
            .iter()
            .collect();
        assert_eq!(
            found,
            [
                (ConnId(0), &b"button_press0"[..]),
                (ConnId(1), b"button_press1"),
                (ConnId(2), b"button_press2")
            ]
        );
        assert_eq!(routes.get("button", 1).expect("kept").iter().count(), 0);
        assert_eq!(routes.get("butt", 1), None);
    }

    #[test]
    fn routes_end_with_the_registry_they_followed() {
        let mut routes = Routes::default();
        routes.keep(route("a", 1), 1);
        assert_eq!(routes.get("a", 2), None);
        routes.keep(route("b", 1), 2);
        assert_eq!(routes.get("a", 2), None);
        assert!(routes.get("b", 2).is_some());
        routes.forget();
        assert_eq!(routes.get("b", 2), None);
    }

    #[test]
    fn however_many_names_a_phone_invents_few_are_kept() {
        let mut routes = Routes::default();
        for number in 0..100 {
            routes.keep(route(&number.to_string(), 1), 1);
        }
        routes.keep(route(&"x".repeat(NAME_BYTES_MAX + 1), 1), 1);
        assert_eq!(routes.list.len(), ROUTES_MAX);
        for number in 92..100 {
            assert!(routes.get(&number.to_string(), 1).is_some(), "{number}");
        }
        assert!(routes.heap_bytes() < 1536);
    }
}
