//! The simulation, for as many seeds as fit into a test.

use raksha_tests::Random;
use raksha_tests::simulation::simulate;

/// The same seed gives the same world, request by request.
#[test]
fn a_seed_repeats_its_world() {
    for seed in 0..20 {
        let (one, other) = (simulate(seed), simulate(seed));
        assert_eq!(one, other, "seed {seed}");
        assert_ne!(one.trace, simulate(seed + 1000).trace, "seed {seed}");
    }
}

/// Other worlds each time: `RAKSHA_SEED` repeats them, and `RAKSHA_WORLDS` sets how many there are.
#[test]
fn nothing_gets_lost_in_any_world() {
    let worlds: u64 = std::env::var("RAKSHA_WORLDS").map_or(2000, |n| n.parse().unwrap());
    let first = Random::announced("simulation").number() >> 16;
    let next = std::sync::atomic::AtomicU64::new(first);
    let commits = std::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if seed >= first + worlds {
                        return;
                    }
                    let done = simulate(seed);
                    commits.fetch_add(done.commits, std::sync::atomic::Ordering::Relaxed);
                    assert_eq!(
                        done.broken, None,
                        "replay: cargo run --release --bin simulate -- --seeds 1 --first-seed {seed}"
                    );
                }
            });
        }
    });
    let commits = commits.into_inner();
    println!("simulation: {worlds} worlds from seed {first}, {commits} commits");
    assert!(commits > worlds, "hardly anything was ever committed");
}
