//! Layer 0: every reason for which this server closes a socket, with its code and exact text (protocol.md §15.1).
//!
//! "App session cleanup" of that table is not among them: here an app session with an open socket ends only by a stop or with
//! its user session, which have reasons of their own (behaviour.md §2.8, 2.12).
//!
//! SDK 2.x never comes back after 1000, 1001 or 1008, so those codes appear only where that is meant.

macro_rules! close_reasons {
    ($($(#[$doc:meta])* $name:ident = ($code:literal, $text:literal);)*) => {
        /// Why the server closes a socket.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum CloseReason {
            $($(#[$doc])* $name,)*
        }

        impl CloseReason {
            /// All reasons, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The WebSocket close code.
            #[must_use]
            pub fn code(self) -> u16 {
                match self { $(Self::$name => $code,)* }
            }

            /// The reason text, at most 123 bytes.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

close_reasons! {
    /// Deliberate stop of an app.
    AppStopped = (1000, "App stopped");
    /// The user session was disposed.
    UserSessionEnded = (1000, "User session ended");
    /// A newer socket of the same app took over five seconds ago.
    Replaced = (1000, "Replaced by new connection");
    /// The process is going away.
    ServerShutdown = (1001, "Server shutting down");
    /// The liveness rule of behaviour.md §9.4.
    ConnectionTimeout = (1001, "Connection timeout detected");
    /// A peer broke RFC 6455.
    ProtocolError = (1002, "");
    /// Text that is not UTF-8.
    InvalidUtf8 = (1007, "");
    /// Ten unparsable messages in a row from an app.
    InvalidJson = (1007, "Invalid JSON");
    /// Init that names no user.
    IdentityMissing = (1008, "User session identity missing");
    /// Init for a user without a session.
    SessionNotFound = (1008, "Session not found");
    /// The package is on the deprecated list.
    AppDeprecated = (1008, "App deprecated");
    /// Wrong or unknown API key.
    InvalidApiKey = (1008, "Invalid API key");
    /// The peer's address is not on the app's list.
    AddressNotAllowed = (1008, "Address not allowed");
    /// Init for an app that nobody started.
    AppNotStarted = (1008, "App not started for this session");
    /// A second init with another identity.
    IdentityMismatch = (1008, "Identity mismatch");
    /// The user session went away while an init was being handled.
    SessionEnded = (1008, "Session ended");
    /// No init in time.
    InitTimeout = (1008, "Initialization timeout");
    /// `reconnect` from SDK 2.x.
    ReconnectUnsupported = (1008, "Reconnect unsupported");
    /// `reconnect` without user or package.
    ReconnectIdentityMissing = (1008, "Reconnect identity missing");
    /// `reconnect` without an API key.
    ReconnectUnauthenticated = (1008, "Reconnect unauthenticated");
    /// `reconnect` with another session id.
    SessionExpired = (1008, "Session expired");
    /// `reconnect` of an app that is not expected to run.
    AppNotRunning = (1008, "App not running");
    /// A parked socket ran out of time.
    DeferredTimeout = (1008, "Deferred reconnect timed out");
    /// A message over the size limit.
    TooBig = (1009, "");
    /// A failure of ours.
    Internal = (1011, "Internal server error");
    /// Control messages no longer fit the outbound queue.
    Overloaded = (1013, "Overloaded");
    /// A newer parked socket of the same app.
    DeferredSuperseded = (1013, "Superseded by newer deferred connection");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_fits_a_close_frame() {
        for reason in CloseReason::ALL {
            assert!(reason.text().len() <= 123, "{reason:?}");
        }
    }
}
