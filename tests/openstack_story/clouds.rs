//! From another cloud into this one and from this one into another, by mappings. The other is a test cloud in this process, in which nothing has the name that it
//! has here. Both keep their backups in one repository.

use std::fs;
use std::time::Duration;

use raksha_openstack::testkit::Kind;
use raksha_tests::{Abroad, Random, hash, lines, text, translated, wait};

use crate::story::Story;

/// The project of the lab into which is restored.
const OTHER: &str = "raksha-other";

/// Both clouds, known to `raksha`.
fn begin(abroad: &Abroad, options: &str) -> Story {
    let mut story = Story::begin(options);
    let clouds = fs::read_to_string(story.lab.clouds()).unwrap();
    let raksha = story.place.raksha.clone();
    story.place.raksha = abroad.beside(&clouds, raksha, story.place.folder());
    story
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_another_cloud_lives_on_here() {
    let abroad = Abroad::start().await;
    let story = begin(&abroad, "");
    let lab = &story.lab;
    let image = fs::read(lab.guest()).unwrap();
    let sign = abroad.add_traveller(&image, &mut Random::announced("another cloud"));
    let before = lab.inventory(OTHER);

    let there = story.raksha_of("abroad-demo", "");
    there.ok(&["job", "create", "travels", "--server", "traveller"]);
    let run = there.ok(&["job", "run", "travels"]);
    let into = format!("openstack:{OTHER}");
    let restore = ["restore", &run, "--into", &into];
    let said = there.fails(&restore);
    for unknown in Abroad::FOREIGN {
        assert!(said.contains(unknown), "{unknown}: {said}");
    }
    let id = |kind: &str, name: &str| {
        let shown = lab.openstack(OTHER, &[kind, "show", name, "-f", "value", "-c", "id"]);
        shown.trim().to_owned()
    };
    let mapping = Abroad::to_home(&id("network", "public"), &id("image", "raksha-guest"));
    let restore = translated(&restore, &mapping);
    println!("{}", there.ok(&[&restore[..], &["--plan"]].concat()));
    there.ok(&restore);

    // The guest has never run before: it has its agent, its network and both of its disks.
    let settler = id("server", "settler");
    lab.console_shows(OTHER, "settler", &["raksha-guest: up"]);
    lab.agent_answers(&settler);
    let wrote = wait("settler to write", Duration::from_secs(300), || {
        let tail = lab.inside(&settler, "tail -n 1 /journal.txt");
        lines(&tail).pop().filter(|line| line.0 > 3)
    });
    println!("settler has written {}", wrote.0);
    let look = format!(
        "dd if=/dev/vda bs=1M skip=512 count=1 2>/dev/null | head -c {}",
        sign.len()
    );
    assert_eq!(lab.inside(&settler, &look), sign);
    let copy = story.place.path("traveller-data");
    lab.copy_volume(&id("volume", "traveller-data"), &copy);
    let same = hash(&copy) == hash(&abroad.disk(Kind::Volume, "traveller-data"));
    assert!(same, "the volume is not what it was");
    let shape = &lab.inventory(OTHER)["shape"];
    let server = &shape["servers"]["settler"];
    println!("{server}");
    assert_eq!(server["flavor"], "raksha.tiny");
    assert_eq!(server["disks"][0]["type"], "rbd");
    assert_eq!(server["ports"][0]["floating"].as_array().unwrap().len(), 1);
    assert_eq!(shape["networks"]["road"]["mtu"], 1500);

    lab.openstack(OTHER, &["server", "delete", "--wait", "settler"]);
    lab.remove_since(OTHER, &before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_of_this_cloud_are_in_another_what_they_were() {
    let abroad = Abroad::start().await;
    let story = begin(&abroad, "?ceph_user=openstack&hints=false");
    let raksha = &story.place.raksha;
    let servers = ["case1", "case2"];
    let job = raksha.ok(&[
        "job", "create", "leaves", "--server", servers[0], "--server", servers[1],
    ]);
    let report = story.run(&job);
    let (run, point) = (
        report["run"].as_str().unwrap(),
        report["point"].as_str().unwrap(),
    );
    let restore = ["restore", run, "--into", "openstack:abroad-demo"];
    let said = raksha.fails(&restore);
    for unknown in ["flavor raksha.tiny", "zone nova", "network public"] {
        assert!(said.contains(unknown), "{unknown}: {said}");
    }
    let mapping = abroad.from_home();
    raksha.ok(&translated(&restore, &mapping));

    let graph = raksha.json(&["point", point])["graph"].clone();
    let volumes = graph["volumes"].as_array().unwrap().iter().map(|volume| {
        let id = volume["id"].as_str().unwrap();
        (Kind::Volume, &volume["name"], format!("volume:{id}"))
    });
    let of_case1 = graph["servers"].as_array().unwrap().iter();
    let of_case1 = of_case1.filter(|server| server["name"] == "case1");
    let roots = of_case1.map(|server| {
        let id = server["id"].as_str().unwrap();
        (Kind::Server, &server["name"], format!("server:{id}/root"))
    });
    let disks: Vec<_> = volumes.chain(roots).collect();
    assert_eq!(disks.len(), 5, "{disks:?}");
    let copy = story.place.path("copy");
    for (kind, name, disk) in disks {
        let name = name.as_str().unwrap();
        let path = text(&copy);
        raksha.ok(&["disk", "restore", point, &path, "--disk", &disk, "--force"]);
        let same = hash(&copy) == hash(&abroad.disk(kind, name));
        assert!(same, "{kind} {name} is not what the point has");
    }
    for server in servers {
        let journals = story.journals(&report, server);
        let last: Vec<u64> = journals.iter().filter_map(|j| Some(j.last()?.0)).collect();
        println!("{server}: the last numbers on its disks are {last:?}");
        assert_eq!(last.len(), journals.len());
    }
    let there = story.raksha_of("abroad-demo", "");
    let there = there.json(&["discover", "case1", "case2"]);
    for volume in there["volumes"].as_array().unwrap() {
        assert_eq!(volume["volume_type"], "ssd", "{volume}");
    }
}
