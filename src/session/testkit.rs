//! Layer 2, tests only: one session on a simulated clock, with its effects collected per socket.
