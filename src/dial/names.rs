//! Names become addresses.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::vec;

use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use tower_service::Service;

/// Looks names up; nobody is asked where this machine itself is.
#[derive(Clone)]
pub(super) struct Names {
    /// Whether every name is this machine's.
    pub(super) here_only: bool,
}

/// A name without an address.
#[derive(Debug)]
pub(super) struct Nameless(pub(super) io::Error);

impl fmt::Display for Nameless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no address found")
    }
}

impl Error for Nameless {}

impl Service<Name> for Names {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = Nameless;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Nameless>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Nameless>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let here_only = self.here_only;
        Box::pin(async move {
            let addresses = if here_only {
                vec![(Ipv4Addr::LOCALHOST, 0).into(), (Ipv6Addr::LOCALHOST, 0).into()]
            } else {
                GaiResolver::new().call(name).await.map_err(Nameless)?.collect()
            };
            Ok(addresses.into_iter())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_to_stay_on_this_machine_is_led_off_it_by_no_name() {
        for name in ["localhost", "api.ecobee.com"] {
            let name: Name = name.parse().expect("a name");
            let addresses: Vec<_> = Names { here_only: true }.call(name).await.expect("known").collect();
            assert_eq!(addresses.len(), 2);
            assert!(addresses.iter().all(|address| address.ip().is_loopback()), "{addresses:?}");
        }
    }
}
