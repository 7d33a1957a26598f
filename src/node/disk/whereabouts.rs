//! The room that a program was in when it ended without having left it: its members look for it, and may call it back.

use std::fs;
use std::io;
use std::path::Path;

/// The file in the state folder: the room's id in hexadecimal digits.
const FILE: &str = "room";

/// Notes the room that we are in, or that we left.
pub(super) fn note(state: &Path, room: Option<[u8; 16]>) -> io::Result<()> {
    let file = state.join(FILE);
    let Some(room) = room else {
        return match fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    };
    fs::create_dir_all(state)?;
    let new = state.join("room.new");
    fs::write(&new, data_encoding::HEXLOWER.encode(&room))?;
    fs::rename(new, file)
}

/// The room that the program before us was in when it ended, if it did not leave.
pub fn last_room(state: &Path) -> Option<[u8; 16]> {
    let digits = fs::read(state.join(FILE)).ok()?;
    data_encoding::HEXLOWER.decode(digits.trim_ascii()).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_is_remembered_until_it_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        assert_eq!(last_room(&state), None);
        note(&state, None).unwrap();
        note(&state, Some([7; 16])).unwrap();
        note(&state, Some([8; 16])).unwrap();
        assert_eq!(last_room(&state), Some([8; 16]));
        note(&state, None).unwrap();
        assert_eq!(last_room(&state), None);
    }

    #[test]
    fn what_is_no_room_is_none() {
        let folder = tempfile::tempdir().unwrap();
        for damaged in ["", "zz", "0011", &"0".repeat(1000)] {
            fs::write(folder.path().join(FILE), damaged).unwrap();
            assert_eq!(last_room(folder.path()), None);
        }
    }
}
