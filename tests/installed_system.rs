//! Disks of a real installed system, through the real program: three generations of one server are backed up within a declared memory,
//! come back byte for byte, and any of them can be given up without harm to the others.
//!
//! Needs the images that `tests/data/installed-system --small` makes, and the optimised program; `tests/run` makes both.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use raksha_tests::{Build, Program};
use serde_json::Value;

const MEMORY: u64 = 128 << 20;

/// What the process may have beyond the declared memory, which is for data under way: the program itself with its libraries (some 15 MiB are
/// resident), and what the allocator holds back for its threads. The 64 MiB that Argon2id takes are given back before any data is read. With two processors
/// 72 to 87 MiB were measured in all; with more, more of the declared memory is in use.
const BESIDES: u64 = 64 << 20;

/// A process that has ended, and the most memory that it had.
struct Ended {
    out: String,
    peak: u64,
    seconds: f64,
}

/// Where the images are.
fn images() -> Vec<PathBuf> {
    let data = std::env::var_os("RAKSHA_TEST_DATA").map(PathBuf::from);
    let data =
        data.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/test-data"));
    let folder = data.join("installed-system");
    let images: Vec<PathBuf> = (0..3).map(|n| folder.join(format!("gen{n}.raw"))).collect();
    for image in &images {
        assert!(
            image.is_file(),
            "{} is missing: make it with `tests/data/installed-system --small {}`, as root; or set RAKSHA_TEST_DATA to the folder that holds `installed-system`",
            image.display(),
            folder.display()
        );
    }
    images
}

/// Runs a process to its end, looking at its memory all the while. The kernel keeps the peak, so that no look has to meet it; only what grows
/// in the last two milliseconds is missed.
fn watched(mut command: Command) -> Ended {
    let began = Instant::now();
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let code = loop {
        if let Ok(text) = std::fs::read_to_string(&status)
            && let Some(line) = text.lines().find(|l| l.starts_with("VmHWM:"))
        {
            let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
            peak = peak.max(kib << 10);
        }
        match child.try_wait().unwrap() {
            Some(code) => break code,
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    assert!(code.success(), "{command:?} ended with {code}");
    let mut out = String::new();
    child.stdout.unwrap().read_to_string(&mut out).unwrap();
    assert!(peak > 0, "the memory of {command:?} was never seen");
    Ended {
        out,
        peak,
        seconds: began.elapsed().as_secs_f64(),
    }
}

/// The first byte in which two files differ.
fn difference(a: &Path, b: &Path) -> Option<u64> {
    let (a, b) = (File::open(a).unwrap(), File::open(b).unwrap());
    let size = a.metadata().unwrap().len();
    if b.metadata().unwrap().len() != size {
        return Some(size);
    }
    let (mut of_a, mut of_b) = (vec![0; 4 << 20], vec![0; 4 << 20]);
    let mut at = 0;
    while at < size {
        let some = (size - at).min(of_a.len() as u64) as usize;
        a.read_exact_at(&mut of_a[..some], at).unwrap();
        b.read_exact_at(&mut of_b[..some], at).unwrap();
        if of_a[..some] != of_b[..some] {
            let first = of_a.iter().zip(&of_b).position(|(a, b)| a != b);
            return Some(at + first.unwrap() as u64);
        }
        at += some as u64;
    }
    None
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_folder(&entry.path(), &to),
            false => drop(std::fs::copy(entry.path(), &to).unwrap()),
        }
    }
}

/// The bytes that a file takes on its disk.
fn allocated(file: &Path) -> u64 {
    file.metadata().unwrap().blocks() * 512
}

fn mib(bytes: u64) -> u64 {
    bytes >> 20
}

#[test]
fn an_installed_system_comes_back_from_any_of_its_points() {
    let images = images();
    let folder = tempfile::tempdir().unwrap();
    let passphrase = folder.path().join("passphrase");
    std::fs::write(&passphrase, "correct horse battery staple\n").unwrap();
    let target = folder.path().join("target");
    let program = Program::find(Build::Release)
        .at_home(folder.path())
        .with("RAKSHA_PASSPHRASE_FILE", &passphrase)
        .with("RAKSHA_MEMORY", format!("{}", MEMORY));
    let at = |target: &Path| program.clone().with("RAKSHA_TARGET", target);
    at(&target).ok(&["init"]);

    let bounded = |what: &str, ended: Ended| {
        println!(
            "{what}: {:.1} s, peak {} MiB of {} + {}",
            ended.seconds,
            mib(ended.peak),
            mib(MEMORY),
            mib(BESIDES)
        );
        assert!(
            ended.peak <= MEMORY + BESIDES,
            "{what} took {} MiB of memory",
            mib(ended.peak)
        );
        ended.out
    };
    let mut points = Vec::new();
    for image in &images {
        let arguments = [
            "disk",
            "backup",
            image.to_str().unwrap(),
            "--name",
            "server",
            "--json",
        ];
        let name = image.file_name().unwrap().to_string_lossy();
        let out = bounded(
            &format!("back up {name}"),
            watched(at(&target).command(&arguments)),
        );
        let said: Value = serde_json::from_str(&out).unwrap();
        println!(
            "  {} MiB read, {} MiB new, {} MiB stored",
            mib(said["read_bytes"].as_u64().unwrap()),
            mib(said["new_bytes"].as_u64().unwrap()),
            mib(said["stored_bytes"].as_u64().unwrap())
        );
        assert!(
            said["read_bytes"].as_u64().unwrap() <= allocated(image) + (1 << 20),
            "holes were read"
        );
        points.push(said["point"].as_str().unwrap().to_owned());
    }

    let restored = folder.path().join("restored.raw");
    let come_back = |target: &Path, which: &[usize]| {
        for &n in which {
            let arguments = ["disk", "restore", &points[n], restored.to_str().unwrap()];
            bounded(
                &format!("restore gen{n}"),
                watched(at(target).command(&arguments)),
            );
            assert_eq!(
                difference(&images[n], &restored),
                None,
                "gen{n} came back different from this byte on"
            );
            let (was, is) = (allocated(&images[n]), allocated(&restored));
            println!("  {} MiB allocated, {} in the original", mib(is), mib(was));
            // Zeroes that are too few for a hole come back as data.
            assert!(is <= was + was / 8, "it is not as sparse as it was");
            std::fs::remove_file(&restored).unwrap();
        }
    };
    come_back(&target, &[0, 1, 2]);

    for gone in 0..points.len() {
        let copy = folder.path().join(format!("without-{gone}"));
        copy_folder(&target, &copy);
        let program = at(&copy);
        program.ok(&["forget", &points[gone]]);
        let collected = program.json(&["collect", "--fence-after", "0s"]);
        println!(
            "without gen{gone}: {} packs retired, {} MiB live",
            collected["retired_packs"],
            mib(collected["live_bytes"].as_u64().unwrap())
        );
        assert!(
            collected["deleted_objects"].as_u64().unwrap() > 0,
            "nothing was given up"
        );
        bounded("verify", watched(program.command(&["verify"])));
        let others: Vec<usize> = (0..points.len()).filter(|n| *n != gone).collect();
        come_back(&copy, &others);
        std::fs::remove_dir_all(&copy).unwrap();
    }
}
