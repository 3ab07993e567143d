//! Something that can tell the time: what the machines that decide must never be able to link.

/// Now.
pub fn now() -> std::time::Instant {
    std::time::Instant::now()
}
