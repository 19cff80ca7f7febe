//! What `docs/keys.md` tells people to type, typed.

use crate::rotation::Fleet;

const DOC: &str = include_str!("../../../../docs/keys.md");

/// The commands of the page, in order: the lines of its `sh` blocks, joined where they go on.
fn commands() -> Vec<String> {
    let mut commands = Vec::new();
    for block in DOC.split("```sh\n").skip(1) {
        let (block, _) = block.split_once("```").expect("a block ends");
        let joined = block.replace("\\\n", " ");
        let lines = joined
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty());
        commands.extend(lines.map(str::to_owned));
    }
    commands
}

#[test]
fn every_command_of_the_page_about_keys_does_what_it_says() {
    let fleet = Fleet::new("cli-doc-keys", 1);
    let app = std::fs::read(crate::support::fixture("demo-1.1.0.bin")).expect("the fixture");
    fleet.desk.write("lamp.bin", app);
    std::fs::create_dir(fleet.desk.path("stick2")).expect("a folder");
    let address = fleet.devices[0]["address"].as_str().expect("an address");
    let commands = commands();
    assert!(commands.len() >= 10, "{commands:?}");
    for command in commands {
        let line = command.strip_prefix("airlift ").expect(&command);
        let line = line
            .replace("/media/stick", "stick")
            .replace("$DEVICE", address)
            .replace("--product lamp", "--product cli-doc-keys");
        // Nothing in a test looks around in the network.
        let reaches = line.starts_with("update") || line.starts_with("rekey");
        let line = if reaches { line + " --no-mdns" } else { line };
        let run = fleet
            .desk
            .run_with(&line, &[("ROOT_PASS", "correct horse battery")]);
        assert_eq!(run.code, 0, "{command}: {run:?}");
    }
    let keys = fleet.desk.run("key list --json").succeeded().json();
    let of_device = |field: &str| {
        let trusted = keys.iter().filter(|key| key[field][0].is_string());
        let names = trusted.filter_map(|key| key["name"].as_str());
        names.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(of_device("root_of"), ["root2"]);
    assert_eq!(of_device("release_key_of"), ["release3"]);
}
