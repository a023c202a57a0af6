//! Outside thread: how it reaches other services: plain, or TLS by the public authorities, HTTP/1.1, nothing delayed.

use super::addresses::{Reach, Resolver};
use hyper::body::Body;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::time::Duration;

/// An idle connection is closed after this.
const IDLE: Duration = Duration::from_secs(30);

/// Makes connections.
pub(crate) type Connector = HttpsConnector<HttpConnector<Resolver>>;
/// Makes requests with bodies of this kind, over connections that it keeps.
pub(crate) type Client<B> = legacy::Client<Connector, B>;

/// `limit` bounds one connect; without it the caller does.
pub(crate) fn connector(reach: Reach, limit: Option<Duration>) -> Connector {
    let mut http = HttpConnector::new_with_resolver(Resolver(reach));
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(limit);
    HttpsConnectorBuilder::new()
        .with_webpki_roots()
        .https_or_http()
        .enable_http1()
        .wrap_connector(http)
}

/// A client that keeps so many idle connections per origin.
pub(crate) fn client<B>(connector: Connector, idle_per_host: usize) -> Client<B>
where
    B: Body + Send,
    B::Data: Send,
{
    legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(idle_per_host)
        .build(connector)
}
