//! Integers that were compared: an input that has the one is changed to have the other, so that magic numbers and lengths need not be guessed.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Slots for comparisons: those with a constant have theirs by the constant, so that a loop takes one; the others by what was compared. Of two in one slot
/// the later stays.
const SLOTS: usize = 512;
const OF_CONSTANTS: usize = SLOTS / 2;
/// Where programs have their memory, on Linux with processors of 64 bits, and how far from each other: such numbers differ from run to run.
const POINTERS: std::ops::Range<u64> = 0x0100_0000_0000..0x8000_0000_0000;

/// Two integers that differed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compared {
    /// One of them.
    pub one: u64,
    /// The other; the constant, if one of them was.
    pub other: u64,
    /// Of so many bytes: 1, 2, 4 or 8.
    pub width: u64,
}

/// Each slot: one, other, width; a width of 0 is none.
static COMPARED: [[AtomicU64; 3]; SLOTS] = [const { [const { AtomicU64::new(0) }; 3] }; SLOTS];

/// Between clearing and telling.
static LISTENING: AtomicBool = AtomicBool::new(false);

pub(crate) fn clear() {
    for [_, _, width] in &COMPARED {
        width.store(0, Ordering::Relaxed);
    }
    LISTENING.store(true, Ordering::Relaxed);
}

pub(crate) fn stop() {
    LISTENING.store(false, Ordering::Relaxed);
}

/// What was compared between [`clear`](crate::clear) and [`reached`](crate::reached), if it differed: some hundreds at most.
pub fn compared() -> impl Iterator<Item = Compared> {
    let read = |slot: &[AtomicU64; 3]| {
        let [one, other, width] = slot.each_ref().map(|n| n.load(Ordering::Relaxed));
        Compared { one, other, width }
    };
    COMPARED.iter().map(read).filter(|read| read.width > 0)
}

fn tell(one: u64, other: u64, width: u64, constant: bool) {
    let pointer = POINTERS.contains(&one) || POINTERS.contains(&other);
    if one == other || pointer || !LISTENING.load(Ordering::Relaxed) {
        return;
    }
    let by = other.wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
    let slot = |by: u64| usize::try_from(by >> 40).unwrap_or(0) % OF_CONSTANTS;
    let slot = match constant {
        true => slot(by.wrapping_add(width << 40)),
        false => OF_CONSTANTS + slot(by ^ one.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
    };
    if let Some([a, b, c]) = COMPARED.get(slot) {
        a.store(one, Ordering::Relaxed);
        b.store(other, Ordering::Relaxed);
        c.store(width, Ordering::Relaxed);
    }
}

/// Functions that LLVM calls before a comparison; where one side is constant, it comes first.
macro_rules! called {
    ($($name:ident $constant:ident $integer:ty;)*) => {
        $(
            #[expect(unsafe_code, reason = "LLVM calls it by this name")]
            #[unsafe(no_mangle)]
            extern "C" fn $name(one: $integer, other: $integer) {
                tell(one.into(), other.into(), u64::from(<$integer>::BITS / 8), false);
            }

            #[expect(unsafe_code, reason = "LLVM calls it by this name")]
            #[unsafe(no_mangle)]
            extern "C" fn $constant(constant: $integer, other: $integer) {
                tell(other.into(), constant.into(), u64::from(<$integer>::BITS / 8), true);
            }
        )*
    };
}
called! {
    __sanitizer_cov_trace_cmp1 __sanitizer_cov_trace_const_cmp1 u8;
    __sanitizer_cov_trace_cmp2 __sanitizer_cov_trace_const_cmp2 u16;
    __sanitizer_cov_trace_cmp4 __sanitizer_cov_trace_const_cmp4 u32;
    __sanitizer_cov_trace_cmp8 __sanitizer_cov_trace_const_cmp8 u64;
}

/// Called before a choice among constants: `cases` are their number, how many bits each has, and they themselves.
#[expect(unsafe_code, reason = "LLVM calls it by this name")]
#[unsafe(no_mangle)]
extern "C" fn __sanitizer_cov_trace_switch(value: u64, cases: *const u64) {
    // SAFETY: LLVM gives a constant array of at least two numbers, the first of which says how many follow the second.
    #[expect(unsafe_code, reason = "an array that is not Rust's")]
    let cases = unsafe {
        let count = usize::try_from(*cases).unwrap_or(0);
        std::slice::from_raw_parts(cases, count + 2)
    };
    if let [_, bits @ 8..=64, constants @ ..] = cases {
        for constant in constants.iter().take(32) {
            tell(value, *constant, bits / 8, true);
        }
    }
}
