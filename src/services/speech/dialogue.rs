//! Outside thread, speech: a conversation with a provider, but without its connection. Public for the simulator alone, which plays the
//! provider and hears what the session would hear, through the code that serves. The server itself holds connections (`recogniser`).

use super::provider::{self, End, Out, Talk};
use super::recogniser::failed;
use super::{SpeechFailureClass, SpeechOpen, SpeechReport, classify};
use crate::base::settings::Settings;

/// One recogniser's conversation, for `tests/sim`; the server has no use for it.
pub struct Dialogue {
    talk: Box<dyn Talk>,
    began_ms: u64,
    answered: bool,
}

impl Dialogue {
    /// Begins one; `ids` begins the names of its utterances.
    ///
    /// # Errors
    /// The report of a recogniser that no provider of these settings takes.
    pub fn begin(
        open: &SpeechOpen,
        ids: &str,
        settings: &Settings,
        now_ms: u64,
    ) -> Result<Self, SpeechReport> {
        let providers = provider::configured(settings);
        let provider = provider::select(&providers, &open.stream, |_| true);
        let provider = provider.ok_or_else(|| {
            let cause = "no provider takes this language";
            failed(SpeechFailureClass::Unsupported, cause, 0)
        })?;
        let mut talk = provider.talk(open, ids.to_owned(), settings);
        talk.begin("", 0, &mut Out::default());
        Ok(Self {
            talk,
            began_ms: now_ms,
            answered: false,
        })
    }

    /// A text message of the provider; a failure or an end is the last report.
    pub fn message(&mut self, text: &str, now_ms: u64) -> Vec<SpeechReport> {
        let mut out = Out::default();
        self.talk.message(text, now_ms, &mut out);
        self.reports(out, now_ms)
    }

    /// When [`Dialogue::tick`] has something to do.
    #[must_use]
    pub fn due_ms(&self) -> Option<u64> {
        self.talk.due()
    }

    /// Time went by.
    pub fn tick(&mut self, now_ms: u64) -> Vec<SpeechReport> {
        let mut out = Out::default();
        self.talk.tick(now_ms, &mut out);
        self.reports(out, now_ms)
    }

    fn reports(&mut self, mut out: Out, now_ms: u64) -> Vec<SpeechReport> {
        self.answered |= out.answered;
        if out.end.is_some() {
            self.talk.gone(&mut out);
        }
        let age_ms = now_ms.saturating_sub(self.began_ms);
        let last = out.end.map(|end| match end {
            End::Finished => SpeechReport::Closed(Some(1000)),
            End::Failed(error) => {
                let class = classify::class(&error, self.answered, age_ms);
                failed(class, &error.cause(), 0)
            }
        });
        let heard = out.heard.into_iter();
        let heard = heard.map(|one| SpeechReport::Heard(Box::new(one)));
        heard.chain(last).collect()
    }
}
