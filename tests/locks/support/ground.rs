//! What a program without std has to bring along: an allocator and an end for panics. If anything in the tree
//! brings std, the compiler finds two of them: E0152.

use core::alloc::{GlobalAlloc, Layout};
use core::panic::PanicInfo;

struct Nothing;

// SAFETY: "there is no memory" is always an allowed answer, and what was never given out is never given back.
unsafe impl GlobalAlloc for Nothing {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static ALLOCATOR: Nothing = Nothing;

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {}
}
