//! `display_event`: an app wants something on the glasses (protocol.md §7.4, 8.5, behaviour.md §6.1).
//!
//! Changes: the display's arbitration. Sends: to the phone, now or later or never, the request with all its members in their
//! order, but `view` and `packageName` set by the server. Apps are never answered.
//!
//! `{"type":"display_event","packageName":"com.acme.scribe","sessionId":"","view":"main",
//! "layout":{"layoutType":"reference_card","title":"Scribe","text":"Ready"},"durationMs":3000}`

use crate::session::effects::Class;
use crate::session::flow;
use crate::session::handlers::{AppHandler, AppMessage, Reject};
use crate::session::managers::display::Request;
use crate::session::{Cx, Session};
use crate::wire::json::{self, JsonError, ObjectWriter};
use crate::wire::kinds::AppKind;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

pub(super) const HANDLER: AppHandler = AppHandler {
    kind: AppKind::DisplayEvent,
    run,
};

fn run(s: &mut Session, m: &AppMessage<'_>, cx: &mut Cx<'_>) -> Result<(), Reject> {
    let members: Members<'_> = serde_json::from_slice(m.text)
        .map_err(|error| Reject::json(JsonError::Shape(error.to_string())))?;
    let to_dashboard = members.value("view").as_str() == Some("dashboard")
        && flow::dashboard::may_draw(m.package, cx);
    let view = if to_dashboard { "dashboard" } else { "main" };
    if to_dashboard {
        if flow::screen::reachable(s, cx) {
            let _ = s.send_phone(cx, Class::Display, |out| {
                members.write(out, m.package, view);
            });
        }
        return Ok(());
    }
    let mut message = Vec::with_capacity(m.text.len() + 64);
    members.write(&mut message, m.package, view);
    let request = Request {
        package: m.package.clone(),
        message: message.into(),
        duration_ms: members
            .value("durationMs")
            .as_f64()
            .filter(|ms| *ms >= 0.0)
            .map(|ms| ms as u64),
        force: members.value("forceDisplay") == Value::Bool(true),
    };
    flow::screen::request(s, request, cx);
    Ok(())
}

/// A member as the app wrote it.
struct Member<'a> {
    name: Cow<'a, str>,
    key: &'a RawValue,
    value: &'a RawValue,
}

impl<'a> Member<'a> {
    fn new(key: &'a RawValue, value: &'a RawValue) -> Self {
        let text = key.get();
        let name = if text.contains('\\') {
            Cow::Owned(json::from_slice(text.as_bytes()).unwrap_or_default())
        } else {
            Cow::Borrowed(text.trim_matches('"'))
        };
        Self { name, key, value }
    }
}

/// The members of an object in their order, names and values untouched.
struct Members<'a>(Vec<Member<'a>>);

impl Members<'_> {
    /// A member's value; the last of several.
    fn value(&self, name: &str) -> Value {
        self.0
            .iter()
            .rev()
            .find(|own| own.name == name)
            .and_then(|own| serde_json::from_str(own.value.get()).ok())
            .unwrap_or(Value::Null)
    }

    fn write(&self, out: &mut Vec<u8>, package: &str, view: &str) {
        let mut object = ObjectWriter::begin(out);
        let (mut has_package, mut has_view) = (false, false);
        for member in &self.0 {
            let (name, written, text) = match &*member.name {
                "packageName" => ("packageName", &mut has_package, package),
                "view" => ("view", &mut has_view, view),
                _ => {
                    // A name may hold what must be escaped: as it came, it says no more than it said.
                    object.theirs(member.key.get(), member.value.get());
                    continue;
                }
            };
            if !std::mem::replace(written, true) {
                object.str(name, text);
            }
        }
        if !has_package {
            object.str("packageName", package);
        }
        if !has_view {
            object.str("view", view);
        }
        object.end();
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some((key, value)) = map.next_entry()? {
                    members.push(Member::new(key, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}
