//! Outside thread, speech: what a provider of recognisers is to the rest of the server (behaviour.md §8.6): the vendor, and one
//! conversation with it. Both only say what is to be sent; `recogniser.rs` holds the connection.

use super::classify::ProviderError;
use super::health::Kind;
use super::{alibaba, soniox};
use crate::base::settings::{DeploymentRegion, Settings};
use crate::wire::speech::{SpeechOpen, Utterance};
use crate::wire::streams::Sub;
use bytes::Bytes;

/// A vendor.
pub(super) trait Provider: Send + Sync {
    /// As apps and reports see it.
    fn name(&self) -> &'static str;

    /// Keys of the settings, the primary one first.
    fn keys<'a>(&self, settings: &'a Settings) -> Vec<&'a str>;

    /// Whether it takes this stream.
    fn supports(&self, stream: &Sub) -> bool;

    /// WebSocket address.
    fn address<'a>(&self, settings: &'a Settings) -> &'a str;

    /// Headers of the upgrade.
    fn headers(&self, key: &str, settings: &Settings) -> Vec<(&'static str, String)>;

    /// Times a connection that broke is made anew before the stream counts as ended.
    fn reconnects(&self, kind: Kind, settings: &Settings) -> u64;

    /// One stream; `ids` begins the names of its utterances.
    fn talk(&self, open: &SpeechOpen, ids: String, settings: &Settings) -> Box<dyn Talk>;
}

/// What a stream is for.
pub(super) fn kind(stream: &Sub) -> Kind {
    match stream {
        Sub::Translation { .. } => Kind::Translation,
        _ => Kind::Transcription,
    }
}

/// The providers of this deployment, the preferred one first.
pub(super) fn configured(settings: &Settings) -> Vec<&'static dyn Provider> {
    let one: &'static dyn Provider = match settings.speech.deployment_region {
        DeploymentRegion::Global => &soniox::Soniox,
        DeploymentRegion::China => &alibaba::Alibaba,
    };
    let has_key = |one: &&'static dyn Provider| {
        let keys = one.keys(settings);
        keys.iter().any(|key| !key.trim().is_empty())
    };
    [one].into_iter().filter(has_key).collect()
}

/// The first that takes the stream and is healthy; if none is, the first that takes it.
pub(super) fn select(
    providers: &[&'static dyn Provider],
    stream: &Sub,
    mut is_healthy: impl FnMut(&'static str) -> bool,
) -> Option<&'static dyn Provider> {
    let takes = |one: &&&'static dyn Provider| one.supports(stream);
    let healthy = providers
        .iter()
        .filter(takes)
        .find(|one| is_healthy(one.name()));
    healthy.or_else(|| providers.iter().find(takes)).copied()
}

/// One frame to the provider.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Frame {
    Text(String),
    Binary(Bytes),
    Ping,
}

/// How the provider ended a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// It has said all it had to say.
    Finished,
    /// It gave up.
    Failed(ProviderError),
}

/// What a step of a conversation asks for.
#[derive(Default, Debug)]
pub(super) struct Out {
    pub(super) frames: Vec<Frame>,
    pub(super) heard: Vec<Utterance>,
    /// Audio is taken from now on.
    pub(super) ready: bool,
    /// The provider answered with something that was recognised.
    pub(super) answered: bool,
    pub(super) end: Option<End>,
}

/// What may be handed to a conversation now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Takes {
    /// Everything.
    All,
    /// Audio needs [`Talk::resume`] first.
    AfterResume,
    /// Nothing: it waits for an answer of the provider.
    Nothing,
}

/// One conversation with a provider, over one connection after the other. Pure: time is an argument.
pub(super) trait Talk: Send {
    /// A connection was made; `audio_ms` of audio went over earlier ones.
    fn begin(&mut self, key: &str, audio_ms: u64, out: &mut Out);

    /// What may be handed over now.
    fn takes(&self) -> Takes;

    /// Audio is about to come again.
    fn resume(&mut self, _audio_ms: u64, _out: &mut Out) {}

    /// Microphone audio.
    fn audio(&mut self, pcm: Bytes, out: &mut Out) {
        out.frames.push(Frame::Binary(pcm));
    }

    /// No audio for a while.
    fn pause(&mut self, out: &mut Out);

    /// Say everything that is left to say, then end.
    fn close(&mut self, now: u64, out: &mut Out);

    /// Nothing was sent for a while.
    fn keepalive(&mut self, out: &mut Out);

    /// A text message of the provider.
    fn message(&mut self, text: &str, now: u64, out: &mut Out);

    /// When [`Talk::tick`] has something to do.
    fn due(&self) -> Option<u64>;

    /// Time went by.
    fn tick(&mut self, now: u64, out: &mut Out);

    /// The connection is gone: what is pending is final.
    fn gone(&mut self, out: &mut Out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::streams::parse;

    #[test]
    fn the_region_and_a_key_make_a_provider() {
        let mut settings = Settings::default();
        assert!(configured(&settings).is_empty());
        settings.speech.soniox_fallback_api_keys = vec!["k".into()];
        assert_eq!(configured(&settings)[0].name(), "soniox");
        settings.speech.deployment_region = DeploymentRegion::China;
        assert!(
            configured(&settings).is_empty(),
            "the other vendor's key is no use"
        );
        settings.speech.alibaba_api_key = "k".into();
        assert_eq!(configured(&settings)[0].name(), "alibaba");
    }

    #[test]
    fn a_healthy_one_that_takes_the_language_comes_first() {
        let both: [&'static dyn Provider; 2] = [&soniox::Soniox, &alibaba::Alibaba];
        let pick = |name: &str, healthy: &[&str]| {
            let found = select(&both, &parse(name).parsed, |one| healthy.contains(&one));
            found.map(Provider::name)
        };
        assert_eq!(
            pick("transcription:en-US", &["soniox", "alibaba"]),
            Some("soniox")
        );
        assert_eq!(pick("transcription:en-US", &["alibaba"]), Some("alibaba"));
        assert_eq!(
            pick("transcription:en-US", &[]),
            Some("soniox"),
            "the last resort"
        );
        assert_eq!(pick("transcription:yue-CN", &[]), Some("alibaba"));
        assert_eq!(pick("transcription:xx-XX", &["soniox"]), None);
    }
}
