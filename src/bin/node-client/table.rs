//! Columns of text, as wide as what stands in them.

use crate::harmless::width;

/// Rows of cells, the first the headings, as lines. Cells are harmless already.
pub(crate) fn lines(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(|cell| width(cell)).max().unwrap_or(0))
        .collect();
    rows.iter()
        .map(|row| {
            let mut line = String::new();
            for (cell, wide) in row.iter().zip(&widths) {
                line.push_str("  ");
                line.push_str(cell);
                line.extend(core::iter::repeat_n(' ', wide.saturating_sub(width(cell))));
            }
            line.truncate(line.trim_end().len());
            line
        })
        .collect()
}
