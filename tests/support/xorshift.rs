//! Mutations of input that can be made again.

/// A small deterministic generator (xorshift), so that a failing mutation can be reproduced.
pub struct Xorshift(pub u64);

impl Xorshift {
    pub fn next_u64(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next_u64() % limit.max(1) as u64) as usize
    }

    /// `bytes` with a few changed, removed, doubled or cut off.
    pub fn mutate(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut changed = bytes.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(changed.len());
            match self.below(6) {
                0 => changed.truncate(at),
                1 if at < changed.len() => drop(changed.remove(at)),
                2 => changed.insert(at, self.next_u64() as u8),
                3 => {
                    let piece = changed[at..(at + self.below(40)).min(changed.len())].to_vec();
                    changed.splice(at..at, piece);
                }
                _ if at < changed.len() => changed[at] = self.next_u64() as u8,
                _ => {}
            }
        }
        changed
    }
}
