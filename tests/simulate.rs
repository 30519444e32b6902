//! Simulates worlds by their seeds, on all processors or in so many threads, and tells which ones break.
//!
//!     cargo run --release --bin simulate -- --seeds 100000 [--first-seed 0] [--jobs 1]

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use raksha_tests::simulation::{Simulated, simulate};

const USAGE: &str = "usage: simulate --seeds N [--first-seed S] [--jobs J]";

/// After so many broken worlds it is no use to go on.
const ENOUGH: u64 = 10;

fn main() -> ExitCode {
    let Some(Arguments { seeds, first, jobs }) = arguments(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let began = Instant::now();
    let next = AtomicU64::new(first);
    let broken = AtomicU64::new(0);
    let sums = [const { AtomicU64::new(0) }; 4];
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while broken.load(Ordering::Relaxed) < ENOUGH {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first.saturating_add(seeds) {
                        return;
                    }
                    let done = simulate(seed);
                    let told = [1, done.commits, done.checks, done.requests];
                    for (sum, n) in sums.iter().zip(told) {
                        sum.fetch_add(n, Ordering::Relaxed);
                    }
                    if told_broken(seed, &done) {
                        broken.fetch_add(1, Ordering::Relaxed);
                    } else if seeds == 1 {
                        println!(
                            "seed {seed}: trace {}, {} requests",
                            done.trace, done.requests
                        );
                    }
                }
            });
        }
    });
    let [worlds, commits, checks, requests] = sums.map(AtomicU64::into_inner);
    println!(
        "{worlds} worlds, {commits} commits, {requests} requests, everything restored {checks} times, in {:.1} s",
        began.elapsed().as_secs_f64()
    );
    match broken.into_inner() {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn told_broken(seed: u64, done: &Simulated) -> bool {
    let Some(what) = &done.broken else {
        return false;
    };
    println!("seed {seed} breaks, trace {}: {what}", done.trace);
    println!("replay: cargo run --release --bin simulate -- --seeds 1 --first-seed {seed}");
    true
}

struct Arguments {
    seeds: u64,
    first: u64,
    /// Worlds at a time. A world has one thread, and does not know of others.
    jobs: u64,
}

fn arguments(mut given: impl Iterator<Item = String>) -> Option<Arguments> {
    let (mut seeds, mut first, mut jobs) = (None, 0, None);
    while let Some(name) = given.next() {
        let value = given.next()?.parse().ok()?;
        match name.as_str() {
            "--seeds" => seeds = Some(value),
            "--first-seed" => first = value,
            "--jobs" => jobs = Some(value),
            _ => return None,
        }
    }
    let processors = || std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    Some(Arguments {
        seeds: seeds?,
        first,
        jobs: jobs.unwrap_or_else(processors).max(1),
    })
}
