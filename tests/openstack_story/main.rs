//! The founding workflow on a real OpenStack cloud: servers that keep writing are backed up, lost, and come back.
//!
//! The guests number what they write, round all their disks (`tests/lab/guest/raksha-writer.c`), so a point whose ledger claims one
//! instant must show the same last number on all disks of a server, and a restored guest must go on counting from it.

mod clouds;
mod crash_points;
mod founding;
mod hooks;
mod kills;
mod lent;
mod projects;
mod stall;
mod story;
mod tenants;
