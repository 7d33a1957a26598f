//! Where a download may go, and the two files it is in turn: the `.part` while it grows, the final name when it is whole.

use super::journal::part_name;
use super::{DiskError, name};
use crate::node::api::ErrorCode;
use crate::node::files::FileHash;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// The place of one download.
#[derive(Debug)]
pub(super) struct Target {
    /// The final path; its folder without symbolic links, so that one place has one name.
    path: PathBuf,
    /// The same as the user knows it.
    pub(super) shown: PathBuf,
    /// The file that grows, in the same folder.
    pub(super) part: PathBuf,
    /// Whether a file of that name may be replaced: only one that the user named.
    replace: bool,
    /// What it is offered as, for hints.
    name: String,
}

impl Target {
    /// The place for content offered as `name`: that name in the shared folder, or wherever the user said.
    ///
    /// `save_as` is the user's own word: relative to the shared folder or absolute, any name, an existing file of that name is
    /// replaced. If it is an existing folder, the offered name in that folder is meant, and nothing is replaced.
    pub(super) fn find(shared: &Path, name: &str, save_as: Option<&Path>, hash: FileHash) -> Result<Self, DiskError> {
        let chosen = save_as.map(|path| shared.join(path));
        let (folder, last, replace) = match &chosen {
            Some(path) if !path.is_dir() => {
                let last = path.file_name().ok_or_else(|| {
                    DiskError::new(
                        ErrorCode::Usage,
                        format!("{} names no file: type `R <name> as <path>`", path.display()),
                    )
                })?;
                (path.parent().unwrap_or(shared), last, true)
            }
            folder => {
                name::check(name)?;
                (folder.as_deref().unwrap_or(shared), OsStr::new(name), false)
            }
        };
        let shown = folder.join(last);
        let real = fs::canonicalize(folder).map_err(|error| DiskError::writing(&shown, &error))?;
        if !real.is_dir() {
            return Err(DiskError::writing(&shown, &ErrorKind::NotADirectory.into()));
        }
        let part = real.join(part_name(&last.to_string_lossy(), hash));
        let target = Self { path: real.join(last), shown, part, replace, name: name.to_owned() };
        target.check_free()?;
        Ok(target)
    }

    /// Whether both would write the same file.
    pub(super) fn same_place(&self, other: &Self) -> bool {
        self.path == other.path || self.part == other.part
    }

    /// That nothing is there, or a file that may be replaced. Links are looked at, never followed.
    fn check_free(&self) -> Result<(), DiskError> {
        let shown = self.shown.display();
        match fs::symlink_metadata(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(DiskError::writing(&self.shown, &error)),
            Ok(found) if self.replace && (found.is_file() || found.is_symlink()) => Ok(()),
            Ok(found) if found.is_dir() => Err(DiskError::exists(&self.name, &format!("{shown} is a folder"))),
            Ok(found) if found.is_file() => Err(DiskError::exists(&self.name, &format!("{shown} exists"))),
            Ok(_) => Err(DiskError::exists(&self.name, &format!("{shown} exists and is not an ordinary file"))),
        }
    }

    /// Opens the `.part`, locked so that no second client writes to it: that of an earlier time, if `journaled` names it and it
    /// is still as we left it, else an empty one. The second value says which.
    ///
    /// `forget` is called before an empty one takes an earlier one's place, so that no journal ever speaks of the wrong file.
    pub(super) fn open_part(
        &self,
        journaled: Option<&Path>,
        size: u64,
        forget: impl FnOnce(),
    ) -> Result<(File, bool), DiskError> {
        let failed = |error: io::Error| DiskError::writing(&self.part, &error);
        if let Some(file) = self.leftover(&self.part)? {
            if journaled == Some(&self.part) && is_ours(&file, size) {
                return Ok((file, true));
            }
            forget();
            fs::remove_file(&self.part).map_err(failed)?;
        } else if let Some(elsewhere) = journaled
            && let Ok(Some(file)) = self.leftover(elsewhere)
            && is_ours(&file, size)
            && fs::rename(elsewhere, &self.part).is_ok()
        {
            // The user chose another place this time, on the same disk.
            return Ok((file, true));
        } else {
            forget();
        }
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&self.part).map_err(failed)?;
        self.lock(&file)?;
        if let Err(error) = file.set_len(size) {
            let _nothing_is_in_it = fs::remove_file(&self.part);
            return Err(failed(error));
        }
        Ok((file, false))
    }

    /// What is at `path`, if it is an ordinary file that nobody else is writing.
    fn leftover(&self, path: &Path) -> Result<Option<File>, DiskError> {
        let found = match fs::symlink_metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(DiskError::writing(path, &error)),
            Ok(found) => found,
        };
        if !found.is_file() {
            return Err(DiskError::exists(&self.name, &format!("{} is in the way", path.display())));
        }
        let file =
            OpenOptions::new().read(true).write(true).open(path).map_err(|error| DiskError::writing(path, &error))?;
        self.lock(&file)?;
        Ok(Some(file))
    }

    fn lock(&self, file: &File) -> Result<(), DiskError> {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Err(DiskError::exists(
                &self.name,
                &format!("another client is downloading {} to this folder", self.shown.display()),
            )),
            // A file system without locks: two clients in one folder would each verify what they write.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(()),
        }
    }

    /// Gives the whole `.part` its final name, without replacing anything that the user did not name.
    ///
    /// Not replacing is atomic where there are hard links: the new name is made only if it is free, then the old one goes. A crash
    /// between leaves both names. On file systems without (FAT, exFAT) it is a look and then a rename: what someone else puts
    /// there between the two is replaced.
    pub(super) fn complete(&self) -> Result<(), DiskError> {
        let failed = |error: io::Error| DiskError::writing(&self.shown, &error);
        if self.replace {
            self.check_free()?;
            fs::rename(&self.part, &self.path).map_err(failed)?;
        } else {
            match fs::hard_link(&self.part, &self.path) {
                Ok(()) => {
                    let _both_names_are_whole = fs::remove_file(&self.part);
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    self.check_free()?;
                    return Err(failed(error));
                }
                Err(_) => {
                    self.check_free()?;
                    fs::rename(&self.part, &self.path).map_err(failed)?;
                }
            }
        }
        // So that the name survives a power cut as the content does; not every system can.
        if let Some(folder) = self.path.parent().and_then(|folder| File::open(folder).ok()) {
            let _best_effort = folder.sync_all();
        }
        Ok(())
    }
}

/// Whether an opened leftover is as we left it: of full length, and under no second name through which someone else's file would
/// be written.
fn is_ours(file: &File, size: u64) -> bool {
    let Ok(found) = file.metadata() else { return false };
    #[cfg(unix)]
    if std::os::unix::fs::MetadataExt::nlink(&found) != 1 {
        return false;
    }
    found.is_file() && found.len() == size
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HASH: FileHash = FileHash([0xab; 32]);

    fn code(result: Result<Target, DiskError>) -> Option<ErrorCode> {
        result.err().map(|error| error.code)
    }

    #[test]
    fn without_a_word_from_the_user_nothing_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("taken"), "mine").unwrap();
        fs::create_dir(folder.path().join("sub")).unwrap();
        let find = |name, save_as: Option<&str>| Target::find(folder.path(), name, save_as.map(Path::new), HASH);
        let error = find("taken", None).unwrap_err();
        assert_eq!(error.code, ErrorCode::Exists);
        assert!(error.message.contains("R taken as <path>"), "{}", error.message);
        assert_eq!(code(find("sub", None)), Some(ErrorCode::Exists));
        assert_eq!(code(find("taken", Some("."))), Some(ErrorCode::Exists));
        assert_eq!(code(find("x", Some("taken"))), None);
        // A folder means: under the offered name in it.
        assert_eq!(find("x", Some("sub")).unwrap().shown, folder.path().join("sub/x"));
    }

    #[test]
    fn a_folder_that_is_not_there_is_said_to_be_missing() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        let find = |save_as: &str| Target::find(folder.path(), "x", Some(Path::new(save_as)), HASH);
        assert_eq!(code(find("no/x")), Some(ErrorCode::NotFound));
        assert_eq!(code(find("file/x")), Some(ErrorCode::NotFound));
        assert_eq!(code(find("no/..")), Some(ErrorCode::Usage));
        assert_eq!(code(Target::find(&folder.path().join("no"), "x", None, HASH)), Some(ErrorCode::NotFound));
    }

    #[test]
    fn the_user_may_name_any_path_but_the_offer_may_not() {
        let (shared, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let absolute = other.path().join(" odd\tname.");
        let target = Target::find(shared.path(), "../evil", Some(&absolute), HASH).unwrap();
        assert_eq!(target.shown, absolute);
        assert_eq!(code(Target::find(shared.path(), "../evil", None, HASH)), Some(ErrorCode::UnsafeName));
        // A folder given by the user does not make the offered name the user's word.
        assert_eq!(code(Target::find(shared.path(), "../evil", Some(other.path()), HASH)), Some(ErrorCode::UnsafeName));
    }

    #[cfg(unix)]
    #[test]
    fn links_are_never_followed() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let victim = folder.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        symlink(&victim, folder.path().join("link")).unwrap();
        symlink(folder.path().join("nowhere"), folder.path().join("dangling")).unwrap();
        let find = |name, save_as: Option<&str>| Target::find(folder.path(), name, save_as.map(Path::new), HASH);
        assert_eq!(code(find("link", None)), Some(ErrorCode::Exists));
        assert_eq!(code(find("dangling", None)), Some(ErrorCode::Exists));
        // Replacing a link replaces the link.
        let target = find("x", Some("link")).unwrap();
        target.open_part(None, 0, || ()).unwrap();
        target.complete().unwrap();
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
        assert!(fs::symlink_metadata(folder.path().join("link")).unwrap().is_file());
        // A link in the place of the .part is in the way.
        symlink(&victim, folder.path().join("y.abababab.part")).unwrap();
        let error = find("y", None).unwrap().open_part(None, 0, || ()).unwrap_err();
        assert_eq!(error.code, ErrorCode::Exists);
        // A .part that has a second name is someone's file: it is left alone, and a fresh one is begun.
        fs::hard_link(&victim, folder.path().join("z.abababab.part")).unwrap();
        let target = find("z", None).unwrap();
        let (_, resumed) = target.open_part(Some(&target.part), 8, || ()).unwrap();
        assert!(!resumed);
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
    }

    #[test]
    fn a_file_that_appears_while_we_download_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let target = Target::find(folder.path(), "x", None, HASH).unwrap();
        target.open_part(None, 3, || ()).unwrap();
        fs::write(folder.path().join("x"), "newer").unwrap();
        assert_eq!(target.complete().unwrap_err().code, ErrorCode::Exists);
        assert_eq!(fs::read(folder.path().join("x")).unwrap(), b"newer");
        assert!(target.part.exists());
    }

    #[test]
    fn two_clients_in_one_folder_do_not_write_one_part() {
        let folder = tempfile::tempdir().unwrap();
        let target = Target::find(folder.path(), "x", None, HASH).unwrap();
        let _held = target.open_part(None, 3, || ()).unwrap();
        assert_eq!(target.open_part(None, 3, || ()).unwrap_err().code, ErrorCode::Exists);
    }

    proptest! {
        /// Whatever name, both files stay in the target folder.
        #[test]
        fn whatever_the_name_the_files_stay_in_the_folder(name in prop_oneof![".*", "[./\\\\ a:~]{0,8}", "[a語]{80,120}"]) {
            let folder = tempfile::tempdir().unwrap();
            if let Ok(target) = Target::find(folder.path(), &name, None, HASH) {
                let real = fs::canonicalize(folder.path()).unwrap();
                prop_assert_eq!(target.path.parent(), Some(real.as_path()));
                prop_assert_eq!(target.part.parent(), Some(real.as_path()));
                prop_assert!(target.part.file_name().unwrap().len() <= 255);
                prop_assert!(!target.path.exists());
            }
        }
    }
}
