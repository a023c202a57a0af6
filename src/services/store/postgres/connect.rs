//! Outside thread, connections to PostgreSQL: TLS, the pool, and what an error of theirs means. It runs no query of ours.

use crate::services::store::StoreError;
use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime,
};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use std::error::Error;
use std::path::Path;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::Config;
use tokio_postgres::error::{DbError, SqlState};
use tokio_postgres_rustls::MakeRustlsConnect;

/// An idle connection is probed after this, so that one whose peer vanished does not lie in the pool.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// The URL with our bounds on connecting and on silence of the peer.
pub(super) fn config(url: &str, limit: Duration) -> Result<Config, StoreError> {
    let mut config = Config::from_str(url).map_err(failed)?;
    config
        .connect_timeout(limit)
        .tcp_user_timeout(limit * 2)
        .keepalives_idle(KEEPALIVE);
    if config.get_application_name().is_none() {
        config.application_name("prism");
    }
    Ok(config)
}

/// Trusts the public authorities, or those of `ca_file` alone.
pub(super) fn tls(ca_file: &str) -> Result<MakeRustlsConnect, StoreError> {
    let mut roots = rustls::RootCertStore::empty();
    if ca_file.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    } else {
        let wrong =
            |error: &dyn Error| StoreError::Postgres(format!("store_ca_file {ca_file}: {error}"));
        for certificate in
            CertificateDer::pem_file_iter(Path::new(ca_file)).map_err(|error| wrong(&error))?
        {
            let certificate = certificate.map_err(|error| wrong(&error))?;
            roots.add(certificate).map_err(|error| wrong(&error))?;
        }
        if roots.is_empty() {
            return Err(StoreError::Postgres(format!(
                "store_ca_file {ca_file} holds no certificate"
            )));
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring supports the default TLS versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

/// The pool. The server ends what we gave up on, so that no lock outlives a node that vanished, and what waits for a lock for longer
/// than `lock_limit`.
pub(super) fn pool(
    config: Config,
    tls: MakeRustlsConnect,
    size: usize,
    limit: Duration,
    lock_limit: Duration,
) -> Result<Pool, StoreError> {
    let recycling = ManagerConfig {
        recycling_method: RecyclingMethod::Fast,
    };
    let (ms, lock_ms) = (limit.as_millis(), lock_limit.as_millis());
    let limits = Hook::async_fn(move |client: &mut deadpool_postgres::ClientWrapper, _| {
        Box::pin(async move {
            let set = format!(
                "SET statement_timeout = {ms}; SET idle_in_transaction_session_timeout = {ms}; SET lock_timeout = {lock_ms}"
            );
            client.batch_execute(&set).await.map_err(HookError::Backend)
        })
    });
    Pool::builder(Manager::from_config(config, tls, recycling))
        .max_size(size)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(limit))
        .create_timeout(Some(limit))
        .recycle_timeout(Some(limit))
        .post_create(limits)
        .build()
        .map_err(failed)
}

/// A pooled connection that is closed, not reused, unless its work came to an end: what hangs now would hang again.
pub(super) struct Lease(Option<Object>);

impl Lease {
    pub(super) fn new(client: Object) -> Self {
        Self(Some(client))
    }

    pub(super) fn client(&mut self) -> &mut Object {
        self.0.as_mut().expect("only giving back takes it")
    }

    pub(super) fn give_back(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(client) = self.0.take() {
            drop(Object::take(client));
        }
    }
}

/// Whether an answer is about what was to be written, and would be the same at every other time: data that a type or the
/// database's encoding cannot hold (22), a constraint that somebody added (23), a limit of the program (54). All else passes, or
/// an operator can make it pass: no rights, no table, no room, no time.
fn is_about_data(code: &SqlState) -> bool {
    ["22", "23", "54"]
        .iter()
        .any(|class| code.code().starts_with(class))
}

/// An error of a statement about documents as ours.
pub(super) fn refused(error: tokio_postgres::Error) -> StoreError {
    let Some(answer) = error.as_db_error() else {
        return failed(error);
    };
    // Not its details: they quote what users stored.
    let text = format!("{} ({})", answer.message(), answer.code().code());
    if *answer.code() == SqlState::DATA_CORRUPTED {
        StoreError::Damaged(text)
    } else if is_about_data(answer.code()) {
        StoreError::Refused(text)
    } else {
        failed(error)
    }
}

/// An error as ours, with its cause.
pub(super) fn failed(error: impl Error + 'static) -> StoreError {
    let mut text = error.to_string();
    let mut link: Option<&(dyn Error + 'static)> = Some(&error);
    let mut outage = false;
    while let Some(error) = link {
        if let Some(error) = error.downcast_ref::<tokio_postgres::Error>() {
            outage |= error.is_closed();
        }
        outage |= error.is::<std::io::Error>();
        if let Some(error) = error.downcast_ref::<DbError>() {
            if [SqlState::LOCK_NOT_AVAILABLE, SqlState::QUERY_CANCELED].contains(error.code()) {
                return StoreError::Unfinished(error.message().to_owned());
            }
            // Shut down, starting, out of connections or memory, or not yet the primary (read-only): passes by itself.
            outage |= ["08", "25006", "53", "57P"]
                .iter()
                .any(|class| error.code().code().starts_with(class));
        }
        if let Some(deadpool_postgres::PoolError::Timeout(_)) = error.downcast_ref() {
            return StoreError::Timeout;
        }
        link = error.source();
        if let Some(cause) = link {
            text = format!("{text}: {cause}");
        }
    }
    if outage {
        StoreError::Unreachable(text)
    } else {
        StoreError::Postgres(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_would_be_refused_for_ever_is_about_data() {
        // NUL, encoding, number, date; constraints; an index's row, a statement.
        for code in [
            "22021", "22P05", "22003", "22008", "22001", "23514", "23505", "23503", "54000",
            "54001", "54023",
        ] {
            assert!(is_about_data(&SqlState::from_code(code)), "{code}");
        }
        // Connections, rights, tables, transactions, room, operators, defects of the server.
        for code in [
            "08006", "08P01", "25006", "28P01", "3D000", "40001", "40P01", "42501", "42P01",
            "42703", "53100", "53200", "53300", "53400", "55P03", "57014", "57P01", "57P03",
            "58030", "P0001", "XX000", "XX001", "XX002",
        ] {
            assert!(!is_about_data(&SqlState::from_code(code)), "{code}");
        }
    }
}
