//! `raksha key`: the key slots of a repository.

use raksha_core::{Error, Kind, Result};

use crate::arguments::Key;
use crate::context::{Context, key_file, passphrase_file};
use crate::output;

pub async fn key(context: &Context, command: Key) -> Result<()> {
    let repository = context.repository().await?;
    match command {
        Key::List => {
            let slots = repository.key_slots().await?;
            if context.json {
                return output::json(&slots);
            }
            slots.iter().for_each(|slot| println!("{slot}"));
            Ok(())
        }
        Key::Add {
            slot,
            new_passphrase_file,
            new_key_file,
        } => {
            let secret = match (new_passphrase_file, new_key_file) {
                (Some(path), _) => passphrase_file(&path)?,
                (None, Some(path)) => key_file(&path)?,
                (None, None) => {
                    let message = "give the new key: use --new-passphrase-file or --new-key-file";
                    return Err(Error::new(Kind::Invalid, "add key", message));
                }
            };
            repository
                .add_key(&slot, &secret, &context.secret()?, &context.who())
                .await
        }
        Key::Remove { slot } => {
            repository
                .remove_key(&slot, &context.secret()?, &context.who())
                .await
        }
    }
}
