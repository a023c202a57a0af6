//! What a scenario may hold: every number has bounds, so that a slip of the pen is an error and not a run that never ends.

use crate::engine::udp::{AUDIO_BYTES_MAX, SEALED_BYTES_MAX};
use crate::scenario::{APPS_MAX, Expect, Fault, Kind, Scenario, ScenarioError, Stream, Transport};
use crate::tag::TAG_BYTES;

/// Most streams in one scenario (the tag has a byte for it, histograms do not care).
const STREAMS_MAX: usize = 16;
/// Most faults in one scenario.
const FAULTS_MAX: usize = 16;
/// Most users: no machine gives one process more sockets.
const USERS_MAX: u32 = 1_000_000;
/// Longest time of anything: a month.
const SECONDS_MAX: f64 = 31.0 * 86_400.0;
/// Highest rate of anything, per second or minute or hour.
const RATE_MAX: f64 = 1e7;

/// A named number and the bounds that it breaks.
type Broken = Result<(), String>;

fn within(name: &str, value: f64, low: f64, high: f64) -> Broken {
    // Also refuses what is not a number.
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(format!("{name} must be {low} to {high}, not {value}"))
}

fn above_zero(name: &str, value: f64, high: f64) -> Broken {
    if value > 0.0 && value <= high {
        return Ok(());
    }
    Err(format!(
        "{name} must be above 0 and at most {high}, not {value}"
    ))
}

/// Name and moments (first, how often, distance) of a fault that has a time; churn has none.
fn moments(own: &Fault) -> Option<(&'static str, f64, u32, f64)> {
    Some(match own {
        Fault::Herd(herd) => ("herd", herd.at_s, herd.times, herd.every_s),
        Fault::StuckReaders(stuck) => ("stuck_readers", stuck.at_s, 1, 0.0),
        Fault::AppServerGone(gone) => ("app_server_gone", gone.at_s, 1, 0.0),
        Fault::Abuse(abuse) => ("abuse", abuse.at_s, 1, 0.0),
        Fault::Restart(restart) => ("restart", restart.at_s, restart.times, restart.every_s),
        Fault::Churn(_) => return None,
    })
}

impl Scenario {
    /// The faults, or repetitions of them, that do not come because the window ends before.
    pub(crate) fn faults_missed(&self) -> Vec<String> {
        let timed = self.faults.iter().filter_map(moments);
        let missed = timed.filter_map(|(name, at_s, times, every_s)| {
            let late = |step: &u32| at_s + f64::from(*step) * every_s >= self.duration_s;
            let first = (0..times).find(late)?;
            let at_s = at_s + f64::from(first) * every_s;
            let more = match times - first - 1 {
                0 => String::new(),
                more => format!(" and {more} after it"),
            };
            Some(format!(
                "{name} at {at_s} s{more} never came: the window is {} s",
                self.duration_s
            ))
        });
        missed.collect()
    }

    /// Whether something goes wrong within the window, where the scenario has faults.
    pub(crate) fn any_fault_comes(&self) -> bool {
        let comes = |own: &Fault| moments(own).is_none_or(|(_, at_s, ..)| at_s < self.duration_s);
        self.faults.is_empty() || self.faults.iter().any(comes)
    }

    /// Checks every bound; also after overrides.
    pub(crate) fn check(&self) -> Result<(), ScenarioError> {
        self.own_bounds()
            .and_then(|()| self.streams.iter().try_for_each(|own| self.stream(own)))
            .and_then(|()| self.faults.iter().try_for_each(fault))
            .and_then(|()| expectations(&self.expect))
            .map_err(|text| ScenarioError::Value(format!("{}: {text}", self.name)))
    }

    fn own_bounds(&self) -> Broken {
        if self.name.is_empty() || self.name.contains(['/', '.']) {
            return Err("name is part of the names of files: no / and no dot in it".into());
        }
        let least = u32::from(self.connects.is_none());
        if !(least..=USERS_MAX).contains(&self.users) {
            return Err(format!(
                "users must be {least} to {USERS_MAX}, not {}",
                self.users
            ));
        }
        within(
            "bystanders",
            f64::from(self.bystanders),
            0.0,
            f64::from(USERS_MAX),
        )?;
        if self.apps_per_user > APPS_MAX {
            return Err("apps_per_user must be 0 to 5".into());
        }
        if self.streams.len() > STREAMS_MAX || self.faults.len() > FAULTS_MAX {
            return Err("at most 16 streams and 16 faults".into());
        }
        if !self.streams.is_empty() && self.apps_per_user == 0 {
            return Err("streams need apps_per_user of at least 1".into());
        }
        above_zero("duration_s", self.duration_s, SECONDS_MAX)?;
        above_zero("ramp_users_per_s", self.ramp_users_per_s, RATE_MAX)?;
        for (name, value) in [
            ("settle_s", self.settle_s),
            ("warmup_s", self.warmup_s),
            ("drain_s", self.drain_s),
        ] {
            within(name, value, 0.0, SECONDS_MAX)?;
        }
        within(
            "device_state_per_min",
            self.rest.device_state_per_min,
            0.0,
            RATE_MAX,
        )?;
        within(
            "location_per_min",
            self.rest.location_per_min,
            0.0,
            RATE_MAX,
        )?;
        within(
            "app_pings_per_min",
            self.rest.app_pings_per_min,
            0.0,
            RATE_MAX,
        )?;
        if let Some(connects) = &self.connects {
            above_zero("connects.per_s", connects.per_s, RATE_MAX)?;
            for (name, value) in [
                ("connects.identities", connects.identities),
                ("connects.concurrent_max", connects.concurrent_max),
            ] {
                within(name, f64::from(value), 1.0, f64::from(USERS_MAX))?;
            }
        }
        Ok(())
    }

    fn stream(&self, own: &Stream) -> Broken {
        if own.in_flight.is_some() == own.per_user_per_s.is_some() {
            return Err("a stream needs exactly one of in_flight, per_user_per_s".into());
        }
        if let Some(rate) = own.per_user_per_s {
            above_zero("per_user_per_s", rate, RATE_MAX)?;
        }
        if let Some(in_flight) = own.in_flight {
            within("in_flight", f64::from(in_flight), 1.0, 10_000.0)?;
        }
        within("share", own.share, 0.0, 1.0)?;
        let by_udp = own.transport.is_udp();
        let audio = matches!(own.kind, Kind::Audio | Kind::Lc3);
        if by_udp && (!audio || own.bytes > AUDIO_BYTES_MAX) {
            return Err("only audio of at most 1018 bytes goes by udp".into());
        }
        if self.seals() && by_udp && own.transport != Transport::UdpSealed {
            return Err("a phone seals all its packets or none".into());
        }
        if self.seals() && by_udp && own.bytes > SEALED_BYTES_MAX {
            return Err("only audio of at most 978 bytes goes sealed by udp".into());
        }
        if own.kind == Kind::Lc3 {
            return self.lc3(own);
        }
        if own.kind == Kind::Mix {
            return match own.bytes {
                0 => Ok(()),
                _ => Err("a mix has no bytes: its messages keep their size".into()),
            };
        }
        if !(TAG_BYTES..=1 << 20).contains(&own.bytes) {
            return Err("bytes must be 24 to 1048576".into());
        }
        if own.kind == Kind::Speech && own.in_flight.is_some() {
            return Err("speech is an open loop: give per_user_per_s".into());
        }
        if own.kind == Kind::Speech && !own.bytes.is_multiple_of(2) {
            return Err("speech is PCM of 16 bits: bytes must be even".into());
        }
        Ok(())
    }

    /// Which message it was can only be heard where there is no other sound.
    fn lc3(&self, own: &Stream) -> Broken {
        let sounds = |own: &&Stream| matches!(own.kind, Kind::Audio | Kind::Lc3 | Kind::Speech);
        if self.streams.iter().filter(sounds).count() > 1 {
            return Err("lc3 goes with no other audio: a phone has one format".into());
        }
        if own.in_flight.is_some() {
            return Err("lc3 is an open loop: give per_user_per_s".into());
        }
        match own.bytes {
            0 => Ok(()),
            _ => Err("lc3 has no bytes: its messages are ten frames of 60".into()),
        }
    }
}

/// Shares are not percentages: one of 100 could never hold.
fn expectations(own: &Expect) -> Broken {
    for (name, share) in [
        ("lost_share_max", own.lost_share_max),
        ("visits_min", own.visits_min),
        ("phones_alive_min", own.phones_alive_min),
        ("apps_alive_min", own.apps_alive_min),
    ] {
        within(name, share.unwrap_or(0.0), 0.0, 1.0)?;
    }
    for (name, most) in [
        ("ping_max_ms", own.ping_max_ms),
        ("p99_max_ms", own.p99_max_ms),
        ("memory_growth_max_mb", own.memory_growth_max_mb),
    ] {
        within(name, most.unwrap_or(0.0), 0.0, RATE_MAX)?;
    }
    Ok(())
}

fn fault(own: &Fault) -> Broken {
    let times = |at_s: f64, times: u32, every_s: f64| -> Broken {
        within("at_s", at_s, 0.0, SECONDS_MAX)?;
        within("times", f64::from(times), 1.0, 100_000.0)?;
        within("every_s", every_s, 0.0, SECONDS_MAX)?;
        if times > 1 && every_s <= 0.0 {
            return Err("times needs every_s".to_owned());
        }
        Ok(())
    };
    let span = |at_s: f64, for_s: f64| -> Broken {
        within("at_s", at_s, 0.0, SECONDS_MAX)?;
        above_zero("for_s", for_s, SECONDS_MAX)
    };
    match own {
        Fault::Herd(herd) => {
            times(herd.at_s, herd.times, herd.every_s)?;
            within("share", herd.share, 0.0, 1.0)?;
            within("within_s", herd.within_s, 0.0, SECONDS_MAX)?;
            let [from, to] = herd.return_s;
            within("return_s", from, 0.0, SECONDS_MAX)?;
            within("return_s (end)", to, from, SECONDS_MAX)
        }
        Fault::Churn(churn) => above_zero("per_user_per_h", churn.per_user_per_h, RATE_MAX),
        Fault::StuckReaders(stuck) => {
            span(stuck.at_s, stuck.for_s)?;
            within("share", stuck.share, 0.0, 1.0)?;
            within(
                "receive_buffer",
                f64::from(stuck.receive_buffer),
                1.0,
                f64::from(1 << 30),
            )
        }
        Fault::AppServerGone(gone) => span(gone.at_s, gone.for_s),
        Fault::Abuse(abuse) => {
            span(abuse.at_s, abuse.for_s)?;
            within("opens_per_min", abuse.opens_per_min, 0.0, RATE_MAX)?;
            within(
                "device_state_per_s",
                abuse.device_state_per_s,
                0.0,
                RATE_MAX,
            )?;
            within("garbage_per_s", abuse.garbage_per_s, 0.0, RATE_MAX)
        }
        Fault::Restart(restart) => times(restart.at_s, restart.times, restart.every_s),
    }
}

#[cfg(test)]
mod tests {
    use crate::scenario::sample::{HEAD, error};

    const REST: &str = "\
connects: { per_s: 5, identities: 3, concurrent_max: 10 }
faults:
  - herd: { at_s: 1, return_s: [1, 2] }
  - churn: { per_user_per_h: 4 }
  - stuck_readers: { at_s: 1, for_s: 2, share: 0.5, receive_buffer: 8192 }
  - abuse: { at_s: 1, for_s: 2, opens_per_min: 6 }
  - restart: { at_s: 2, times: 3, every_s: 10 }
expect: { ping_max_ms: 900, lost_share_max: 0.01, visits_min: 1, phones_alive_min: 1, apps_alive_min: 1 }
";

    fn good() -> String {
        [HEAD, REST].concat()
    }

    #[test]
    fn values_out_of_bounds_are_refused() {
        for (from, to, word) in [
            ("users: 10", "users: 1000001", "users"),
            ("apps_per_user: 2", "apps_per_user: 6", "apps_per_user"),
            ("apps_per_user: 2", "apps_per_user: 0", "apps_per_user"),
            ("in_flight: 1", "in_flight: 0", "in_flight"),
            (
                "in_flight: 1",
                "in_flight: 1, per_user_per_s: 2",
                "exactly one",
            ),
            ("share: 0.3", "share: 1.3", "share"),
            ("bytes: 100", "bytes: 10", "bytes"),
            ("bytes: 100, in", "in", "bytes"),
            ("kind: event", "kind: mix", "a mix has no bytes"),
            ("kind: event", "kind: event, transport: udp", "only audio"),
            ("bytes: 100", "bytes: 1019, transport: udp", "1018"),
            ("bytes: 100", "bytes: 979, transport: udp_sealed", "978"),
            ("kind: audio", "kind: speech", "open loop"),
            ("kind: audio, bytes: 100", "kind: lc3", "open loop"),
            ("kind: event, bytes: 200", "kind: lc3", "one format"),
            ("kind: event, bytes: 200", "kind: speech, bytes: 31", "even"),
            ("users: 10", "users: 10\nwarmup_s: -1", "warmup_s"),
            ("users: 10", "users: 10\nsettle_s: .nan", "settle_s"),
            ("per_user_per_s: 0.5", "per_user_per_s: 0", "per_user_per_s"),
            (
                "per_user_per_s: 0.5",
                "per_user_per_s: .inf",
                "per_user_per_s",
            ),
            ("duration_s: 5", "duration_s: .inf", "duration_s"),
            (
                "users: 10",
                "users: 10\nrest: { location_per_min: -1 }",
                "location_per_min",
            ),
            ("per_s: 5, id", "per_s: 0, id", "connects.per_s"),
            ("concurrent_max: 10", "concurrent_max: 0", "concurrent_max"),
            ("return_s: [1, 2]", "return_s: [2, 1]", "return_s"),
            ("return_s: [1, 2]", "share: 1.2", "share"),
            ("per_user_per_h: 4", "per_user_per_h: -4", "per_user_per_h"),
            (
                "receive_buffer: 8192",
                "receive_buffer: 0",
                "receive_buffer",
            ),
            (
                "at_s: 1, for_s: 2, share",
                "at_s: -1, for_s: 2, share",
                "at_s",
            ),
            ("opens_per_min: 6", "opens_per_min: -6", "opens_per_min"),
            ("times: 3, every_s: 10", "times: 3", "every_s"),
        ] {
            let text = error(&good().replace(from, to));
            assert!(text.contains(word), "{word} is not named in: {text}");
        }
    }

    #[test]
    fn names_that_are_no_files_and_expectations_that_cannot_hold_are_refused() {
        for (from, to, word) in [
            ("name: small", "name: a/b", "name"),
            ("name: small", "name: day.2", "name"),
            ("ping_max_ms: 900", "ping_max_ms: -1", "ping_max_ms"),
            (
                "lost_share_max: 0.01",
                "lost_share_max: 2",
                "lost_share_max",
            ),
            ("visits_min: 1", "visits_min: 99", "visits_min"),
            (
                "phones_alive_min: 1",
                "phones_alive_min: 100",
                "phones_alive_min",
            ),
            (
                "apps_alive_min: 1",
                "apps_alive_min: .nan",
                "apps_alive_min",
            ),
        ] {
            let text = error(&good().replace(from, to));
            assert!(text.contains(word), "{word} is not named in: {text}");
        }
    }

    #[test]
    fn the_error_says_what_was_wrong_with_which_value() {
        let text = error(&good().replace("duration_s: 5", "duration_s: -3"));
        assert_eq!(
            text,
            "small: duration_s must be above 0 and at most 2678400, not -3"
        );
    }
}
