//! Names, texts and messages from others, made harmless for a screen.
//!
//! What another member chose must not move the cursor, ring the bell, reorder what stands beside it, hide, or break the line.
//! Such characters are shown as what they are (`\u{202e}`), never dropped: two texts that differ look different.

use std::borrow::Cow;
use std::fmt::Write;

/// Whether a terminal or a reader could be fooled by this character: it acts instead of being seen, or is not seen at all.
///
/// U+FE0F (emoji presentation) is let through: it only picks the look of the character before it.
pub(crate) fn is_harmful(character: char) -> bool {
    character.is_control() // C0, DEL, C1
        || matches!(character,
            '\u{ad}' | '\u{34f}' | '\u{61c}'            // soft hyphen, grapheme joiner, Arabic letter mark
            | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' // Hangul fillers: blank letters
            | '\u{17b4}' | '\u{17b5}'                   // Khmer inherent vowels: not seen
            | '\u{180b}'..='\u{180f}'                   // Mongolian selectors and vowel separator
            | '\u{200b}'..='\u{200f}'                   // zero width, left-to-right and right-to-left marks
            | '\u{2028}'..='\u{202e}'                   // line and paragraph separators, bidirectional embeddings
            | '\u{2060}'..='\u{206f}'                   // word joiner, invisible operators, bidirectional isolates
            | '\u{fe00}'..='\u{fe0e}'                   // variation selectors
            | '\u{feff}' | '\u{fff0}'..='\u{fffb}'      // byte order mark, interlinear annotations
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' // shorthand and music format controls
            | '\u{e0000}'..='\u{e0fff}') // tags, variation selectors supplement
}

/// `text` with every harmful character replaced by its visible escape.
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len().saturating_add(16));
    for character in text.chars() {
        if is_harmful(character) {
            // Writing to a string cannot fail.
            let _ = write!(safe, "\\u{{{:x}}}", u32::from(character));
        } else {
            safe.push(character);
        }
    }
    Cow::Owned(safe)
}

/// `text` made harmless and cut to `columns` columns of a screen, with `…` where it was cut.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    let safe = harmless(text);
    if width(&safe) <= columns {
        return safe.into_owned();
    }
    let mut kept = String::new();
    let mut used = 1; // for the …
    for character in safe.chars() {
        used += columns_of(character);
        if used > columns {
            break;
        }
        kept.push(character);
    }
    kept.push('…');
    kept
}

/// How many columns of a screen `text` takes, as nearly as most terminals agree.
pub(crate) fn width(text: &str) -> usize {
    text.chars().map(columns_of).sum()
}

/// Columns of one character: 0 for marks that sit on the one before, 2 for wide scripts and emoji (UAX #11), else 1.
const fn columns_of(character: char) -> usize {
    match character {
        '\u{300}'..='\u{36f}'
        | '\u{fe0f}'
        | '\u{1ab0}'..='\u{1aff}'
        | '\u{20d0}'..='\u{20ff}'
        | '\u{fe20}'..='\u{fe2f}' => 0,
        '\u{1100}'..='\u{115e}'
        | '\u{2e80}'..='\u{303e}'
        | '\u{3041}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1f64f}'
        | '\u{1f680}'..='\u{1f6ff}'
        | '\u{1f900}'..='\u{1faff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ordinary_text_in_any_script_is_left_alone() {
        for text in ["hello", "naïve façade", "日本語", "русский", "עברית", "🎉 ❤\u{fe0f}", "a\\b"]
        {
            assert_eq!(harmless(text), text);
        }
    }

    #[test]
    fn whatever_acts_instead_of_being_seen_is_written_out() {
        assert_eq!(harmless("\u{1b}[2J"), "\\u{1b}[2J");
        assert_eq!(harmless("a\r\nb"), "a\\u{d}\\u{a}b");
        assert_eq!(harmless("x\u{202e}cod.exe"), "x\\u{202e}cod.exe");
        for character in
            "\u{0}\u{7}\u{9}\u{7f}\u{85}\u{9b}\u{61c}\u{200b}\u{200d}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202e}\u{2060}\u{2066}\u{2069}\u{feff}\u{e0041}"
                .chars()
        {
            assert!(is_harmful(character), "{character:?}");
        }
    }

    #[test]
    fn a_long_name_is_cut_by_columns_not_by_letters() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdefg", 6), "abcde…");
        // Each of these takes two columns: two of them and the mark are five, a third would make seven.
        assert_eq!(cut("日本語文字", 6), "日本…");
        assert_eq!(cut("", 0), "");
    }

    proptest! {
        #[test]
        fn nothing_harmful_survives_and_no_cut_is_too_wide(text in any::<String>(), columns in 1_usize..40) {
            prop_assert!(!harmless(&text).chars().any(is_harmful));
            prop_assert!(width(&cut(&text, columns)) <= columns);
        }
    }
}
