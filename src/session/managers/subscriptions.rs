//! Layer 2, manager: what every app (and the phone itself) is subscribed to (behaviour.md §3). Stores sets and answers
//! questions about them; never sends, never looks an app up.

use crate::base::footprint::owns;
use crate::base::ids::{ConnId, Package};
use crate::wire::json::write_str;
use crate::wire::streams::{self, LOCATION_STREAM, Need, Permission, StreamEvent, Subscription};
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::Arc;

owns! {
    Subscription: text;
    SubscriptionChange: list;
    Subscriber: head, list, withheld, rate, asked_rate, hints, history, reported;
    Subscriptions: subscribers;
}

/// Tier of a `location_stream` without a usable rate (behaviour.md §3.2 step 5).
const DEFAULT_RATE: &str = "standard";

/// Longest name of a stream (bytes); a longer one is dropped like one too many.
const NAME_BYTES_MAX: usize = 32 * 1024;
/// Names of one set together (bytes); what is beyond is dropped too. The last sets of every app are remembered for diagnostics.
const SET_BYTES_MAX: usize = 128 * 1024;

/// What happened to a set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// An update replaced it.
    Update,
    /// The app stopped or gave up.
    Remove,
}

/// One entry of the diagnostic ring.
#[derive(Clone, Debug)]
pub struct SubscriptionChange {
    /// Milliseconds since the Unix epoch.
    pub unix_ms: u64,
    /// What was done to the set.
    pub operation: Operation,
    /// The set from then on.
    pub list: Arc<[Subscription]>,
}

/// A list as it arrived, normalised but not yet filtered.
#[derive(Debug, Default)]
pub struct Wish {
    /// Distinct subscriptions in the order given.
    pub list: Vec<Subscription>,
    /// Rate of the location stream.
    pub rate: Option<String>,
    /// The array had no element at all.
    pub empty_as_received: bool,
    /// Entries beyond the bound, dropped.
    pub dropped: usize,
    /// Length of all names.
    bytes: usize,
    /// What was refused of it.
    withheld: Vec<Subscription>,
}

impl Wish {
    /// Normalises the elements of a `subscriptions` array; at most `max` are kept.
    #[must_use]
    pub fn read(elements: &[Value], max: usize) -> Self {
        let mut wish = Self {
            empty_as_received: elements.is_empty(),
            ..Self::default()
        };
        for element in elements {
            match element {
                Value::String(text) => wish.add(streams::parse(text), max),
                Value::Object(object)
                    if object.get("stream").and_then(Value::as_str) == Some(LOCATION_STREAM) =>
                {
                    wish.rate = object
                        .get("rate")
                        .and_then(Value::as_str)
                        .map(str::to_owned);
                    wish.add(streams::parse(LOCATION_STREAM), max);
                }
                _ => {}
            }
        }
        wish
    }

    fn add(&mut self, subscription: Subscription, max: usize) {
        if self
            .list
            .iter()
            .any(|known| known.text == subscription.text)
        {
        } else if self.list.len() < max
            && subscription.text.len() <= NAME_BYTES_MAX.min(SET_BYTES_MAX - self.bytes)
        {
            self.bytes += subscription.text.len();
            self.list.push(subscription);
        } else {
            self.dropped += 1;
        }
    }

    /// Takes out what `granted` refuses and returns it with the missing permission.
    pub fn reject(&mut self, granted: impl Fn(Permission) -> bool) -> Vec<(String, Permission)> {
        let refused = |own: &Subscription| missing_for(own, &granted).is_some();
        self.withheld = self.list.extract_if(.., |own| refused(own)).collect();
        let named = |own: &Subscription| Some((own.text.to_string(), missing_for(own, &granted)?));
        self.withheld.iter().filter_map(named).collect()
    }
}

/// The permission that a stream needs and that is not `granted`.
fn missing_for(own: &Subscription, granted: impl Fn(Permission) -> bool) -> Option<Permission> {
    streams::permission_for(&own.text).filter(|needed| !granted(*needed))
}

/// The stored set of one subscriber.
#[derive(Debug)]
pub struct Subscriber {
    /// Who; [`Package::PHONE`] for the phone itself.
    pub package: Package,
    /// `{"type":"data_stream","sessionId":…,"streamType":`, written once.
    head: Box<[u8]>,
    list: Arc<[Subscription]>,
    /// What it asked for last and may not have.
    withheld: Vec<Subscription>,
    rate: Option<String>,
    /// The rate that it named last.
    asked_rate: Option<String>,
    hints: Vec<String>,
    newly: Newly,
    history: VecDeque<SubscriptionChange>,
    reported: Vec<String>,
    reported_on: Option<ConnId>,
}

/// What became of a set since the dependents last looked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Newly {
    /// It is not what it was; all below say what entered it.
    pub different: bool,
    /// `location_stream` or `location_update`.
    pub location: bool,
    /// `calendar_event`.
    pub calendar: bool,
    /// A language stream or `audio_chunk`.
    pub sound: bool,
}

impl Subscriber {
    /// Whether a list holds the same streams, in whatever order.
    fn says_the_same(&self, list: &[Subscription]) -> bool {
        list.len() == self.list.len() && list.iter().all(|one| self.holds(&one.text))
    }

    /// The set.
    #[must_use]
    pub fn list(&self) -> &[Subscription] {
        &self.list
    }

    /// Rate of its `location_stream`.
    #[must_use]
    pub fn rate(&self) -> Option<&str> {
        self.rate.as_deref()
    }

    /// Language hints of its `transcription_config`.
    #[must_use]
    pub fn hints(&self) -> &[String] {
        &self.hints
    }

    /// The envelope up to and including the key `streamType`.
    #[must_use]
    pub fn envelope_head(&self) -> &[u8] {
        &self.head
    }

    /// Under which name this subscriber gets `event`, if it does. `granted` is asked only where nothing but a wildcard matches
    /// a protected stream (behaviour.md §3.2.1).
    pub fn delivered_as<'a>(
        &'a self,
        event: &StreamEvent<'a>,
        granted: impl FnOnce(Permission) -> bool,
    ) -> Option<&'a str> {
        let name = streams::delivered_as(&self.list, event)?;
        let by_wildcard_only = || {
            !self
                .list
                .iter()
                .any(|own| !own.is_wildcard() && own.matches(event))
        };
        match streams::permission_for(event.name()) {
            Some(needed) if by_wildcard_only() && !granted(needed) => None,
            _ => Some(name),
        }
    }

    /// Whether it has exactly this stream.
    #[must_use]
    pub fn holds(&self, stream: &str) -> bool {
        self.list.iter().any(|own| *own.text == *stream)
    }

    fn replace(&mut self, list: Arc<[Subscription]>, change: Operation, unix_ms: u64, keep: usize) {
        self.list = list;
        while self.history.len() >= keep.max(1) {
            self.history.pop_front();
        }
        if keep > 0 {
            self.history.push_back(SubscriptionChange {
                unix_ms,
                operation: change,
                list: Arc::clone(&self.list),
            });
        }
    }
}

/// All sets of the user.
#[derive(Default)]
pub struct Subscriptions {
    subscribers: Vec<Subscriber>,
}

/// Writes an envelope up to and including the key `streamType`.
pub(crate) fn write_envelope_head(out: &mut Vec<u8>, user: &str, package: &str) {
    out.extend_from_slice(br#"{"type":"data_stream","sessionId":"#);
    write_str(out, &crate::wire::ids::app_session_id(user, package));
    out.extend_from_slice(br#","streamType":"#);
}

impl Subscriptions {
    /// One subscriber.
    #[must_use]
    pub fn get(&self, package: &str) -> Option<&Subscriber> {
        self.subscribers.iter().find(|one| &*one.package == package)
    }

    /// All subscribers, also those with an empty set.
    pub fn iter(&self) -> impl Iterator<Item = &Subscriber> {
        self.subscribers.iter()
    }

    /// Whether the stored set is empty.
    #[must_use]
    pub fn is_empty(&self, package: &str) -> bool {
        self.get(package).is_none_or(|one| one.list.is_empty())
    }

    /// Every subscriber that has `location_stream`, with its rate.
    pub fn location_rates(&self) -> impl Iterator<Item = (&Package, Option<&str>)> {
        self.subscribers
            .iter()
            .filter(|one| one.holds(LOCATION_STREAM))
            .map(|one| (&one.package, one.rate()))
    }

    /// The need of all sets that `counts`.
    #[must_use]
    pub fn need(&self, counts: impl Fn(&Package) -> bool) -> Need {
        let mut need = Need::default();
        for one in &self.subscribers {
            if one.list.is_empty() || !counts(&one.package) {
                continue;
            }
            need.pcm |= one.list.iter().any(Subscription::wants_pcm);
            need.speech |= one.list.iter().any(Subscription::wants_speech);
        }
        need
    }

    /// Stores a filtered list. `keep`: length of the diagnostic ring.
    pub fn apply(&mut self, user: &str, package: &Package, wish: Wish, unix_ms: u64, keep: usize) {
        let one = self.ensure(user, package);
        let had_location = one.list.iter().any(Subscription::wants_location);
        let had_calendar = one.holds("calendar_event");
        let is_new =
            |own: &Subscription| (own.wants_pcm() || own.wants_speech()) && !one.holds(&own.text);
        let asks_for_sound = wish.list.iter().any(is_new);
        one.newly.sound |= asks_for_sound;
        one.newly.different |= !one.says_the_same(&wish.list);
        one.replace(wish.list.into(), Operation::Update, unix_ms, keep);
        let has_location = one.list.iter().any(Subscription::wants_location);
        one.newly.location = has_location && (one.newly.location || !had_location);
        one.newly.calendar = one.holds("calendar_event") && (one.newly.calendar || !had_calendar);
        let rate = wish.rate.as_deref().unwrap_or(DEFAULT_RATE);
        one.rate = one.holds(LOCATION_STREAM).then(|| rate.to_owned());
        one.asked_rate = wish.rate;
        one.withheld = wish.withheld;
    }

    /// The list that an app gave last, once more as it is `granted` now: what of it is refused, with the missing permission. `None`:
    /// nothing came of it.
    pub fn judge_anew(
        &mut self,
        user: &str,
        package: &Package,
        granted: impl Fn(Permission) -> bool,
        unix_ms: u64,
        keep: usize,
    ) -> Option<Vec<(String, Permission)>> {
        let one = self.get(package)?;
        let refused = |own: &Subscription| missing_for(own, &granted).is_some();
        if !one.list.iter().any(refused) && one.withheld.iter().all(refused) {
            return None;
        }
        let asked = one.list.iter().chain(&one.withheld);
        let mut wish = Wish {
            list: asked.cloned().collect(),
            rate: one.asked_rate.clone(),
            ..Wish::default()
        };
        let rejected = wish.reject(granted);
        self.apply(user, package, wish, unix_ms, keep);
        Some(rejected)
    }

    /// Empties a set; the ring stays. What became of it is to be taken.
    pub fn remove(&mut self, package: &str, unix_ms: u64, keep: usize) {
        if let Some(one) = self.get_mut(package) {
            let different = !one.list.is_empty();
            if different {
                one.replace(Arc::default(), Operation::Remove, unix_ms, keep);
            }
            one.withheld.clear();
            (one.rate, one.asked_rate) = (None, None);
            one.newly = Newly {
                different,
                ..Newly::default()
            };
            one.reported.clear();
            one.reported_on = None;
            one.hints.clear();
        }
    }

    /// What became of the set since this was last asked.
    pub fn take_newly(&mut self, package: &str) -> Newly {
        self.get_mut(package)
            .map(|one| std::mem::take(&mut one.newly))
            .unwrap_or_default()
    }

    /// Remembers which streams were refused on this socket; `true` when that is news to the app.
    pub fn rejection_is_news(
        &mut self,
        user: &str,
        package: &Package,
        conn: ConnId,
        rejected: &[(String, Permission)],
    ) -> bool {
        let one = self.ensure(user, package);
        let mut streams: Vec<String> = rejected.iter().map(|(text, _)| text.clone()).collect();
        streams.sort();
        let same_socket = one.reported_on == Some(conn);
        let known = same_socket && one.reported == streams;
        let news = !known && !streams.is_empty();
        one.reported = streams;
        one.reported_on = Some(conn);
        news
    }

    /// Replaces the hints of an app's `transcription_config`.
    pub fn set_hints(&mut self, user: &str, package: &Package, hints: Vec<String>) {
        self.ensure(user, package).hints = hints;
    }

    /// The diagnostic ring, oldest first.
    pub fn history(&self, package: &str) -> impl Iterator<Item = &SubscriptionChange> {
        self.get(package).into_iter().flat_map(|one| &one.history)
    }

    fn get_mut(&mut self, package: &str) -> Option<&mut Subscriber> {
        self.subscribers
            .iter_mut()
            .find(|one| &*one.package == package)
    }

    fn ensure(&mut self, user: &str, package: &Package) -> &mut Subscriber {
        let known = self
            .subscribers
            .iter()
            .position(|one| one.package == *package);
        let index = known.unwrap_or_else(|| {
            let mut head = Vec::new();
            write_envelope_head(&mut head, user, package);
            self.subscribers.push(Subscriber {
                package: package.clone(),
                head: head.into(),
                list: Arc::default(),
                withheld: Vec::new(),
                rate: None,
                asked_rate: None,
                hints: Vec::new(),
                newly: Newly::default(),
                history: VecDeque::new(),
                reported: Vec::new(),
                reported_on: None,
            });
            self.subscribers.len() - 1
        });
        &mut self.subscribers[index]
    }
}
