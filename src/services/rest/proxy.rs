//! Outside thread, REST: unknown routes go to `fallback_upstream` while it is set. Hop-by-hop headers stay behind; the answer
//! is bounded.

use super::refuse;
use crate::services::context::Services;
use crate::shard::mailbox::{Answer, OutsideRequest};
use http::Request;
use http_body_util::Full;
use std::time::Duration;

const ANSWER_BYTES_MAX: usize = 32 << 20;
const LIMIT: Duration = Duration::from_secs(30);
/// Hop-by-hop, or ours to write.
const DROPPED: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "host",
    "content-length",
    "expect",
];

/// Forwards and returns head, body and end.
pub(super) async fn forward(cx: &Services, r: &OutsideRequest) -> Vec<Answer> {
    let settings = cx.settings();
    let base = settings.http.fallback_upstream.trim_end_matches('/');
    if base.is_empty() {
        return vec![Answer::Whole(refuse(404, "Not found"))];
    }
    let mut request = Request::builder()
        .method(r.method.as_str())
        .uri(format!("{base}{}", r.target));
    for (name, value) in r
        .headers
        .iter()
        .filter(|(name, _)| !DROPPED.contains(&name.as_str()))
    {
        request = request.header(name, value);
    }
    request = request
        .header("x-forwarded-for", r.peer.to_string())
        .header("x-request-id", &r.correlation_id);
    let Ok(request) = request.body(Full::new(r.body.clone())) else {
        return vec![Answer::Whole(refuse(400, "Bad request"))];
    };
    let answer = match cx
        .webhooks
        .fetch("proxy", request, LIMIT, ANSWER_BYTES_MAX, || {})
        .await
    {
        Ok(answer) if answer.body().len() < ANSWER_BYTES_MAX => answer,
        Ok(_) => return vec![Answer::Whole(refuse(502, "Upstream answer is too large"))],
        Err(error) => {
            tracing::warn!(%error, correlation_id = r.correlation_id, "fallback upstream failed");
            return vec![Answer::Whole(refuse(502, "Bad gateway"))];
        }
    };
    let (head, body) = answer.into_parts();
    let kept = head
        .headers
        .iter()
        .filter(|(name, _)| !DROPPED.contains(&name.as_str()));
    let headers = kept
        .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())))
        .collect();
    let mut answers = vec![Answer::StreamHead {
        status: head.status.as_u16(),
        headers,
    }];
    if !body.is_empty() {
        answers.push(Answer::StreamChunk(body));
    }
    answers.push(Answer::StreamEnd);
    answers
}
