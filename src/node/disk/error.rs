//! What the system said, as a code for scripts and a sentence that names the way out.

use super::DiskError;
use crate::node::api::ErrorCode;
use std::io::{self, ErrorKind};
use std::path::Path;

impl DiskError {
    /// An error that we found ourselves.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// Reading `path` failed.
    pub(super) fn reading(path: &Path, error: &io::Error) -> Self {
        let shown = path.display();
        match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => {
                Self::new(ErrorCode::NotFound, format!("there is no file {shown}: check the path"))
            }
            ErrorKind::PermissionDenied => Self::new(
                ErrorCode::Unreadable,
                format!("{shown} may not be read by this user: change its permissions, then offer it again"),
            ),
            ErrorKind::UnexpectedEof => Self::changed(path),
            _ => Self::new(ErrorCode::Unreadable, format!("{shown} cannot be read: {error}")),
        }
    }

    /// Writing `path`, or making it, failed.
    pub(super) fn writing(path: &Path, error: &io::Error) -> Self {
        let shown = path.display();
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::new(
                ErrorCode::DiskFull,
                format!("no space is left for {shown}: make room, then ask for the file again; what came is kept"),
            ),
            ErrorKind::FileTooLarge => Self::new(
                ErrorCode::DiskFull,
                format!(
                    "the disk of {shown} cannot hold a file this large: save it elsewhere with `R <name> as <path>`"
                ),
            ),
            ErrorKind::NotFound | ErrorKind::NotADirectory => Self::new(
                ErrorCode::NotFound,
                format!("the folder of {shown} does not exist: make it, or choose another with `R <name> as <path>`"),
            ),
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Self::new(
                ErrorCode::Unwritable,
                format!("{shown} may not be written: choose another place with `R <name> as <path>`"),
            ),
            ErrorKind::InvalidFilename | ErrorKind::InvalidInput => Self::new(
                ErrorCode::UnsafeName,
                format!("the disk takes no such name as {shown}: choose one with `R <name> as <path>`"),
            ),
            _ => Self::new(
                ErrorCode::Unwritable,
                format!("{shown} cannot be written: {error}; choose another place with `R <name> as <path>`"),
            ),
        }
    }

    /// An offered file is not what was hashed.
    pub(super) fn changed(path: &Path) -> Self {
        Self::new(
            ErrorCode::Unreadable,
            format!("{} changed since it was offered: offer it again with `B {}`", path.display(), path.display()),
        )
    }

    /// Something is where the download was to go.
    pub(super) fn exists(name: &str, what: &str) -> Self {
        Self::new(ErrorCode::Exists, format!("{what}: choose another place with `R {name} as <path>`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_a_disk_is_full_has_the_code_for_it() {
        for kind in [ErrorKind::StorageFull, ErrorKind::QuotaExceeded, ErrorKind::FileTooLarge] {
            assert_eq!(DiskError::writing(Path::new("f"), &kind.into()).code, ErrorCode::DiskFull, "{kind}");
        }
        for kind in [ErrorKind::PermissionDenied, ErrorKind::ReadOnlyFilesystem, ErrorKind::Other] {
            assert_eq!(DiskError::writing(Path::new("f"), &kind.into()).code, ErrorCode::Unwritable, "{kind}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_told_from_what_is_not_there() {
        assert_eq!(DiskError::reading(Path::new("f"), &ErrorKind::NotFound.into()).code, ErrorCode::NotFound);
        assert_eq!(DiskError::reading(Path::new("f"), &ErrorKind::PermissionDenied.into()).code, ErrorCode::Unreadable);
        assert_eq!(DiskError::reading(Path::new("f"), &ErrorKind::Other.into()).code, ErrorCode::Unreadable);
    }
}
