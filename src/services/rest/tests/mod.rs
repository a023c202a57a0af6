//! REST as phones and app servers see it (protocol.md §18), with a scripted session.

mod apps;
mod installs;
mod tokens;
mod users;

use super::testkit::{APP, KEY, Kit, USER};
use super::*;
use crate::base::ids::{Package, UserId};
use crate::services::store::DocKey;
use crate::session::rest::Call;
use crate::shard::mailbox::{AppLink, LinkChange};

fn ok() -> Option<RestAnswer> {
    Some(RestAnswer::json(200, "{}"))
}
