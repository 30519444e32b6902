//! By what means the disks of a server are brought to one instant, and what that proves.
//!
//! | means | when | what is proven |
//! | --- | --- | --- |
//! | [`Means::Frozen`] | it runs, boots from a volume, and its image properties name a guest agent | with `os_require_quiesce` too: the file systems were frozen for all disks together, or Nova would have refused. Without it Nova goes on silently if the agent does not answer: nothing |
//! | [`Means::Still`] | it is off, paused or suspended, and is so afterwards | nothing was written: all disks are of one instant |
//! | [`Means::Grouped`] | its volumes are in one group, of a type that demands group snapshots of one instant | Cinder gives such groups only to backends that say they take them so: all disks are of one instant, those of all servers in it |
//! | [`Means::Paused`] | the options allow it | qemu completes and flushes all writes when it stops: all disks are of one instant |
//! | [`Means::OneByOne`] | always | each disk by itself is of one instant; so is a server that has only one |
//!
//! Groups of other types are of no use: a backend that has no group snapshots, such as Cinder's own RBD driver, takes one after the other without
//! saying so.
//! The guest is asked to freeze for the root disk of an image-backed server as well, but Nova only logs it if that fails, `os_require_quiesce`
//! or not; so nothing is claimed for it. That an application took part is never claimed here: whether hooks ran in the guest
//! cannot be seen from outside. What a job's own hooks hold is entered by who calls them, and less is demanded here then.

use std::fmt;

use raksha_core::cloud::Consistency;

/// How the disks of a server are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Means {
    /// Nova freezes the guest, snapshots all volumes, and thaws it.
    Frozen,
    /// It does not run.
    Still,
    /// Cinder takes all of its volumes together.
    Grouped,
    /// It is stopped for the moment.
    Paused,
    /// All disks at about the same time.
    OneByOne,
}

impl fmt::Display for Means {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Frozen => "createImage",
            Self::Still => "taking what does not run",
            Self::Grouped => "a group snapshot",
            Self::Paused => "a pause",
            Self::OneByOne => "snapshots one by one",
        })
    }
}

/// What a server's image properties say of a guest agent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Agent {
    #[default]
    None,
    /// There is one; a snapshot is taken also if it does not answer.
    Asked,
    /// There is one, and without its consent there is no snapshot.
    Required,
}

impl Agent {
    /// What the properties `hw_qemu_guest_agent` and `os_require_quiesce` mean.
    pub(super) fn of(agent: bool, required: bool) -> Self {
        match (agent, required) {
            (false, _) => Self::None,
            (true, false) => Self::Asked,
            (true, true) => Self::Required,
        }
    }
}

/// What decides.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    pub(super) running: bool,
    /// It does not run, and nothing is being done to it.
    pub(super) still: bool,
    pub(super) boots_from_volume: bool,
    /// How many disks are wanted.
    pub(super) wanted: usize,
    /// How many disks it has.
    pub(super) disks: usize,
    pub(super) agent: Agent,
    /// Its volumes are in a group whose snapshots are of one instant, with each other or with those of other servers.
    pub(super) grouped: bool,
    pub(super) may_pause: bool,
}

/// Means, and the level that they reach if all goes well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) means: Means,
    pub(super) level: Consistency,
}

/// The means to try for a level, in that order. The last one cannot be refused.
///
/// A guest is not disturbed for more than what is demanded.
pub(super) fn plans(facts: &Facts, demanded: Consistency) -> Vec<Plan> {
    let alone = match facts.disks {
        0 | 1 => Consistency::CrashAcrossDisks,
        _ => Consistency::Crash,
    };
    let plan = |means, level| Plan { means, level };
    let mut plans = Vec::new();
    if facts.still {
        plans.push(plan(Means::Still, Consistency::CrashAcrossDisks));
        return plans;
    }
    let together = demanded >= Consistency::CrashAcrossDisks && facts.running;
    let frozen = facts.boots_from_volume && together;
    if frozen && facts.agent == Agent::Required {
        plans.push(plan(Means::Frozen, Consistency::FileSystem));
    }
    if together && facts.grouped {
        plans.push(plan(Means::Grouped, Consistency::CrashAcrossDisks));
    }
    if together && facts.may_pause && facts.wanted > 1 {
        plans.push(plan(Means::Paused, Consistency::CrashAcrossDisks));
    }
    if frozen && facts.agent == Agent::Asked {
        plans.push(plan(Means::Frozen, alone));
    }
    plans.push(plan(Means::OneByOne, alone));
    plans
}

#[cfg(test)]
mod tests {
    use super::*;
    use Consistency as C;
    use Means as M;

    const FACTS: Facts = Facts {
        running: true,
        still: false,
        boots_from_volume: true,
        wanted: 3,
        disks: 3,
        agent: Agent::None,
        grouped: false,
        may_pause: false,
    };

    fn of(facts: Facts, demanded: C) -> Vec<(M, C)> {
        let plans = plans(&facts, demanded).into_iter();
        plans.map(|plan| (plan.means, plan.level)).collect()
    }

    #[test]
    fn a_required_agent_is_the_best_there_is() {
        let facts = Facts {
            agent: Agent::Required,
            may_pause: true,
            ..FACTS
        };
        let expected = [
            (M::Frozen, C::FileSystem),
            (M::Paused, C::CrashAcrossDisks),
            (M::OneByOne, C::Crash),
        ];
        assert_eq!(of(facts, C::Application), expected);
        assert_eq!(of(facts, C::CrashAcrossDisks), expected);
        assert_eq!(
            of(facts, C::Crash),
            [(M::OneByOne, C::Crash)],
            "the guest is left alone"
        );
    }

    #[test]
    fn an_agent_that_may_stay_silent_proves_nothing() {
        let facts = Facts {
            agent: Agent::Asked,
            ..FACTS
        };
        assert_eq!(
            of(facts, C::FileSystem),
            [(M::Frozen, C::Crash), (M::OneByOne, C::Crash)]
        );
        // A pause proves more.
        let facts = Facts {
            may_pause: true,
            ..facts
        };
        assert_eq!(
            of(facts, C::FileSystem)[0],
            (M::Paused, C::CrashAcrossDisks)
        );
        // One disk is of one instant by itself.
        let facts = Facts {
            disks: 1,
            wanted: 1,
            ..facts
        };
        assert_eq!(
            of(facts, C::FileSystem)[0],
            (M::Frozen, C::CrashAcrossDisks)
        );
    }

    #[test]
    fn an_image_backed_server_is_never_frozen_for_all_disks() {
        let facts = Facts {
            boots_from_volume: false,
            agent: Agent::Required,
            ..FACTS
        };
        assert_eq!(of(facts, C::FileSystem), [(M::OneByOne, C::Crash)]);
        let facts = Facts {
            may_pause: true,
            ..facts
        };
        assert_eq!(
            of(facts, C::FileSystem)[0],
            (M::Paused, C::CrashAcrossDisks)
        );
    }

    #[test]
    fn a_group_snapshot_spares_the_pause() {
        let facts = Facts {
            grouped: true,
            may_pause: true,
            ..FACTS
        };
        let expected = [
            (M::Grouped, C::CrashAcrossDisks),
            (M::Paused, C::CrashAcrossDisks),
            (M::OneByOne, C::Crash),
        ];
        assert_eq!(of(facts, C::FileSystem), expected);
        assert_eq!(of(facts, C::Crash), [(M::OneByOne, C::Crash)]);
        // A freeze proves more.
        let facts = Facts {
            agent: Agent::Required,
            ..facts
        };
        assert_eq!(of(facts, C::FileSystem)[0], (M::Frozen, C::FileSystem));
        assert_eq!(of(facts, C::FileSystem)[1], expected[0]);
    }

    #[test]
    fn what_does_not_run_is_not_touched() {
        let facts = Facts {
            running: false,
            still: true,
            agent: Agent::Required,
            may_pause: true,
            ..FACTS
        };
        assert_eq!(of(facts, C::FileSystem), [(M::Still, C::CrashAcrossDisks)]);
        // It is being migrated, say: neither running nor still.
        let facts = Facts {
            still: false,
            ..facts
        };
        assert_eq!(of(facts, C::FileSystem), [(M::OneByOne, C::Crash)]);
    }
}
