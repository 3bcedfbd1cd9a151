//! The value without which nothing moves forward: a check that passed, with its evidence, or a recorded waiver. It has no
//! other constructors, so that what was never verified cannot be promoted by mistake. Measuring and checking live elsewhere.

use jiff::Timestamp;

use super::confirm::{Order, Refusal};
use super::text::Text;

/// Why something may move forward.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ground {
    /// A check was made and passed.
    Passed {
        /// Which policy or gate (`contracts.ok`, `gate error-rate`).
        policy: Text,
        /// What was seen, in a line a person can check.
        evidence: Text,
        /// When.
        at: Timestamp,
    },
    /// Somebody let it pass unchecked.
    Waived {
        /// Which policy.
        policy: Text,
        /// Who waives it.
        by: Text,
        /// Why; empty when they gave none.
        reason: Text,
        /// Until when the waiver holds; none for one act.
        until: Option<Timestamp>,
    },
    /// A gate could not decide, and a person did.
    Overruled {
        /// Which gate.
        policy: Text,
        /// What it said.
        said: Text,
        /// Who decided.
        by: Text,
        /// Why.
        reason: Text,
        /// When.
        at: Timestamp,
    },
}

/// Proof that something may move forward.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verified(Ground);

impl Verified {
    /// A check that passed. A check without evidence proves nothing and is refused. Only the core makes one: a judge from its
    /// pass (`judge::verdict`), a checklist from its checks.
    pub(in crate::core) fn passed(policy: Text, evidence: Text, at: Timestamp) -> Result<Self, Refusal> {
        if evidence.trim().is_empty() {
            return Err(Refusal {
                why: crate::text!("{policy} has no evidence"),
                hint: Text::scrub("run the check, or record a waiver in footplate.yaml"),
                already: false,
            });
        }
        Ok(Self(Ground::Passed { policy, evidence, at }))
    }

    /// A waiver from footplate.yaml. Refused when it has run out or names nobody or no reason.
    pub fn waived(policy: Text, by: Text, reason: Text, until: Timestamp, now: Timestamp) -> Result<Self, Refusal> {
        let refuse = |why: Text| {
            let hint = Text::scrub("renew the waiver in footplate.yaml (by, reason, until), or make the check pass");
            Err(Refusal { why, hint, already: false })
        };
        if by.trim().is_empty() || reason.trim().is_empty() {
            return refuse(crate::text!("the waiver of {policy} says not who waives it and why"));
        }
        if until <= now {
            return refuse(crate::text!("the waiver of {policy} by {by} ended {until}"));
        }
        Ok(Self(Ground::Waived { policy, by, reason, until: Some(until) }))
    }

    /// A person's word over a gate that could not decide. Refused when nobody is named or no reason is given. Only a judge
    /// makes one (`judge::verdict`), which knows whether its gate may be overruled.
    pub(in crate::core) fn overruled(policy: Text, said: Text, order: &Order) -> Result<Self, Refusal> {
        if order.who.trim().is_empty() || order.why.trim().is_empty() {
            return Err(Refusal {
                why: crate::text!("{policy} says {said}; approving it needs a name and a reason"),
                hint: Text::scrub("give --reason"),
                already: false,
            });
        }
        let (by, reason, at) = (order.who.clone(), order.why.clone(), order.when);
        Ok(Self(Ground::Overruled { policy, said, by, reason, at }))
    }

    /// A person's own word for one act on one workload: shown as UNVERIFIED (`train.md` §2, *By hand*). An order that names
    /// nobody is refused.
    pub fn by_hand(order: &Order) -> Result<Self, Refusal> {
        if order.who.trim().is_empty() {
            return Err(Refusal {
                why: Text::scrub("nobody is named who orders this"),
                hint: Text::scrub("set a user in the kube context, or USER in the environment"),
                already: false,
            });
        }
        let (by, reason) = (order.who.clone(), order.why.clone());
        Ok(Self(Ground::Waived { policy: Text::scrub("by hand"), by, reason, until: None }))
    }

    /// What it rests on.
    pub fn ground(&self) -> &Ground {
        &self.0
    }

    /// True when no check stands behind it; the screen then says UNVERIFIED.
    pub fn unverified(&self) -> bool {
        matches!(&self.0, Ground::Waived { until: None, .. })
    }

    /// One line for screen and journal.
    pub fn says(&self) -> Text {
        match &self.0 {
            Ground::Passed { policy, evidence, .. } => crate::text!("{policy}: {evidence}"),
            Ground::Overruled { policy, said, by, reason, .. } => {
                crate::text!("override of {policy} ({said}), {by}: {reason}")
            }
            Ground::Waived { policy, by, reason, until } => {
                let mark = if until.is_none() { "UNVERIFIED, " } else { "waived: " };
                let reason = if reason.is_empty() { "no reason given" } else { reason.as_str() };
                crate::text!("{mark}{policy}, {by}: {reason}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_waiver_must_name_who_and_why_and_must_not_be_over() {
        let now = at("2025-10-01T12:00:00Z");
        let waive = |by: &str, reason: &str, until: &str| {
            Verified::waived("contracts.ok".into(), by.into(), reason.into(), at(until), now)
        };
        assert!(waive("ana", "no broker in dev", "2025-11-01T00:00:00Z").is_ok_and(|v| !v.unverified()));
        assert!(waive("ana", "no broker in dev", "2025-10-01T12:00:00Z").is_err());
        assert!(waive(" ", "no broker in dev", "2025-11-01T00:00:00Z").is_err());
        assert!(waive("ana", "", "2025-11-01T00:00:00Z").is_err());
    }

    #[test]
    fn by_hand_says_so() {
        let order = Order { who: "ana".into(), when: at("2025-10-01T12:00:00Z"), why: Text::default() };
        let v = Verified::by_hand(&order).unwrap();
        assert!(v.unverified());
        assert_eq!(v.says(), "UNVERIFIED, by hand, ana: no reason given");
        assert!(Verified::by_hand(&Order { who: " ".into(), ..order }).is_err());
        assert!(Verified::passed("perf.baseline_ok".into(), " ".into(), at("2025-10-01T12:00:00Z")).is_err());
    }
}
