//! Sleeping until a moment of the wall clock: a suspended machine and a clock that is set end the sleep as they should,
//! which no timer of the runtime does (it counts the time that the machine was awake).

use std::io::ErrorKind;
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::net::unix::pipe::Receiver;
use tokio::time::sleep;

use crate::host::env::Env;

/// How long one sleep lasts at most where the kernel does not tell that its clock was set.
const BLIND: Duration = Duration::from_secs(60);

/// An alarm on the clock of an [`Env`].
#[derive(Debug)]
pub(crate) struct Alarm {
    env: Env,
    /// A timerfd, which is read like a pipe; `None` where the kernel has none.
    timer: Option<Receiver>,
}

impl Alarm {
    /// An alarm on this clock. Must be called inside a tokio runtime.
    pub(crate) fn new(env: &Env) -> Self {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Realtime, flags).ok();
        let timer = timer.and_then(|timer| Receiver::from_owned_fd_unchecked(timer).ok());
        Alarm { env: env.clone(), timer: timer.filter(|_| env.has_system_clock()) }
    }

    /// Sleeps until `moment` (seconds since 1970), or until the clock was set: the caller reads it again. A simulated
    /// clock is set to `moment` instead.
    pub(crate) async fn until(&self, moment: i64) {
        let now = self.env.now();
        if self.env.set_clock(moment.max(now)) {
            tokio::task::yield_now().await;
            return;
        }
        if moment <= now {
            return;
        }
        match &self.timer {
            Some(timer) if arm(timer, moment).is_ok() => {
                // Something to read comes at the moment, and an error (ECANCELED) when the clock was set.
                while timer.readable().await.is_ok() {
                    let read = timer.try_read(&mut [0; 8]);
                    if !matches!(read, Err(error) if error.kind() == ErrorKind::WouldBlock) {
                        break;
                    }
                }
            }
            _ => sleep(Duration::from_secs(moment.abs_diff(now)).min(BLIND)).await,
        }
    }
}

fn arm(timer: &Receiver, moment: i64) -> rustix::io::Result<()> {
    // Settling it again clears what an earlier sleep left.
    let none = Timespec { tv_sec: 0, tv_nsec: 0 };
    let at = Itimerspec { it_interval: none, it_value: Timespec { tv_sec: moment, tv_nsec: 0 } };
    let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
    timerfd_settime(timer, flags, &at).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_of_the_wall_clock_is_awaited() {
        let runtime = crate::host::runtime::build().unwrap();
        runtime.block_on(async {
            let env = Env::os();
            let alarm = Alarm::new(&env);
            for _ in 0..2 {
                let moment = env.now() + 1;
                alarm.until(moment).await;
                assert!((moment..=moment + 1).contains(&env.now()));
            }
            alarm.until(env.now() - 5).await;
            // Without a timer of the kernel's.
            let blind = Alarm { timer: None, ..alarm };
            let moment = env.now() + 1;
            blind.until(moment).await;
            assert!(env.now() >= moment);
        });
    }

    #[test]
    fn a_simulated_clock_moves_by_sleeping() {
        let runtime = crate::host::runtime::build().unwrap();
        runtime.block_on(async {
            let env = Env::fixed([], 1000);
            let alarm = Alarm::new(&env);
            alarm.until(90_000).await;
            assert_eq!(env.now(), 90_000);
            alarm.until(5).await;
            assert_eq!(env.now(), 90_000);
        });
    }
}
