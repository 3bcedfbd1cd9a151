//! Addresses that a plan or a file names, called over HTTP: where none may lead (link-local and metadata services, written out
//! and looked up), and the client that holds to it. What is called, and what an answer means, is each adapter's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, OnceLock};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::core::text::Text;
use crate::ports::FaultKind;
use crate::text;

/// A client for addresses that others wrote down, made with its first call: most trains call nobody. A redirect is an answer:
/// where it leads is another address, which nobody named.
#[derive(Clone, Debug, Default)]
pub(super) struct Outward(OnceLock<reqwest::Client>);

impl Outward {
    /// The client, and the address as it may be called.
    pub fn to(&self, address: &str) -> Result<(&reqwest::Client, Url), Text> {
        let url = Url::parse(address).map_err(|why| text!("no address: {why}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(text!("{}:// is neither http:// nor https://", url.scheme()));
        }
        if refuses(url.host_str().unwrap_or_default()) {
            return Err("it is link-local or a metadata service, where nothing of a train is".into());
        }
        if self.0.get().is_none() {
            // Without a provider the client could not be built; where the program has chosen one already, it stays.
            let _ = rustls::crypto::ring::default_provider().install_default();
            let client = reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .dns_resolver(Arc::new(Resolver))
                .user_agent(concat!("footplate/", env!("CARGO_PKG_VERSION")))
                .build()
                .map_err(|why| text!("{why}"))?;
            let _ = self.0.set(client);
        }
        let client = self.0.get().ok_or_else(|| Text::scrub("no HTTP client"))?;
        Ok((client, url))
    }
}

/// Why a call did not come to an answer, without the address in it (that may carry credentials).
pub(super) fn unanswered(error: reqwest::Error) -> (FaultKind, Text) {
    let kind = if error.is_timeout() { FaultKind::Timeout } else { FaultKind::Unreachable };
    (kind, text!("{}", error.without_url()))
}

/// True for hosts that are no server's: see [`is_refused`], and the names of metadata services.
pub(super) fn refuses(host: &str) -> bool {
    let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
    let named = host.trim_end_matches('.');
    literal.is_some_and(is_refused) || ["metadata", "metadata.google.internal"].contains(&named)
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
    fn nothing_leads_to_metadata_services_or_files() {
        let outward = Outward::default();
        for raw in [
            "http://169.254.169.254/latest/meta-data",
            "http://2852039166/",
            "http://[::ffff:169.254.169.254]/",
            "http://[fe80::1]/",
            "http://metadata.google.internal./",
            "file:///etc/passwd",
            "smoke",
        ] {
            assert!(outward.to(raw).is_err(), "{raw}");
        }
        assert!(outward.to("http://billing-api.payments.svc:8080/smoke?deep=1").is_ok());
    }
}
