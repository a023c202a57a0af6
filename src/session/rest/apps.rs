//! Layer 2, REST calls about apps and the session itself: start, stop, list, snapshot, recovery, goodbye, disposal
//! (protocol.md §18.2, 18.3, 18.16, 18.17).

use crate::base::clock::IsoTime;
use crate::base::ids::{Package, ReplyTo};
use crate::session::effects::RestAnswer;
use crate::session::event::DisposeCause;
use crate::session::flow::{answers, device, dispose, notices, recover, start, stop};
use crate::session::managers::apps::intent::AppHealth;
use crate::session::managers::apps::start::{Recovery, StartOrigin};
use crate::session::managers::apps::{AnswerShape, AppSession, StopWhy, Waiter};
use crate::session::rest::{Call, Shape, connections, subscriptions};
use crate::session::{Cx, Session};
use crate::wire::json::ObjectWriter;
use crate::wire::records::InstalledApp;

/// Answers one call of this family.
pub(crate) fn call(s: &mut Session, reply: ReplyTo, call: Call, cx: &mut Cx<'_>) {
    match call {
        Call::StartApp { package, shape } => start_app(s, reply, &package, shape, cx),
        Call::StopApp { package, shape } => stop_app(s, reply, &package, shape, cx),
        Call::ListApps => list(s, reply, cx),
        Call::InstallChanged { package, installed } => {
            install_changed(s, reply, &package, installed, cx);
        }
        Call::Goodbye => goodbye(s, reply, cx),
        Call::Recover {
            package,
            webhook_url,
            ws_base,
        } => {
            let recovery = Recovery {
                webhook_url,
                ws_base,
                reply: Some(reply),
            };
            recover::recover(s, &Package::new(&package), recovery, cx);
        }
        Call::Snapshot => snapshot(s, reply, cx),
        Call::Connections => {
            s.m.health.settle();
            let body = connections::json(s, cx.now);
            cx.fx.reply(reply, RestAnswer::json(200, body));
        }
        Call::Subscriptions => {
            cx.fx
                .reply(reply, RestAnswer::json(200, subscriptions::json(s)));
        }
        Call::HealthPolled { package, healthy } => {
            let state = if healthy {
                AppHealth::Good
            } else {
                AppHealth::Bad
            };
            s.m.apps.intent.set_health(&package, state);
            cx.fx.reply(reply, RestAnswer::json(200, "{}"));
        }
        Call::Dispose => {
            cx.fx.reply(reply, RestAnswer::json(200, "{}"));
            dispose::dispose(s, DisposeCause::Explicit, cx);
        }
        _ => cx.fx.reply(reply, RestAnswer::json(500, "{}")),
    }
}

fn start_app(s: &mut Session, reply: ReplyTo, package: &str, shape: Shape, cx: &mut Cx<'_>) {
    let answer = AnswerShape::Rest(shape);
    if cx.apps.get(package).is_none() && !start::is_deprecated(cx.cfg, package) {
        let (status, text) = match (cx.apps.loaded, shape) {
            (false, _) => (500, "Error starting app"),
            (true, Shape::Phone) => (404, "App not found"),
            (true, Shape::SystemApp) => (404, "App is not installed"),
        };
        answers::failure(reply, status, answer, text, cx);
        return;
    }
    if shape == Shape::SystemApp && !s.m.apps.intent.is_installed(package) {
        answers::failure(reply, 404, answer, "App is not installed", cx);
        return;
    }
    let waiter = Some(Waiter {
        reply,
        shape: answer,
    });
    match shape {
        Shape::Phone => start::request_of_phone(s, package, waiter, cx),
        Shape::SystemApp => start::request(s, package, StartOrigin::User, waiter, cx),
    }
}

fn stop_app(s: &mut Session, reply: ReplyTo, package: &str, shape: Shape, cx: &mut Cx<'_>) {
    let answer = AnswerShape::Rest(shape);
    let is_active = s.m.apps.get(package).is_some_and(AppSession::is_active);
    if shape == Shape::SystemApp && !is_active {
        let body = r#"{"success":true,"message":"App is not running"}"#;
        cx.fx.reply(reply, RestAnswer::json(200, body));
        return;
    }
    // An app whose record was removed while it runs can still be stopped.
    if cx.apps.get(package).is_none() && s.m.apps.get(package).is_none() {
        let (status, text) = if cx.apps.loaded {
            (404, "App not found")
        } else {
            (500, "Error stopping app")
        };
        answers::failure(reply, status, answer, text, cx);
        return;
    }
    let waiter = Waiter {
        reply,
        shape: answer,
    };
    stop::stop(s, package, StopWhy::User, Some(waiter), cx);
}

fn install_changed(
    s: &mut Session,
    reply: ReplyTo,
    package: &str,
    installed: Option<InstalledApp>,
    cx: &mut Cx<'_>,
) {
    s.m.apps.intent.uninstall(package);
    notices::app_state_changed(s, cx);
    if let Some(app) = installed {
        s.m.apps.intent.installed.push(app);
        cx.fx.reply(reply, RestAnswer::json(200, "{}"));
        return;
    }
    let waiter = Waiter {
        reply,
        shape: AnswerShape::Empty,
    };
    stop::stop(s, package, StopWhy::Uninstall, Some(waiter), cx);
}

fn goodbye(s: &mut Session, reply: ReplyTo, cx: &mut Cx<'_>) {
    cx.fx
        .reply(reply, RestAnswer::json(200, r#"{"success":true}"#));
    if s.m.phone.open().is_none() {
        dispose::dispose(s, DisposeCause::Explicit, cx);
    }
}

fn snapshot(s: &Session, reply: ReplyTo, cx: &mut Cx<'_>) {
    let mut running: Vec<&str> = s.m.apps.open().map(|(app, _)| &*app.package).collect();
    running.sort_unstable();
    let running = serde_json::to_vec(&running).expect("strings serialise");
    let mut body = Vec::new();
    let mut object = ObjectWriter::begin(&mut body);
    object
        .raw("running", &running)
        .raw("capabilities", &device::capabilities_json(s));
    object.end();
    cx.fx.reply(reply, RestAnswer::json(200, body));
}

/// `GET /api/client/apps`: installed apps only; an installed app without a record cannot be shown. While it is not known what is
/// installed, an empty list would look as if nothing were.
fn list(s: &Session, reply: ReplyTo, cx: &mut Cx<'_>) {
    if !cx.apps.loaded || s.m.apps.intent.unread.is_some() {
        let mut body = Vec::new();
        let mut object = ObjectWriter::begin(&mut body);
        object
            .bool("success", false)
            .str("message", "Failed to fetch apps")
            .str("timestamp", cx.now.iso().as_str());
        object.end();
        cx.fx.reply(reply, RestAnswer::json(500, body));
        return;
    }
    let mut data = vec![b'['];
    for installed in &s.m.apps.intent.installed {
        write_app(&mut data, s, installed, cx);
    }
    data.push(b']');
    let mut body = Vec::with_capacity(data.len() + 80);
    let mut object = ObjectWriter::begin(&mut body);
    object
        .bool("success", true)
        .raw("data", &data)
        .str("timestamp", cx.now.iso().as_str());
    object.end();
    cx.fx.reply(reply, RestAnswer::json(200, body));
}

fn write_app(out: &mut Vec<u8>, s: &Session, installed: &InstalledApp, cx: &Cx<'_>) {
    let package = &installed.package_name;
    let Some(record) = cx.apps.get(package) else {
        return;
    };
    if out.len() > 1 {
        out.push(b',');
    }
    let permissions = serde_json::to_vec(&record.permissions).expect("plain data serialises");
    let hardware =
        serde_json::to_vec(&record.hardware_requirements).expect("plain data serialises");
    let mut app = ObjectWriter::begin(out);
    app.str("packageName", package)
        .str("name", record.display_name())
        .str("webviewUrl", &record.webview_url)
        .str("logoUrl", &record.logo_url)
        .str("type", record.app_type.as_str())
        .raw("permissions", &permissions)
        .bool("running", s.m.apps.is_running(package))
        .bool(
            "healthy",
            s.m.apps.intent.health(package) == AppHealth::Good,
        )
        .raw("hardwareRequirements", &hardware);
    if installed.installed_ms > 0 {
        let at = IsoTime::from_unix_ms(installed.installed_ms);
        app.str("installedDate", at.as_str());
    }
    if installed.last_active_ms > 0 {
        let at = IsoTime::from_unix_ms(installed.last_active_ms);
        app.str("lastActiveAt", at.as_str());
    }
    app.end();
}
