//! What a message costs that finds nothing of its user in a cache, without sockets: many users in turn, in an order that no
//! processor foresees. `cargo bench --bench cold` prints nanoseconds per message, clock reading included: with 2,000 users in turn,
//! and the same with other memory read between any two messages.
//!
//! `-- --trace CASE` prepares a few users, then handles one message of each between marks, for `scripts/cold`, which counts the
//! lines of memory that they touch.

#[path = "../tests/support/relay.rs"]
mod relay;

use prism::base::clock::Clock;
use prism::base::ids::ConnId;
use prism::session::event::PhoneFlags;
use prism::shard::Shard;
use prism::shard::trail::Trail;
use prism::wire::frame::Lent;
use relay::{Sockets, USER, World};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

const USERS: usize = 2000;
const TRACED_USERS: usize = 40;
/// Messages of every user before anything counts.
const WARM_UP: usize = 3;
const ROUNDS: usize = 9;
/// Memory read between two messages (bytes), each time another part of so many: as the kernel does, it leaves nothing in the first
/// cache of what all messages share, and nothing in the second of what one user's need.
const OTHER_BYTES: usize = 96 << 10;
const OTHERS_BYTES: usize = 24 << 20;
/// The same where a core sleeps in between and others use the caches: nothing of either is left.
const ASLEEP_BYTES: usize = 3 << 20;

/// Writing to one of these tells `scripts/cold` where it is: in what the last turn's trail fetches, in a message, in neither.
static MARKS: [Mark; 3] = [const { Mark(AtomicU64::new(0)) }; 3];

#[repr(align(64))]
struct Mark(AtomicU64);

fn mark(phase: usize) {
    MARKS[phase].0.store(1, Ordering::SeqCst);
}

#[derive(Clone, Copy)]
enum What {
    Audio,
    Event,
    Ping,
}

const CASES: &[(&str, usize, What)] = &[
    ("audio-100-f1", 1, What::Audio),
    ("audio-100-f3", 3, What::Audio),
    ("event-f1", 1, What::Event),
    ("event-f3", 3, What::Event),
    ("ping", 1, What::Ping),
];

/// Many users of one shard, each of whose phones says the same.
struct Crowd {
    world: World,
    phones: Vec<(ConnId, Trail)>,
    what: What,
    text: String,
    least: usize,
}

impl Crowd {
    fn new(users: usize, apps: usize, what: What) -> Self {
        let mut world = World::new(apps, PhoneFlags::default());
        let joined: Vec<Sockets> = (0..users)
            .map(|number| world.join(&format!("{number}.{USER}"), apps, PhoneFlags::default()))
            .collect();
        world.settle(&joined);
        let phones = joined.iter().map(|(phone, _)| (*phone, Trail::default()));
        let mut phones: Vec<_> = phones.collect();
        fastrand::Rng::with_seed(7).shuffle(&mut phones);
        let text = match what {
            What::Ping => r#"{"type":"ping"}"#.to_owned(),
            What::Audio | What::Event => {
                let head = r#"{"type":"button_press","buttonId":"main","pressType":"short","timestamp":1773480413589,"pad":""#;
                format!("{head}{}\"}}", "x".repeat(198 - head.len()))
            }
        };
        let least = match what {
            What::Audio => 100 * apps,
            What::Event => text.len() * apps,
            What::Ping => 1,
        };
        let mut crowd = Self {
            world,
            phones,
            what,
            text,
            least,
        };
        for _ in 0..WARM_UP {
            (0..users).for_each(|at| crowd.say(at));
        }
        crowd
    }

    fn say(&mut self, at: usize) {
        let Self {
            world, what, text, ..
        } = self;
        let (phone, trail) = &mut self.phones[at];
        let phone = *phone;
        *trail = world.trail_of(phone, |shard: &mut Shard| {
            let message = match what {
                What::Audio => Lent::Binary(&[1; 100]),
                What::Event | What::Ping => Lent::Text(text),
            };
            assert!(shard.lends(phone).is_some());
            shard.lent(phone, message);
        });
        let bytes = self.world.send_marked();
        assert!(bytes >= self.least, "every app gets it");
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match &arguments[1..] {
        [flag, name, ..] if flag == "--trace" => {
            let known = CASES.iter().find(|case| case.0 == name);
            let (_, apps, what) = known.expect("a known case");
            trace(*apps, *what);
        }
        [flag, ..] if flag == "--list" => CASES.iter().for_each(|case| println!("{}", case.0)),
        _ => measure(),
    }
}

fn trace(apps: usize, what: What) {
    for place in &MARKS {
        println!("{:x}", (&raw const place.0).addr());
    }
    let mut crowd = Crowd::new(TRACED_USERS, apps, what);
    mark(2);
    for at in 0..TRACED_USERS {
        let trail = crowd.phones[at].1;
        mark(0);
        for line in trail.lines() {
            let place: *const u8 = std::ptr::with_exposed_provenance(line);
            // SAFETY: nothing that the turn used has gone since.
            black_box(unsafe { place.read_volatile() });
        }
        mark(1);
        crowd.say(at);
        mark(2);
    }
}

fn measure() {
    println!(
        "{:<14} {:>9} {:>9} {:>14} {:>9} {:>9} {:>9}",
        "case", "in turn", "best", "beside others", "best", "asleep", "best"
    );
    let others = vec![1_u8; OTHERS_BYTES];
    let mut from = 0;
    let clock = Clock::start();
    for (name, apps, what) in CASES {
        let mut crowd = Crowd::new(USERS, *apps, *what);
        let mut round = |bytes: usize| {
            let mut took: Vec<u64> = (0..USERS)
                .map(|at| {
                    from = (from + bytes) % (OTHERS_BYTES - ASLEEP_BYTES);
                    let between = others[from..from + bytes].iter().step_by(64);
                    let sum = between.map(|byte| u64::from(*byte));
                    black_box(sum.sum::<u64>());
                    let begun = clock.mono_ns();
                    crowd.phones[at].1.fetch();
                    crowd.say(at);
                    clock.mono_ns() - begun
                })
                .collect();
            took.sort_unstable();
            took[USERS / 2]
        };
        let mut figures = Vec::new();
        for bytes in [0, OTHER_BYTES, ASLEEP_BYTES] {
            let mut medians: Vec<u64> = (0..ROUNDS).map(|_| round(bytes)).collect();
            medians.sort_unstable();
            figures.extend([medians[ROUNDS / 2], medians[0]]);
        }
        print!("{name:<14}");
        for (figure, width) in figures.iter().zip([9, 9, 14, 9, 9, 9]) {
            print!(" {figure:>width$}");
        }
        println!();
    }
}
