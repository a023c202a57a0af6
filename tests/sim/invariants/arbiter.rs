//! What must be on the main view, worked out from behaviour.md §6.1 and nothing else: the times are the settings', the state is fed with what apps ask for, with their starts and ends, and with phones and glasses that come and go.

use super::picture::{Picture, Scene, Shown};

#[derive(Clone, PartialEq, Eq, Debug)]
struct Hold {
    package: String,
    /// By the settings of its beginning.
    ends_ms: u64,
    active_ms: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Due {
    Expiry,
    Release,
    Boot,
    Hold,
}

/// The state of §6.1.1.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Arbiter {
    on: Shown,
    /// The phone's socket may show something else, as it was painted before others were.
    uncertain: bool,
    /// How often the phone had pinged when the screen was wiped last.
    wiped_pings: u32,
    current: Option<Picture>,
    core: Option<Picture>,
    saved: Option<Picture>,
    /// Painted, or to be painted as soon as somebody can see it.
    wanted: Option<Picture>,
    hold: Option<Hold>,
    /// The foreground app was kept off since it was last on the screen, and must not be for longer, whoever begins a hold meanwhile.
    refused: Option<u64>,
    booting: Vec<(String, String, u64)>,
    queue: Vec<Picture>,
    waiting: Vec<Picture>,
    painted_ms: Option<u64>,
    expiry_ms: Option<u64>,
    release_ms: Option<u64>,
    hold_due_ms: Option<u64>,
    numbers: u64,
}

impl Arbiter {
    pub(super) fn on(&self) -> &Shown {
        &self.on
    }

    pub(super) fn boots(&self) -> bool {
        !self.booting.is_empty()
    }

    /// A running app asks (§6.1.3 steps 4 to 6).
    pub(super) fn asked(&mut self, picture: &Picture, scene: &Scene) {
        let picture = self.dated(picture.clone(), scene);
        if self.boots() {
            self.enqueue(picture);
        } else {
            self.arbitrate(picture, scene);
        }
    }

    fn dated(&mut self, mut picture: Picture, scene: &Scene) -> Picture {
        self.numbers += 1;
        picture.number = self.numbers;
        picture.from_ms = scene.now_ms;
        let duration_ms = picture.duration_ms.filter(|ms| *ms > 0);
        picture.until_ms = duration_ms.map(|ms| scene.now_ms + ms);
        picture
    }

    /// The latest of each app, in the order of their first requests.
    fn enqueue(&mut self, picture: Picture) {
        let earlier = self.queue.iter_mut();
        match earlier.into_iter().find(|p| p.package == picture.package) {
            Some(earlier) if earlier.number > picture.number => {}
            Some(earlier) => *earlier = picture,
            None => self.queue.push(picture),
        }
    }

    fn arbitrate(&mut self, picture: Picture, scene: &Scene) {
        self.waiting.retain(|p| p.package != picture.package);
        self.drop_stale_hold(scene);
        if scene.is_main(&picture.package) {
            let waits_until_ms = self.turn_ms(scene);
            self.core = Some(picture.clone());
            if self.is_held_against(&picture.package, scene.now_ms) {
                let ends_ms = self.hold.as_ref().map(|hold| hold.ends_ms);
                self.refused = waits_until_ms.or(ends_ms);
                self.watch_hold(scene);
                return;
            }
        } else if !self.takes_hold(&picture.package, scene) {
            return;
        }
        if !picture.force && self.window_ms(scene) > scene.now_ms {
            self.waiting.push(picture);
            self.watch_window(scene);
        } else {
            self.paint(picture, scene);
        }
    }

    /// Only what stands there by right keeps the foreground app off, not what the rate limit has left there.
    fn is_held_against(&self, package: &str, now_ms: u64) -> bool {
        match (&self.hold, &self.current) {
            (Some(hold), Some(current)) => {
                hold.package != package
                    && current.package == hold.package
                    && !current.is_over(now_ms)
            }
            _ => false,
        }
    }

    fn takes_hold(&mut self, package: &str, scene: &Scene) -> bool {
        if let Some(hold) = &self.hold {
            if hold.package == package {
                return true;
            }
            let done = self
                .current
                .as_ref()
                .is_some_and(|p| p.package == hold.package && p.is_over(scene.now_ms));
            if !scene.is_main(&hold.package) && !done {
                return false;
            }
        }
        let turn_ms = self.turn_ms(scene);
        self.grant(package, scene);
        if let (Some(turn_ms), Some(hold)) = (turn_ms, &mut self.hold) {
            hold.ends_ms = hold.ends_ms.min(turn_ms);
        }
        true
    }

    /// When the turn of the foreground app comes, which was kept off and still has something to show.
    fn turn_ms(&self, scene: &Scene) -> Option<u64> {
        let core = self.core.as_ref().filter(|p| p.remains(scene));
        core.and(self.refused)
    }

    fn grant(&mut self, package: &str, scene: &Scene) {
        self.hold = Some(Hold {
            package: package.to_owned(),
            ends_ms: scene.now_ms + scene.pace.background_lock_ms,
            active_ms: scene.now_ms,
        });
    }

    fn drop_stale_hold(&mut self, scene: &Scene) {
        self.hold.take_if(|hold| {
            !scene.running.contains(&hold.package)
                || scene.now_ms >= hold.ends_ms
                || scene.now_ms > hold.active_ms + scene.pace.background_lock_inactive_ms
        });
    }

    /// When the foreground app comes back: at the end of the hold that it was kept off by; without having asked, when what covers
    /// its text has stood as long as a hold lasts (invariant 38).
    fn watch_hold(&mut self, scene: &Scene) {
        let silent = |from_ms: u64| from_ms + scene.pace.background_lock_inactive_ms + 1;
        let at_ms = match (&self.hold, &self.current) {
            (Some(hold), _) if self.refused.is_some() => silent(hold.active_ms).min(hold.ends_ms),
            (_, Some(current)) if self.refused.is_some() => silent(current.from_ms),
            (_, Some(current)) => current.from_ms + scene.pace.background_lock_ms,
            (_, None) => return,
        };
        self.hold_due_ms = Some(at_ms.max(scene.now_ms));
    }

    fn window_ms(&self, scene: &Scene) -> u64 {
        let pace_ms = scene.pace.display_throttle_ms;
        self.painted_ms.map_or(0, |at_ms| at_ms + pace_ms)
    }

    fn watch_window(&mut self, scene: &Scene) {
        if !self.waiting.is_empty() {
            self.release_ms = Some(self.window_ms(scene).max(scene.now_ms));
        }
    }

    /// Says whether it was possible.
    fn paint(&mut self, picture: Picture, scene: &Scene) {
        self.waiting
            .retain(|p| p.package != picture.package || p.number > picture.number);
        self.wanted = Some(picture.clone());
        if !scene.reachable {
            return;
        }
        self.on = Shown::Text(picture.package.clone(), picture.text.clone());
        self.painted_ms = Some(scene.now_ms);
        match &mut self.hold {
            Some(hold) if hold.package == picture.package => hold.active_ms = scene.now_ms,
            Some(_) if scene.is_main(&picture.package) => self.hold = None,
            _ => {}
        }
        self.expiry_ms = picture.until_ms;
        self.hold_due_ms = None;
        let is_main = scene.is_main(&picture.package);
        self.refused.take_if(|_| is_main);
        self.current = Some(picture);
        if !is_main && self.core.as_ref().is_some_and(|p| p.remains(scene)) {
            self.watch_hold(scene);
        }
    }

    /// An app's start begins (§6.1.4).
    pub(super) fn starts(&mut self, package: &str, name: &str, scene: &Scene) {
        let valid = |p: &Picture| p.remains(scene) && scene.runs(p);
        if let Some(current) = self.current.take().filter(valid) {
            self.saved = Some(current);
        }
        (self.wanted, self.expiry_ms, self.release_ms) = (None, None, None);
        for picture in std::mem::take(&mut self.waiting) {
            self.enqueue(picture);
        }
        let ends_ms = scene.now_ms + scene.pace.boot_duration_ms;
        match self.booting.iter_mut().find(|row| row.0 == package) {
            Some(row) => row.2 = ends_ms,
            None => self
                .booting
                .push((package.to_owned(), name.to_owned(), ends_ms)),
        }
        self.show_boot(scene);
    }

    fn show_boot(&mut self, scene: &Scene) {
        if scene.reachable {
            let names = self.booting.iter().map(|row| row.1.clone());
            self.on = Shown::Boot(names.collect());
        }
    }

    fn boot_ends(&mut self, scene: &Scene) {
        let mut queue = std::mem::take(&mut self.queue);
        queue.retain(|picture| scene.runs(picture));
        let saved = self.saved.take();
        if queue.is_empty() {
            self.clear(scene);
            match saved.filter(|p| p.remains(scene) && scene.runs(p)) {
                Some(saved) => self.paint(saved, scene),
                None => self.next(scene),
            }
            return;
        }
        // Durations count from the time of showing.
        let mut queue: Vec<Picture> = queue.into_iter().map(|p| self.dated(p, scene)).collect();
        let main = queue.iter().position(|p| scene.is_main(&p.package));
        let winner = queue.remove(main.unwrap_or(0));
        if main.is_some() {
            self.core = Some(winner.clone());
        } else {
            self.grant(&winner.package, scene);
        }
        self.paint(winner, scene);
        for picture in queue {
            self.arbitrate(picture, scene);
        }
    }

    /// An app is gone, with all that it drew (§6.1.5).
    pub(super) fn gone(&mut self, package: &str, scene: &Scene) {
        let booted = self.boots();
        self.booting.retain(|row| row.0 != package);
        self.waiting.retain(|p| p.package != package);
        self.queue.retain(|p| p.package != package);
        self.hold.take_if(|hold| hold.package == package);
        let own = |picture: &mut Picture| picture.package == package;
        let stood = self.current.take_if(own).is_some();
        if stood {
            self.expiry_ms = None;
        }
        for slot in [&mut self.core, &mut self.saved, &mut self.wanted] {
            slot.take_if(own);
        }
        if booted && !self.boots() {
            self.boot_ends(scene);
        }
        // What waits for the rate limit comes later, what stood there of the app goes now.
        if stood && !self.boots() && !self.waiting.is_empty() {
            self.wipe(scene);
        }
        self.next(scene);
    }

    /// Phone or glasses are back (§6.1.6).
    pub(super) fn back(&mut self, scene: &Scene) {
        if !scene.reachable {
            return;
        }
        if self.boots() {
            return self.show_boot(scene);
        }
        let wanted = self.wanted.take();
        match wanted
            .filter(|p| scene.runs(p) && !p.is_over(scene.now_ms) && p.duration_ms != Some(0))
        {
            Some(wanted) => self.paint(wanted, scene),
            None if self.is_dirty() || !self.waiting.is_empty() => {
                self.current = None;
                self.next(scene);
            }
            None => {}
        }
    }

    /// On a socket of its own. A phone sends no `ping` before it has the `pong` of the last: of a clear that two have followed it
    /// is known that it arrived.
    pub(super) fn back_on_new(&mut self, scene: &Scene) {
        let arrived = scene.pings >= self.wiped_pings + 2;
        self.uncertain |= self.on == Shown::Clear && !arrived;
        self.back(scene);
    }

    /// A socket that another one had superseded is the phone's again, with what it was painted last.
    pub(super) fn back_on(&mut self, showed: &Shown, scene: &Scene) {
        self.uncertain |= self.on != Shown::Nothing;
        self.on = showed.clone();
        self.back(scene);
    }

    /// *Next* of §6.1.5.
    fn next(&mut self, scene: &Scene) {
        if self.boots() {
            return self.show_boot(scene);
        }
        self.waiting
            .retain(|p| scene.runs(p) && !p.is_over(scene.now_ms));
        if !self.waiting.is_empty() {
            return self.watch_window(scene);
        }
        self.drop_stale_hold(scene);
        if let (Some(hold), Some(current)) = (&self.hold, &self.current)
            && current.package == hold.package
        {
            if current.remains(scene) {
                return;
            }
            self.hold = None;
        }
        if !self.restore_core(scene) {
            self.clear(scene);
        }
    }

    /// Says whether the foreground app's latest is, or will be, on the screen.
    fn restore_core(&mut self, scene: &Scene) -> bool {
        let Some(core) = self.core.clone().filter(|p| p.remains(scene)) else {
            return false;
        };
        if self.current.as_ref().map(|p| p.number) == Some(core.number) {
            return true;
        }
        // Step 3 before step 5: whoever waits already comes first.
        if self.window_ms(scene) > scene.now_ms || !self.waiting.is_empty() {
            self.waiting.push(core);
            self.watch_window(scene);
        } else {
            self.paint(core, scene);
        }
        true
    }

    fn clear(&mut self, scene: &Scene) {
        (self.current, self.wanted, self.expiry_ms) = (None, None, None);
        self.wipe(scene);
    }

    fn wipe(&mut self, scene: &Scene) {
        if self.is_dirty() && scene.reachable {
            self.on = Shown::Clear;
            self.wiped_pings = scene.pings;
            self.uncertain = false;
        }
    }

    fn is_dirty(&self) -> bool {
        self.uncertain || !matches!(self.on, Shown::Nothing | Shown::Clear)
    }

    /// Everything that is due, in its order.
    pub(super) fn time_passes(&mut self, scene: &Scene) {
        for _ in 0..64 {
            let boot_ms = self.booting.iter().map(|row| row.2).min();
            let due = [
                (self.expiry_ms, Due::Expiry),
                (self.release_ms, Due::Release),
                (boot_ms, Due::Boot),
                (self.hold_due_ms, Due::Hold),
            ];
            let due = due
                .into_iter()
                .filter_map(|(at_ms, due)| Some((at_ms?, due)));
            match due.min_by_key(|row| row.0) {
                Some((at_ms, due)) if at_ms <= scene.now_ms => self.due(due, at_ms, scene),
                _ => return,
            }
        }
    }

    fn due(&mut self, due: Due, at_ms: u64, scene: &Scene) {
        match due {
            Due::Expiry => self.expires(scene),
            Due::Release => self.released(scene),
            Due::Boot => {
                let first = self.booting.iter().position(|row| row.2 == at_ms);
                self.booting.remove(first.unwrap_or(0));
                if !self.boots() {
                    self.boot_ends(scene);
                }
            }
            Due::Hold => {
                self.hold_due_ms = None;
                self.drop_stale_hold(scene);
                self.hold.take_if(|_| self.refused.is_none());
                if self.hold.is_some() {
                    self.watch_hold(scene);
                } else if !self.boots() {
                    self.restore_core(scene);
                }
            }
        }
    }

    fn expires(&mut self, scene: &Scene) {
        self.expiry_ms = None;
        let Some(current) = self.current.clone().filter(|p| p.is_over(scene.now_ms)) else {
            return;
        };
        // A newer one that nobody could be shown yet stays wanted.
        let newer = self.wanted.as_ref();
        if newer.is_some_and(|p| p.number != current.number && !p.is_over(scene.now_ms)) {
            self.current = None;
        } else {
            self.next(scene);
        }
    }

    /// The rate window is over: the oldest that may be shown is.
    fn released(&mut self, scene: &Scene) {
        self.release_ms = None;
        if self.window_ms(scene) > scene.now_ms {
            return self.watch_window(scene);
        }
        let mut shown = false;
        while !shown && !self.waiting.is_empty() {
            let picture = self.waiting.remove(0);
            if scene.runs(&picture) && !picture.is_over(scene.now_ms) {
                let number = picture.number;
                self.arbitrate(picture, scene);
                shown = self.wanted.as_ref().is_some_and(|p| p.number == number);
            }
        }
        self.watch_window(scene);
        let is_void = [&self.current, &self.wanted]
            .into_iter()
            .all(|slot| slot.as_ref().is_none_or(|p| p.is_over(scene.now_ms)));
        if !shown && is_void {
            self.next(scene);
        }
    }
}
