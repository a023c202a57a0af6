//! Nothing: the relay is C++. Cargo wants a target to name a dependency.
