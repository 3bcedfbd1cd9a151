//! What the pods of the new revision say: faults for which no statistics are needed, and health as a gate of its own for
//! workers that serve no requests.

use std::time::Duration;

use super::Settings;
use crate::core::text::Text;
use crate::text;

/// States that do not mend by waiting.
const STUCK: [&str; 3] = ["CrashLoopBackOff", "ImagePullBackOff", "OOMKilled"];

/// One pod of the new revision.
#[derive(Clone, PartialEq, Debug)]
pub struct PodFact {
    /// Its name.
    pub name: Text,
    /// As kubectl shows it (`Running`, `Init:CrashLoopBackOff`).
    pub status: Text,
    /// True when a container of it was killed for want of memory, now or before its last restart.
    pub oom_killed: bool,
    /// Restarts of its containers.
    pub restarts: u32,
    /// How long it has not been ready, from its creation on; none while it is ready.
    pub unready_for: Option<Duration>,
    /// True when it runs the image that the train recorded.
    pub image_is_recorded: bool,
}

/// What is wrong with the pods for good; none when nothing is.
pub fn broken(pods: &[PodFact], settings: &Settings) -> Option<Text> {
    pods.iter().find_map(|pod| {
        let status = pod.status.trim_start_matches("Init:");
        if let Some(stuck) = STUCK.iter().find(|s| **s == status) {
            return Some(text!("pod {}: {stuck}", pod.name));
        }
        if pod.oom_killed {
            return Some(text!("pod {}: OOMKilled", pod.name));
        }
        if pod.restarts >= settings.restarts {
            return Some(text!("pod {}: {} restarts (limit {})", pod.name, pod.restarts, settings.restarts));
        }
        let unready = pod.unready_for.filter(|t| *t >= settings.ready)?;
        Some(text!("pod {}: not ready for {} s (limit {} s)", pod.name, unready.as_secs(), settings.ready.as_secs()))
    })
}

/// How a worker without request metrics stands.
#[derive(Clone, PartialEq, Debug)]
pub enum Health {
    /// All is as it should be since then.
    Good,
    /// Not yet, or not any more; says why.
    Not(Text),
    /// It cannot be told.
    NoData(Text),
}

/// Judges a worker by its pods and its lag. Every replica runs the recorded image and is ready without a restart.
pub fn health(pods: &[PodFact], lag: Option<f64>, max_lag: Option<f64>) -> Health {
    if pods.is_empty() {
        return Health::NoData(Text::scrub("no pod of the new revision was seen"));
    }
    for pod in pods {
        if !pod.image_is_recorded {
            return Health::Not(text!("pod {} runs another image than the train recorded", pod.name));
        }
        if let Some(unready) = pod.unready_for {
            return Health::Not(text!("pod {}: not ready for {} s", pod.name, unready.as_secs()));
        }
        if pod.restarts > 0 {
            return Health::Not(text!("pod {} restarted", pod.name));
        }
    }
    match (max_lag, lag) {
        (None, _) => Health::Good,
        (Some(limit), Some(lag)) if lag.is_finite() && lag >= 0.0 => {
            if lag <= limit {
                Health::Good
            } else {
                Health::Not(text!("lag {lag} (limit {limit})"))
            }
        }
        (Some(_), Some(lag)) => Health::NoData(text!("the lag is {lag}")),
        (Some(_), None) => Health::NoData(Text::scrub("the lag was not measured")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> PodFact {
        PodFact {
            name: "billing-api-7c9-x".into(),
            status: "Running".into(),
            oom_killed: false,
            restarts: 0,
            unready_for: None,
            image_is_recorded: true,
        }
    }

    #[test]
    fn what_does_not_mend_is_broken() {
        let says = |pod: PodFact| broken(&[self::pod(), pod], &Settings::default()).map(|t| t.to_string());
        assert_eq!(says(pod()), None);
        for (status, wrong) in [
            ("CrashLoopBackOff", true),
            ("Init:CrashLoopBackOff", true),
            ("ImagePullBackOff", true),
            ("OOMKilled", true),
            ("ErrImagePull", false),
            ("ContainerCreating", false),
        ] {
            assert_eq!(says(PodFact { status: status.into(), ..pod() }).is_some(), wrong, "{status}");
        }
        assert_eq!(says(PodFact { restarts: 1, ..pod() }), None);
        assert_eq!(says(PodFact { restarts: 2, ..pod() }).unwrap(), "pod billing-api-7c9-x: 2 restarts (limit 2)");
        let unready = |s| says(PodFact { unready_for: Some(Duration::from_secs(s)), ..pod() });
        assert_eq!(unready(59), None);
        assert_eq!(unready(60).unwrap(), "pod billing-api-7c9-x: not ready for 60 s (limit 60 s)");
        assert!(says(PodFact { oom_killed: true, restarts: 1, ..pod() }).is_some());
    }

    #[test]
    fn health_wants_the_recorded_image_and_a_lag_below_its_limit() {
        let of = |pod: PodFact, lag, max| health(&[pod], lag, max);
        assert_eq!(of(pod(), None, None), Health::Good);
        assert_eq!(of(pod(), Some(99.0), Some(100.0)), Health::Good);
        assert_eq!(of(pod(), Some(101.0), Some(100.0)), Health::Not("lag 101 (limit 100)".into()));
        assert!(matches!(of(PodFact { image_is_recorded: false, ..pod() }, None, None), Health::Not(_)));
        assert!(matches!(of(PodFact { restarts: 1, ..pod() }, None, None), Health::Not(_)));
        assert!(matches!(of(PodFact { unready_for: Some(Duration::ZERO), ..pod() }, None, None), Health::Not(_)));
        for lag in [None, Some(f64::NAN), Some(f64::INFINITY), Some(-1.0)] {
            assert!(matches!(of(pod(), lag, Some(100.0)), Health::NoData(_)), "{lag:?}");
        }
        assert!(matches!(health(&[], Some(1.0), Some(2.0)), Health::NoData(_)));
    }
}
