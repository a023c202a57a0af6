//! Outside thread: log lines that clients, app servers or something that fails can cause without end. Each is told once a second,
//! with the number of those left out (`more`).

use crate::base::clock::Clock;
use crate::base::rarely::Rarely;
use std::cell::Cell;

/// At most one line of a kind is written in this time (ms).
const EVERY_MS: u64 = 1000;

/// Kinds of lines.
#[derive(Clone, Copy)]
pub(super) enum Line {
    AttachmentLost,
    ErrorReport,
    InboxFull,
    IncidentLogsDropped,
    IncidentsUncounted,
    Recovered,
    Registered,
    RestOverStore,
    SettingsUntold,
    SpeechBrokenOff,
    SpeechEndless,
    SpeechFailed,
    SpeechRefused,
    UploadFailed,
    UpstreamFailed,
    UpstreamLate,
    UserNotLoaded,
    WriteDropped,
    WriteRefused,
}

type All = [Rarely; Line::WriteRefused as usize + 1];

thread_local! {
    /// Kept per thread: the code that turns an error into an answer has no other state at hand, and there is one outside thread.
    static TOLD: (Clock, Cell<All>) = (Clock::start(), Cell::default());
}

/// `Some` when a line may be written now: how many were left out since the last one.
pub(super) fn may(line: Line) -> Option<u64> {
    TOLD.with(|(clock, told)| {
        let mut all = told.get();
        let more = all[line as usize].may(clock.now().mono_ms, EVERY_MS);
        told.set(all);
        more
    })
}

#[cfg(test)]
mod tests {
    use crate::base::log_capture::lines_of;
    use crate::services::rest::testkit::{APP, KEY, Kit, USER};
    use crate::shard::mailbox::OutsideRoute as Route;
    use serde_json::{Value, json};

    /// Lines with this text.
    fn told(text: &str, lines: &[String]) -> usize {
        lines.iter().filter(|line| line.contains(text)).count()
    }

    #[test]
    fn calls_that_fail_with_the_store_do_not_fill_the_log() {
        let lines = lines_of(|| {
            Kit::run(|kit| async move {
                kit.store.set_failing(true);
                for _ in 0..500 {
                    let answer = kit.app(Route::Storage, "GET", &[USER], Value::Null).await;
                    assert_eq!(answer.0, 500);
                }
            });
        });
        let failures = told("met the store's failure", &lines);
        assert!((1..=20).contains(&failures), "once a second: {failures}");
        assert!(lines.iter().any(|line| line.contains("more=")));
    }

    #[test]
    fn a_server_that_registers_without_end_does_not_fill_the_log() {
        let lines = lines_of(|| {
            Kit::run(|kit| async move {
                for _ in 0..200 {
                    let wish = json!({"packageName": APP, "apiKey": KEY, "webhookUrl": "http://a/webhook"});
                    let (status, _) = kit
                        .bearer("", Route::ServerRegister, "POST", &[], wish)
                        .await;
                    assert_eq!(status, 201);
                }
            });
        });
        let registered = told("app-server-registered", &lines);
        assert!(
            (1..=20).contains(&registered),
            "once a second: {registered}"
        );
    }
}
