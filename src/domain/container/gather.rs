//! Small pieces of a stream put together across chunk borders, and the containers open around them.

/// Up to `N` bytes wanted next, however the stream is cut.
#[derive(Clone, Debug)]
pub(super) struct Gather<const N: usize> {
    bytes: [u8; N],
    len: usize,
    wanted: usize,
}

impl<const N: usize> Gather<N> {
    /// Wants `wanted` bytes, at most `N`.
    pub(super) fn wanting(wanted: usize) -> Self {
        Gather {
            bytes: [0; N],
            len: 0,
            wanted: wanted.min(N),
        }
    }

    /// Raises the number wanted, keeping what is there.
    pub(super) fn want(&mut self, wanted: usize) {
        self.wanted = wanted.clamp(self.len, N);
    }

    pub(super) fn restart(&mut self, wanted: usize) {
        self.len = 0;
        self.wanted = wanted.min(N);
    }

    /// Takes what is still wanted from the front of `chunk`; returns how many bytes that was.
    pub(super) fn fill(&mut self, chunk: &[u8]) -> usize {
        let taken = chunk.len().min(self.wanted - self.len);
        self.bytes[self.len..self.len + taken].copy_from_slice(&chunk[..taken]);
        self.len += taken;
        taken
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn is_full(&self) -> bool {
        self.len == self.wanted
    }
}

/// The deepest nesting either format is read to (moov › trak › mdia › minf, Segment › Tracks › TrackEntry › Video).
const MAX_DEPTH: usize = 4;

/// The containers around the current position, outermost first.
#[derive(Clone, Debug)]
pub(super) struct Open<K> {
    levels: [Option<Level<K>>; MAX_DEPTH],
    depth: usize,
}

/// A container that was entered and not yet left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level<K> {
    pub(super) kind: K,
    /// Offset in the stream just behind it; `None` where its size is not declared.
    pub(super) end: Option<u64>,
}

impl<K: Copy> Open<K> {
    pub(super) fn new() -> Self {
        Open {
            levels: [None; MAX_DEPTH],
            depth: 0,
        }
    }

    /// False when that would be too deep: the container is then to be stepped over.
    pub(super) fn enter(&mut self, kind: K, end: Option<u64>) -> bool {
        if self.depth == MAX_DEPTH {
            return false;
        }
        self.levels[self.depth] = Some(Level { kind, end });
        self.depth += 1;
        true
    }

    pub(super) fn leave(&mut self) -> Option<Level<K>> {
        self.depth = self.depth.checked_sub(1)?;
        self.levels[self.depth].take()
    }

    pub(super) fn innermost(&self) -> Option<Level<K>> {
        self.levels[..self.depth].last().copied().flatten()
    }

    /// Where the innermost container of declared size ends.
    pub(super) fn nearest_end(&self) -> Option<u64> {
        self.levels[..self.depth]
            .iter()
            .rev()
            .flatten()
            .find_map(|level| level.end)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.depth == 0
    }
}

/// Big-endian number of `N` bytes at `at`, if it is there.
pub(super) fn be<const N: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    const { assert!(N <= 8) };
    let field = bytes.get(at..at.checked_add(N)?)?;
    Some(field.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}
