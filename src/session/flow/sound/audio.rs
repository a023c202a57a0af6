//! Layer 2, flow: one audio chunk: decoding, fan-out and microphone evidence (behaviour.md §5.2). Decodes once for all and never
//! for nobody. Allocates nothing while the phone's chunks hold whole samples, or LC3 frames whose PCM the receivers consume.

use crate::base::ids::ConnId;
use crate::session::effects::Effect;
use crate::session::event::Chunk;
use crate::session::flow::{microphone, recognisers};
use crate::session::timers::Timer;
use crate::session::{Cx, Session};

/// A frame of a phone socket. Only the current one's audio counts.
pub(crate) fn chunk(s: &mut Session, conn: ConnId, data: Chunk<'_>, cx: &mut Cx<'_>) {
    if s.m.phone.open() == Some(conn) {
        s.m.audio.comes_by(Some(conn));
        hear(s, data, cx);
    }
}

/// The hot path, of frames and datagrams.
pub(crate) fn hear(s: &mut Session, data: Chunk<'_>, cx: &mut Cx<'_>) {
    if data.is_empty() {
        return;
    }
    #[cfg(test)]
    assert!(!s.m.audio.is_defective, "a defect");
    s.m.audio.last_ms = cx.now.mono_ms;
    let listens = cx.now.mono_ms >= s.m.audio.speech_ms && recognisers::audio_came(s, cx);
    if s.m.audio.targets.is_empty() && !listens {
        s.m.audio.pass_over(data);
    } else if let Some(pcm) = s.m.audio.pcm(data, cx.metrics) {
        let kept = listens.then(|| pcm.to_bytes());
        fan_out(&s.m.audio.targets, pcm, cx);
        if let Some(pcm) = kept {
            cx.fx.push(Effect::Speech(s.m.speech.feed(pcm)));
        }
    }
    // What comes by UDP while the phone reconnects proves nothing: nobody could tell it.
    if s.m.phone.open().is_some() {
        microphone::audio_arrived(s, cx);
    }
}

fn fan_out(targets: &[ConnId], pcm: Chunk<'_>, cx: &mut Cx<'_>) {
    match pcm {
        Chunk::Lent(data) => cx.fx.small_to_all(targets, data),
        Chunk::Own(data) => {
            for conn in targets {
                cx.fx.push(Effect::Binary {
                    conn: *conn,
                    data: data.clone(),
                });
            }
        }
    }
}

/// No audio though wanted: one re-sync per cooldown (behaviour.md §5.3). Runs only when switched on in the settings.
pub(crate) fn gap_due(s: &mut Session, cx: &mut Cx<'_>) {
    let settings = &cx.cfg.audio;
    if !settings.audio_gap_resync_enabled || !s.m.microphone.is_on() {
        return;
    }
    let heard_until = s.m.audio.last_ms + settings.audio_gap_resync_ms;
    // While off is held back nothing is missed, and a re-sync would cut that short.
    let is_missed = heard_until <= cx.now.mono_ms && s.m.microphone.need().media();
    if !is_missed || s.m.phone.open().is_none() {
        let later = heard_until.max(cx.now.mono_ms + settings.audio_gap_resync_ms / 2);
        s.timers.set(Timer::AudioGap, later);
        return;
    }
    let next = cx.now.mono_ms + settings.audio_gap_cooldown_ms;
    microphone::resync(s, cx);
    s.timers.set(Timer::AudioGap, next);
}

#[cfg(test)]
#[path = "audio_tests.rs"]
mod tests;
