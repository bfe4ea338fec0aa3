//! A pretend disk with a cache: it is given what a program did to a folder, and tells what a power cut could have
//! left of it at any moment.
//!
//! Bytes that were not synced may be there, or in part, or as zeros, or not at all. Names that were not synced are
//! carried out in their order, up to any of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::strace::Call;

/// What a program did to a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Create { name: String, file: usize },
    Write { file: usize, bytes: Vec<u8> },
    Sync { file: usize },
    Rename { from: String, to: String },
    Unlink { name: String },
    SyncFolder,
}

/// Names and contents: what a folder holds.
pub(crate) type Contents = BTreeMap<String, Vec<u8>>;

/// What a trace tells of a folder, and the files that were there before. The lock is left out.
pub(crate) fn deeds(calls: &[Call], folder: &Path, before: &Contents) -> Vec<Deed> {
    let mut deeds = Vec::new();
    // Which file a name leads to, and a descriptor; `None` is the folder itself.
    let mut names: BTreeMap<String, usize> = before.keys().cloned().zip(0..).collect();
    let mut open: BTreeMap<i64, Option<usize>> = BTreeMap::new();
    let mut files = names.len();
    let within = |path: &str| {
        let name = Path::new(path).strip_prefix(folder).ok()?.to_str()?.to_owned();
        (name != "lock").then_some(name)
    };
    for call in calls.iter().filter(|call| call.result >= 0) {
        match call.name.as_str() {
            "openat" => {
                open.remove(&call.result);
                let Some(name) = within(&call.path(0)) else { continue };
                if name.is_empty() {
                    open.insert(call.result, None);
                    continue;
                }
                let file = *names.entry(name.clone()).or_insert_with(|| {
                    deeds.push(Deed::Create { name, file: files });
                    files += 1;
                    files - 1
                });
                open.insert(call.result, Some(file));
            }
            "close" => {
                open.remove(&call.descriptor());
            }
            "socket" | "accept4" => {
                open.remove(&call.result);
            }
            "write" | "writev" | "pwrite64" => {
                if let Some(&Some(file)) = open.get(&call.descriptor()) {
                    let mut bytes = call.strings().concat();
                    bytes.truncate(usize::try_from(call.result).unwrap_or(0));
                    deeds.push(Deed::Write { file, bytes });
                }
            }
            "fsync" | "fdatasync" => match open.get(&call.descriptor()) {
                Some(&Some(file)) => deeds.push(Deed::Sync { file }),
                Some(None) => deeds.push(Deed::SyncFolder),
                None => {}
            },
            "rename" | "renameat" | "renameat2" => {
                if let (Some(from), Some(to)) = (within(&call.path(0)), within(&call.path(1))) {
                    if let Some(file) = names.remove(&from) {
                        names.insert(to.clone(), file);
                    }
                    deeds.push(Deed::Rename { from, to });
                }
            }
            "unlink" | "unlinkat" => {
                if let Some(name) = within(&call.path(0)) {
                    names.remove(&name);
                    deeds.push(Deed::Unlink { name });
                }
            }
            _ => {}
        }
    }
    deeds
}

/// A write that did not reach the disk as a whole is looked at in so many lengths.
const PARTS: usize = 12;

/// The content of one file.
#[derive(Clone, Default)]
struct File {
    synced: Vec<u8>,
    written: Vec<u8>,
    last_write: usize,
}

impl File {
    /// Everything that may be found of it after a power cut.
    fn possible(&self) -> BTreeSet<Vec<u8>> {
        let whole = self.written.clone();
        if self.synced == self.written {
            return BTreeSet::from([whole]);
        }
        let before = whole.len() - self.last_write;
        let mut possible = BTreeSet::from([self.synced.clone(), vec![0; whole.len()], whole.clone()]);
        let parts = (0..PARTS).map(|part| before + self.last_write * part / PARTS);
        for length in parts.chain([whole.len().saturating_sub(1)]) {
            possible.insert(whole[..length].to_vec());
            // The length reached the disk before the last bytes did.
            let mut torn = whole.clone();
            torn[length..].fill(0);
            possible.insert(torn);
        }
        possible
    }
}

/// The disk and its cache.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    files: Vec<File>,
    names: BTreeMap<String, usize>,
    pending: Vec<Deed>,
}

impl Disk {
    /// A disk on which these files lie safely, except that the bytes of `unsynced` were only written so far.
    pub(crate) fn holding(before: &Contents, unsynced: Option<&str>) -> Self {
        let file = |(name, bytes): (&String, &Vec<u8>)| {
            let synced = if Some(name.as_str()) == unsynced { Vec::new() } else { bytes.clone() };
            File { synced, written: bytes.clone(), last_write: bytes.len() }
        };
        Self {
            files: before.iter().map(file).collect(),
            names: before.keys().cloned().zip(0..).collect(),
            pending: Vec::new(),
        }
    }

    /// Carries a deed out, in the cache at least.
    pub(crate) fn apply(&mut self, deed: &Deed) {
        match deed {
            Deed::Create { .. } => {
                self.files.push(File::default());
                self.pending.push(deed.clone());
            }
            Deed::Rename { .. } | Deed::Unlink { .. } => self.pending.push(deed.clone()),
            Deed::Write { file, bytes } => {
                let file = &mut self.files[*file];
                file.written.extend_from_slice(bytes);
                file.last_write = bytes.len();
            }
            Deed::Sync { file } => {
                let file = &mut self.files[*file];
                file.synced.clone_from(&file.written);
            }
            Deed::SyncFolder => {
                self.names = self.names_after(self.pending.len());
                self.pending.clear();
            }
        }
    }

    fn names_after(&self, count: usize) -> BTreeMap<String, usize> {
        let mut names = self.names.clone();
        for deed in &self.pending[..count] {
            match deed {
                Deed::Create { name, file } => {
                    names.insert(name.clone(), *file);
                }
                Deed::Rename { from, to } => {
                    if let Some(file) = names.remove(from) {
                        names.insert(to.clone(), file);
                    }
                }
                Deed::Unlink { name } => {
                    names.remove(name);
                }
                Deed::Write { .. } | Deed::Sync { .. } | Deed::SyncFolder => {}
            }
        }
        names
    }

    /// What everyone sees as long as the power is on.
    pub(crate) fn seen(&self) -> Contents {
        let names = self.names_after(self.pending.len());
        names.into_iter().map(|(name, file)| (name, self.files[file].written.clone())).collect()
    }

    /// Everything that a power cut may leave now.
    pub(crate) fn after_a_power_cut(&self) -> BTreeSet<Contents> {
        let mut all = BTreeSet::new();
        for count in 0..=self.pending.len() {
            let mut folders = vec![Contents::new()];
            for (name, file) in self.names_after(count) {
                let possible = self.files[file].possible();
                folders = folders
                    .iter()
                    .flat_map(|folder| {
                        possible.iter().map(|bytes| {
                            let mut folder = folder.clone();
                            folder.insert(name.clone(), bytes.clone());
                            folder
                        })
                    })
                    .collect();
            }
            all.extend(folders);
        }
        all
    }
}
