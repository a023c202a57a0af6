//! Layer 2, flow: what managed streaming asks of a media provider, and one provider that speaks the API of Cloudflare
//! Stream live inputs. Builds requests and reads answers; sends nothing.

use crate::base::ids::CallId;
use crate::base::settings::Streaming;
use crate::session::effects::{HttpCall, HttpKind, HttpMethod};
use crate::session::event::HttpOutcome;
use crate::session::managers::managed_streams::{LiveInput, Playback};
use bytes::Bytes;
use serde_json::{Value, json};

/// One call to make.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Request {
    /// Purpose.
    pub(crate) kind: HttpKind,
    /// HTTP method.
    pub(crate) method: HttpMethod,
    /// URL.
    pub(crate) url: String,
    /// JSON; empty for none.
    pub(crate) body: Bytes,
}

impl Request {
    /// As the call `call`.
    pub(crate) fn into_call(
        self,
        call: CallId,
        provider: &Provider<'_>,
        timeout_ms: u64,
    ) -> HttpCall {
        HttpCall {
            call,
            kind: self.kind,
            method: self.method,
            url: self.url,
            headers: provider.headers(),
            body: self.body,
            timeout_ms,
        }
    }
}

/// What removes the live input that an answer to [`Provider::create`] tells of, where nobody is left who would use it.
pub(crate) fn unclaimed(cfg: &Streaming, call: CallId, outcome: &HttpOutcome) -> Option<HttpCall> {
    let provider = configured(cfg)?;
    let HttpOutcome::Answer { body, .. } = outcome else {
        return None;
    };
    let made = outcome.is_success().then(|| provider.created(body))??;
    let request = provider.delete(&made.uid);
    Some(request.into_call(call, &provider, cfg.managed_api_timeout_ms))
}

/// The configured provider; `None`: this deployment has none.
pub(crate) fn configured(cfg: &Streaming) -> Option<Provider<'_>> {
    (!cfg.managed_api_url.is_empty() && !cfg.managed_account_id.is_empty())
        .then_some(Provider { cfg })
}

/// A service that takes one ingest and gives many playback addresses: Cloudflare Stream live inputs, or one with the same API.
pub(crate) struct Provider<'a> {
    cfg: &'a Streaming,
}

impl Provider<'_> {
    fn url(&self, rest: &str) -> String {
        let base = self.cfg.managed_api_url.trim_end_matches('/');
        let account = &self.cfg.managed_account_id;
        format!("{base}/accounts/{account}/stream/live_inputs{rest}")
    }

    fn playback(&self, uid: &str, webrtc: &str) -> Playback {
        let host = self.cfg.managed_customer_subdomain.trim_end_matches('/');
        if host.is_empty() {
            return Playback {
                webrtc: webrtc.to_owned(),
                ..Playback::default()
            };
        }
        let base = if host.contains("://") {
            format!("{host}/{uid}")
        } else {
            format!("https://{host}/{uid}")
        };
        Playback {
            hls: format!("{base}/manifest/video.m3u8"),
            dash: format!("{base}/manifest/video.mpd"),
            webrtc: if webrtc.is_empty() {
                format!("{base}/webRTC/play")
            } else {
                webrtc.to_owned()
            },
            preview: format!("{base}/iframe"),
            thumbnail: format!("{base}/thumbnails/thumbnail.jpg"),
        }
    }
}

fn request(method: HttpMethod, url: String, body: Option<&Value>) -> Request {
    let body = body.map(|value| Bytes::from(value.to_string()));
    Request {
        kind: HttpKind::Provider,
        method,
        url,
        body: body.unwrap_or_default(),
    }
}

/// `result` of an answer that says `success`.
fn result(body: &[u8]) -> Option<Value> {
    let mut answer: Value = serde_json::from_slice(body).ok()?;
    (answer["success"] != Value::Bool(false)).then(|| answer["result"].take())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

impl Provider<'_> {
    /// Makes a live input.
    pub(crate) fn create(&self, name: &str) -> Request {
        let body = json!({"meta": {"name": name}, "recording": {"mode": "automatic"}, "deleteRecordingAfterDays": 30});
        request(HttpMethod::Post, self.url(""), Some(&body))
    }

    /// Asks for the state of one.
    pub(crate) fn status(&self, uid: &str) -> Request {
        request(HttpMethod::Get, self.url(&format!("/{uid}")), None)
    }

    /// Removes one.
    pub(crate) fn delete(&self, uid: &str) -> Request {
        Request {
            kind: HttpKind::Removal,
            ..request(HttpMethod::Delete, self.url(&format!("/{uid}")), None)
        }
    }

    /// Sends it on to a URL.
    pub(crate) fn add_output(&self, uid: &str, url: &str) -> Request {
        // The provider wants the last path segment, which is the key, on its own.
        let (base, key) = url.rsplit_once('/').unwrap_or((url, ""));
        let body = json!({"url": format!("{base}/"), "streamKey": key, "enabled": true});
        request(
            HttpMethod::Post,
            self.url(&format!("/{uid}/outputs")),
            Some(&body),
        )
    }

    /// No longer does.
    pub(crate) fn remove_output(&self, uid: &str, output_id: &str) -> Request {
        request(
            HttpMethod::Delete,
            self.url(&format!("/{uid}/outputs/{output_id}")),
            None,
        )
    }

    /// Reads the answer to `create`.
    pub(crate) fn created(&self, body: &[u8]) -> Option<LiveInput> {
        let made = result(body)?;
        let uid = made["uid"].as_str().filter(|uid| !uid.is_empty())?;
        let joined = |base: &Value, rest: String| match base.as_str() {
            Some(base) if !base.is_empty() => format!("{base}{rest}"),
            _ => String::new(),
        };
        let srt = &made["srt"];
        let query = format!(
            "?streamid={}&passphrase={}",
            text(&srt["streamId"]),
            text(&srt["passphrase"])
        );
        Some(LiveInput {
            uid: uid.to_owned(),
            whip: text(&made["webRTC"]["url"]),
            srt: joined(&srt["url"], query),
            rtmp: joined(&made["rtmps"]["url"], text(&made["rtmps"]["streamKey"])),
            playback: self.playback(uid, &text(&made["webRTCPlayback"]["url"])),
        })
    }

    /// Reads the answer to `status`: whether video arrives.
    pub(crate) fn is_live(&self, body: &[u8]) -> bool {
        result(body).is_some_and(|input| {
            let status = &input["status"];
            let state = status["current"]["state"]
                .as_str()
                .or_else(|| status.as_str());
            matches!(state, Some("connected" | "live-inprogress"))
        })
    }

    /// Reads the answer to `add_output`.
    pub(crate) fn output_id(&self, body: &[u8]) -> Option<String> {
        let output = result(body)?;
        output["uid"].as_str().map(str::to_owned)
    }

    /// Headers of every call.
    fn headers(&self) -> Vec<(&'static str, String)> {
        vec![(
            "authorization",
            format!("Bearer {}", self.cfg.managed_api_token),
        )]
    }
}
