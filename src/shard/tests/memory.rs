//! The memory report (behaviour.md §10.4), as it stands in the log.

use super::*;
use crate::base::log_capture::lines_of;

const MIB: usize = 1 << 20;

/// A report every second of a shard with 40 users.
fn crowded() -> World {
    let mut cfg = Settings::default();
    cfg.observability.memory_report_ms = 1000;
    let mut world = World::with(cfg);
    for n in 0..40 {
        world.phone(&format!("user{n}@x.io"));
    }
    world
}

/// A session keeps this much text.
fn keep(world: &mut World, user: &str, bytes: usize) {
    let at = world.shard.users[user];
    world.shard.drive(at, |session, _| {
        session.m.phone.last_close_reason = "x".repeat(bytes);
    });
}

/// The lines of the report that is due after a second, and the ticks that it took.
fn report(world: &mut World) -> (Vec<String>, usize) {
    let mut ticks = 0;
    let lines = lines_of(|| {
        world.pass(990);
        let before = world.shard.owners.last().to_vec();
        while world.shard.owners.last() == before && ticks < 10 {
            world.pass(10);
            ticks += 1;
        }
    });
    let about = |line: &String| line.contains("memory-owner");
    (lines.into_iter().filter(about).collect(), ticks)
}

fn has(lines: &[String], words: &[&str]) -> bool {
    lines
        .iter()
        .any(|line| words.iter().all(|word| line.contains(word)))
}

#[test]
fn a_report_names_every_owner_and_counts_few_sessions_a_tick() {
    let mut world = crowded();
    keep(&mut world, "user7@x.io", 3 * MIB);
    let (lines, ticks) = report(&mut world);
    assert_eq!(ticks, 2, "40 sessions, 32 a tick");
    assert_eq!(lines.len(), 1, "{lines:?}");
    let user = UserId::new("user7@x.io").log_tag();
    assert!(
        lines[0].starts_with("INFO memory-owners")
            && has(
                &lines,
                &["sessions=40", &user, "phone:31", "session:", "tables:"]
            ),
        "{lines:?}"
    );
}

#[test]
fn a_large_owner_is_warned_of_and_so_is_the_session_behind_it() {
    let mut world = crowded();
    keep(&mut world, "user7@x.io", 26 * MIB);
    let (lines, _) = report(&mut world);
    let user = UserId::new("user7@x.io").log_tag();
    let large = "WARN memory-owner-large";
    assert!(
        has(
            &lines,
            &[large, r#"owner="session""#, &user, r#"part="phone""#]
        ),
        "{lines:?}"
    );
    assert!(has(&lines, &[large, r#"owner="phone""#]), "{lines:?}");
    assert_eq!(lines.len(), 3, "{lines:?}");
}

#[test]
fn growth_between_two_reports_is_warned_of() {
    let mut world = crowded();
    report(&mut world);
    keep(&mut world, "user3@x.io", 3 * MIB);
    let (lines, _) = report(&mut world);
    let grows = "WARN memory-owner-grows";
    for owner in [r#"owner="session""#, r#"owner="phone""#] {
        assert!(has(&lines, &[grows, owner, "fast=false"]), "{lines:?}");
    }
    keep(&mut world, "user3@x.io", 14 * MIB);
    let (lines, _) = report(&mut world);
    assert!(
        has(&lines, &[grows, r#"owner="phone""#, "fast=true"]),
        "{lines:?}"
    );
    let (lines, _) = report(&mut world);
    assert_eq!(lines.len(), 1, "what stays is no news: {lines:?}");
}

#[test]
fn what_waits_to_be_sent_is_an_owner_too() {
    let mut world = crowded();
    let conn = world.phone("loud@x.io");
    for _ in 0..100 {
        world.say(conn, r#"{"type":"ping"}"#);
    }
    world.shard.report(Default::default());
    let (lines, _) = report(&mut world);
    let text = lines.join(" ");
    let bytes = text
        .split("outboxes:")
        .nth(1)
        .and_then(|rest| rest.split([' ', '"']).next()?.parse::<u64>().ok());
    assert!(bytes.is_some_and(|bytes| bytes > 1500), "{lines:?}");
}
