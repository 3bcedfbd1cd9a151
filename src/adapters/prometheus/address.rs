//! Where a Prometheus is, and where none can be: link-local and metadata addresses are refused, written out and looked up.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

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
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
        let named = host.trim_end_matches('.');
        if literal.is_some_and(is_refused) || ["metadata", "metadata.google.internal"].contains(&named) {
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

/// True for addresses that are no server's: link-local (with the metadata services of the clouds), those that some clouds
/// use outside of it, unspecified, multicast and broadcast.
pub(super) fn is_refused(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let metadata = [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192)];
            ip.is_link_local()
                || ip.is_unspecified()
                || ip.is_multicast()
                || ip.is_broadcast()
                || metadata.contains(&ip)
        }
        IpAddr::V6(ip) => {
            if let Some(mapped) = ip.to_ipv4_mapped().or_else(|| nat64(ip)) {
                return is_refused(IpAddr::V4(mapped));
            }
            let metadata = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
            ip.is_unicast_link_local() || ip.is_unspecified() || ip.is_multicast() || ip == metadata
        }
    }
}

/// The IPv4 address inside of a NAT64 one (64:ff9b::/96).
fn nat64(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    match ip.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
            Some(Ipv4Addr::new(a, b, c, d))
        }
        _ => None,
    }
}

/// The system's resolver, without the addresses that are refused.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resolver;

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<_> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let allowed: Vec<_> = found.iter().copied().filter(|a| !is_refused(a.ip())).collect();
            if allowed.is_empty() && !found.is_empty() {
                return Err("the name leads to a link-local or metadata address".into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
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
