//! What the tests of the whole share: seeded randomness, disks in memory, targets that misbehave, and the `raksha` program.

mod apart;
mod browser;
mod lab;
mod memory_disk;
mod overlay;
mod place;
mod program;
mod proxy;
mod random;
mod rights;
mod schema;
mod served;
mod services;
pub mod simulation;
mod stored;
mod web;
mod world;

pub use apart::Apart;
pub use browser::Browser;
pub use lab::{Lab, Line, lines, wait};
pub use memory_disk::{MemoryDisk, MemorySink};
pub use overlay::Overlay;
pub use place::{Place, contents, disks, files, is_id, text};
pub use program::{Build, Program, Said};
pub use proxy::{Proxy, Trouble};
pub use random::Random;
pub use rights::Rights;
pub use schema::faults;
pub use served::{Served, Tenant, until};
pub use services::{Bucket, Service, Site, ready};
pub use stored::{DAMAGED, HARMS, Harm, Stored, failed};
pub use web::{Answer, Web};
pub use world::{back_up, back_up_disk, objects, options, restore, small};
