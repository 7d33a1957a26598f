//! The state folder of one node: its identity, and where what it keeps is kept. Locked while in use.
//!
//! ```text
//! anjer/               the default state folder (XDG)
//!   profile/             the first client's
//!     lock                 held while in use
//!     identity             32 secret bytes, mode 0600
//!     parts/               what downloads keep between runs
//!   profile-2/           a second client's at the same time: an identity of its own
//! ```
//!
//! This is the one file of the room that touches a disk by itself, and only before the node exists.

use crate::driver::fresh_seed;
use etcetera::BaseStrategy;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Clients of one user at the same time on default profiles.
const MAX_PROFILES: usize = 64;

/// Bytes of the identity file.
const SEED_BYTES: usize = 32;

/// A state folder in use. Dropping it lets the next client have it.
#[derive(Debug)]
pub struct Profile {
    folder: PathBuf,
    seed: Zeroizing<[u8; SEED_BYTES]>,
    /// Held, never read: the lock goes with the file handle, also when the process is killed.
    _lock: File,
}

/// Why there is no profile. Each message says the way out.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// Another client has that folder.
    #[error("the state folder {0} is in use by another client: end that one, or give another folder with --state")]
    InUse(PathBuf),
    /// All default profiles are in use.
    #[error("{MAX_PROFILES} clients are running already: give a folder of its own with --state")]
    AllInUse,
    /// There is no home folder to derive the default from.
    #[error("the user has no home folder: give a folder with --state")]
    NoHome,
    /// The file is there and is not an identity.
    #[error(
        "the identity {0} is damaged (it should hold 32 bytes): put back a copy of it, or delete it to become someone else"
    )]
    Damaged(PathBuf),
    /// The system refused.
    #[error("cannot {doing} {path}: {error}; make it accessible, or give another folder with --state")]
    Io {
        /// The verb that failed.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's words.
        error: io::Error,
    },
}

impl Profile {
    /// Takes the folder that the user named. An error if another client has it.
    pub fn at(folder: &Path) -> Result<Self, ProfileError> {
        Self::take(folder)?.ok_or_else(|| ProfileError::InUse(folder.to_owned()))
    }

    /// Takes the first free one of the default profiles.
    pub fn first_free() -> Result<Self, ProfileError> {
        let strategy = etcetera::choose_base_strategy().map_err(|_| ProfileError::NoHome)?;
        let root = strategy.state_dir().unwrap_or_else(|| strategy.data_dir()).join("anjer");
        Self::first_free_in(&root)
    }

    fn first_free_in(root: &Path) -> Result<Self, ProfileError> {
        for number in 1..=MAX_PROFILES {
            let name = if number == 1 { "profile".to_owned() } else { format!("profile-{number}") };
            if let Some(profile) = Self::take(&root.join(name))? {
                return Ok(profile);
            }
        }
        Err(ProfileError::AllInUse)
    }

    /// The folder itself.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What [`Identity::from_seed`](crate::node::identity::Identity::from_seed) makes the identity of. Secret.
    pub fn seed(&self) -> &[u8; SEED_BYTES] {
        &self.seed
    }

    /// Where downloads keep what they need to go on after an interruption. May not exist yet.
    pub fn parts(&self) -> PathBuf {
        self.folder.join("parts")
    }

    /// `None`: in use.
    fn take(folder: &Path) -> Result<Option<Self>, ProfileError> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed("create", folder))?;
        let lock_path = folder.join("lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&lock_path);
        let lock = lock.map_err(failed("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(failed("lock", &lock_path)(error)),
        }
        let path = folder.join("identity");
        let seed = match read_seed(&path)? {
            Some(seed) => seed,
            None => create_seed(&path)?,
        };
        Ok(Some(Self { folder: folder.to_owned(), seed, _lock: lock }))
    }
}

/// The seed that is kept at `path`; `None` if there is no such file.
fn read_seed(path: &Path) -> Result<Option<Zeroizing<[u8; SEED_BYTES]>>, ProfileError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("read", path)(error)),
    };
    // One byte more than there should be: enough to see that a file is too long, however long it is.
    let mut bytes = Zeroizing::new(Vec::with_capacity(SEED_BYTES + 1));
    (&file).take(SEED_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(failed("read", path))?;
    let seed: [u8; SEED_BYTES] = bytes.as_slice().try_into().map_err(|_| ProfileError::Damaged(path.to_owned()))?;
    // A file system that lost the content after a crash leaves zeros.
    if seed == [0; SEED_BYTES] {
        return Err(ProfileError::Damaged(path.to_owned()));
    }
    // Copies and backups lose the mode: nobody else is to read the key.
    let mode = file.metadata().map_err(failed("read", path))?.permissions().mode();
    if mode & 0o077 != 0 {
        fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed("protect", path))?;
    }
    Ok(Some(Zeroizing::new(seed)))
}

/// A seed from the system's random numbers, on the disk before it is used. The caller holds the lock.
fn create_seed(path: &Path) -> Result<Zeroizing<[u8; SEED_BYTES]>, ProfileError> {
    let seed = Zeroizing::new(fresh_seed().map_err(failed("draw random bytes for", path))?);
    // Written beside and renamed: whoever looks sees no file or a whole one.
    let beside = path.with_extension("new");
    let write = || {
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&beside)?;
        file.write_all(seed.as_ref())?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().map_err(failed("write", path))?;
    Ok(seed)
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ProfileError {
    let path = path.to_owned();
    move |error| ProfileError::Io { doing, path, error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_one_is_stays_the_same_from_run_to_run() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = root.path().join("deep/state");
        let first = *Profile::at(&folder).expect("made").seed();
        assert_eq!(Profile::at(&folder).expect("taken again").seed(), &first);
        let mode = fs::metadata(folder.join("identity")).expect("the file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!folder.join("identity.new").exists());
    }

    #[test]
    fn a_folder_in_use_is_refused_and_free_again_afterwards() {
        let root = tempfile::tempdir().expect("a folder");
        let held = Profile::at(root.path()).expect("made");
        let error = Profile::at(root.path()).expect_err("in use");
        assert!(matches!(error, ProfileError::InUse(_)) && error.to_string().contains("--state"), "{error}");
        drop(held);
        Profile::at(root.path()).expect("free");
    }

    #[test]
    fn a_second_client_on_the_default_is_someone_else() {
        let root = tempfile::tempdir().expect("a folder");
        let first = Profile::first_free_in(root.path()).expect("the first");
        let second = Profile::first_free_in(root.path()).expect("the second");
        assert_ne!(first.seed(), second.seed());
        assert!(second.folder().ends_with("profile-2"));
        let first_seed = *first.seed();
        drop(first);
        assert_eq!(Profile::first_free_in(root.path()).expect("the first again").seed(), &first_seed);
    }

    #[test]
    fn there_is_an_end_to_the_profiles() {
        let root = tempfile::tempdir().expect("a folder");
        let held: Vec<_> = (0..MAX_PROFILES).map(|_| Profile::first_free_in(root.path()).expect("one more")).collect();
        assert!(matches!(Profile::first_free_in(root.path()), Err(ProfileError::AllInUse)));
        assert_eq!(held.len(), MAX_PROFILES);
    }

    #[test]
    fn a_damaged_identity_is_reported_and_never_replaced() {
        for content in [&[][..], &[7; 31], &[7; 33], &[0; 32]] {
            let root = tempfile::tempdir().expect("a folder");
            let path = root.path().join("identity");
            fs::write(&path, content).expect("written");
            let error = Profile::at(root.path()).expect_err("damaged");
            assert!(matches!(error, ProfileError::Damaged(_)), "{error}");
            assert!(error.to_string().contains("delete it"), "{error}");
            assert_eq!(fs::read(&path).expect("still there"), content);
        }
    }

    #[test]
    fn an_identity_that_cannot_be_read_says_which() {
        let root = tempfile::tempdir().expect("a folder");
        fs::create_dir(root.path().join("identity")).expect("a folder in its place");
        let error = Profile::at(root.path()).expect_err("unreadable");
        assert!(error.to_string().contains("identity"), "{error}");
    }

    #[test]
    fn an_identity_that_others_could_read_is_closed_to_them() {
        let root = tempfile::tempdir().expect("a folder");
        let path = root.path().join("identity");
        fs::write(&path, [7; 32]).expect("written");
        fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("opened");
        assert_eq!(Profile::at(root.path()).expect("taken").seed(), &[7; 32]);
        assert_eq!(fs::metadata(&path).expect("the file").permissions().mode() & 0o777, 0o600);
    }
}
