//! A run of one seed, and what is left of it when everything that does not matter for its failure is taken away.

use super::app::{KEY, Manners};
use super::invariants::Failure;
use super::script::{Step, draw, draw_fight, manners};
use super::world::{Act, World};
use prism::base::settings::Settings;
use prism::session::event::Sdk;
use prism::session::rest::Call;
use prism::shard::mailbox::ToShard;
use prism::shard::report::NetGauges;
use prism::wire::auth::sha256_hex;
use prism::wire::records::{AppRecord, AppType, HardwareRequirement, PermissionEntry, Registry};
use serde_json::{Value, json};

/// The users of a run; hyphens are there on purpose. All of them live on the first of two shards.
const USERS: [&str; 3] = ["naomi@lumen.io", "jean-luc@north-star.co", "ops@lumen.io"];

/// The apps of every run: package, type, permissions, what they subscribe to first.
pub(crate) const APPS: [(&str, AppType, &[&str], &[&str]); 4] = [
    (
        "com.acme.scribe",
        AppType::Background,
        &["ALL"],
        &["audio_chunk", "transcription:en-US", "button_press"],
    ),
    (
        "com.acme.maps",
        AppType::Standard,
        &["LOCATION", "CAMERA"],
        &["location_update", "button_press"],
    ),
    (
        "com.acme.chess-club",
        AppType::Standard,
        &[],
        &["*", "audio_chunk"],
    ),
    (
        "com.acme.notes",
        AppType::Background,
        &["MICROPHONE", "CALENDAR"],
        &["transcription:en-US"],
    ),
];

/// Records for [`APPS`].
pub(crate) fn registry() -> Registry {
    let records = APPS
        .iter()
        .map(|(package, app_type, permissions, _)| AppRecord {
            package_name: (*package).to_owned(),
            app_type: *app_type,
            public_url: format!("http://{package}"),
            key_sha256: sha256_hex(KEY),
            permissions: permissions
                .iter()
                .map(|kind| PermissionEntry {
                    kind: (*kind).to_owned(),
                    description: None,
                })
                .collect(),
            hardware_requirements: needs(package),
            settings: declared(package),
            ..AppRecord::default()
        });
    Registry::new(records, 1)
}

/// One app is of no use without a display.
fn needs(package: &str) -> Vec<HardwareRequirement> {
    let display = || HardwareRequirement {
        kind: "DISPLAY".to_owned(),
        level: "REQUIRED".to_owned(),
        description: None,
    };
    Vec::from_iter((package == "com.acme.chess-club").then(display))
}

/// One app has settings.
fn declared(package: &str) -> Vec<Value> {
    let schema = json!([
        {"type": "group", "title": "Look"},
        {"type": "select", "key": "lang", "defaultValue": "en", "options": ["en", "pt"]},
        {"type": "toggle", "key": "loud", "defaultValue": false},
    ]);
    let schema = schema.as_array().filter(|_| package == "com.acme.scribe");
    schema.cloned().unwrap_or_default()
}

/// A world with these servers, nobody connected.
pub(crate) fn world(seed: u64, generations: [Sdk; 4]) -> World {
    world_with(seed, generations, Settings::default())
}

/// The same with these settings.
pub(crate) fn world_with(seed: u64, generations: [Sdk; 4], cfg: Settings) -> World {
    world_of(seed, generations, cfg, registry())
}

/// The same, where the server knows these apps.
pub(crate) fn world_of(
    seed: u64,
    generations: [Sdk; 4],
    mut cfg: Settings,
    apps: Registry,
) -> World {
    cfg.udp.udp_host = "udp.example.net".to_owned();
    super::video::settings(&mut cfg);
    let mut world = World::new(seed, cfg, apps);
    for ((package, _, _, wants), sdk) in APPS.iter().zip(generations) {
        world.add_server(package, sdk, wants);
    }
    world
}

/// App servers that end, with or without a crash, and come back; and recoveries of what nobody may want any more. Drawn apart,
/// so that the other steps of a seed stay what they were.
fn comebacks(
    seed: u64,
    users: &[(String, u64, usize, Vec<String>)],
    length_ms: u64,
) -> Vec<(u64, String, Step)> {
    let mut rng = fastrand::Rng::with_seed(seed ^ 0xbac4);
    let mut steps = Vec::new();
    for _ in 0..rng.usize(0..8) {
        let (at_ms, app) = (rng.u64(0..length_ms), rng.usize(0..APPS.len()));
        let (user, first_ms, ..) = &users[rng.usize(0..users.len())];
        let mut add = |at_ms, step| steps.push((at_ms, user.clone(), step));
        // Long enough for some to have lost their apps' grace, or their phone.
        let back_ms = at_ms + rng.u64(0..9000);
        match rng.u32(0..12) {
            // Before the user record is there.
            0 => add(first_ms + rng.u64(0..40), Step::Recover(app)),
            1 => add(at_ms, Step::Recover(app)),
            2 => {
                add(at_ms, Step::PhoneAway(20_000));
                add(at_ms + 500, Step::Crash(app));
                add(at_ms + 500, Step::Manners(app, Manners::Down));
                add(back_ms + 6000, Step::Manners(app, Manners::Good));
                add(back_ms + 6000, Step::Recover(app));
            }
            kind => {
                if kind > 5 {
                    add(at_ms, Step::Crash(app));
                }
                if kind % 3 == 0 {
                    add(at_ms, Step::Manners(app, manners(&mut rng)));
                }
                for _ in 0..rng.u64(1..3) {
                    add(back_ms, Step::ServerBack(app));
                }
            }
        }
    }
    steps
}

/// What a seed stands for.
#[derive(Clone)]
pub(crate) struct Plan {
    seed: u64,
    generations: [Sdk; 4],
    /// User, when its phone first connects, how many phones, what is on its stored running list.
    users: Vec<(String, u64, usize, Vec<String>)>,
    steps: Vec<(u64, String, Step)>,
    length_ms: u64,
    drains: bool,
    /// How long mail between shards takes at most.
    mail_ms: u64,
    /// Little may wait for a user record.
    cramped: bool,
    /// Recognisers run here.
    speech: bool,
    /// Limits that apps reach.
    limits: Option<u64>,
}

impl Plan {
    /// Draws everything from the seed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let generations = std::array::from_fn(|_| if rng.bool() { Sdk::V2 } else { Sdk::V3 });
        let count = rng.usize(1..=USERS.len());
        let fights = rng.u32(0..3) == 0;
        let users: Vec<_> = USERS[..count]
            .iter()
            .map(|user| {
                let phones = 1 + usize::from(rng.u32(0..5) == 0);
                let running = APPS
                    .iter()
                    .filter(|_| rng.u32(0..4) < if fights { 3 } else { 1 })
                    .map(|row| row.0.to_owned())
                    .collect();
                ((*user).to_owned(), rng.u64(0..3000), phones, running)
            })
            .collect();
        let length_ms = rng.u64(15_000..90_000);
        let mut steps: Vec<_> = (0..rng.usize(10..70))
            .map(|_| {
                let user = users[rng.usize(0..count)].0.clone();
                (rng.u64(0..length_ms), user, draw(&mut rng, APPS.len()))
            })
            .collect();
        for _ in 0..if fights { rng.usize(10..40) * count } else { 0 } {
            let user = users[rng.usize(0..count)].0.clone();
            let step = draw_fight(&mut rng, APPS.len());
            steps.push((rng.u64(0..length_ms), user, step));
        }
        steps.extend(comebacks(seed, &users, length_ms));
        steps.extend(super::errands::errands(seed, &users, length_ms));
        steps.extend(super::records::revisions(seed, &users[0].0, length_ms));
        let (limits, storms) = super::storms::storms(seed, &users, length_ms);
        steps.extend(storms);
        steps.sort_by_key(|step| step.0);
        Self {
            seed,
            generations,
            users,
            steps,
            length_ms,
            drains: rng.u32(0..4) == 0,
            mail_ms: if rng.u32(0..4) == 0 { 40 } else { 0 },
            cramped: seed.is_multiple_of(5),
            speech: rng.u32(0..3) > 0,
            limits,
        }
    }

    /// Runs it; the world is handed back as it ended.
    pub(crate) fn run(&self, traced: bool) -> World {
        let mut cfg = Settings::default();
        if self.speech {
            cfg.speech.soniox_api_key = "key".to_owned();
            cfg.speech.vad_close_linger_ms = self.seed % 2 * 500;
        }
        if let Some(bits) = self.limits {
            super::storms::limits(&mut cfg, bits);
            cfg.audio.audio_play_map_ttl_ms = 30_000;
        }
        if self.cramped {
            cfg.connections.pending_frames_max = 4;
        }
        let mut world = world_with(self.seed, self.generations, cfg);
        world.trace.on = traced;
        world.mail.lag_ms = self.mail_ms;
        for (user, delay_ms, phones, running) in &self.users {
            world.store.record(user).running_apps.clone_from(running);
            for phone in 0..*phones as u64 {
                let ix = world.add_phone(user, delay_ms + phone * 1700);
                world.may_use_udp(ix, &USERS);
            }
        }
        for (at_ms, user, step) in &self.steps {
            world.after(*at_ms, Act::Step(user.clone(), step.clone()));
        }
        world.run(self.length_ms);
        if self.drains {
            self.drain(&mut world);
        } else {
            self.dispose(&mut world);
        }
        world
    }

    /// The end by shutdown: every socket is told 1001, and nothing remains.
    fn drain(&self, world: &mut World) {
        for phone in &mut world.phones {
            phone.on = false;
        }
        world.call(super::invariants::Cause::Drain, |shard, _| {
            shard.receive(ToShard::Drain);
        });
        world.run(5000);
        if world.failure().is_none() {
            let drained = world.shard.is_drained();
            world.watch.invariant_47_shutdown_is_complete(drained);
        }
    }

    /// The end by hand: every session is disposed, and nothing remains.
    fn dispose(&self, world: &mut World) {
        for phone in &mut world.phones {
            phone.on = false;
        }
        world.run(6000);
        for (user, ..) in &self.users {
            if world.failure().is_none() {
                world.rest(user, Call::Dispose);
                world.rest(user, Call::Dispose);
            }
        }
        world.run(35_000);
        // Only sockets that are silent for two minutes are left now.
        world.turn_ms = 1000;
        world.run(115_000);
        if world.failure().is_none() {
            world.shard.report(NetGauges::default());
            world.call(super::invariants::Cause::Turn, |_, _| {});
            world.watch.invariant_48_nothing_is_left();
        }
    }

    /// A smaller plan that breaks the same invariant.
    fn shrink(&self, number: u8) -> Self {
        let breaks = |plan: &Self| {
            plan.run(false)
                .failure()
                .is_some_and(|f| f.number == number)
        };
        let mut best = self.clone();
        for user in USERS {
            let mut plan = best.clone();
            plan.users.retain(|row| row.0 != user);
            plan.steps.retain(|step| step.1 != user);
            if !plan.users.is_empty() && breaks(&plan) {
                best = plan;
            }
        }
        let mut chunk = best.steps.len().div_ceil(2);
        while chunk > 0 {
            let mut from = 0;
            while from < best.steps.len() {
                let mut plan = best.clone();
                plan.steps.drain(from..(from + chunk).min(plan.steps.len()));
                if breaks(&plan) {
                    best = plan;
                } else {
                    from += chunk;
                }
            }
            chunk /= 2;
        }
        best
    }

    /// Everything a developer needs to see of a failed seed.
    pub(crate) fn explain(&self, failure: &Failure) -> String {
        let small = self.shrink(failure.number);
        let world = small.run(true);
        let shown = world.failure().unwrap_or(failure);
        let steps: Vec<String> = small
            .steps
            .iter()
            .map(|(at, user, step)| format!("  {at:>7} {user:<16} {step:?}"))
            .collect();
        format!(
            "seed {}: invariant {} ({}) is broken for {:?} after {} ms\n  {}\nsmallest script ({} users, {:?}):\n{}\nlast events:\n{}\n",
            self.seed,
            shown.number,
            shown.name,
            shown.user,
            world.t(),
            shown.text,
            small.users.len(),
            small.generations,
            steps.join("\n"),
            world.trace.tail(&shown.user, 60),
        )
    }
}

/// Runs seeds `first..first + count` on all cores; the explanation of the lowest that fails, and how many fail.
pub(crate) fn run_seeds(first: u64, count: u64) -> Result<u64, String> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let rows: Vec<(u64, Vec<(u64, Failure)>)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn(move || {
                    let (mut events, mut failed) = (0, Vec::new());
                    for seed in (first + thread..first + count).step_by(threads as usize) {
                        let world = Plan::new(seed).run(false);
                        events += world.events;
                        if let Some(failure) = world.failure() {
                            failed.push((seed, failure.clone()));
                        }
                    }
                    (events, failed)
                })
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().expect("a run panicked"))
            .collect()
    });
    let events = rows.iter().map(|row| row.0).sum();
    let mut failed: Vec<_> = rows.into_iter().flat_map(|row| row.1).collect();
    failed.sort_by_key(|row| row.0);
    let Some((seed, failure)) = failed.first() else {
        return Ok(events);
    };
    let list: Vec<String> = failed
        .iter()
        .take(20)
        .map(|(seed, failure)| format!("  {seed}: {} {}", failure.number, failure.text))
        .collect();
    Err(format!(
        "{} of {count} seeds fail:\n{}\n{}",
        failed.len(),
        list.join("\n"),
        Plan::new(*seed).explain(failure)
    ))
}
