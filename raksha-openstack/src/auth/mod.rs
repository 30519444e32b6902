//! Who one is towards a cloud, and for what a token is wanted.
//!
//! The types hold what Keystone's identity API v3 knows and nothing that contradicts itself: a name always comes with the domain in
//! which it is unique, and there is one scope at most.

pub mod answer;
pub mod request;

use crate::Secret;

/// A way to get a token.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Auth {
    /// A user's password.
    Password {
        /// Whose password it is.
        user: User,
        /// The password.
        password: Secret,
        /// What the token is to be good for.
        scope: Scope,
    },
    /// An application credential. It belongs to one project and can ask for no other scope.
    ApplicationCredential {
        /// Which one.
        credential: ApplicationCredential,
        /// Its secret.
        secret: Secret,
    },
    /// A token that somebody got already, to be exchanged for one of another scope.
    Token {
        /// The token.
        token: Secret,
        /// What the new token is to be good for.
        scope: Scope,
    },
    /// A token that somebody got already, used as it is until it ends.
    Given {
        /// The token.
        token: Secret,
    },
}

/// A domain, by either of its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Domain {
    /// By id, for example `default`.
    Id(String),
    /// By name, for example `Default`.
    Name(String),
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum User {
    /// By id, unique in the cloud.
    Id(String),
    /// By name, unique in its domain.
    Name {
        /// The user's name.
        name: String,
        /// The domain of the user.
        domain: Domain,
    },
}

/// A project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Project {
    /// By id, unique in the cloud.
    Id(String),
    /// By name, unique in its domain.
    Name {
        /// The project's name.
        name: String,
        /// The domain of the project.
        domain: Domain,
    },
}

/// An application credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApplicationCredential {
    /// By id, unique in the cloud.
    Id(String),
    /// By name, unique for its user.
    Name {
        /// The credential's name.
        name: String,
        /// Whose credential it is.
        user: User,
    },
}

/// What a token is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scope {
    /// None is asked for: Keystone takes the user's default project, or else gives an unscoped token.
    Unstated,
    /// Explicitly no scope, even if the user has a default project: enough to list one's projects.
    Unscoped,
    /// A project: what nearly all requests need.
    Project(Project),
    /// A domain, to administer it.
    Domain(Domain),
    /// The whole deployment, to administer it.
    System,
    /// A trust, by id: the rights that another user delegated, in that user's project.
    Trust(String),
}
