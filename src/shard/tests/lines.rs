//! What the store's failure brings to all users at once is told once in a while.

use super::*;
use crate::base::log_capture::lines_of;

#[test]
fn an_outage_of_the_store_is_not_told_once_a_user() {
    let mut world = World::new();
    let lines = lines_of(|| {
        for n in 0..100 {
            let user = UserId::new(&format!("u{n}@x.io"));
            world.phone(&user);
            let epoch = world.shard.session(&user).expect("a session").epoch;
            let event = Event::UserLoaded { record: None };
            world.shard.receive(ToShard::Result { user, epoch, event });
        }
    });
    let told = lines.iter().filter(|line| line.contains("not readable"));
    assert_eq!(told.count(), 1, "{lines:?}");
    let metrics = &world.shard.workspace.metrics;
    assert_eq!(metrics.get(Counter::SessionsWithoutRecord), 100);
}
