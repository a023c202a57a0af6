//! Layer 2, flow: the stored running list, and answers of starts and stops that wait until it is durable
//! (behaviour.md §12.3, protocol.md §18.3, §18.16).

use crate::base::ids::{CallId, Package, ReplyTo};
use crate::session::effects::{Effect, RestAnswer, StoreOp};
use crate::session::event::StoreOutcome;
use crate::session::flow::late_record;
use crate::session::managers::apps::intent::{PendingAck, Wanted};
use crate::session::managers::apps::start::{StartError, StartStage};
use crate::session::managers::apps::{AnswerShape, Waiter};
use crate::session::rest::Shape;
use crate::session::timers::Timer;
use crate::session::{Cx, Session};
use crate::wire::json::ObjectWriter;

/// The message of a start that ends with its session.
pub(crate) const SESSION_ENDED: &str = "The user session ended";
/// The text for a stop that the store did not keep.
const NOT_STOPPED: &str = "Error stopping app";

/// Stores that the package should (or should not) run. Without waiters it is one write; with waiters they are answered with
/// success once it is durable, with 500 when it is not in `db_timeout_ms`.
pub(crate) fn store_intent(
    s: &mut Session,
    package: &Package,
    wanted: Wanted,
    waiters: Vec<Waiter>,
    cx: &mut Cx<'_>,
) {
    let op = match wanted {
        Wanted::Yes => StoreOp::AddRunning(package.clone()),
        Wanted::No => StoreOp::RemoveRunning(package.clone()),
    };
    s.m.apps.intent.set(package, wanted);
    if waiters.is_empty() {
        cx.fx.push(Effect::Store { op, ack: None });
        return;
    }
    let call = s.call_id();
    cx.fx.push(Effect::Store {
        op,
        ack: Some(call),
    });
    let due_ms = cx.now.mono_ms + cx.cfg.store.db_timeout_ms;
    s.timers.set(Timer::StoreAck(call), due_ms);
    s.m.apps.intent.acks.push(PendingAck {
        call,
        due_ms,
        wanted,
        package: package.clone(),
        waiters,
    });
}

/// Answers waiters with success as soon as the stored list is known to hold `wanted`.
pub(crate) fn when_durable(
    s: &mut Session,
    package: &Package,
    wanted: Wanted,
    waiters: Vec<Waiter>,
    cx: &mut Cx<'_>,
) {
    if waiters.is_empty() {
        return;
    }
    if s.m.apps.intent.is_durable(package, wanted) {
        succeed(s, wanted, package, &waiters, cx);
    } else {
        store_intent(s, package, wanted, waiters, cx);
    }
}

/// The store answered, or took too long.
pub(crate) fn stored(s: &mut Session, call: CallId, outcome: StoreOutcome, cx: &mut Cx<'_>) {
    s.timers.cancel(&Timer::StoreAck(call));
    let acks = &mut s.m.apps.intent.acks;
    let Some(index) = acks.iter().position(|ack| ack.call == call) else {
        return;
    };
    let ack = acks.remove(index);
    match outcome {
        StoreOutcome::Done => {
            s.m.apps.intent.confirm(&ack.package, ack.wanted);
            succeed(s, ack.wanted, &ack.package, &ack.waiters, cx);
            late_record::store_answers(s, cx);
        }
        StoreOutcome::Failed => broken(ack.wanted, &ack.waiters, cx),
    }
}

/// Answers a start (`Yes`) or stop (`No`) with success; `isRunning` is the truth of this moment.
pub(crate) fn succeed(
    s: &Session,
    wanted: Wanted,
    package: &str,
    waiters: &[Waiter],
    cx: &mut Cx<'_>,
) {
    let running = s.m.apps.is_running(package);
    for waiter in waiters {
        let answer = success(waiter.shape, wanted, running);
        cx.fx.reply(waiter.reply, answer);
    }
}

fn success(shape: AnswerShape, wanted: Wanted, running: bool) -> RestAnswer {
    let mut body = Vec::new();
    match shape {
        AnswerShape::Rest(Shape::Phone) => phone_body(&mut body, wanted, running, None),
        AnswerShape::Rest(Shape::SystemApp) => {
            let text = match wanted {
                Wanted::Yes => "App started successfully",
                Wanted::No => "App stopped successfully",
            };
            let mut object = ObjectWriter::begin(&mut body);
            object.bool("success", true).str("message", text);
            object.end();
        }
        AnswerShape::Empty => body.extend_from_slice(b"{}"),
    }
    RestAnswer::json(200, body)
}

/// The session is over, and every app of it stopped. Who waits for a start hears that it failed; who waits for a stop is answered by
/// the shard when the store has (`shard/left_behind.rs`).
pub(crate) fn disposing(s: &mut Session, cx: &mut Cx<'_>) {
    let error = StartError::new(StartStage::Disposed, SESSION_ENDED);
    for ack in s.m.apps.intent.take_acks(Wanted::Yes) {
        start_failed(s, &ack.package, &error, &ack.waiters, cx);
    }
}

/// The answer for a stop whose session is gone.
pub(crate) fn stopped_with_session(shape: AnswerShape, outcome: StoreOutcome) -> RestAnswer {
    match outcome {
        StoreOutcome::Done => success(shape, Wanted::No, false),
        StoreOutcome::Failed => refusal(500, shape, NOT_STOPPED),
    }
}

/// Answers with a failed start.
pub(crate) fn start_failed(
    s: &Session,
    package: &str,
    error: &StartError,
    waiters: &[Waiter],
    cx: &mut Cx<'_>,
) {
    let running = s.m.apps.is_running(package);
    for waiter in waiters {
        let mut body = Vec::new();
        let status = match waiter.shape {
            AnswerShape::Rest(Shape::Phone) | AnswerShape::Empty => {
                phone_body(&mut body, Wanted::Yes, running, Some(error));
                200
            }
            AnswerShape::Rest(Shape::SystemApp) => {
                let mut object = ObjectWriter::begin(&mut body);
                object
                    .bool("success", false)
                    .str("error", "Failed to start app")
                    .raw("details", &error_json(error));
                object.end();
                500
            }
        };
        cx.fx.reply(waiter.reply, RestAnswer::json(status, body));
    }
}

/// Answers 500: what was done could not be made durable in time.
pub(crate) fn broken(wanted: Wanted, waiters: &[Waiter], cx: &mut Cx<'_>) {
    let text = match wanted {
        Wanted::Yes => "Error starting app",
        Wanted::No => NOT_STOPPED,
    };
    for waiter in waiters {
        failure(waiter.reply, 500, waiter.shape, text, cx);
    }
}

/// `{"success":false,…}` with the member name of the caller's family.
pub(crate) fn failure(
    reply: ReplyTo,
    status: u16,
    shape: AnswerShape,
    text: &str,
    cx: &mut Cx<'_>,
) {
    cx.fx.reply(reply, refusal(status, shape, text));
}

fn refusal(status: u16, shape: AnswerShape, text: &str) -> RestAnswer {
    let member = match shape {
        AnswerShape::Rest(Shape::SystemApp) => "error",
        AnswerShape::Rest(Shape::Phone) | AnswerShape::Empty => "message",
    };
    let mut body = Vec::new();
    let mut object = ObjectWriter::begin(&mut body);
    object.bool("success", false).str(member, text);
    object.end();
    RestAnswer::json(status, body)
}

/// Answers [`RestAnswer::no_session`].
pub(crate) fn no_session(reply: ReplyTo, cx: &mut Cx<'_>) {
    cx.fx.reply(reply, RestAnswer::no_session());
}

fn phone_body(out: &mut Vec<u8>, wanted: Wanted, running: bool, error: Option<&StartError>) {
    let status = match wanted {
        Wanted::Yes => "started",
        Wanted::No => "stopped",
    };
    let mut data = Vec::new();
    let mut object = ObjectWriter::begin(&mut data);
    object.str("status", status).bool("isRunning", running);
    if let Some(error) = error {
        object.raw("error", &error_json(error));
    }
    object.end();
    let mut object = ObjectWriter::begin(out);
    object.bool("success", true).raw("data", &data);
    object.end();
}

fn error_json(error: &StartError) -> Vec<u8> {
    let mut out = Vec::new();
    let mut object = ObjectWriter::begin(&mut out);
    object
        .str("stage", error.stage.as_str())
        .str("message", &error.message);
    object.end();
    out
}
