//! A recorder in memory.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

use crate::cloud::{Recorder, Temporary};
use crate::error::{Error, Kind, Result};

/// Keeps what was recorded, and can be told to refuse.
#[derive(Debug, Default)]
pub struct Notebook {
    pages: Mutex<Pages>,
}

#[derive(Debug, Default)]
struct Pages {
    open: Vec<Temporary>,
    /// How many new markers it still notes; none means any number.
    room: Option<usize>,
}

impl Notebook {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty one that notes `room` markers and then refuses, as a full disk would.
    pub fn with_room(room: usize) -> Self {
        let pages = Pages {
            open: Vec::new(),
            room: Some(room),
        };
        Self {
            pages: Mutex::new(pages),
        }
    }

    /// What was recorded and not released, in the order of recording.
    pub fn open(&self) -> Vec<Temporary> {
        self.lock().open.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Recorder for Notebook {
    async fn record(&self, temporary: &Temporary) -> Result<()> {
        let mut pages = self.lock();
        let known = pages.open.iter_mut().find(|t| t.marker == temporary.marker);
        if let Some(known) = known {
            known.clone_from(temporary);
            return Ok(());
        }
        if let Some(room) = &mut pages.room {
            *room = room.checked_sub(1).ok_or_else(|| {
                Error::new(
                    Kind::Full,
                    "record temporary",
                    "the notebook is full, as the test wants it",
                )
            })?;
        }
        pages.open.push(temporary.clone());
        Ok(())
    }

    async fn released(&self, marker: &str) -> Result<()> {
        self.lock().open.retain(|t| t.marker != marker);
        Ok(())
    }
}
