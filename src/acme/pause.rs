//! Pauses between tries: doubled up to a limit, with jitter, so that many containers that start together do not ask
//! together.

use std::time::Duration;

/// The next pause, and what they grow to.
#[derive(Clone, Debug)]
pub(super) struct Pause {
    next: Duration,
    most: Duration,
}

impl Pause {
    pub(super) fn new(first: Duration, most: Duration) -> Self {
        Pause { next: first, most }
    }

    /// How long to wait now.
    pub(super) fn take(&mut self) -> Duration {
        let now = self.next;
        self.next = (now * 2).min(self.most);
        jittered(now)
    }
}

/// Between three quarters and all of `pause`.
fn jittered(pause: Duration) -> Duration {
    let mut byte = [0u8];
    // Without randomness the pause is simply whole.
    let filled = rustix::rand::getrandom(&mut byte, rustix::rand::GetRandomFlags::NONBLOCK) == Ok(1);
    let share = if filled { 0.75 + f64::from(byte[0]) / 1024.0 } else { 1.0 };
    pause.mul_f64(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_limit() {
        let mut pause = Pause::new(Duration::from_millis(100), Duration::from_millis(350));
        for wanted in [100, 200, 350, 350] {
            let taken = pause.take().as_millis();
            assert!((wanted * 3 / 4..=wanted).contains(&taken), "{wanted}: {taken}");
        }
    }
}
