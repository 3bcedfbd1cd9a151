//! `spec.restartAt`: pods older than that are evicted, no more at a time than may be missing.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::super::super::kinds;
use super::super::fields;
use super::{Context, Flow, Stop};

impl Context<'_, '_> {
    /// Restarts what is due. Ends the round when a pod was evicted: the counts are not to be trusted after that.
    pub(super) fn restart_pods(&mut self) -> Flow {
        let Some(at) = self.spec.restart_at.as_ref().and_then(|r| r.parse::<Timestamp>().ok()) else { return Ok(()) };
        let now = self.desk.now();
        if now <= at {
            self.again_past(at);
            return Ok(());
        }
        if self.status.restarted_at == Some(fields::whole_second(at)) {
            return Ok(());
        }
        let mut order: Vec<usize> =
            self.stable.into_iter().chain(self.new.filter(|n| Some(*n) != self.stable)).collect();
        order.extend(self.others());
        let pods: Vec<Value> =
            order.iter().flat_map(|i| self.desk.owned(&kinds::POD, fields::uid(&self.sets[*i].raw))).collect();
        let total: i64 = self.sets.iter().map(super::Set::size).sum();
        let at_once = self.spec.bounds().1.max(1);
        let available = i64::try_from(pods.iter().filter(|p| super::super::pod::is_ready(p)).count()).unwrap_or(0);
        let mut allowed = available - (self.spec.size().max(total) - at_once);
        let mut old = 0;
        let mut evicted = 0;
        for pod in pods {
            if fields::created(&pod) >= at {
                continue;
            }
            old += 1;
            if allowed > 0 {
                allowed -= 1;
                evicted += 1;
                self.desk.delete(&kinds::POD, &pod);
            }
        }
        if old > evicted {
            self.again_after(SignedDuration::from_secs(30));
        } else {
            self.next.restarted_at = Some(fields::whole_second(at));
        }
        if evicted > 0 && self.spec.strategy.canary.is_some() {
            self.again_after(SignedDuration::from_millis(200));
            return Err(Stop::Again);
        }
        Ok(())
    }
}
