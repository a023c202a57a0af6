//! Outside thread, speech: how well a provider does (behaviour.md §8.2): unhealthy from so many failures within the window,
//! healthy again below a few.

use crate::base::settings::Settings;
use std::collections::VecDeque;

/// What a stream is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) enum Kind {
    /// Transcription.
    Transcription,
    /// Translation.
    Translation,
}

impl Kind {
    /// Label of figures.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Transcription => "transcription",
            Self::Translation => "translation",
        }
    }
}

/// Failures of one provider with one kind of stream.
#[derive(Default, Debug)]
pub(super) struct Health {
    /// Times, oldest first; never more than are needed to be unhealthy.
    failures: VecDeque<u64>,
    unhealthy: bool,
}

impl Health {
    pub(super) fn failed(&mut self, kind: Kind, settings: &Settings, now: u64) {
        let limit = limit(kind, settings);
        self.failures.push_back(now);
        while self.failures.len() > limit {
            self.failures.pop_front();
        }
        self.is_healthy(kind, settings, now);
    }

    /// Translation is told healthy by the first success, transcription by time.
    pub(super) fn worked(&mut self, kind: Kind) {
        if kind == Kind::Translation {
            self.failures.clear();
            self.unhealthy = false;
        }
    }

    pub(super) fn is_healthy(&mut self, kind: Kind, settings: &Settings, now: u64) -> bool {
        let speech = &settings.speech;
        let begin = now.saturating_sub(speech.provider_unhealthy_window_ms);
        while self.failures.front().is_some_and(|at| *at < begin) {
            self.failures.pop_front();
        }
        if self.failures.len() >= limit(kind, settings) {
            self.unhealthy = true;
        } else if self.failures.len() < speech.provider_recovered_below as usize {
            self.unhealthy = false;
        }
        !self.unhealthy
    }
}

fn limit(kind: Kind, settings: &Settings) -> usize {
    let speech = &settings.speech;
    let limit = match kind {
        Kind::Transcription => speech.provider_unhealthy_failures,
        Kind::Translation => speech.translation_unhealthy_failures,
    };
    limit as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_failures_make_it_unhealthy_and_fewer_than_two_healthy_again() {
        let settings = Settings::default();
        let mut health = Health::default();
        let kind = Kind::Transcription;
        for at in [0, 10_000, 20_000, 30_000] {
            health.failed(kind, &settings, at);
            assert!(health.is_healthy(kind, &settings, at));
        }
        health.failed(kind, &settings, 40_000);
        assert!(!health.is_healthy(kind, &settings, 40_000));
        health.worked(kind);
        assert!(!health.is_healthy(kind, &settings, 330_000), "two are left");
        assert!(health.is_healthy(kind, &settings, 330_001), "one is left");
    }

    #[test]
    fn translation_fails_sooner_and_recovers_by_a_success() {
        let settings = Settings::default();
        let mut health = Health::default();
        let kind = Kind::Translation;
        for at in 0..3 {
            assert!(health.is_healthy(kind, &settings, at));
            health.failed(kind, &settings, at);
        }
        assert!(!health.is_healthy(kind, &settings, 3));
        health.worked(kind);
        assert!(health.is_healthy(kind, &settings, 3));
    }

    #[test]
    fn old_failures_do_not_count() {
        let settings = Settings::default();
        let mut health = Health::default();
        for at in 0..5 {
            health.failed(Kind::Transcription, &settings, at * 200_000);
        }
        assert!(health.is_healthy(Kind::Transcription, &settings, 800_000));
    }
}
