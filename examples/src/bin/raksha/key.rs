//! Keys that open the repository.

use raksha_core::Result;
use serde_json::json;

use crate::args::KeyVerb;
use crate::context::Context;
use crate::secret;

pub async fn carry_out(context: &Context, verb: KeyVerb) -> Result<()> {
    let repository = context.open().await?;
    let who = std::env::var("USER").unwrap_or_else(|_| "raksha".to_owned());
    match verb {
        KeyVerb::List => {
            let slots = repository.key_slots().await?;
            context.output.show(&slots, || slots.join("\n"))
        }
        KeyVerb::Add {
            slot,
            new_passphrase_file,
            new_key_file,
        } => {
            let new = secret::read(
                new_passphrase_file.as_deref(),
                new_key_file.as_deref(),
                "RAKSHA_NEW",
            )?;
            repository
                .add_key(&slot, &new, &context.secret()?, &who)
                .await?;
            context.output.show(&json!({ "added": slot }), String::new)
        }
        KeyVerb::Remove { slot } => {
            repository
                .remove_key(&slot, &context.secret()?, &who)
                .await?;
            context
                .output
                .show(&json!({ "removed": slot }), String::new)
        }
    }
}
