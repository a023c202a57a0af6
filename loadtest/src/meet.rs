//! Testers that begin their traffic at the same moment: one process may hold fewer sockets than a measurement needs, and then
//! several share its users. Each leaves a file in a common folder when its users are ready; a second after the last, all begin.

use std::fs;
use std::path::PathBuf;

use crate::clock;

/// From the last arrival to the beginning, milliseconds: time for everyone to notice.
const NOTICE_MS: u64 = 1000;
/// Ending of the name of a file that is completely written.
const READY: &str = "ready";

/// Where the testers meet, and how many they are.
#[derive(Debug, Clone)]
pub(crate) struct Meeting {
    folder: PathBuf,
    testers: usize,
}

impl Meeting {
    /// A meeting of so many testers in `folder`, which is theirs alone.
    pub(crate) fn new(folder: PathBuf, testers: usize) -> Self {
        Self { folder, testers }
    }

    /// This tester's users are ready.
    pub(crate) fn arrive(&self) -> Result<(), String> {
        let name = |ending| self.folder.join(format!("{}.{ending}", std::process::id()));
        // Renamed, so that nobody reads half of it.
        fs::create_dir_all(&self.folder)
            .and_then(|()| fs::write(name("new"), clock::wall_ms().to_string()))
            .and_then(|()| fs::rename(name("new"), name(READY)))
            .map_err(|error| format!("--meet {}: {error}", self.folder.display()))
    }

    /// When all begin (wall clock, milliseconds); `None` until all are there.
    pub(crate) fn begins(&self) -> Result<Option<u64>, String> {
        let named =
            |what: &dyn std::fmt::Display| format!("--meet {}: {what}", self.folder.display());
        let mut arrivals = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(|error| named(&error))? {
            let path = entry.map_err(|error| named(&error))?.path();
            if path.extension().is_some_and(|ending| ending == READY) {
                let text = fs::read_to_string(&path).map_err(|error| named(&error))?;
                let at_ms: u64 = text.parse().map_err(|error| named(&error))?;
                arrivals.push(at_ms);
            }
        }
        if arrivals.len() > self.testers {
            return Err(named(&"more testers than --of says; is the folder new?"));
        }
        let last = arrivals.iter().max().map(|at_ms| at_ms + NOTICE_MS);
        Ok(last.filter(|_| arrivals.len() == self.testers))
    }

    /// Who did not come.
    pub(crate) fn missing(&self) -> String {
        format!(
            "--meet {}: fewer than {} testers were ready in time",
            self.folder.display(),
            self.testers
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_begin_a_second_after_the_last_and_none_before() {
        let folder = std::env::temp_dir().join(format!("prism-meet-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        let meeting = Meeting::new(folder.clone(), 3);
        meeting.arrive().unwrap();
        fs::write(folder.join("a.ready"), "1000").unwrap();
        fs::write(folder.join("b.new"), "").unwrap();
        assert_eq!(meeting.begins(), Ok(None));
        let last = clock::wall_ms() + 5000;
        fs::write(folder.join("b.ready"), last.to_string()).unwrap();
        assert_eq!(meeting.begins(), Ok(Some(last + NOTICE_MS)));
        fs::write(folder.join("c.ready"), "1").unwrap();
        assert!(meeting.begins().unwrap_err().contains("--of"));
        fs::remove_dir_all(&folder).unwrap();
    }
}
