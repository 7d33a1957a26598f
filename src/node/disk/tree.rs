//! The BLAKE3 tree of a file, cut off above chunk groups: its geometry, and hashing it in bounded steps.

use super::{ByteRange, CHUNK_GROUP, MAX_SLICE};
use crate::node::files::FileHash;
use bao_tree::iter::{BaoChunk, PostOrderChunkIter};
use bao_tree::{BaoTree, BlockSize, ChunkNum, ChunkRanges};
use blake3::hazmat::{ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use std::io::{self, Read, Write};

/// 2^6 chunks of 1 KiB: [`CHUNK_GROUP`].
const BLOCK: BlockSize = BlockSize::from_chunk_log(6);

/// Bytes of a BLAKE3 chunk.
const CHUNK: u64 = 1024;

/// The tree of a file of this size.
pub(super) fn tree(size: u64) -> BaoTree {
    BaoTree::new(size, BLOCK)
}

/// What is wrong with a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RangeError {
    /// More than [`MAX_SLICE`].
    TooLarge,
    /// Empty, not whole chunk groups, or past the end of the file.
    NotInTree,
}

/// `range` as chunks, if a slice of a file of `size` bytes may hold it.
pub(super) fn chunks(range: ByteRange, size: u64) -> Result<ChunkRanges, RangeError> {
    let ByteRange { start, end } = range;
    let whole_groups = start % CHUNK_GROUP == 0 && (end % CHUNK_GROUP == 0 || end == size);
    if start >= end || end > size || !whole_groups {
        return Err(RangeError::NotInTree);
    }
    if end - start > MAX_SLICE {
        return Err(RangeError::TooLarge);
    }
    Ok(ChunkRanges::from(ChunkNum(start / CHUNK)..ChunkNum::chunks(end)))
}

/// Hashes a file front to back, a few chunk groups at a time, and writes the hash pairs in post order as it goes.
pub(super) struct TreeHasher {
    todo: PostOrderChunkIter,
    /// Hashes of finished subtrees whose sibling is not finished: one a level.
    stack: Vec<blake3::Hash>,
    buffer: Vec<u8>,
}

impl TreeHasher {
    /// For a file of this size.
    pub(super) fn new(size: u64) -> Self {
        Self {
            todo: tree(size).post_order_chunks_iter(),
            stack: Vec::new(),
            buffer: vec![0; usize::try_from(CHUNK_GROUP.min(size)).unwrap_or(0)],
        }
    }

    /// Hashes at least `budget` bytes more, unless the file ends: then returns its root. `data` and `pairs` go on where the last
    /// step ended.
    pub(super) fn step(
        &mut self,
        data: &mut impl Read,
        pairs: &mut impl Write,
        budget: u64,
    ) -> io::Result<Option<FileHash>> {
        let mut done = 0_u64;
        while done < budget {
            match self.todo.next() {
                Some(BaoChunk::Leaf { start_chunk, size, is_root, .. }) => {
                    let group = self.buffer.get_mut(..size).ok_or(io::ErrorKind::InvalidData)?;
                    data.read_exact(group)?;
                    self.stack.push(leaf(start_chunk, group, is_root));
                    done = done.saturating_add(size as u64).saturating_add(1);
                }
                Some(BaoChunk::Parent { is_root, .. }) => {
                    let (Some(right), Some(left)) = (self.stack.pop(), self.stack.pop()) else {
                        return Err(io::ErrorKind::InvalidData.into());
                    };
                    pairs.write_all(left.as_bytes())?;
                    pairs.write_all(right.as_bytes())?;
                    self.stack.push(parent(left.as_bytes(), right.as_bytes(), is_root));
                }
                None => {
                    let root = self.stack.pop().ok_or(io::ErrorKind::InvalidData)?;
                    return Ok(Some(FileHash(*root.as_bytes())));
                }
            }
        }
        Ok(None)
    }
}

fn leaf(start: ChunkNum, group: &[u8], is_root: bool) -> blake3::Hash {
    // A group that is not the root is never empty: only the empty file has an empty group.
    if is_root || group.is_empty() {
        return blake3::hash(group);
    }
    blake3::Hash::from(blake3::Hasher::new().set_input_offset(start.to_bytes()).update(group).finalize_non_root())
}

fn parent(left: &ChainingValue, right: &ChainingValue, is_root: bool) -> blake3::Hash {
    if is_root {
        merge_subtrees_root(left, right, Mode::Hash)
    } else {
        blake3::Hash::from(merge_subtrees_non_root(left, right, Mode::Hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bao_tree::io::sync::outboard_post_order;

    #[test]
    fn our_blocks_are_chunk_groups() {
        assert_eq!(BLOCK.bytes() as u64, CHUNK_GROUP);
    }

    /// The oracles are BLAKE3 itself for the root and bao-tree's own one-shot hashing for the pairs.
    #[test]
    fn hashing_in_steps_gives_the_hash_and_the_pairs_of_hashing_at_once() {
        let group = CHUNK_GROUP;
        for size in
            [0, 1, 1024, 1025, group - 1, group, group + 1, 2 * group, 3 * group + 5, 8 * group, 17 * group + 70]
        {
            let data: Vec<u8> = (0..size).map(|i| (i * 31 % 251) as u8).collect();
            for budget in [1, 2 * group, u64::MAX] {
                let (mut hasher, mut pairs, mut reader) = (TreeHasher::new(size), Vec::new(), data.as_slice());
                let root = loop {
                    if let Some(root) = hasher.step(&mut reader, &mut pairs, budget).unwrap() {
                        break root;
                    }
                };
                let mut expected = Vec::new();
                outboard_post_order(data.as_slice(), tree(size), &mut expected).unwrap();
                assert_eq!(root.0, *blake3::hash(&data).as_bytes(), "{size} bytes, {budget} a step");
                assert_eq!(pairs, expected, "{size} bytes, {budget} a step");
                assert_eq!(pairs.len() as u64, tree(size).outboard_size());
            }
        }
    }

    #[test]
    fn a_file_that_shrinks_while_it_is_hashed_is_an_error() {
        let error = TreeHasher::new(10).step(&mut [0; 9].as_slice(), &mut io::sink(), 99).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn only_whole_groups_within_the_file_and_the_cap_can_be_a_slice() {
        let size = 40 * CHUNK_GROUP + 7;
        let check = |start, end| chunks(ByteRange { start, end }, size).map(|_| ());
        assert_eq!(check(0, CHUNK_GROUP), Ok(()));
        assert_eq!(check(40 * CHUNK_GROUP, size), Ok(()));
        assert_eq!(check(0, MAX_SLICE), Ok(()));
        assert_eq!(check(0, MAX_SLICE + CHUNK_GROUP), Err(RangeError::TooLarge));
        for (start, end) in [
            (0, 0),
            (1, CHUNK_GROUP),
            (0, CHUNK_GROUP + 1),
            (CHUNK_GROUP, 0),
            (40 * CHUNK_GROUP, size + 1),
            (0, u64::MAX),
        ] {
            assert_eq!(check(start, end), Err(RangeError::NotInTree), "{start}..{end}");
        }
        let last_group = u64::MAX - u64::MAX % CHUNK_GROUP;
        assert_eq!(check(last_group, u64::MAX), Err(RangeError::NotInTree));
    }
}
