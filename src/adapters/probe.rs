//! Synthetic checks over HTTP: one GET, whose status is what counts. How often, and what it means, is the engine's and the judge's.

use std::time::Duration;

use super::outward::{Outward, unanswered};
use crate::core::text::Text;
use crate::ports::{self, Fault, FaultKind, Fut};
use crate::text;

/// How long one check may take; less than the time between two looks of a judge.
const DEADLINE: Duration = Duration::from_secs(3);

/// See the room's first lines.
#[derive(Clone, Debug, Default)]
pub struct Probe(Outward);

impl ports::Probe for Probe {
    fn get<'a>(&'a self, address: &'a str) -> Fut<'a, Result<u16, Fault>> {
        Box::pin(async move {
            let fault = |kind: FaultKind, why: Text| Fault {
                kind,
                what: text!("check {address}"),
                why,
                hint: "check its address in service.yaml, and whether the conductor can reach it".into(),
            };
            let (client, url) = self.0.to(address).map_err(|why| fault(FaultKind::Malformed, why))?;
            let answer = client.get(url).timeout(DEADLINE).send().await.map_err(|error| {
                let (kind, why) = unanswered(error);
                fault(kind, why)
            })?;
            Ok(answer.status().as_u16())
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::ports::Probe as _;

    #[tokio::test]
    async fn the_status_of_the_named_address_counts_and_silence_is_no_status() {
        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/smoke", server.local_addr().unwrap());
        let serve = tokio::spawn(async move {
            for head in ["204 No Content", "503 Busy", "302 Found\r\nlocation: /elsewhere"] {
                let (mut socket, _) = server.accept().await.unwrap();
                let mut asked = [0; 1024];
                let read = socket.read(&mut asked).await.unwrap();
                assert!(asked[..read].starts_with(b"GET /smoke HTTP/1.1\r\n"));
                let answer = format!("HTTP/1.1 {head}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                socket.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let probe = Probe::default();
        for wanted in [204, 503, 302] {
            assert_eq!(probe.get(&address).await.unwrap(), wanted);
        }
        serve.await.unwrap();
        let gone = probe.get(&address).await.unwrap_err();
        assert_eq!((gone.kind, gone.what.as_str()), (FaultKind::Unreachable, format!("check {address}").as_str()));
    }
}
