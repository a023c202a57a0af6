//! A simulated user: one phone and its apps, with what each of them has sent and seen.

use std::rc::Rc;

use super::conn::Token;
use super::udp::{Key, Link};
use crate::track::Tracker;

/// Package of app number `app`.
pub(crate) fn package(app: usize) -> String {
    format!("load.app{app}")
}

/// One app of one user.
#[derive(Debug, Default)]
pub(crate) struct App {
    /// Its socket.
    pub(crate) conn: Option<Token>,
    /// App session id from the webhook.
    pub(crate) session: String,
    /// Where the webhook said to connect: address and path.
    pub(crate) dial: Option<(std::net::SocketAddrV4, String)>,
    /// Acknowledged and subscribed.
    pub(crate) ready: bool,
    /// Reconnect attempts since the last acknowledgement.
    pub(crate) tries: usize,
    /// Start requests made during bring-up.
    pub(crate) starts: u32,
    /// When the current dial was meant to begin.
    pub(crate) dialled: u64,
    /// Accounting per stream.
    pub(crate) trackers: Vec<Tracker>,
    /// Where the tag stood in the last envelope.
    pub(crate) hint: usize,
}

impl App {
    /// The socket is gone: gaps up to the next arrival are due to that.
    pub(crate) fn went_away(&mut self) {
        self.conn = None;
        self.ready = false;
        for tracker in &mut self.trackers {
            tracker.went_away();
        }
    }
}

/// One user.
#[derive(Debug)]
pub(crate) struct User {
    /// User id.
    pub(crate) email: Rc<str>,
    /// Core token; empty where the target wants none.
    pub(crate) token: Rc<str>,
    /// The phone's socket.
    pub(crate) phone: Option<Token>,
    /// The phone has its `connection_ack`.
    pub(crate) acked: bool,
    /// The bring-up sequence has begun for this user.
    pub(crate) begun: bool,
    /// When the phone's unanswered ping was sent; 0 when there is none.
    pub(crate) ping_sent: u64,
    /// When the current connect was meant to begin.
    pub(crate) attempt: u64,
    /// Its audio path by UDP.
    pub(crate) udp: Link,
    /// Next sequence number there.
    pub(crate) udp_seq: u16,
    /// When the last LC3 messages were meant to go; empty until the first.
    pub(crate) spoken: Vec<u64>,
    /// What seals the packets; `None`: they go plain.
    pub(crate) udp_key: Option<Box<Key>>,
    /// Next number per stream.
    pub(crate) seq: Vec<u64>,
    /// Closed loop: deliveries still awaited per stream.
    pub(crate) awaited: Vec<u32>,
    /// Closed loop: time of the last progress per stream.
    pub(crate) progress: Vec<u64>,
    /// Accounting of display events per stream, at the phone.
    pub(crate) displays: Vec<Tracker>,
    /// Number of the display that stands on the glasses, per stream, plus one.
    pub(crate) standing: Vec<u64>,
    /// The phone socket by which it came, per stream.
    pub(crate) drawn_by: Vec<Option<Token>>,
    /// Where the tag stood in the last display event.
    pub(crate) hint: usize,
    /// The apps.
    pub(crate) apps: Vec<App>,
}

impl User {
    /// A user who has done nothing yet.
    pub(crate) fn new(email: String, token: String, apps: usize, streams: usize) -> Self {
        let mut own = Self {
            email: email.into(),
            token: token.into(),
            phone: None,
            acked: false,
            begun: false,
            ping_sent: 0,
            attempt: 0,
            udp: Link::Closed,
            udp_seq: 0,
            spoken: Vec::new(),
            udp_key: None,
            seq: Vec::new(),
            awaited: Vec::new(),
            progress: Vec::new(),
            displays: Vec::new(),
            standing: Vec::new(),
            drawn_by: Vec::new(),
            hint: 0,
            apps: (0..apps).map(|_| App::default()).collect(),
        };
        own.reset(streams);
        own
    }

    /// Begins the accounting anew.
    pub(crate) fn reset(&mut self, streams: usize) {
        self.seq = vec![0; streams];
        self.awaited = vec![0; streams];
        self.progress = vec![0; streams];
        self.standing = vec![0; streams];
        self.drawn_by = vec![None; streams];
        self.displays = (0..streams).map(|_| Tracker::default()).collect();
        for app in &mut self.apps {
            app.trackers = (0..streams).map(|_| Tracker::default()).collect();
        }
    }

    /// Phone acknowledged and every app subscribed.
    pub(crate) fn ready(&self) -> bool {
        self.acked && self.apps.iter().all(|app| app.ready)
    }

    /// The phone's socket is gone: what was under way in either direction may be missing.
    pub(crate) fn phone_went_away(&mut self) {
        self.phone = None;
        self.acked = false;
        self.udp = Link::Closed;
        self.ping_sent = 0;
        for tracker in &mut self.displays {
            tracker.went_away();
        }
        for app in &mut self.apps {
            for (tracker, sent) in app.trackers.iter_mut().zip(&self.seq) {
                tracker.sender_went_away(*sent);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_phone_sends_after_its_return_must_arrive_at_apps_that_stayed() {
        let mut own = User::new("u@load.test".into(), String::new(), 2, 1);
        own.seq[0] = 4;
        own.phone_went_away();
        own.apps[1].went_away();
        own.seq[0] = 8;
        for app in &mut own.apps {
            app.trackers[0].arrive(6);
        }
        let [stayed, left] = [0, 1].map(|app: usize| own.apps[app].trackers[0].finish(8));
        assert_eq!((stayed.missed_offline, stayed.lost), (4, 3));
        assert_eq!((left.missed_offline, left.lost), (6, 1));
    }
}
