//! Outside thread: what is under way, requests, logs or webhooks, and whose it is. Of the places there are,
//! nobody gets so many that others get none: some answers take as long as an app server likes.

use super::lock::lock;
use crate::base::ids::{Package, UserId};
use crate::base::share;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of changes that one asker may have under way to the store; more wait for their turn, and not those of others behind them.
const CHANGES_BYTES: usize = 8 << 20;

/// Who asks.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(in crate::services) enum Asker {
    /// With a token of this user.
    User(UserId),
    /// With the key of this app.
    App(Package),
    /// Whoever shows neither, all together.
    Strangers,
    /// From this address, whatever they show; of IPv6 its first half, which belongs to one customer.
    At(IpAddr),
}

impl Asker {
    pub(in crate::services) fn of(user: Option<&UserId>, package: Option<&Package>) -> Self {
        match (user, package) {
            (Some(user), _) => Self::User(user.clone()),
            (None, Some(package)) => Self::App(package.clone()),
            (None, None) => Self::Strangers,
        }
    }

    pub(in crate::services) fn at(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(v6) => Self::At(Ipv6Addr::from(u128::from(v6) >> 64 << 64).into()),
            v4 => Self::At(v4),
        }
    }
}

#[derive(Default)]
struct Counts {
    all: u64,
    of: HashMap<Asker, u64>,
}

/// All that are being answered; or all bytes that are under way.
pub(super) struct Crowd {
    max: u64,
    counts: Arc<Mutex<Counts>>,
}

impl Crowd {
    pub(super) fn new(max: u64) -> Self {
        Self {
            max,
            counts: Arc::default(),
        }
    }

    /// A place, unless too many are taken: for an asker already as soon as it has as many as are free.
    pub(super) fn enter(&self, asker: Asker) -> Option<Place> {
        self.enter_with(asker, 1)
    }

    /// The same with so many places at once.
    pub(super) fn enter_with(&self, asker: Asker, weight: u64) -> Option<Place> {
        let mut counts = lock(&self.counts);
        let own = counts.of.get(&asker).copied().unwrap_or(0);
        if !share::may_add_more(own, counts.all, weight, self.max) {
            return None;
        }
        counts.all += weight;
        counts.of.insert(asker.clone(), own + weight);
        Some(Place {
            counts: Arc::clone(&self.counts),
            asker,
            weight,
        })
    }
}

/// A place in the crowd; given back when dropped.
pub(super) struct Place {
    counts: Arc<Mutex<Counts>>,
    asker: Asker,
    weight: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = lock(&self.counts);
        counts.all -= self.weight;
        if let Some(own) = counts.of.get_mut(&self.asker) {
            *own -= self.weight;
            if *own == 0 {
                counts.of.remove(&self.asker);
            }
        }
    }
}

/// Changes on their way to the store, by whoever asks for them.
#[derive(Default)]
pub(super) struct Turns(Mutex<HashMap<Asker, Arc<Semaphore>>>);

impl Turns {
    /// Waits for the asker's turn with a change of so many bytes; it lasts until what is returned is dropped.
    pub(super) async fn wait(&self, asker: Asker, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let own = {
            let mut askers = lock(&self.0);
            if askers.len() >= 1024 {
                // Who has a turn, or waits for it, holds it.
                askers.retain(|_, turns| Arc::strong_count(turns) > 1);
            }
            let new = || Arc::new(Semaphore::new(CHANGES_BYTES));
            Arc::clone(askers.entry(asker).or_insert_with(new))
        };
        let bytes = bytes.clamp(1, CHANGES_BYTES) as u32;
        own.acquire_many_owned(bytes).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[test]
    fn large_changes_of_one_wait_for_each_other_and_for_nobody_else() {
        let turns = Turns::default();
        let user = |name: &str| Asker::of(Some(&UserId::new(name)), None);
        let take = |name: &str, bytes: usize| turns.wait(user(name), bytes).now_or_never();
        let first = take("eve@lumen.io", 5 << 20);
        assert!(first.is_some());
        assert!(take("eve@lumen.io", 5 << 20).is_none(), "it waits");
        assert!(take("eve@lumen.io", 1000).is_some(), "there is room");
        assert!(take("nadia@lumen.io", 12 << 20).is_some());
        drop(first);
        assert!(take("eve@lumen.io", 12 << 20).is_some());
    }

    #[test]
    fn who_has_a_network_of_ipv6_is_one_asker() {
        let at = |text: &str| Asker::at(text.parse().expect("an address"));
        assert_eq!(at("2001:db8:1:2::1"), at("2001:db8:1:2:ffff::9"));
        assert_ne!(at("2001:db8:1:2::1"), at("2001:db8:1:3::1"));
        assert_eq!(at("::ffff:10.0.0.1"), at("10.0.0.1"));
        assert_ne!(at("10.0.0.1"), at("10.0.0.2"));
    }

    #[test]
    fn no_user_and_no_stranger_keeps_the_others_from_being_answered() {
        let crowd = Crowd::new(64);
        let user = |name: &str| Asker::of(Some(&UserId::new(name)), None);
        let app = Asker::of(None, Some(&Package::new("com.acme.scribe")));
        let mut places = Vec::new();
        for asker in [user("eve@lumen.io"), Asker::of(None, None), app] {
            places.extend(std::iter::from_fn(|| crowd.enter(asker.clone())));
        }
        assert_eq!(places.len(), 32 + 16 + 8);
        assert!(crowd.enter(user("eve@lumen.io")).is_none());
        let mine = crowd.enter(user("nadia@lumen.io"));
        assert!(mine.is_some());
        drop((places, mine));
        let counts = lock(&crowd.counts);
        assert_eq!((counts.all, counts.of.len()), (0, 0), "nothing is kept");
    }
}
