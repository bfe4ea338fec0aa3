//! Who is who on this machine: names become numbers, and users have groups.

use std::ffi::CString;

use nix::unistd::{Gid, Group, Uid, User, getgrouplist};

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
    /// Whether the user `uid`, connected with the group `gid`, may.
    pub fn admits(&self, uid: u32, gid: u32, own_uid: u32) -> bool {
        match self {
            Self::Everyone => true,
            Self::Only { users, groups } => {
                uid == 0
                    || uid == own_uid
                    || users.contains(&uid)
                    || groups.contains(&gid)
                    || (!groups.is_empty() && groups_of(uid).iter().any(|group| groups.contains(group)))
            }
        }
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

/// The groups that the user database gives a user, the primary one among them. The database and not the groups of
/// the asking process: those could only be looked up by a process number, which may be somebody else's by then.
fn groups_of(uid: u32) -> Vec<u32> {
    let Ok(Some(user)) = User::from_uid(Uid::from_raw(uid)) else { return Vec::new() };
    let Ok(name) = CString::new(user.name) else { return Vec::new() };
    getgrouplist(&name, user.gid).unwrap_or_default().into_iter().map(Gid::as_raw).collect()
}
