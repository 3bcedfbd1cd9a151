//! Where a Prometheus is, and where none can be: link-local and metadata addresses are refused, written out and looked up.

use std::net::IpAddr;

use reqwest::Url;

use crate::adapters::outward::refuses;
use crate::core::text::Text;
use crate::ports::{Fault, FaultKind};
use crate::text;

/// An address that an operator gave.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Address(Url);

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.place())
    }
}

impl Address {
    /// Takes `http://host:port/prefix`.
    pub(super) fn parse(raw: &str) -> Result<Self, Fault> {
        let fault = |why: Text| Fault {
            kind: FaultKind::Malformed,
            what: Text::scrub("read the prometheus address"),
            why,
            hint: Text::scrub("write it as http://host:9090 or https://host/prefix"),
        };
        let url = Url::parse(raw.trim()).map_err(|why| fault(text!("no address: {why}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(fault(text!("{}:// is neither http:// nor https://", url.scheme())));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(fault(Text::scrub("an address has neither ? nor #")));
        }
        let host = url.host_str().unwrap_or_default();
        if refuses(host) {
            return Err(fault(text!("{host} is link-local or a metadata service; no Prometheus is there")));
        }
        Ok(Self(url))
    }

    /// The address of one call of the API.
    pub(super) fn call(&self, call: &str) -> Url {
        let mut url = self.0.clone();
        url.set_path(&format!("{}/api/v1/{call}", self.0.path().trim_end_matches('/')));
        url
    }

    /// For messages: no credentials.
    pub(super) fn place(&self) -> Text {
        let port = self.0.port().map(|p| format!(":{p}")).unwrap_or_default();
        let host = self.0.host_str().unwrap_or_default();
        text!("{}://{host}{port}{}", self.0.scheme(), self.0.path().trim_end_matches('/'))
    }

    /// True when it is on this machine, where no proxy belongs between.
    pub(super) fn is_loopback(&self) -> bool {
        let host = self.0.host_str().unwrap_or_default();
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        host == "localhost" || literal.is_ok_and(|ip| ip.is_loopback())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_with_prefix_and_shown_without_credentials() {
        let at = |raw| Address::parse(raw).unwrap();
        assert_eq!(at("http://127.0.0.1:9090").call("query").as_str(), "http://127.0.0.1:9090/api/v1/query");
        assert_eq!(at("http://h/p/q/").call("query_range").as_str(), "http://h/p/q/api/v1/query_range");
        assert_eq!(at("https://ana:secret@h:8443/p").place().as_str(), "https://h:8443/p");
        assert_eq!(format!("{:?}", at("https://ana:secret@h/")), "https://h");
        assert!(at("http://[::1]:9090").is_loopback() && at("http://localhost").is_loopback());
        assert!(!at("http://prometheus.monitoring:9090").is_loopback());
    }

    #[test]
    fn what_is_no_server_is_refused_however_it_is_written() {
        for raw in [
            "",
            "prometheus:9090",
            "ftp://h",
            "file:///etc/passwd",
            "http://",
            "http://h?x=1",
            "http://h#x",
            "http://169.254.169.254",
            "http://169.254.169.254:80/latest/meta-data",
            "http://2852039166/",
            "http://0xa9fea9fe/",
            "http://0251.0376.0251.0376/",
            "http://[fe80::1]",
            "http://[::ffff:169.254.169.254]",
            "http://[64:ff9b::a9fe:a9fe]",
            "http://[fd00:ec2::254]",
            "http://100.100.100.200",
            "http://0.0.0.0:9090",
            "http://224.0.0.1",
            "http://metadata.google.internal/",
            "http://metadata.google.internal./",
            "http://METADATA/",
        ] {
            assert!(Address::parse(raw).is_err(), "{raw}");
        }
        for raw in
            ["http://10.0.0.1", "http://127.0.0.1:9090", "http://192.168.0.1", "http://[fd12::1]", "https://p.example"]
        {
            assert!(Address::parse(raw).is_ok(), "{raw}");
        }
    }
}
