//! Layer 4: accepts. One accept is always pending and never dropped; what is accepted goes to the HTTP front door.

use super::guard::guard;
use super::http;
use super::node::Node;
use super::socket::Socket;
use monoio::net::TcpListener;
use std::rc::Rc;
use std::time::Duration;

/// Pause after a failed accept (out of descriptors, usually).
const PAUSE: Duration = Duration::from_millis(50);

pub(crate) async fn run(node: Rc<Node>, listener: TcpListener) {
    let mut failing = false;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                failing = false;
                let _ = stream.set_nodelay(true);
                let (node, socket) = (node.clone(), Socket::new(stream));
                monoio::spawn(async move {
                    guard("http connection", http::serve(node, socket, peer.ip())).await;
                });
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::error!(%error, "accept fails");
                }
                monoio::time::sleep(PAUSE).await;
            }
        }
    }
}
