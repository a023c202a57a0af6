//! The page `docs/messages.md`, made from tables and files.

use super::catalogue::{APP_SENDERS, PHONE_SENDERS, TO_APP, TO_PHONE, root, sample_file};
use prism::wire::kinds::{AppKind, PhoneKind};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

/// What happens to an inbound type, told from its handler.
pub(crate) fn inbound(side: &str, name: &str) -> (&'static str, String) {
    let own = format!("src/session/handlers/{side}/{}.rs", name.to_lowercase());
    if name != "vad" && root().join(&own).exists() {
        let text = fs::read_to_string(root().join(&own)).unwrap_or_default();
        let ignores = text.contains("let _ = (s, m, cx);");
        return (if ignores { "ignored" } else { "live" }, own);
    }
    ("relay", format!("src/session/handlers/{side}/relay.rs"))
}

pub(crate) fn tests_of(handler: &str) -> String {
    let text = fs::read_to_string(root().join(handler)).unwrap_or_default();
    if text.contains("#[cfg(test)]") {
        format!("`{handler}`, `tests/registry.rs`")
    } else {
        "`tests/registry.rs`".to_owned()
    }
}

pub(crate) fn sample_cell(direction: &str, name: &str) -> String {
    let file = sample_file(direction, name);
    if root().join(&file).exists() {
        format!("[sample](../{file})")
    } else {
        "none".to_owned()
    }
}

pub(crate) fn inbound_table(
    page: &mut String,
    side: &str,
    direction: &str,
    names: &[&str],
    usual: &str,
    senders: &[(&str, &str)],
) {
    let senders: BTreeMap<&str, &str> = senders.iter().copied().collect();
    page.push_str(
        "| Type | Status | Handler | Sent by | Sample | Test |\n|---|---|---|---|---|---|\n",
    );
    for name in names {
        let (status, handler) = inbound(side, name);
        let sender = senders.get(name).unwrap_or(&usual);
        let (sample, tests) = (sample_cell(direction, name), tests_of(&handler));
        let _ = writeln!(
            page,
            "| `{name}` | {status} | `{handler}` | {sender} | {sample} | {tests} |"
        );
    }
}

pub(crate) fn outbound_table(page: &mut String, direction: &str, names: &[&str]) {
    page.push_str("| Type | Sample |\n|---|---|\n");
    for name in names {
        let _ = writeln!(page, "| `{name}` | {} |", sample_cell(direction, name));
    }
}

pub(crate) fn page() -> String {
    let mut page = String::from(
        "# Messages\n\nWritten by `tests/registry.rs` from the tables of handlers, the samples and the files that are there; do not edit it \
         by hand. `PRISM_UPDATE_DOCS=1 cargo test --test registry` writes it anew.\n\n*live*: has behaviour of its own. *relay*: is \
         passed to subscribed apps as it is. *ignored*: is accepted and does nothing.\n\n## Phone to cloud\n\nAny type that is not listed is \
         relayed.\n\n",
    );
    let phone = PhoneKind::ALL.map(PhoneKind::wire);
    inbound_table(
        &mut page,
        "phone",
        "phone-to-cloud",
        &phone,
        "nobody",
        PHONE_SENDERS,
    );
    page.push_str("\n## App to cloud\n\nAny type that is not listed is ignored and counted.\n\n");
    let app = AppKind::ALL.map(AppKind::wire);
    inbound_table(
        &mut page,
        "app",
        "app-to-cloud",
        &app,
        "SDK 2.x, SDK 3.x",
        APP_SENDERS,
    );
    page.push_str("\n## Cloud to phone\n\n");
    outbound_table(&mut page, "cloud-to-phone", &TO_PHONE);
    page.push_str("\n## Cloud to app\n\n");
    outbound_table(&mut page, "cloud-to-app", &TO_APP);
    page
}
