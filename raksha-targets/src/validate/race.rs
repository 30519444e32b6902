//! Writers racing for one name: does exactly one win?

use futures_util::future::join_all;
use object_store::{Error, ObjectStore, PutMode, PutOptions};
use serde::{Deserialize, Serialize};

use super::room::Room;

/// What came of the races.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Race {
    /// Rounds run.
    pub rounds: u32,
    /// Writers in each.
    pub racers: u32,
    /// Rounds in which several writers were told that they had created the object.
    pub several_winners: u32,
    /// Rounds in which nobody was, although nobody met an error either.
    pub no_winner: u32,
    /// Rounds after which the object was not the winner's.
    pub other_content: u32,
    /// Rounds in which a writer met an error other than that the object exists.
    pub errors: u32,
    /// The first such error.
    pub first_error: Option<String>,
}

impl Race {
    /// Whether exactly one won, every time.
    pub fn is_atomic(&self) -> bool {
        let Self {
            rounds,
            racers: _,
            several_winners,
            no_winner,
            other_content,
            errors,
            first_error: _,
        } = self;
        *rounds > 0 && [several_winners, no_winner, other_content, errors] == [&0; 4]
    }
}

/// Sizes at which creation may take other roads in a server.
const SIZES: [usize; 3] = [40, 40_000, 4 << 20];

pub(super) async fn run(room: &Room, rounds: u32, racers: u32) -> Race {
    let mut race = Race {
        rounds,
        racers,
        ..Race::default()
    };
    for round in 0..rounds {
        // One round in twenty is of large objects.
        let size = match round % 20 {
            19 => SIZES[2],
            n if n % 2 == 1 => SIZES[1],
            _ => SIZES[0],
        };
        let name = format!("race/{round}");
        let entries: Vec<Vec<u8>> = (0..racers)
            .map(|racer| room.bytes(u64::from(round) << 32 | u64::from(racer), size))
            .collect();
        let location = room.at(&name);
        let outcomes = join_all(entries.iter().map(|entry| {
            let options = PutOptions::from(PutMode::Create);
            let payload = entry.clone().into();
            room.objects.put_opts(&location, payload, options)
        }));
        let outcomes = outcomes.await;
        let mut winners = Vec::new();
        let mut failed = None;
        for (outcome, entry) in outcomes.into_iter().zip(&entries) {
            match outcome {
                Ok(_) => winners.push(entry),
                Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {}
                Err(e) => failed = Some(e.to_string()),
            }
        }
        race.errors += u32::from(failed.is_some());
        match (winners.as_slice(), &failed) {
            ([], None) => race.no_winner += 1,
            ([], Some(_)) => {}
            ([winner], _) => {
                let right = room.get(&name).await.is_ok_and(|there| there == **winner);
                race.other_content += u32::from(!right);
            }
            _ => race.several_winners += 1,
        }
        race.first_error = race.first_error.or(failed);
    }
    race
}
