//! Ctrl-C and a polite kill.

use raksha_core::protect::Cancel;
use tokio::signal::unix::{SignalKind, signal};

/// What a shell reports for a program that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// Cancels `cancel` at the first signal, and ends the program at the second.
pub fn cancels(cancel: Cancel) {
    tokio::spawn(async move {
        let terminate = signal(SignalKind::terminate());
        let interrupt = signal(SignalKind::interrupt());
        let (Ok(mut terminate), Ok(mut interrupt)) = (terminate, interrupt) else {
            return;
        };
        let mut asked = false;
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if asked {
                std::process::exit(INTERRUPTED);
            }
            asked = true;
            eprintln!("stopping; once more to stop at once and leave cleaning up to `raksha reap`");
            cancel.cancel();
        }
    });
}
