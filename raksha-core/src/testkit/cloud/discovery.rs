//! The suite for discovery.

use super::breach::{Must, Verdict, hold, refused, same};
use crate::cloud::{ResourceDiscovery, Selection, ServerSelector};
use crate::error::Kind;
use crate::id::ServerId;

/// What the caller knows of the cloud, which nobody else may change meanwhile.
#[derive(Debug, Clone)]
pub struct DiscoveryFacts {
    /// All its servers, at least two of them, with names that only they have.
    pub servers: Vec<(ServerId, String)>,
    /// A name that several further servers have, where the cloud allows that.
    pub ambiguous: Option<String>,
    /// A tag, and those that carry it, where the cloud has tags.
    pub tag: Option<(String, Vec<ServerId>)>,
}

/// Checks that `discovery` keeps the contract of [`ResourceDiscovery`].
pub async fn check_discovery(discovery: &dyn ResourceDiscovery, facts: &DiscoveryFacts) -> Verdict {
    let DiscoveryFacts {
        servers,
        ambiguous,
        tag,
    } = facts;
    hold(
        !discovery.place().is_empty(),
        "the place has a name",
        || "an empty one".to_owned(),
    )?;
    let everything = discover(discovery, vec![ServerSelector::All])
        .await
        .must("discovering everything")?;
    everything
        .check()
        .must("checking the graph of everything")?;
    for (id, name) in servers {
        let count = everything.servers.iter().filter(|s| s.id == *id).count();
        hold(count == 1, "a server is in the graph once", || {
            format!("{name} {count} times")
        })?;
    }
    let again = discover(discovery, vec![ServerSelector::All])
        .await
        .must("discovering again")?;
    same(&again, &everything, "discovering changes nothing")?;

    for (id, name) in servers {
        for selector in [
            ServerSelector::Id(id.to_string()),
            ServerSelector::Name(name.clone()),
            ServerSelector::IdOrName(id.to_string()),
            ServerSelector::IdOrName(name.clone()),
        ] {
            let what = format!("selecting {selector}");
            let graph = discover(discovery, vec![selector]).await.must(&what)?;
            graph.check().must("checking the graph of one server")?;
            let found: Vec<&ServerId> = graph.servers.iter().map(|s| &s.id).collect();
            same(
                &found,
                &vec![id],
                "a selector by id or name selects that server alone",
            )?;
            let whole = everything.servers.iter().find(|s| s.id == *id);
            same(
                &graph.servers.first(),
                &whole,
                "a server looks the same however it is selected",
            )?;
            let used = |port: &crate::cloud::Port| {
                graph.servers.iter().any(|s| s.ports.contains(&port.id))
            };
            let stray = graph.ports.iter().find(|p| !used(p));
            hold(
                stray.is_none(),
                "the graph holds no ports of other servers",
                || format!("{stray:?}"),
            )?;
        }
        let twice = vec![
            ServerSelector::Id(id.to_string()),
            ServerSelector::Name(name.clone()),
        ];
        let twice = discover(discovery, twice).await;
        refused(
            twice,
            Kind::Invalid,
            "two selectors by id or name that select the same are refused",
        )?;
        let with_all = vec![ServerSelector::All, ServerSelector::Id(id.to_string())];
        let with_all = discover(discovery, with_all)
            .await
            .must("selecting all and one")?;
        same(
            &with_all.servers.len(),
            &everything.servers.len(),
            "a selection is a union",
        )?;
    }

    let nobody = "raksha-suite-nobody-is-called-this";
    for selector in [
        ServerSelector::Id(nobody.to_owned()),
        ServerSelector::Name(nobody.to_owned()),
        ServerSelector::IdOrName(nobody.to_owned()),
    ] {
        let rule = format!("{selector}, which nobody has, is not found");
        refused(
            discover(discovery, vec![selector]).await,
            Kind::NotFound,
            &rule,
        )?;
    }
    for selector in [
        ServerSelector::Tag(nobody.to_owned()),
        ServerSelector::Metadata {
            key: nobody.to_owned(),
            value: nobody.to_owned(),
        },
    ] {
        let graph = discover(discovery, vec![selector])
            .await
            .must("selecting by what nobody has")?;
        let rule = "a tag or metadata that nobody has selects the empty set";
        hold(graph.servers.is_empty(), rule, || {
            format!("{} servers", graph.servers.len())
        })?;
    }
    let nothing = discover(discovery, Vec::new())
        .await
        .must("selecting nothing")?;
    same(&nothing.servers.len(), &0, "no selectors select no servers")?;

    if let Some(name) = ambiguous {
        let outcome = discover(discovery, vec![ServerSelector::Name(name.clone())]).await;
        refused(
            outcome,
            Kind::Invalid,
            "a name that several servers have is refused",
        )?;
    }
    if let Some((tag, carriers)) = tag {
        let graph = discover(discovery, vec![ServerSelector::Tag(tag.clone())]).await;
        let graph = graph.must("selecting by tag")?;
        let mut found: Vec<ServerId> = graph.servers.into_iter().map(|s| s.id).collect();
        let mut carriers = carriers.clone();
        found.sort();
        carriers.sort();
        same(&found, &carriers, "a tag selects those that carry it")?;
    }
    Ok(())
}

async fn discover(
    discovery: &dyn ResourceDiscovery,
    selectors: Vec<ServerSelector>,
) -> crate::error::Result<crate::cloud::ResourceGraph> {
    discovery.discover(&Selection(selectors)).await
}
