//! Scenario tests of the session as a whole: events in, effects out. One file per chapter of behaviour.md.

mod absence;
mod apps;
mod beside;
mod bounds;
mod defects;
mod foreground;
mod golden;
mod health;
mod hello;
mod late_record;
mod lines;
mod phone;
mod phone_frames;
mod random;
mod reconnect;
mod requests;
mod restart;
mod stop;
mod together;
