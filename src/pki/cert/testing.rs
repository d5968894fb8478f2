//! What unit tests need beside certificates built byte by byte: the work of key derivations, counted.

pub(crate) use trustup_test_support::der::*;
pub(crate) use trustup_test_support::xorshift::Xorshift;

thread_local! {
    /// All iterations of the key derivations of this thread.
    static DERIVED: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// Counts the iterations of one derivation, which takes them for each block of its output.
pub(crate) fn derived_blocks(iterations: u32, blocks: usize) {
    DERIVED.set(DERIVED.get() + u64::from(iterations) * blocks as u64);
}

/// What `work` gives, and the iterations of key derivations that it takes: costs are counted, not timed.
pub(crate) fn counted<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let before = DERIVED.get();
    let result = work();
    (result, DERIVED.get() - before)
}
