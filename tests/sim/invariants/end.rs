//! Invariants 47 and 48: what remains when everything is over.

use super::Watch;
use prism::base::metrics::Counter;

impl Watch {
    /// 47: a shutdown closes every socket in time.
    pub(crate) fn invariant_47_shutdown_is_complete(&mut self, drained: bool) {
        if !drained {
            let text = "sockets are left 5 s after the shutdown began".to_owned();
            self.broken(47, "shutdown", "", text);
        }
    }

    /// 48: with all sessions gone, nothing is left.
    pub(crate) fn invariant_48_nothing_is_left(&mut self) {
        let Some(report) = &self.report else {
            return self.broken(48, "nothing is left", "", "no report came".to_owned());
        };
        let left = [
            report.sessions,
            report.phones,
            report.apps,
            report.pending_apps,
            report.outbound_bytes,
            report.speech_streams.iter().sum(),
            report.app_states.iter().sum(),
        ];
        let panics = [Counter::HandlerPanics, Counter::SessionPanics]
            .map(|counter| report.metrics.get(counter));
        if left.iter().any(|figure| *figure != 0) {
            let text = format!(
                "sessions, phones, apps, pending, bytes, recognisers, app sessions: {left:?}"
            );
            self.broken(48, "nothing is left", "", text);
        }
        self.no_recogniser_is_left();
        if panics != [0, 0] {
            let text = format!("panics of handlers and of sessions: {panics:?}");
            self.broken(48, "nothing is left", "", text);
        }
    }
}
