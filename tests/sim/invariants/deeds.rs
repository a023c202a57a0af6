//! What one event did to a screen, where it did several things at once: they are followed in every order (invariant 35).

use super::arbiter::Arbiter;
use super::picture::{Scene, Shown};

/// Something that one event did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Deed {
    Time,
    Apps,
    Back,
    BackOnNew,
    /// On a socket that was the phone's before, and that shows this.
    BackOn(Shown),
    /// It may have been painted anew.
    MayBeBack,
    /// Of what waited for the user record, one message may have brought the glasses and a later one taken them.
    Glimpsed,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Gone {
    No,
    Yes,
    /// A start that may be a restart.
    Perhaps,
}

/// What became of an app.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Change {
    pub(super) package: String,
    pub(super) name: String,
    pub(super) gone: Gone,
    pub(super) starts: bool,
    /// It began to start and was stopped, or failed, within the event, as when another takes its place while a session begins.
    pub(super) passed: bool,
}

/// One thing that became of an app, in the order of an event that only apps matter for.
#[derive(Clone, Copy, Debug)]
struct Step<'a> {
    change: &'a Change,
    starts: bool,
    /// Or not even that.
    perhaps: bool,
}

/// What may have happened: every order of what one event did. Each of the `ways`: the scene that the event found, and the one that
/// it left.
pub(super) fn follow(
    before: &[Arbiter],
    deeds: &[Deed],
    changes: &[Change],
    earlier: &Scene,
    ways: &[(Scene, Scene)],
) -> Vec<Arbiter> {
    if deeds.is_empty() {
        return before.to_vec();
    }
    let mut after: Vec<Arbiter> = Vec::new();
    let orders = orders(deeds);
    let ways = ways
        .iter()
        .flat_map(|way| orders.iter().map(move |order| (way, order)));
    for ((first, last), order) in ways {
        let mut models = before.to_vec();
        let (mut seen, mut scene) = (earlier, first);
        for deed in order {
            match deed {
                Deed::Time => models.iter_mut().for_each(|m| m.time_passes(seen)),
                Deed::Back => models.iter_mut().for_each(|m| m.back(scene)),
                Deed::BackOnNew => models.iter_mut().for_each(|m| m.back_on_new(scene)),
                Deed::BackOn(showed) => {
                    models.iter_mut().for_each(|m| m.back_on(showed, scene));
                }
                Deed::MayBeBack => {
                    let mut back = models.clone();
                    back.iter_mut().for_each(|m| m.back(scene));
                    models.append(&mut back);
                }
                Deed::Glimpsed => {
                    let mut there = scene.clone();
                    there.reachable = true;
                    let mut back = models.clone();
                    back.iter_mut().for_each(|m| m.back(&there));
                    models.append(&mut back);
                }
                Deed::Apps => {
                    models = apps_change(&models, changes, first, last);
                    scene = last;
                }
            }
            seen = scene;
        }
        for model in models {
            if !after.contains(&model) {
                after.push(model);
            }
        }
    }
    after
}

fn orders(deeds: &[Deed]) -> Vec<Vec<Deed>> {
    if deeds.len() < 2 {
        return vec![deeds.to_vec()];
    }
    let mut all = Vec::new();
    for (at, first) in deeds.iter().enumerate() {
        let mut rest = deeds.to_vec();
        rest.remove(at);
        for mut tail in orders(&rest) {
            tail.insert(0, first.clone());
            all.push(tail);
        }
    }
    all
}

/// What became of the apps, while the glasses may have gone: in every division of it into what was before and what after that.
fn apps_change(
    models: &[Arbiter],
    changes: &[Change],
    first: &Scene,
    last: &Scene,
) -> Vec<Arbiter> {
    let steps = steps(changes);
    if first == last {
        return take(&steps, models.to_vec(), last);
    }
    let mut after: Vec<Arbiter> = Vec::new();
    for sooner in 0..1_u32 << steps.len() {
        let is_sooner = |at: usize| sooner >> at & 1 == 1;
        let (before, rest): (Vec<_>, Vec<_>) = (0..steps.len()).partition(|at| is_sooner(*at));
        // An app's own steps have their order.
        let is_torn = |at: &usize| {
            let own = |other: &usize| steps[*other].change == steps[*at].change && other < at;
            rest.iter().any(own)
        };
        if before.iter().any(is_torn) {
            continue;
        }
        let of = |places: &[usize]| places.iter().map(|at| steps[*at]).collect::<Vec<_>>();
        let models = take(&of(&before), models.to_vec(), first);
        for model in take(&of(&rest), models, last) {
            if !after.contains(&model) {
                after.push(model);
            }
        }
    }
    after
}

/// Who goes, goes first.
fn steps(changes: &[Change]) -> Vec<Step<'_>> {
    let step = |change, starts, perhaps| Step {
        change,
        starts,
        perhaps,
    };
    let mut steps = Vec::new();
    for change in changes.iter().filter(|change| change.gone != Gone::No) {
        if change.passed {
            steps.push(step(change, true, false));
        }
        steps.push(step(change, false, change.gone == Gone::Perhaps));
    }
    let starts = changes.iter().filter(|change| change.starts);
    steps.extend(starts.map(|change| step(change, true, false)));
    steps
}

fn take(steps: &[Step<'_>], mut models: Vec<Arbiter>, scene: &Scene) -> Vec<Arbiter> {
    for step in steps {
        let untouched = step.perhaps.then(|| models.clone());
        let Change { package, name, .. } = step.change;
        for model in &mut models {
            if step.starts {
                model.starts(package, name, scene);
            } else {
                model.gone(package, scene);
            }
        }
        models.extend(untouched.into_iter().flatten());
    }
    models
}
