//! How large a blob is that is copied in one call.

/// From which sizes on a copy is made in another way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyLimits {
    /// The largest blob, in bytes, that is copied in one call.
    pub one_call: u64,
    /// Bytes of a block of a larger one. A blob of more than 50,000 of them has larger ones.
    pub block: u64,
}

impl Default for CopyLimits {
    /// 256 MiB, and blocks of 64 MiB: within an account that is seconds.
    fn default() -> Self {
        Self { one_call: 256 << 20, block: 64 << 20 }
    }
}
