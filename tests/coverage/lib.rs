//! Which code of an instrumented program was reached, and what it compared on the way.
//!
//! LLVM's pass `sancov-module` (`tests/coverage/rustc` asks for it) puts a counter of one byte on each edge of the flow of control, and a call before each
//! comparison of integers. The names of the functions that it calls, and what they are given, are LLVM's:
//! <https://clang.llvm.org/docs/SanitizerCoverage.html>.
//!
//! Counters and comparisons are those of the whole process: one input at a time. So that the same input reaches the same code each time, the program's
//! randomness is none.

mod compared;

pub use compared::{Compared, compared};

use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicU64, AtomicUsize, Ordering};

/// Where the counters begin, and how many there are. The linker joins those of all objects, so that each object tells the same.
static BEGIN: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Called before `main`, once for each instrumented object.
#[expect(unsafe_code, reason = "LLVM calls it by this name")]
#[unsafe(no_mangle)]
extern "C" fn __sanitizer_cov_8bit_counters_init(begin: *mut u8, end: *mut u8) {
    BEGIN.store(begin, Ordering::Relaxed);
    COUNT.store(end.addr().saturating_sub(begin.addr()), Ordering::Relaxed);
}

/// The counters: some single ones, those that can be looked at eight at a time, and some single ones.
fn counters() -> (
    &'static [AtomicU8],
    &'static [AtomicU64],
    &'static [AtomicU8],
) {
    let begin = BEGIN.load(Ordering::Relaxed).cast::<AtomicU8>();
    if begin.is_null() {
        return (&[], &[], &[]);
    }
    let count = COUNT.load(Ordering::Relaxed);
    // SAFETY: LLVM gave this range before `main`: a writable section of the program, which stays where it is until the process ends and of which
    // Rust makes no other reference. Bytes have no alignment to keep and no values to avoid, and eight of them, aligned, are a u64; both can
    // be looked at atomically. The program counts without atomic instructions: what is lost between two threads is a count.
    #[expect(unsafe_code, reason = "the counters are not Rust's")]
    unsafe {
        std::slice::from_raw_parts(begin, count).align_to()
    }
}

/// How many edges there are; 0 if the program is not instrumented.
pub fn edges() -> usize {
    COUNT.load(Ordering::Relaxed)
}

/// How many random bytes were drawn since [`clear`].
static DRAWN: AtomicU64 = AtomicU64::new(0);

/// In place of libc's, for hash tables (whose order decides which code is reached), names and nonces: the same bytes behind each [`clear`].
#[expect(unsafe_code, reason = "the standard library calls it by this name")]
#[unsafe(no_mangle)]
extern "C" fn getrandom(buffer: *mut u8, length: usize, _flags: u32) -> isize {
    for at in 0..length {
        let drawn = DRAWN.fetch_add(1, Ordering::Relaxed);
        let [.., byte] = drawn.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
        // SAFETY: the caller gives room for so many bytes.
        #[expect(unsafe_code, reason = "a buffer that is not Rust's")]
        unsafe {
            buffer.add(at).write(byte);
        }
    }
    length.cast_signed()
}

/// Forgets what was reached and compared.
pub fn clear() {
    DRAWN.store(0, Ordering::Relaxed);
    let (head, middle, tail) = counters();
    for counter in head.iter().chain(tail) {
        counter.store(0, Ordering::Relaxed);
    }
    for eight in middle {
        eight.store(0, Ordering::Relaxed);
    }
    compared::clear();
}

/// Tells each edge that was reached since [`clear`], and how often, modulo 256. What is compared from now on is not remembered.
pub fn reached(mut tell: impl FnMut(usize, u8)) {
    compared::stop();
    let (head, middle, tail) = counters();
    let mut one = |edge, count| {
        if count != 0 {
            tell(edge, count);
        }
    };
    for (edge, counter) in head.iter().enumerate() {
        one(edge, counter.load(Ordering::Relaxed));
    }
    for (at, eight) in middle.iter().enumerate() {
        let eight = eight.load(Ordering::Relaxed);
        if eight != 0 {
            let first = head.len() + at * 8;
            let counts = eight.to_ne_bytes();
            (first..).zip(counts).for_each(|(edge, n)| one(edge, n));
        }
    }
    let first = head.len() + middle.len() * 8;
    for (edge, counter) in (first..).zip(tail) {
        one(edge, counter.load(Ordering::Relaxed));
    }
}
