//! Outside thread: addresses of other services' names. The system's look-up holds a thread, for many seconds while a name server is
//! silent, and the store's writes need such threads too. So callers share the look-up of a name, and only so many run.

use super::lasting::on_a_thread;
use super::lock::lock;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, LazyLock, Mutex};
use tokio::sync::Semaphore;

/// Names that are looked up at a time; a fraction of the threads that may wait (512).
const AT_A_TIME: usize = 64;
/// Names that wait or are looked up; beyond it callers are refused.
const UNDER_WAY_MAX: usize = 4096;

/// The answer that all callers of a look-up share; an error as text, because the original cannot be cloned.
type Found = Result<Arc<[SocketAddr]>, (io::ErrorKind, Arc<str>)>;
/// Asks the system, and waits for it.
type System = fn(&str) -> io::Result<Vec<SocketAddr>>;

/// The look-ups of a process.
#[derive(Clone)]
pub(super) struct Names(Arc<Inner>);

struct Inner {
    system: System,
    under_way: Mutex<HashMap<String, Shared<BoxFuture<'static, Found>>>>,
    running: Arc<Semaphore>,
}

/// Those of this process.
static NAMES: LazyLock<Names> =
    LazyLock::new(|| Names::new(|name| Ok((name, 0).to_socket_addrs()?.collect())));

/// The addresses of a name.
pub(super) async fn look_up(name: &str) -> io::Result<Vec<SocketAddr>> {
    NAMES.look_up(name).await
}

/// Makes room for the next look-up of the name, also where the runtime ends first.
struct Over(Names, String);

impl Drop for Over {
    fn drop(&mut self) {
        lock(&self.0.0.under_way).remove(&self.1);
    }
}

impl Names {
    fn new(system: System) -> Self {
        Self(Arc::new(Inner {
            system,
            under_way: Mutex::default(),
            running: Arc::new(Semaphore::new(AT_A_TIME)),
        }))
    }

    async fn look_up(&self, name: &str) -> io::Result<Vec<SocketAddr>> {
        match self.asked(name)?.await {
            Ok(addresses) => Ok(addresses.to_vec()),
            Err((kind, text)) => Err(io::Error::new(kind, text.to_string())),
        }
    }

    fn asked(&self, name: &str) -> io::Result<Shared<BoxFuture<'static, Found>>> {
        let mut under_way = lock(&self.0.under_way);
        if let Some(asked) = under_way.get(name) {
            return Ok(asked.clone());
        }
        if under_way.len() >= UNDER_WAY_MAX {
            return Err(io::Error::other("too many names are being looked up"));
        }
        let begun = self.begin(name.to_owned());
        under_way.insert(name.to_owned(), begun.clone());
        Ok(begun)
    }

    /// Goes on when nobody waits any more: the system's look-up cannot be stopped.
    fn begin(&self, name: String) -> Shared<BoxFuture<'static, Found>> {
        let over = Over(self.clone(), name);
        let (system, running) = (self.0.system, Arc::clone(&self.0.running));
        let task = tokio::spawn(async move {
            let _place = running.acquire_owned().await.map_err(io::Error::other)?;
            let (found, _over) = on_a_thread(move || (system(&over.1), over)).await?;
            found
        });
        let found = async {
            let found = task.await.map_err(io::Error::other);
            match found.and_then(|found| found) {
                Ok(addresses) => Ok(addresses.into()),
                Err(error) => Err((error.kind(), error.to_string().into())),
            }
        };
        found.boxed().shared()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Condvar, PoisonError};

    /// A name server that is silent until it is told to answer.
    struct Silent {
        answers: Mutex<bool>,
        told: Condvar,
        asked: AtomicUsize,
    }

    impl Silent {
        const fn new() -> Self {
            Self {
                answers: Mutex::new(false),
                told: Condvar::new(),
                asked: AtomicUsize::new(0),
            }
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::SeqCst)
        }

        fn answer(&self, answers: bool) {
            *lock(&self.answers) = answers;
            self.told.notify_all();
        }

        fn ask(&self, name: &str) -> io::Result<Vec<SocketAddr>> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let answers = lock(&self.answers);
            let waited = self.told.wait_while(answers, |answers| !*answers);
            drop(waited.unwrap_or_else(PoisonError::into_inner));
            if name == "nowhere" {
                return Err(io::Error::new(io::ErrorKind::NotFound, "no such name"));
            }
            Ok(vec![SocketAddr::from(([192, 0, 2, 7], 0))])
        }
    }

    fn run(test: impl Future<Output = ()>) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.build().expect("a runtime").block_on(test);
    }

    async fn until(done: impl Fn() -> bool) {
        while !done() {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn all_who_ask_for_a_name_share_its_answer_and_later_ones_ask_anew() {
        static SERVER: Silent = Silent::new();
        run(async {
            let names = Names::new(|name| SERVER.ask(name));
            for name in ["app.example.net", "nowhere"] {
                let before = SERVER.asked();
                let asking: Vec<_> = (0..200)
                    .map(|_| {
                        let names = names.clone();
                        tokio::spawn(async move { names.look_up(name).await })
                    })
                    .collect();
                // Who gives up takes the others' answer not away.
                asking[0].abort();
                until(|| SERVER.asked() > before).await;
                SERVER.answer(true);
                for task in asking.into_iter().skip(1) {
                    match task.await.expect("not cancelled") {
                        Ok(found) => assert_eq!(found, [SocketAddr::from(([192, 0, 2, 7], 0))]),
                        Err(error) => assert_eq!(
                            (name, error.kind(), error.to_string()),
                            ("nowhere", io::ErrorKind::NotFound, "no such name".into())
                        ),
                    }
                }
                assert_eq!(SERVER.asked(), before + 1, "{name}");
                let _ = names.look_up(name).await;
                assert_eq!(SERVER.asked(), before + 2, "nothing is remembered");
                SERVER.answer(false);
            }
        });
    }

    #[test]
    fn a_silent_name_server_leaves_threads_to_the_store() {
        static SERVER: Silent = Silent::new();
        run(async {
            let names = Names::new(|name| SERVER.ask(name));
            // More than there are threads.
            let asking: Vec<_> = (0..600)
                .map(|n| {
                    let names = names.clone();
                    tokio::spawn(async move { names.look_up(&format!("app{n}.example.net")).await })
                })
                .collect();
            until(|| SERVER.asked() == AT_A_TIME).await;
            // What the store does.
            tokio::task::spawn_blocking(|| ()).await.expect("a thread");
            assert_eq!(SERVER.asked(), AT_A_TIME);
            let more = (600..=UNDER_WAY_MAX).map(|n| names.asked(&format!("app{n}.example.net")));
            let refused = more.filter(Result::is_err).count();
            assert_eq!(refused, 1, "one beyond the bound");
            assert!(names.asked("app7.example.net").is_ok(), "which shares");
            SERVER.answer(true);
            for task in asking {
                task.await.expect("not cancelled").expect("answered");
            }
        });
    }

    #[test]
    fn a_name_that_got_no_thread_is_looked_up_anew() {
        use crate::services::lasting::tests::without_threads;
        let names = Names::new(|_| Ok(Vec::new()));
        // It lives on, and with it what it was given to do.
        let threadless = without_threads();
        let found = threadless.block_on(names.look_up("app.example.net"));
        assert!(found.is_err());
        run(async {
            let found = names.look_up("app.example.net").await;
            assert!(found.is_ok(), "{found:?}");
        });
    }

    #[test]
    fn a_runtime_that_ends_takes_its_look_ups_along() {
        static SERVER: Silent = Silent::new();
        let names = Names::new(|name| SERVER.ask(name));
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.expect("a runtime");
        runtime.block_on(async {
            let asking = names.look_up("app.example.net");
            let asked = until(|| SERVER.asked() == 1);
            tokio::select! {
                _ = asking => {}
                () = asked => {}
            }
        });
        runtime.shutdown_background();
        SERVER.answer(true);
        while !lock(&names.0.under_way).is_empty() {
            std::thread::yield_now();
        }
        run(async {
            let found = names.look_up("app.example.net").await;
            assert_eq!(found.expect("asked anew").len(), 1);
        });
    }
}
