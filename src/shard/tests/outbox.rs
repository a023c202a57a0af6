//! What a full outbox does with one frame that is larger than its bound.

use super::super::outbox::{Frame, Outbox, Pool, Pushed};
use crate::session::effects::Class;
use crate::wire::frame::Opcode;

fn frame(class: Class, payload: &[u8]) -> Frame<'_> {
    Frame {
        op: Opcode::Text,
        class,
        payload,
        mark: 0,
    }
}

const QUEUED: Pushed = Pushed::Queued {
    shed: [0; 3],
    marked: false,
};

#[test]
fn one_frame_larger_than_the_bound_goes_beside_it_and_a_second_does_not() {
    let (mut pool, mut outbox) = (Pool::default(), Outbox::new(300));
    let small = frame(Class::Control, &[1; 100]);
    for payload in [&[1; 100][..], &[2; 5000], &[3; 100]] {
        assert_eq!(
            outbox.push(frame(Class::Control, payload), &mut pool),
            QUEUED
        );
    }
    let second = frame(Class::Control, &[4; 5000]);
    assert_eq!(outbox.push(second, &mut pool), Pushed::Overflow([0; 3]));
    assert_eq!(outbox.push(small, &mut pool), Pushed::Overflow([0; 3]));
}

#[test]
fn a_large_picture_is_sent_and_a_newer_one_takes_its_place() {
    let (mut pool, mut outbox) = (Pool::default(), Outbox::new(300));
    let picture = frame(Class::Display, &[1; 5000]);
    assert_eq!(outbox.push(picture, &mut pool), QUEUED);
    assert!(matches!(
        outbox.push(picture, &mut pool),
        Pushed::Queued {
            shed: [0, 0, 1],
            ..
        }
    ));
}

#[test]
fn the_room_is_that_frames_alone() {
    let (mut pool, mut outbox) = (Pool::default(), Outbox::new(300));
    let _ = outbox.push(frame(Class::Control, &[1; 5000]), &mut pool);
    let pending = outbox.take().expect("it waits");
    pool.put(pending);
    assert_eq!(
        outbox.push(frame(Class::Control, &[2; 200]), &mut pool),
        QUEUED
    );
    assert_eq!(
        outbox.push(frame(Class::Control, &[2; 200]), &mut pool),
        Pushed::Overflow([0; 3])
    );
}
