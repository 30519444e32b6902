//! What every target must do, check by check.

use std::collections::BTreeSet;

use futures_util::future::try_join_all;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use tokio::time::Instant;

use super::report::{Check, Outcome};
use super::room::{Found, Room, ensure, said};

/// The size of a pack and a bit.
const PACK: usize = (16 << 20) + 4097;

/// More objects than S3 lists in one page.
const MANY: usize = 1010;

pub(super) async fn run_all(room: &Room) -> Vec<Check> {
    let mut checks = Vec::new();
    macro_rules! check {
        ($name:literal, $check:ident) => {
            check!($name, $check, true, "")
        };
        ($name:literal, $check:ident, $when:expr, $why:literal) => {
            let begun = Instant::now();
            let outcome = match $when {
                false => Outcome::Skipped($why.into()),
                true => match $check(room).await {
                    Ok(()) => Outcome::Passed,
                    Err(complaint) => Outcome::Failed(complaint),
                },
            };
            checks.push(Check {
                name: $name.into(),
                outcome,
                took: begun.elapsed(),
                note: String::new(),
            });
        };
    }
    check!("objects of all sizes come back as stored", sizes);
    check!("overwriting replaces all of an object", overwriting);
    check!(
        "creating refuses what is there",
        creating,
        room.capabilities.atomic_create,
        "creation is declared as not atomic"
    );
    check!("ranges", ranges);
    check!("what is not there is said to be not there", absent);
    check!("names with unusual characters", unusual_names);
    check!("listing by prefix", listing);
    check!("listing from an offset", listing_from_offset);
    check!("listing one level", listing_one_level);
    check!("deleting", deleting);
    check!("a thousand objects listed and deleted", many);
    check!("reads, lists and deletes see what was done before", seeing);
    check!(
        "large objects in parts",
        parts,
        room.capabilities.multipart,
        "not offered"
    );
    check!("copying and renaming", copying);
    checks
}

async fn sizes(room: &Room) -> Found {
    for (i, size) in [0, 1, 4096, (1 << 20) + 1, PACK].into_iter().enumerate() {
        let bytes = room.bytes(i as u64, size);
        room.put("size", bytes.clone()).await?;
        room.holds("size", &bytes).await?;
        let meta = room.objects.head(&room.at("size")).await;
        let meta = meta.map_err(said("head"))?;
        ensure(meta.size == size as u64, || {
            format!("head says {} bytes of {size}", meta.size)
        })?;
    }
    Ok(())
}

async fn overwriting(room: &Room) -> Found {
    let long = room.bytes(1, 100_000);
    let short = room.bytes(2, 10);
    for bytes in [&long, &short, &long] {
        room.put("again", bytes.clone()).await?;
        room.holds("again", bytes).await?;
    }
    // Whole or not at all: a reader never sees a mixture.
    let versions: Vec<_> = (0..6).map(|i| room.bytes(i, 70_000)).collect();
    room.put("again", long.clone()).await?;
    let writers = versions
        .iter()
        .map(|bytes| room.put("again", bytes.clone()));
    let readers = (0..12).map(|_| room.get("again"));
    let (written, read) = tokio::join!(try_join_all(writers), try_join_all(readers));
    written?;
    ensure(
        read?
            .iter()
            .all(|got| *got == long || versions.contains(got)),
        || "a reader saw a mixture of two versions".into(),
    )
}

async fn creating(room: &Room) -> Found {
    let (first, second) = (room.bytes(1, 100), room.bytes(2, 100));
    let create = |bytes: &Vec<u8>| {
        let payload = bytes.clone().into();
        let location = room.at("created");
        async move {
            let options = PutOptions::from(PutMode::Create);
            room.objects.put_opts(&location, payload, options).await
        }
    };
    create(&first).await.map_err(said("create"))?;
    match create(&second).await {
        Err(Error::AlreadyExists { .. }) => {}
        Ok(_) => return Err("an object that was there was overwritten".into()),
        Err(e) => return Err(format!("not said to exist already, but: {e}")),
    }
    room.holds("created", &first).await
}

async fn ranges(room: &Room) -> Found {
    let bytes = room.bytes(1, 100_000);
    room.put("ranges", bytes.clone()).await?;
    let location = room.at("ranges");
    let size = bytes.len() as u64;
    for (range, expected) in [
        (GetRange::Bounded(0..1), 0..1),
        (GetRange::Bounded(99_999..100_000), 99_999..100_000),
        (GetRange::Bounded(4_095..70_001), 4_095..70_001),
        (GetRange::Bounded(99_990..200_000), 99_990..100_000),
        (GetRange::Offset(90_000), 90_000..100_000),
        (GetRange::Suffix(17), 99_983..100_000),
    ] {
        let options = GetOptions::new().with_range(Some(range.clone()));
        let got = room.objects.get_opts(&location, options).await;
        let got = got.map_err(said("range"))?;
        ensure(got.meta.size == size, || {
            format!(
                "{range:?}: the object's size is said to be {}",
                got.meta.size
            )
        })?;
        let got = got.bytes().await.map_err(said("range"))?;
        ensure(bytes.get(expected) == Some(got.as_ref()), || {
            format!("{range:?} gave {} other bytes", got.len())
        })?;
    }
    let beyond = room.objects.get_range(&location, size..size + 1).await;
    ensure(beyond.is_err(), || {
        "a range beyond the end gave bytes".into()
    })?;
    let wanted = [500..600, 0..10, 600..700, 90_000..90_001];
    let got = room.objects.get_ranges(&location, &wanted).await;
    let got = got.map_err(said("ranges"))?;
    let expected = [500..600, 0..10, 600..700, 90_000..90_001].map(|r| bytes.get(r));
    ensure(got.iter().map(|b| Some(b.as_ref())).eq(expected), || {
        "several ranges at once gave other bytes".into()
    })
}

async fn absent(room: &Room) -> Found {
    room.is_gone("absent").await?;
    room.put("there/below", vec![1]).await?;
    room.is_gone("there").await?;
    let range = room.objects.get_range(&room.at("absent"), 0..1).await;
    ensure(matches!(range, Err(Error::NotFound { .. })), || {
        format!("a range of an absent object: {range:?}")
    })?;
    ensure(room.names("absent").await?.is_empty(), || {
        "an absent prefix lists objects".into()
    })
}

async fn unusual_names(room: &Room) -> Found {
    let names = [
        "unusual/with space",
        "unusual/plus+and&and=and?",
        "unusual/per%20cent",
        "unusual/Grüße-日本",
        "unusual/.hidden",
        "unusual/UPPER and lower",
        "unusual/quote\"and'and\\",
        "unusual/a~b!c@d$e,f;g:h",
    ];
    let mut expected = BTreeSet::new();
    for (i, name) in names.into_iter().enumerate() {
        let bytes = room.bytes(i as u64, 50);
        room.put(name, bytes.clone()).await?;
        room.holds(name, &bytes)
            .await
            .map_err(|e| format!("{name}: {e}"))?;
        expected.insert(room.name(&room.at(name)));
    }
    let listed: BTreeSet<_> = room.names("unusual").await?.into_iter().collect();
    ensure(listed == expected, || format!("listed as {listed:?}"))?;
    for name in names {
        room.objects
            .delete(&room.at(name))
            .await
            .map_err(said("delete"))?;
        room.is_gone(name).await?;
    }
    Ok(())
}

/// Names at which prefixes by characters and by segments differ.
const NAMES: [&str; 7] = [
    "l/a", "l/a-b/c", "l/a.b", "l/b/c/d", "l/b/d", "l/bc", "lm/x",
];

async fn listing(room: &Room) -> Found {
    for name in NAMES {
        room.put(name, vec![1, 2, 3]).await?;
    }
    for (prefix, expected) in [
        ("l", &NAMES[..6]),
        ("l/b", &NAMES[3..5]),
        ("l/a", &[]),
        ("lm", &NAMES[6..]),
    ] {
        let names = room.names(prefix).await?;
        ensure(names == expected, || format!("under {prefix}: {names:?}"))?;
    }
    let listed = room.objects.list(Some(&room.at("l")));
    let sizes: Vec<u64> = listed
        .map_ok(|m| m.size)
        .try_collect()
        .await
        .map_err(said("list"))?;
    ensure(sizes == [3; 6], || format!("sizes {sizes:?}"))
}

async fn listing_from_offset(room: &Room) -> Found {
    for offset in ["l", "l/a", "l/a-b", "l/b/c/d", "l/bb", "l/z"] {
        let listed = room
            .objects
            .list_with_offset(Some(&room.at("l")), &room.at(offset));
        let mut listed: Vec<String> = listed
            .map_ok(|m| room.name(&m.location))
            .try_collect()
            .await
            .map_err(said("list"))?;
        let in_order = listed.is_sorted();
        listed.sort();
        let expected = NAMES.iter().take(6).filter(|name| **name > offset);
        ensure(listed.iter().eq(expected), || {
            format!("after {offset}: {listed:?}")
        })?;
        ensure(in_order || !room.capabilities.ordered_list, || {
            "names do not come in their order, as is declared".into()
        })?;
    }
    Ok(())
}

async fn listing_one_level(room: &Room) -> Found {
    let level = room.objects.list_with_delimiter(Some(&room.at("l"))).await;
    let level = level.map_err(said("list"))?;
    let mut prefixes: Vec<_> = level.common_prefixes.iter().map(|p| room.name(p)).collect();
    let mut objects: Vec<_> = level
        .objects
        .iter()
        .map(|m| room.name(&m.location))
        .collect();
    prefixes.sort();
    objects.sort();
    ensure(
        prefixes == ["l/a-b", "l/b"] && objects == ["l/a", "l/a.b", "l/bc"],
        || format!("prefixes {prefixes:?}, objects {objects:?}"),
    )
}

async fn deleting(room: &Room) -> Found {
    for name in ["d/1", "d/2", "d/3"] {
        room.put(name, vec![0; 10]).await?;
    }
    room.objects
        .delete(&room.at("d/2"))
        .await
        .map_err(said("delete"))?;
    room.is_gone("d/2").await?;
    let names = room.names("d").await?;
    ensure(names == ["d/1", "d/3"], || {
        format!("listed afterwards: {names:?}")
    })?;
    match room.objects.delete(&room.at("d/2")).await {
        Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
        Err(e) => Err(format!("deleting what is not there: {e}")),
    }
}

async fn many(room: &Room) -> Found {
    let names: Vec<String> = (0..MANY)
        .map(|i| format!("many/{}/{i:04}", i % 3))
        .collect();
    let puts = stream::iter(&names).map(|name| room.put(name, vec![7]));
    puts.buffer_unordered(16).try_collect::<()>().await?;
    let mut expected = names.clone();
    expected.sort();
    ensure(room.names("many").await? == expected, || {
        "the listing is not complete, or not exact".into()
    })?;
    let locations: Vec<Path> = names.iter().map(|name| room.at(name)).collect();
    let wanted = stream::iter(locations.clone()).map(Ok).boxed();
    let gone: Vec<Path> = room
        .objects
        .delete_stream(wanted)
        .try_collect()
        .await
        .map_err(said("delete many"))?;
    ensure(gone == locations, || {
        format!(
            "{} of {MANY} deletes reported, or in another order",
            gone.len()
        )
    })?;
    let left = room.names("many").await?;
    ensure(left.is_empty(), || {
        format!("{} are still listed", left.len())
    })
}

async fn seeing(room: &Room) -> Found {
    for i in 0..20 {
        let name = format!("seen/{i}");
        let (first, second) = (room.bytes(i, 100), room.bytes(i + 1000, 100));
        room.put(&name, first.clone()).await?;
        room.holds(&name, &first).await?;
        room.put(&name, second.clone()).await?;
        room.holds(&name, &second).await?;
        let listed = room.names("seen").await?;
        ensure(listed.contains(&name), || {
            "an object is not listed although it was stored before: listings lag".into()
        })?;
        room.objects
            .delete(&room.at(&name))
            .await
            .map_err(said("delete"))?;
        room.is_gone(&name).await?;
    }
    Ok(())
}

async fn parts(room: &Room) -> Found {
    // What S3 demands of every part but the last: 5 MiB.
    const PART: usize = 5 << 20;
    let bytes = room.bytes(1, 2 * PART + 1000);
    let location = room.at("parts");
    let upload = room.objects.put_multipart(&location).await;
    let mut upload = upload.map_err(said("begin an upload"))?;
    let parts: Vec<_> = bytes
        .chunks(PART)
        .map(|part| upload.put_part(part.to_vec().into()))
        .collect();
    try_join_all(parts).await.map_err(said("part"))?;
    room.is_gone("parts")
        .await
        .map_err(|e| format!("before completion: {e}"))?;
    upload.complete().await.map_err(said("complete"))?;
    room.holds("parts", &bytes).await?;
    let across = PART as u64 - 10..PART as u64 + 10;
    let got = room
        .objects
        .get_range(&location, across)
        .await
        .map_err(said("range"))?;
    ensure(
        bytes.get(PART - 10..PART + 10) == Some(got.as_ref()),
        || "a range across two parts gave other bytes".into(),
    )?;
    let listed = room
        .objects
        .list(Some(&room.at("")))
        .map_ok(|m| (room.name(&m.location), m.size));
    let listed: Vec<_> = listed.try_collect().await.map_err(said("list"))?;
    let size = listed
        .iter()
        .find(|(name, _)| name == "parts")
        .map(|(_, size)| *size);
    ensure(size == Some(bytes.len() as u64), || {
        format!("listed with size {size:?}")
    })?;
    room.objects
        .delete(&location)
        .await
        .map_err(said("delete"))?;
    room.is_gone("parts").await?;
    let mut upload = room
        .objects
        .put_multipart(&location)
        .await
        .map_err(said("begin an upload"))?;
    upload
        .put_part(vec![1; PART].into())
        .await
        .map_err(said("part"))?;
    upload.abort().await.map_err(said("abort"))?;
    room.is_gone("parts").await
}

async fn copying(room: &Room) -> Found {
    let bytes = room.bytes(1, 5000);
    room.put("from", bytes.clone()).await?;
    let (from, to) = (room.at("from"), room.at("to"));
    room.objects.copy(&from, &to).await.map_err(said("copy"))?;
    room.holds("to", &bytes).await?;
    room.holds("from", &bytes).await?;
    room.objects
        .rename(&from, &room.at("renamed"))
        .await
        .map_err(said("rename"))?;
    room.holds("renamed", &bytes).await?;
    room.is_gone("from").await?;
    let absent = room.objects.copy(&from, &to).await;
    ensure(matches!(absent, Err(Error::NotFound { .. })), || {
        format!("copying what is not there: {absent:?}")
    })
}
