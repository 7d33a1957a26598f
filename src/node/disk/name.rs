//! Names that others chose for their files: which of them may become a file here.
//!
//! A name is taken as it is or refused, never repaired: two names must not become one, and what is saved must be what was offered.
//! The rules are the same on every system, so that a folder can be carried from one to another; only what merely Windows
//! forbids, and other systems use (`12:30.txt`), is refused on Windows alone.

use super::DiskError;
use crate::node::api::ErrorCode;

/// Bytes of a file name, at most (`NAME_MAX` of every common file system).
pub(super) const MAX_NAME: usize = 255;

/// Names that Windows gives to devices, whatever follows the first dot.
const DEVICES: [&str; 6] = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"];

/// Whether `name` may be the name of a file in the target folder: one path component that means the same everywhere.
pub(super) fn check(name: &str) -> Result<(), DiskError> {
    match objection(name) {
        None => Ok(()),
        Some(why) => Err(DiskError::new(
            ErrorCode::UnsafeName,
            format!("the offered name {name:?} {why}: choose your own with `R <name or hash> as <path>`"),
        )),
    }
}

fn objection(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("is empty");
    }
    if name.len() > MAX_NAME {
        return Some("is over 255 bytes long");
    }
    if name == "." || name == ".." {
        return Some("is a folder");
    }
    if name.contains(['/', '\\']) {
        return Some("is a path");
    }
    if name.contains(|c: char| c.is_control() || reorders(c)) {
        return Some("has control characters");
    }
    if name.starts_with(char::is_whitespace) || name.ends_with(char::is_whitespace) || name.ends_with('.') {
        // Windows drops them silently, and nobody sees them elsewhere.
        return Some("begins or ends with a space, or ends with a dot");
    }
    if is_device(name) {
        return Some("is a device on Windows");
    }
    if cfg!(windows) && name.contains(['<', '>', ':', '"', '|', '?', '*']) {
        return Some("has characters that Windows forbids");
    }
    None
}

/// Characters that make a name read otherwise than it is (`exe.txt` for `txt.exe`): the overrides, embeddings and isolates of
/// the bidirectional algorithm (UAX #9 §2), and the line separators. Marks that scripts need (ZWNJ, RLM) are not among them.
const fn reorders(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name).trim_end().to_uppercase();
    let port = |prefix| {
        stem.strip_prefix(prefix).is_some_and(|rest: &str| {
            // COM¹ is COM1 to Windows (ISO 8859-1 digits).
            matches!(rest, "0" | "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9" | "¹" | "²" | "³")
        })
    };
    DEVICES.contains(&stem.as_str()) || port("COM") || port("LPT")
}

/// `text` cut to at most `limit` bytes, between characters.
pub(super) fn cut(text: &str, limit: usize) -> &str {
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::Path;

    #[test]
    fn ordinary_names_of_every_script_are_taken() {
        for name in
            ["a", "holiday photos.zip", ".hidden", "日本語.txt", "می‌خواهم.txt", "a.b..c", "com", "con-fusing", "12 30"]
        {
            assert_eq!(check(name), Ok(()), "{name:?}");
        }
        assert_eq!(check(&"x".repeat(MAX_NAME)), Ok(()));
    }

    #[test]
    fn names_that_lead_elsewhere_or_mislead_are_refused() {
        let long = "x".repeat(MAX_NAME + 1);
        for name in [
            "",
            ".",
            "..",
            "/etc/passwd",
            "../x",
            "a/b",
            "a\\b",
            "C:\\x",
            "nul\0",
            "a\nb",
            "\u{1b}[2J",
            "\u{7f}",
            "\u{85}",
            " a",
            "a ",
            "a.",
            "a\u{3000}",
            "CON",
            "nul.txt",
            "Com1",
            "lpt9.tar.gz",
            "COM¹",
            "aux .c",
            "conin$",
            "exe\u{202e}txt.",
            "a\u{2066}b",
            &long,
        ] {
            assert_eq!(check(name).map_err(|error| error.code), Err(ErrorCode::UnsafeName), "{name:?}");
        }
    }

    #[test]
    fn cutting_keeps_whole_characters() {
        assert_eq!(cut("日本", 5), "日");
        assert_eq!(cut("ab", 9), "ab");
        assert_eq!(cut("日", 0), "");
    }

    proptest! {
        /// Whatever is taken stays a direct child of the folder it is joined to.
        #[test]
        fn a_name_that_is_taken_stays_in_its_folder(name in prop_oneof![".*", "[./\\\\ a:~-]{0,8}", "[A-Za-z.]{0,6}"]) {
            if check(&name).is_ok() {
                let path = Path::new("/target").join(&name);
                prop_assert_eq!(path.parent(), Some(Path::new("/target")));
                prop_assert_eq!(path.file_name().and_then(|last| last.to_str()), Some(name.as_str()));
                prop_assert_eq!(path.components().count(), 3);
            }
        }
    }
}
