use std::sync::Arc;
use std::time::{Duration, SystemTime};

use baseline::{DriftEvent, Mode};

use super::Judge;
use crate::alert::Sender;
use crate::alerting::Known;
use crate::snapshot::JudgedPass;

impl Judge {
    /// Alerts, of what is open by now.
    pub(super) fn alert(&mut self, pass: &JudgedPass, events: &[DriftEvent], now: SystemTime) {
        let enforced = pass.assessment.mode == Mode::Enforce;
        let known = Known { register: &pass.register, events, enforced };
        if self.is_alerted(pass, enforced) {
            return self.remind(&known, &pass.sender, now);
        }
        self.alerted = Some((pass.register.clone(), enforced));
        let turns = self.book.update(&known, &pass.sender, now);
        self.scribe.tell(self.book.clone(), &turns);
        self.remind(&known, &pass.sender, now);
    }

    /// What is open is as it was, and with it all that fires.
    fn is_alerted(&self, pass: &JudgedPass, enforced: bool) -> bool {
        let alerted = self.alerted.as_ref();
        alerted.is_some_and(|(register, by)| Arc::ptr_eq(register, &pass.register) && *by == enforced)
    }

    /// Alerts of what is open for too long.
    fn remind(&mut self, known: &Known<'_>, sender: &Sender, now: SystemTime) {
        let late = self.book.late(known, &sender.remedy, now);
        if late.is_empty() {
            return;
        }
        let turns = Arc::make_mut(&mut self.book).remind(&late, &sender.host, known.enforced, now);
        self.scribe.tell(self.book.clone(), &turns);
    }

    /// Nobody has heard of the sensor for so long.
    pub(super) fn note_silence(&mut self, lasted: Duration, now: SystemTime) {
        let since = now.checked_sub(lasted).unwrap_or(now);
        let host = self.rules.policy().host.name.escaped();
        let heard = self.sensor.last_frame.map_or(since, |heard| heard.min(now));
        let turn = Arc::make_mut(&mut self.book).sensor_is_silent(&host, heard, now);
        self.scribe.tell(self.book.clone(), turn.as_slice());
    }

    /// It is heard of.
    pub(super) fn note_word(&mut self, now: SystemTime) {
        if self.book.says_silent() {
            let turn = Arc::make_mut(&mut self.book).sensor_is_heard(now);
            self.scribe.tell(self.book.clone(), turn.as_slice());
        }
    }
}
