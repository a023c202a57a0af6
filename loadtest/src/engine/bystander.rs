//! Sockets at `/app-ws` that never say who they are: what a connection weighs before it belongs to a session.

use super::Engine;
use super::conn::{Role, Stage};
use super::timers::Timer;
use crate::clock::SECOND;

impl Engine {
    /// Plans the sockets, the first at `start`.
    pub(super) fn plan_bystanders(&mut self, start: u64) {
        let gap = SECOND as f64 / self.scenario.ramp_users_per_s;
        for number in 0..self.scenario.bystanders {
            let due = start + (f64::from(number) * gap) as u64;
            self.timers.at(due, Timer::Bystander);
        }
    }

    /// Opens one more.
    pub(super) fn open_bystander(&mut self, due: u64) {
        let address = self.settings.address;
        self.open_socket(Role::Bystander, address, "/app-ws", due, None);
    }

    /// Those that are upgraded and were not ended.
    pub(super) fn bystanders_open(&self) -> usize {
        let waiting =
            |conn: &super::conn::Conn| conn.role == Role::Bystander && conn.stage == Stage::Open;
        self.conns.select(waiting).len()
    }
}
