use std::time::{Duration, Instant, SystemTime};

use tracing::{error, info};

/// How long no frame may come: a sensor says every ten seconds that it lives.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Sees whether the sensor has fallen silent. It goes by when a frame was noticed, so no clock that is set misleads it.
pub(crate) struct Silence {
    last_frame: Option<SystemTime>,
    noticed: Instant,
    silent: bool,
}

/// What the log is told once.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    Silent(Duration),
    Speaks(Duration),
}

impl Silence {
    pub(crate) fn new(now: Instant) -> Self {
        Silence { last_frame: None, noticed: now, silent: false }
    }

    /// Takes when the last frame came, and logs where that means a turn. Returns for how long there was none where it has just
    /// fallen silent.
    pub(crate) fn watch(&mut self, last_frame: Option<SystemTime>, now: Instant) -> Option<Duration> {
        match self.turn(last_frame, now) {
            None => None,
            Some(Turn::Silent(since)) => {
                error!(
                    "the sensor has sent no frame for {} s: what opens now is not seen. Look for `portledger sensor` among the \
                     processes, run `portledger doctor` as root, then restart the service",
                    since.as_secs()
                );
                Some(since)
            }
            Some(Turn::Speaks(after)) => {
                info!("the sensor sends frames again, after {} s", after.as_secs());
                None
            }
        }
    }

    fn turn(&mut self, last_frame: Option<SystemTime>, now: Instant) -> Option<Turn> {
        let lasted = now.duration_since(self.noticed);
        if last_frame != self.last_frame {
            (self.last_frame, self.noticed) = (last_frame, now);
            return std::mem::take(&mut self.silent).then_some(Turn::Speaks(lasted));
        }
        let news = !self.silent && lasted > PATIENCE;
        self.silent |= news;
        news.then_some(Turn::Silent(lasted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    #[test]
    fn tells_each_turn_once() {
        let start = Instant::now();
        let frame = |second| Some(SystemTime::UNIX_EPOCH + seconds(second));
        let mut silence = Silence::new(start);
        let steps = [
            // None ever came.
            (30, None, None),
            (31, None, Some(Turn::Silent(seconds(31)))),
            (32, None, None),
            (40, frame(40), Some(Turn::Speaks(seconds(40)))),
            (50, frame(50), None),
            (80, frame(50), None),
            (81, frame(50), Some(Turn::Silent(seconds(31)))),
            (500, frame(50), None),
            // The clock was set back meanwhile.
            (501, frame(3), Some(Turn::Speaks(seconds(451)))),
            (531, frame(3), None),
        ];
        for (second, last_frame, expected) in steps {
            assert_eq!(silence.turn(last_frame, start + seconds(second)), expected, "second {second}");
        }
    }
}
