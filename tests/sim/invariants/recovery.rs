//! Invariant 24 (behaviour.md §2.14): whose sessions an app server has, which of them a recovery asks for, and what it counts.

use super::super::registrar::RECOVERY_PATH;
use super::counts::counts;
use super::video::lacks_hardware;
use super::{Cause, Seen, View, Watch, is_standard};
use prism::base::ids::{CallId, ConnId};
use prism::session::State;
use prism::session::effects::{HttpCall, HttpKind};
use prism::session::event::Event;
use prism::session::managers::apps::start::Phase;
use prism::session::managers::apps::{AppSession, AppState};
use prism::session::rest::Call;
use std::collections::{BTreeMap, BTreeSet};

/// User and package.
type Of = (String, String);

/// All that was seen of recoveries.
#[derive(Default)]
pub(crate) struct Recoveries {
    /// What the wire says of each app of each user's session of now.
    runs: BTreeMap<Of, Run>,
    /// Sessions that count for the servers of their apps.
    members: BTreeSet<Of>,
    /// Acked in this event.
    fresh: BTreeSet<Of>,
    open: BTreeMap<u64, Recovery>,
    /// Calls that were answered, and whether their webhook was accepted.
    closed: BTreeMap<u64, bool>,
    /// Calls of a whole recovery, and how many were counted.
    counted: Vec<(Vec<u64>, usize)>,
    /// Webhooks of this event.
    asked: Vec<(Of, HttpCall)>,
    /// How much happened.
    pub(crate) seen: Recovered,
}

counts! {
    /// Counts.
    struct Recovered {
        /// One webhook went out: of apps that ran, that were lost, or dormant; while the phone was away.
        running,
        lost,
        dormant,
        away,
        /// None did: the app is not expected, there is no session.
        stopped,
        no_session,
        /// A start went on; of them those whose session request was on its way.
        starting,
        shared,
        /// The call had to wait for the user record.
        held,
        accepted,
        failed,
        /// Webhooks that were sent once more, because the first one failed.
        again,
        /// Whole recoveries that were counted.
        counted,
    }
}

/// What the wire says of an app.
#[derive(Default)]
struct Run {
    epoch: Option<u64>,
    /// Its socket that was acked last, as long as no webhook went out since.
    up: Option<ConnId>,
    /// It was acked or asked to come since its session began.
    known: bool,
    /// A stop was asked for by REST, and no start since.
    stopped: bool,
    /// It came although its server had just refused, for nobody so far: it is asked once more (§2.4).
    again: bool,
}

/// What a recovery owes to a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Due {
    /// One webhook at once.
    One,
    /// One once other foreground apps have stopped.
    Later,
    /// That of a start, which is on its way.
    Shared,
    /// None.
    Nothing,
    /// Nobody knows before the user record is there.
    Unknown,
}

/// A recovery of one session that is not answered yet.
struct Recovery {
    of: Of,
    due: Due,
    calls: Vec<(u64, CallId)>,
    /// One of them was made in this event.
    fresh: bool,
    refused: usize,
    accepted: bool,
}

/// What the app of a session is owed by its state.
fn due(app: &AppSession, others: bool) -> Due {
    let expected =
        !matches!(app.state, AppState::Stopped | AppState::Stopping) && !app.user_stopped;
    let Some(start) = app.start.as_ref().filter(|_| expected) else {
        return match (expected, others) {
            (false, _) => Due::Nothing,
            (true, true) => Due::Later,
            (true, false) => Due::One,
        };
    };
    let recovery = start.recovery.as_ref();
    match start.phase {
        _ if recovery.is_some_and(|one| one.reply.is_some()) => Due::Nothing,
        Phase::Blocked(_) => Due::Later,
        Phase::Connecting if start.call.is_some() => Due::Shared,
        Phase::Connecting => Due::One,
    }
}

impl Watch {
    /// A webhook leaves.
    pub(super) fn note_webhook(&mut self, user: &str, package: &str, call: &HttpCall) {
        let of = (user.to_owned(), package.to_owned());
        if matches!(call.kind, HttpKind::SessionRequest | HttpKind::StopRequest) {
            self.recovery.asked.push((of, call.clone()));
        }
    }

    /// All sessions of a recovery have answered.
    pub(crate) fn recovery_counted(&mut self, calls: Vec<u64>, accepted: usize) {
        self.recovery.counted.push((calls, accepted));
    }

    /// An app server's answer reaches its session.
    pub(crate) fn recovery_reports(&mut self, user: &str, epoch: u64, event: &Event) {
        let Event::Http { call, outcome } = event else {
            return;
        };
        // Sessions hear nothing any more once the shutdown began (§10.6).
        if self.draining {
            return;
        }
        let mut open = self.recovery.open.values_mut();
        let one = open.find(|one| one.of.0 == user && one.calls.contains(&(epoch, *call)));
        match one {
            Some(one) if outcome.is_success() => one.accepted = true,
            Some(one) => one.refused += 1,
            None => {}
        }
    }

    pub(super) fn before_recovery(&mut self, user: &str, id: u64, call: &Call, view: &View<'_>) {
        let of = |package: &str| (user.to_owned(), package.to_owned());
        let session = view.session(user);
        let loaded = session.filter(|session| session.state != State::Initializing);
        match call {
            Call::StartApp { package, .. } => {
                self.recovery.runs.entry(of(package)).or_default().stopped = false;
            }
            Call::StopApp { package, .. }
            | Call::InstallChanged {
                package,
                installed: None,
            } if loaded.is_some() => {
                let run = self.recovery.runs.entry(of(package)).or_default();
                (run.stopped, run.up, run.again) = (true, None, false);
            }
            Call::Recover { package, .. } => {
                let due = self.owed(user, package, view);
                if matches!(due, Due::One | Due::Shared) {
                    // Whatever was tried before went to the process that is gone; what is on its way may.
                    let now_ms = self.now_ms;
                    let pair = self.pair(user, package);
                    (pair.attempts, pair.asking_ms) = (0, now_ms);
                }
                let shared = session.filter(|_| due == Due::Shared).and_then(|session| {
                    let start = session.m.apps.get(package)?.start.as_ref();
                    Some((session.epoch, start?.call?))
                });
                let one = Recovery {
                    of: of(package),
                    due,
                    calls: shared.into_iter().collect(),
                    fresh: false,
                    refused: 0,
                    accepted: false,
                };
                self.recovery.open.insert(id, one);
            }
            _ => {}
        }
    }

    /// What a recovery owes, by the state of the app, which must not be other than the wire says.
    fn owed(&mut self, user: &str, package: &str, view: &View<'_>) -> Due {
        let Some(session) = view.session(user).filter(|_| !self.draining) else {
            self.recovery.seen.no_session += 1;
            return Due::Nothing;
        };
        if session.state == State::Initializing {
            self.recovery.seen.held += 1;
            return Due::Unknown;
        }
        let other = |app: &AppSession| {
            let counts = *app.package != *package && app.state != AppState::Stopped;
            counts && is_standard(view, &app.package)
        };
        let others = is_standard(view, package) && session.m.apps.iter().any(other);
        // One that is gone from the records runs on, but is not started again.
        let fits = view.apps.get(package).is_some() && !lacks_hardware(session, package, view);
        let app = session.m.apps.get(package).filter(|_| fits);
        let due = app.map_or(Due::Nothing, |app| due(app, others));
        let seen = &mut self.recovery.seen;
        match app.map(|app| (due, app.state)) {
            Some(_) if app.is_some_and(|app| app.start.is_some()) => {
                seen.starting += 1;
                seen.shared += u64::from(due == Due::Shared);
            }
            None | Some((Due::Nothing, _)) => seen.stopped += 1,
            Some((_, AppState::Running)) => seen.running += 1,
            Some((_, AppState::Dormant)) => seen.dormant += 1,
            Some(_) => seen.lost += 1,
        }
        if due != Due::Nothing && session.m.phone.open().is_none() {
            seen.away += 1;
        }
        self.invariant_24_state_is_what_was_seen(user, package, due, view);
        due
    }

    /// A recovery that waited for the user record, as a start did: its attempts follow the start's first one, which it shares.
    pub(super) fn waits_with_a_start(&self, user: &str, package: &str) -> bool {
        let mut open = self.recovery.open.values();
        open.any(|one| one.due == Due::Unknown && one.of.0 == user && one.of.1 == package)
    }

    fn invariant_24_state_is_what_was_seen(
        &mut self,
        user: &str,
        package: &str,
        due: Due,
        view: &View<'_>,
    ) {
        let listed = view.session(user).is_some_and(|session| {
            session.m.apps.intent.unread.is_some() || session.m.apps.intent.is_running(package)
        });
        let run = self
            .recovery
            .runs
            .get(&(user.to_owned(), package.to_owned()));
        let up = run.and_then(|run| run.up);
        let up = up.filter(|conn| view.is_timely(*conn));
        let up = up.filter(|conn| view.net.get(*conn).is_some_and(|sock| sock.is_open()));
        let known = run.is_some_and(|run| run.known) || listed;
        let unwanted = !known || run.is_some_and(|run| run.stopped);
        let problem = match due {
            Due::Nothing if up.is_some() && view.apps.get(package).is_some() => {
                Some("serves its user, but is not to be recovered")
            }
            Due::One | Due::Later | Due::Shared if unwanted => {
                Some("is to be recovered, but nobody wants it")
            }
            _ => None,
        };
        if let Some(problem) = problem {
            let text = format!("{package} {problem}");
            self.broken(24, "recovery", user, text);
        }
    }

    /// Looks at what the event did; before anything else, because it says why a webhook was sent.
    pub(super) fn look_at_recoveries(&mut self, cause: &Cause, seen: &[Seen], view: &View<'_>) {
        self.note_new_sessions(view);
        for (of, call) in std::mem::take(&mut self.recovery.asked) {
            let epoch = view.session(&of.0).map(|session| session.epoch);
            self.invariant_24_webhook(of, &call, epoch);
        }
        for one in seen {
            if let Seen::Sent(conn, frame) = one
                && matches!(frame.kind(), "tpa_connection_ack" | "reconnect_ack")
            {
                self.note_attached(*conn, frame.kind() == "tpa_connection_ack", view);
            }
        }
        if let Cause::Rest(_, id, Call::Recover { .. }) = cause {
            self.invariant_24_one_or_none(*id);
        }
        for one in seen {
            if let Seen::Answered(id, status, _) = one {
                self.invariant_24_answer(*id, *status);
            }
        }
        self.invariant_24_answered_as_soon_as_known();
        for one in self.recovery.open.values_mut() {
            one.fresh = false;
        }
        self.invariant_24_count();
        self.invariant_24_members(view);
        self.recovery.fresh.clear();
    }

    /// An app asked for something: it came for somebody.
    pub(super) fn came_for_somebody(&mut self, of: &Of) {
        if let Some(run) = self.recovery.runs.get_mut(of) {
            run.again = false;
        }
    }

    fn note_new_sessions(&mut self, view: &View<'_>) {
        for (of, run) in &mut self.recovery.runs {
            let epoch = view.session(&of.0).map(|session| session.epoch);
            if run.epoch != epoch {
                *run = Run {
                    epoch,
                    ..Run::default()
                };
            }
        }
    }

    fn note_attached(&mut self, conn: ConnId, by_init: bool, view: &View<'_>) {
        let Some(sock) = view.net.get(conn) else {
            return;
        };
        let of = (sock.user.clone(), sock.package.clone());
        self.recovery.fresh.insert(of.clone());
        let mut refused = false;
        for one in self.recovery.open.values_mut().filter(|one| one.of == of) {
            refused |= one.refused > 0 && one.refused == one.calls.len();
            // One that waited for the user record came after the socket that it found.
            one.accepted |= one.due != Due::Unknown || (!one.calls.is_empty() && !one.fresh);
        }
        let epoch = view.session(&of.0).map(|session| session.epoch);
        let up = epoch.is_some().then_some(conn);
        let run = Run {
            epoch,
            up,
            known: true,
            stopped: false,
            again: by_init && refused,
        };
        self.recovery.runs.insert(of, run);
    }

    /// 24: a server that is back is asked by recoveries only, by each once, and again only where that failed.
    fn invariant_24_webhook(&mut self, of: Of, call: &HttpCall, epoch: Option<u64>) {
        let run = self.recovery.runs.entry(of.clone()).or_default();
        (run.up, run.epoch) = (None, epoch);
        if call.kind != HttpKind::SessionRequest {
            return;
        }
        (run.known, run.stopped) = (true, false);
        if !call.url.ends_with(RECOVERY_PATH) {
            return;
        }
        let again = std::mem::take(&mut run.again);
        let mut open = self.recovery.open.values_mut();
        // Of several that wait for the user record, or are refused, no one knows which.
        let of_it = |one: &&mut Recovery| one.of == of && one.due != Due::Nothing;
        let problem = match open.find(of_it) {
            None if again => None,
            None => Some("nobody recovers it"),
            Some(one) if one.calls.len() > one.refused => Some("it was asked already"),
            Some(one) => {
                self.recovery.seen.again += u64::from(!one.calls.is_empty());
                let epoch = self.users.get(&of.0).and_then(|user| user.epoch);
                one.calls.push((epoch.unwrap_or(0), call.call));
                one.fresh = true;
                None
            }
        };
        if let Some(problem) = problem {
            let text = format!("the server of {} was asked, though {problem}", of.1);
            self.broken(24, "one webhook per recovery", &of.0, text);
        }
    }

    /// 24: one webhook where the app is expected to run, none where it is not.
    fn invariant_24_one_or_none(&mut self, id: u64) {
        let Some(one) = self.recovery.open.get(&id) else {
            return;
        };
        let sent = one.calls.len();
        // A parked socket is better than a webhook.
        let came = sent == 0 && one.accepted;
        let right = match one.due {
            Due::One => sent == 1 || came,
            Due::Shared => sent == 1,
            Due::Nothing => sent == 0,
            Due::Later | Due::Unknown => true,
        };
        if !right {
            let text = format!("{}: {sent} webhooks, due: {:?}", one.of.1, one.due);
            let user = one.of.0.clone();
            self.broken(24, "one webhook per recovery", &user, text);
        }
    }

    /// 24: a session says what became of the webhook.
    fn invariant_24_answer(&mut self, id: u64, status: u16) {
        let Some(mut one) = self.recovery.open.remove(&id) else {
            return;
        };
        // Asked without a webhook: a parked socket was there.
        one.accepted |= one.due == Due::Unknown && one.calls.is_empty() && status == 200;
        let asked = !one.calls.is_empty() || one.accepted;
        let right = match (one.due, status) {
            (Due::Nothing | Due::Unknown, 409 | 503) => !asked,
            (Due::Nothing, _) => false,
            (_, 200) => one.accepted,
            (_, 502) => !one.accepted,
            _ => false,
        };
        match status {
            200 => self.recovery.seen.accepted += 1,
            502 => self.recovery.seen.failed += 1,
            _ => {}
        }
        self.recovery.closed.insert(id, one.accepted);
        if !right {
            let text = format!(
                "{}: answered {status}, due: {:?}, asked: {asked}, accepted: {}",
                one.of.1, one.due, one.accepted
            );
            self.broken(24, "answer of a recovery", &one.of.0, text);
        }
    }

    fn invariant_24_answered_as_soon_as_known(&mut self) {
        let waits = self.recovery.open.values().find(|one| one.accepted);
        if let Some(one) = waits {
            let text = format!("{} was accepted, but that was not said", one.of.1);
            let user = one.of.0.clone();
            self.broken(24, "answer of a recovery", &user, text);
        }
    }

    /// 24: the count is that of the accepted webhooks.
    fn invariant_24_count(&mut self) {
        for (calls, counted) in std::mem::take(&mut self.recovery.counted) {
            self.recovery.seen.counted += 1;
            let accepted = |id: &&u64| self.recovery.closed.get(*id) == Some(&true);
            let accepted = calls.iter().filter(accepted).count();
            if accepted != counted {
                let text = format!("{accepted} of {} were accepted, not {counted}", calls.len());
                self.broken(24, "count of a recovery", "", text);
            }
        }
    }

    /// 24: a session counts for the server of an app from its attach to its end, its stop or its dormancy.
    fn invariant_24_members(&mut self, view: &View<'_>) {
        if self.draining {
            return;
        }
        let names = view.apps.iter().map(|app| app.0.to_string());
        self.packages.extend(names);
        let mut pairs: Vec<Of> = Vec::new();
        for user in self.users.keys() {
            pairs.extend(self.packages.iter().map(|one| (user.clone(), one.clone())));
        }
        for of in pairs {
            let app = view
                .session(&of.0)
                .and_then(|session| session.m.apps.get(&of.1));
            // The state before the event: what follows a stop is a session of its own.
            let before = self.pair(&of.0, &of.1).state;
            let was = self.recovery.members.contains(&of)
                && !matches!(before, AppState::Stopping | AppState::Stopped);
            let is = view.registrar.has(&of.0, &of.1);
            // From outside a stop may be over or not.
            let stops = app.is_some_and(|app| app.stop.is_some());
            let right = match app.map(|app| app.state) {
                Some(AppState::Running | AppState::GracePeriod | AppState::TransportDown) => true,
                // It may have come, and been asked to come again, within the event.
                Some(AppState::Connecting | AppState::Resurrecting) => {
                    was || self.recovery.fresh.contains(&of)
                }
                Some(AppState::Stopping) => is,
                Some(AppState::Stopped) if stops => is,
                _ => false,
            };
            if right {
                self.recovery.members.insert(of.clone());
            } else {
                self.recovery.members.remove(&of);
            }
            if is != right {
                let text = format!("{} counts for its server: {is}, should: {right}", of.1);
                self.broken(24, "sessions of a server", &of.0, text);
            }
        }
    }
}
