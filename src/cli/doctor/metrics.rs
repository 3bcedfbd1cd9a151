//! What the doctor asks the metric store: whether it answers, whether the queries of footplate.yaml find data for each
//! service, and how often it scrapes, from which follows how soon a bad release can be seen (`train.md` §3).

use std::time::Duration;

use futures::StreamExt;
use serde_json::json;

use super::Until;
use super::report::Check;
use crate::cli::Wiring;
use crate::cli::failure::FailureKind;
use crate::core::gate::freshness::{Freshness, scrape_interval};
use crate::core::manifest::GateBy;
use crate::core::repository::Repository;
use crate::core::text::Text;
use crate::engine::scope::Scope;
use crate::ports::{Fault, Metrics};
use crate::text;

/// Above this a detection within 60 s cannot be held (`train.md` §3).
const SCRAPE_MAX: Duration = Duration::from_secs(15);
/// Services whose queries are asked; more would only say the same more often.
const SERVICES_MAX: usize = 20;
/// Queries that are under way at once.
const AT_ONCE: usize = 8;

/// All of them.
pub async fn checks(
    address: Option<Text>,
    repository: Option<&Repository>,
    scope: &Scope,
    wiring: &Wiring,
    until: Until,
) -> Vec<Check> {
    let (id, what) = ("metrics.reach", "Prometheus");
    let skip =
        |why: &str| ["metrics.queries", "metrics.scrape"].map(|id| Check::unknown(id, what_of(id), why)).to_vec();
    let Some(address) = address else {
        let why = "none is known for this place";
        let next =
            "name it: prometheus on the environment in footplate.yaml, or --prometheus; gates are measured there";
        return [vec![Check::warn(id, what, why, next)], skip(why)].concat();
    };
    let failed =
        |fault: Fault| Check::fail(id, what, FailureKind::Outside, text!("{}: {}", fault.what, fault.why), fault.hint);
    let metrics = match (wiring.metrics)(&address) {
        Ok(metrics) => metrics,
        Err(fault) => return [vec![failed(fault)], skip("its address cannot be used")].concat(),
    };
    let (answer, took) = until.wait(metrics.query("vector(1)")).await;
    let reach = match answer {
        Some(Ok(_)) => Check::pass(id, what, text!("{} answers", shown(&address))),
        Some(Err(fault)) => return [vec![failed(fault).in_time(took)], skip("it was not reached")].concat(),
        None => {
            let why = text!("{}: {}", shown(&address), until.late());
            let next = "check network and proxy; does the address work from this machine, or only inside the cluster?";
            let check = Check::fail(id, what, FailureKind::Outside, why, next).in_time(took);
            return [vec![check], skip("it was not reached")].concat();
        }
    };
    let reach = reach.in_time(took);
    let Some(repository) = repository else {
        let why = "no release here: no service to ask about";
        return [vec![reach], skip(why)].concat();
    };
    [vec![reach], queries(&*metrics, repository, scope, until).await].concat()
}

fn what_of(id: &str) -> &'static str {
    if id == "metrics.scrape" { "scrape interval" } else { "gate queries" }
}

/// An address without what may be a password in it.
fn shown(address: &str) -> Text {
    match address.rsplit_once('@') {
        Some((before, host)) => text!("{}://{host}", before.split("://").next().unwrap_or("http")),
        None => text!("{address}"),
    }
}

/// A query of footplate.yaml about all revisions of a service.
fn filled(template: &str, service: &str) -> String {
    let values = [("service", service), ("revision", ".*"), ("window", "1m"), ("quantile", "0.95")];
    values.iter().fold(template.to_owned(), |query, (name, value)| query.replace(&format!("{{{{{name}}}}}"), value))
}

/// What one service's queries found.
struct Found {
    service: Text,
    /// Queries without data, by name.
    empty: Vec<&'static str>,
    fault: Option<Fault>,
    scrape: Option<Duration>,
}

async fn queries(metrics: &dyn Metrics, repository: &Repository, scope: &Scope, until: Until) -> Vec<Check> {
    let measured: Vec<Text> = scope
        .release
        .iter()
        .flat_map(|release| &release.services)
        .filter(|stop| repository.services.iter().any(|s| s.name == stop.name && s.gate == GateBy::Metrics))
        .map(|stop| stop.name.clone())
        .collect();
    let templates = &repository.footplate.metrics;
    let asking = measured.iter().take(SERVICES_MAX).map(|service| async move {
        let mut found = Found { service: service.clone(), empty: Vec::new(), fault: None, scrape: None };
        let all = [("requests", &templates.requests), ("errors", &templates.errors), ("latency", &templates.latency)];
        for (name, template) in all {
            match metrics.query(&filled(template, service)).await {
                Ok(sample) if sample.values.iter().any(|v| v.is_finite()) => {}
                Ok(_) => found.empty.push(name),
                Err(fault) => found.fault = Some(fault),
            }
        }
        if let Some(freshness) = Freshness::of(&filled(&templates.requests, service)) {
            found.scrape = interval(metrics, &freshness.scrapes).await;
        }
        found
    });
    let answers = futures::stream::iter(asking).buffered(AT_ONCE).collect::<Vec<Found>>();
    let (answer, took) = until.wait(answers).await;
    let Some(found) = answer else {
        return ["metrics.queries", "metrics.scrape"]
            .map(|id| Check::unknown(id, what_of(id), until.late()).in_time(took))
            .to_vec();
    };
    vec![answered(&found, measured.len()).in_time(took), scraped(&found)]
}

/// The scrape interval, counted over five minutes and over one: a series younger than the span looks slower than it is, so
/// the shorter answer is the right one.
async fn interval(metrics: &dyn Metrics, scrapes: &str) -> Option<Duration> {
    let long = metrics.query(scrapes).await.ok()?.values.first().copied().and_then(scrape_interval)?;
    let minute = metrics.query(&scrapes.replace("[300s]", "[60s]")).await.ok();
    let count = minute.and_then(|sample| sample.values.first().copied()).filter(|n| *n >= 1.0);
    let short = count.and_then(|n| Duration::try_from_secs_f64(60.0 / n).ok());
    Some(short.map_or(long, |short| short.min(long)))
}

fn answered(found: &[Found], measured: usize) -> Check {
    let (id, what) = ("metrics.queries", what_of("metrics.queries"));
    let data = json!({
        "services": found.iter().map(|f| json!({"name": f.service, "without_data": f.empty})).collect::<Vec<_>>(),
    });
    if let Some((service, fault)) = found.iter().find_map(|f| Some((&f.service, f.fault.as_ref()?))) {
        let why = text!("{service}: {}: {}", fault.what, fault.why);
        let next = text!("correct metrics in footplate.yaml; {}", fault.hint);
        return Check::fail(id, what, FailureKind::Outside, why, next).with(data);
    }
    if found.is_empty() {
        return Check::pass(id, what, "no service here has a metric gate").with(data);
    }
    let without: Vec<String> = found
        .iter()
        .filter(|f| !f.empty.is_empty())
        .map(|f| format!("{} ({})", f.service, f.empty.join(", ")))
        .collect();
    let more = measured.saturating_sub(found.len());
    let more = if more == 0 { String::new() } else { format!("; {more} more were not asked about") };
    if without.is_empty() {
        let many = if found.len() == 1 { "" } else { "s" };
        return Check::pass(id, what, text!("requests, errors and latency of {} service{many}{more}", found.len()))
            .with(data);
    }
    let why = text!("no data for {}{more}", without.join(", "));
    let next = "no-data holds a train: see whether the service is scraped, and that the labels in metrics of footplate.yaml are its own";
    Check::warn(id, what, why, next).with(data)
}

fn scraped(found: &[Found]) -> Check {
    let (id, what) = ("metrics.scrape", what_of("metrics.scrape"));
    let slowest = found.iter().filter_map(|f| Some((f.scrape?, &f.service))).max();
    let Some((interval, service)) = slowest else {
        return Check::unknown(
            id,
            what,
            "the queries name no series whose scrapes can be counted, or none was scraped",
        );
    };
    let seconds = interval.as_secs_f64();
    let data = json!({"seconds": (seconds * 10.0).round() / 10.0, "service": service});
    if interval > SCRAPE_MAX + Duration::from_secs(1) {
        let why = text!("{service} is scraped every {seconds:.0} s: a bad release cannot be seen within 60 s");
        let next = "scrape the services of a train at least every 15 s (scrape_interval of their job)";
        return Check::warn(id, what, why, next).with(data);
    }
    Check::pass(id, what, text!("every {seconds:.0} s at the slowest ({service})")).with(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(service: &str, empty: &[&'static str], scrape: Option<u64>) -> Found {
        let scrape = scrape.map(Duration::from_secs);
        Found { service: service.into(), empty: empty.to_vec(), fault: None, scrape }
    }

    #[test]
    fn placeholders_are_filled_in() {
        let query = filled("rate(x{s=\"{{service}}\",r=~\"{{revision}}\"}[{{window}}]) {{quantile}}", "a");
        assert_eq!(query, "rate(x{s=\"a\",r=~\".*\"}[1m]) 0.95");
    }

    #[test]
    fn what_has_no_data_is_named_and_a_slow_scrape_is_warned_of() {
        let some = [found("a", &[], Some(5)), found("b", &["latency"], Some(30))];
        let (queries, scrape) = (answered(&some, 4), scraped(&some));
        assert!(queries.why.contains("b (latency)") && queries.why.contains("2 more"), "{}", queries.why);
        assert!(scrape.why.contains("b is scraped every 30 s"), "{}", scrape.why);
        assert!(scraped(&[found("a", &[], Some(15))]).next.is_empty());
        assert!(answered(&[found("a", &[], None)], 1).why.contains("1 service"));
        assert!(scraped(&[]).data.is_null());
    }

    #[test]
    fn an_address_is_shown_without_its_password() {
        assert_eq!(shown("http://me:secret@prom:9090").as_str(), "http://prom:9090");
        assert_eq!(shown("http://prom:9090").as_str(), "http://prom:9090");
    }
}
