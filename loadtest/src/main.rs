//! Load tester for the real-time tier: simulated phones, app servers and a webhook receiver in one thread.
mod clock;
mod frame;
mod hist;
mod http;
mod procfs;
mod rng;
mod scenario;
mod schedule;
mod sys;
mod tag;
mod token;
mod track;
fn main() {}
