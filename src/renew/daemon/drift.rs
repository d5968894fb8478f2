//! Whether the wall clock was set, or the machine was suspended: the clock that counts does neither.

use std::time::Instant;

use crate::host::env::Env;

/// A clock that is this far from where it should be was set; in seconds.
const JUMP: u64 = 5;

/// Where both clocks were.
#[derive(Debug)]
pub(super) struct Drift {
    counted: Instant,
    wall: i64,
}

impl Drift {
    pub(super) fn new(env: &Env) -> Self {
        Drift { counted: Instant::now(), wall: env.now() }
    }

    /// How many seconds the wall clock jumped since the last call, if it did. A simulated clock never does.
    pub(super) fn jump(&mut self, env: &Env) -> Option<i64> {
        let counted = i64::try_from(self.counted.elapsed().as_secs()).unwrap_or(i64::MAX);
        let jump = env.now().saturating_sub(self.wall.saturating_add(counted));
        *self = Drift::new(env);
        (env.has_system_clock() && jump.unsigned_abs() >= JUMP).then_some(jump)
    }
}
