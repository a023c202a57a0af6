//! Outside thread, what PostgreSQL is asked to find out whether it takes writes at all. It changes no document.

use super::connect::failed;
use crate::services::store::StoreError;
use deadpool_postgres::Object;
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

/// Needs the right that a write needs, the table's lock, and a primary.
const WRITE: &str = "UPDATE prism_documents SET doc = doc WHERE false";
/// Needs a commit, which may wait for a standby that hangs: only one with something to replicate does.
const COMMIT: &str = "SELECT pg_logical_emit_message(true, 'prism', '')";

/// Asks.
///
/// # Errors
/// Those that every write would meet.
pub(super) async fn ask(client: &Object) -> Result<(), StoreError> {
    client.batch_execute(WRITE).await.map_err(failed)?;
    let committed = client.batch_execute(COMMIT).await;
    committed.or_else(unless_unknown).map_err(failed)
}

/// A database that lacks the function, or does not let us call it, says nothing of its commits.
fn unless_unknown(error: Error) -> Result<(), Error> {
    let unknown = [
        SqlState::UNDEFINED_FUNCTION,
        SqlState::INSUFFICIENT_PRIVILEGE,
    ];
    match error.code() {
        Some(code) if unknown.contains(code) => Ok(()),
        _ => Err(error),
    }
}
