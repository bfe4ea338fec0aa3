//! Who is who on this machine: names become numbers, and users have groups.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::CString;
use std::rc::Rc;
use std::time::Duration;

use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout};

/// Who may have an account's token, beside root and the daemon's own user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// Whoever may connect.
    Everyone,
    /// These users, and the members of these groups.
    Only {
        /// User numbers.
        users: Vec<u32>,
        /// Group numbers.
        groups: Vec<u32>,
    },
}

impl Allowed {
    /// Whether the user `uid`, connected with the group `gid`, may. `others` are the groups that this user is in
    /// besides, where they are known; `None` says that it depends on them.
    pub fn admits(&self, uid: u32, gid: u32, own_uid: u32, others: Option<&[u32]>) -> Option<bool> {
        let Self::Only { users, groups } = self else { return Some(true) };
        if uid == 0 || uid == own_uid || users.contains(&uid) || groups.contains(&gid) {
            return Some(true);
        }
        if groups.is_empty() {
            return Some(false);
        }
        others.map(|others| others.iter().any(|group| groups.contains(group)))
    }
}

/// What the user database says of a user's groups; `None` where it cannot say.
type Found = Option<Rc<[u32]>>;

/// An answer of the user database, and when it came; `None` while it is awaited.
type Asked = watch::Receiver<Option<(Instant, Found)>>;

/// The groups of users, from the user database.
///
/// **A database that hangs holds up nobody else.** It may be somewhere in the network, so it is asked in threads: in few,
/// for others wait to write to the disk, and once for all who ask about the same user. Whoever hangs up cannot have it
/// asked again meanwhile.
///
/// The database counts, and not the groups of the asking process: the kernel would tell those of a socket
/// (`SO_PEERGROUPS`), but no safe call asks it, and by the process's number they might be somebody else's by then.
pub struct Groups {
    look_up: fn(u32) -> Option<Vec<u32>>,
    patience: Duration,
    asked: RefCell<HashMap<u32, Asked>>,
    threads: Rc<Semaphore>,
}

impl Default for Groups {
    fn default() -> Self {
        Self::asking(groups_of)
    }
}

impl Groups {
    /// An answer is good for so long: a user who has left a group is out by then.
    const LIFE: Duration = Duration::from_secs(10);
    /// The database is waited for so long.
    const PATIENCE: Duration = Duration::from_secs(5);
    const THREADS: usize = 2;

    fn asking(look_up: fn(u32) -> Option<Vec<u32>>) -> Self {
        let threads = Rc::new(Semaphore::new(Self::THREADS));
        Self { look_up, patience: Self::PATIENCE, asked: RefCell::default(), threads }
    }

    /// The groups of a user, the primary one among them; `None` if the database does not answer. Must run inside a
    /// [`tokio::task::LocalSet`].
    pub async fn of(&self, uid: u32) -> Option<Rc<[u32]>> {
        let mut asked = self.ask(uid);
        let answer = timeout(self.patience, asked.wait_for(Option::is_some)).await.ok()?.ok()?;
        answer.as_ref().and_then(|(_, found)| found.clone())
    }

    fn ask(&self, uid: u32) -> Asked {
        let mut asked = self.asked.borrow_mut();
        if let Some(answer) = asked.get(&uid).filter(|answer| is_good(answer)) {
            return answer.clone();
        }
        asked.retain(|_, answer| is_good(answer));
        let (answers, answer) = watch::channel(None);
        asked.insert(uid, answer.clone());
        let (look_up, threads) = (self.look_up, Rc::clone(&self.threads));
        tokio::task::spawn_local(async move {
            let _thread = threads.acquire().await;
            let found = tokio::task::spawn_blocking(move || look_up(uid)).await;
            answers.send_replace(Some((Instant::now(), found.ok().flatten().map(Rc::from))));
        });
        answer
    }
}

/// Whether an answer is still to come, or not too old. What the database could not say is to be asked again.
fn is_good(asked: &Asked) -> bool {
    match &*asked.borrow() {
        None => true,
        Some((at, found)) => found.is_some() && at.elapsed() < Groups::LIFE,
    }
}

/// The number of a user by name.
pub fn uid_of(name: &str) -> Option<u32> {
    User::from_name(name).ok().flatten().map(|user| user.uid.as_raw())
}

/// The number of a group by name.
pub fn gid_of(name: &str) -> Option<u32> {
    Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw())
}

/// The name of a user by number.
pub fn name_of_user(uid: u32) -> Option<String> {
    User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name)
}

/// The name of a group by number.
pub fn name_of_group(gid: u32) -> Option<String> {
    Group::from_gid(Gid::from_raw(gid)).ok().flatten().map(|group| group.name)
}

/// The groups that the user database gives a user; `None` if it cannot be asked.
pub fn groups_of(uid: u32) -> Option<Vec<u32>> {
    let Some(user) = User::from_uid(Uid::from_raw(uid)).ok()? else { return Some(Vec::new()) };
    let name = CString::new(user.name).ok()?;
    Some(getgrouplist(&name, user.gid).ok()?.into_iter().map(Gid::as_raw).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Mutex, PoisonError};

    use futures_util::future::join;
    use tokio::task::LocalSet;

    use super::*;

    const ONLY: fn(&[u32], &[u32]) -> Allowed =
        |users, groups| Allowed::Only { users: users.to_vec(), groups: groups.to_vec() };

    #[test]
    fn root_and_our_own_user_and_whoever_is_named_need_no_look_up() {
        assert_eq!(Allowed::Everyone.admits(1000, 1000, 999, None), Some(true));
        let only = ONLY(&[1001], &[50]);
        for (uid, gid, admitted) in [
            (0, 0, Some(true)),
            (999, 999, Some(true)),
            (1001, 1001, Some(true)),
            (1002, 50, Some(true)),
            (1002, 1002, None),
        ] {
            assert_eq!(only.admits(uid, gid, 999, None), admitted, "{uid}:{gid}");
        }
        assert_eq!(ONLY(&[1001], &[]).admits(1002, 1002, 999, None), Some(false), "no group could help");
        assert_eq!(ONLY(&[], &[]).admits(1002, 1002, 999, None), Some(false), "two empty lists admit nobody");
    }

    #[test]
    fn a_supplementary_group_admits() {
        let only = ONLY(&[], &[50]);
        assert_eq!(only.admits(1002, 1002, 999, Some(&[1002, 50])), Some(true));
        assert_eq!(only.admits(1002, 1002, 999, Some(&[1002])), Some(false));
    }

    #[test]
    fn the_user_database_knows_roots_group_and_nobody_of_no_name() {
        assert!(groups_of(0).expect("it can be asked").contains(&0));
        assert_eq!(groups_of(3_999_999_999), Some(Vec::new()));
    }

    #[tokio::test(start_paused = true)]
    async fn the_database_is_asked_once_for_all_and_again_when_its_answer_is_old() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        let groups = Groups::asking(|uid| {
            ASKED.fetch_add(1, Ordering::Relaxed);
            Some(vec![uid])
        });
        LocalSet::new()
            .run_until(async {
                let (one, other) = join(groups.of(7), groups.of(7)).await;
                assert_eq!(one.as_deref(), Some(&[7][..]));
                assert_eq!(one, other);
                assert_eq!(groups.of(7).await, one);
                assert_eq!(ASKED.load(Ordering::Relaxed), 1);
                tokio::time::advance(Groups::LIFE).await;
                groups.of(7).await;
                assert_eq!(ASKED.load(Ordering::Relaxed), 2);
            })
            .await;
        assert_eq!(groups.asked.borrow().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_database_could_not_say_is_asked_again() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        let groups = Groups::asking(|_| (ASKED.fetch_add(1, Ordering::Relaxed) > 0).then(|| vec![50]));
        LocalSet::new()
            .run_until(async {
                assert_eq!(groups.of(7).await, None);
                assert_eq!(groups.of(7).await.as_deref(), Some(&[50][..]));
            })
            .await;
    }

    /// Held by a test while the database hangs.
    static HANGING: Mutex<()> = Mutex::new(());

    #[tokio::test]
    async fn a_hanging_database_is_given_up_and_takes_few_threads_however_often_it_is_asked() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        let mut groups = Groups::asking(|uid| {
            ASKED.fetch_add(1, Ordering::Relaxed);
            drop(HANGING.lock().unwrap_or_else(PoisonError::into_inner));
            Some(vec![uid])
        });
        groups.patience = Duration::from_millis(20);
        let hanging = HANGING.lock().unwrap_or_else(PoisonError::into_inner);
        LocalSet::new()
            .run_until(async {
                // Each hangs up at once, and comes again.
                for _ in 0..100 {
                    for uid in 1..=5 {
                        let heard = timeout(Duration::ZERO, groups.of(uid)).await;
                        assert!(!matches!(heard, Ok(Some(_))), "it hangs");
                    }
                }
                assert_eq!(groups.of(1).await, None);
                assert!(ASKED.load(Ordering::Relaxed) <= Groups::THREADS);
                drop(hanging);
                for uid in 1..=5 {
                    let found = groups.ask(uid).wait_for(Option::is_some).await.is_ok();
                    assert!(found, "it answers again");
                }
            })
            .await;
        assert_eq!(ASKED.load(Ordering::Relaxed), 5, "once for each");
    }
}
