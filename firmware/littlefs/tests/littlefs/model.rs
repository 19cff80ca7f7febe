//! Random operations against a map.

use std::collections::BTreeMap;

use airlift_littlefs::{DirEntry, Error, FileSystem, Kind};
use proptest::prelude::*;

use crate::ram::{Ram, mounted, pattern, read, write};

#[derive(Debug, Clone)]
enum Op {
    Mkdir(&'static str),
    Write(&'static str, usize),
    Continue(&'static str, usize, usize),
    Remove(&'static str),
    RemoveTree(&'static str),
    Rename(&'static str, &'static str),
}

const PATHS: [&str; 9] = ["a", "a/x", "a/y", "a/b", "a/b/x", "c", "c/x", "a.txt", "a0"];

fn path() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&PATHS[..])
}

fn op() -> impl Strategy<Value = Op> {
    let size = prop_oneof![0..200_usize, 3900..4300_usize, 0..15_000_usize];
    prop_oneof![
        2 => path().prop_map(Op::Mkdir),
        4 => (path(), size.clone()).prop_map(|(path, size)| Op::Write(path, size)),
        2 => (path(), size.clone(), size).prop_map(|(path, cut, add)| Op::Continue(path, cut, add)),
        2 => path().prop_map(Op::Remove),
        1 => path().prop_map(Op::RemoveTree),
        2 => (path(), path()).prop_map(|(from, to)| Op::Rename(from, to)),
    ]
}

/// Paths to the content of a file; `None` is a folder.
type Model = BTreeMap<String, Option<Vec<u8>>>;

fn parent_is_folder(model: &Model, path: &str) -> bool {
    path.rsplit_once('/')
        .is_none_or(|(parent, _)| model.get(parent) == Some(&None))
}

fn is_inside(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder)
        .is_some_and(|rest| rest.starts_with('/'))
}

/// What the operation does to the model; `false` if it must fail.
fn expect(model: &mut Model, op: &Op, seed: u8) -> bool {
    let has_children = |model: &Model, path: &str| model.keys().any(|other| is_inside(other, path));
    match *op {
        Op::Mkdir(path) => {
            let ok = parent_is_folder(model, path) && !model.contains_key(path);
            if ok {
                model.insert(path.into(), None);
            }
            ok
        }
        Op::Write(path, size) => {
            let ok = parent_is_folder(model, path) && model.get(path) != Some(&None);
            if ok {
                model.insert(path.into(), Some(pattern(size, seed)));
            }
            ok
        }
        Op::Continue(path, cut, add) => match model.get_mut(path) {
            Some(Some(content)) if cut <= content.len() => {
                content.truncate(cut);
                content.extend(pattern(add, seed));
                true
            }
            _ => false,
        },
        Op::Remove(path) => {
            let ok = model.contains_key(path) && !has_children(model, path);
            if ok {
                model.remove(path);
            }
            ok
        }
        Op::RemoveTree(path) => {
            let ok = model.contains_key(path);
            model.retain(|other, _| other != path && !is_inside(other, path));
            ok
        }
        Op::Rename(from, to) => {
            let same_kind = match (model.get(from), model.get(to)) {
                (None, _) => false,
                (Some(_), None) => true,
                (Some(from), Some(to)) => from.is_some() == to.is_some(),
            };
            let ok = same_kind
                && !is_inside(to, from)
                && parent_is_folder(model, to)
                && (from == to || !has_children(model, to));
            if ok && from != to {
                let moved: Vec<String> = model
                    .keys()
                    .filter(|k| *k == from || is_inside(k, from))
                    .cloned()
                    .collect();
                for key in moved {
                    let value = model.remove(&key).unwrap();
                    model.insert(format!("{to}{}", &key[from.len()..]), value);
                }
            }
            ok
        }
    }
}

fn run(fs: &mut FileSystem<'_, &mut Ram>, op: &Op, seed: u8) -> Result<(), Error> {
    match *op {
        Op::Mkdir(path) => fs.mkdir(path),
        Op::Write(path, size) => write(fs, path, &pattern(size, seed)),
        Op::Continue(path, cut, add) => {
            fs.open_truncated(path, cut as u32)?;
            fs.append(&pattern(add, seed))?;
            fs.close()
        }
        Op::Remove(path) => fs.remove(path),
        Op::RemoveTree(path) => fs.remove_tree(path),
        Op::Rename(from, to) => fs.rename(from, to),
    }
}

/// The whole tree, in canonical order.
fn tree(
    fs: &mut FileSystem<'_, &mut Ram>,
    folder: &str,
    found: &mut Vec<(String, Option<Vec<u8>>)>,
) -> Result<(), Error> {
    let mut last: Option<DirEntry> = None;
    let mut entry = DirEntry::new();
    while fs.next_entry(folder, last.as_ref().map(DirEntry::key), &mut entry)? {
        let path = format!("{folder}{}", std::str::from_utf8(entry.name()).unwrap());
        match entry.kind() {
            Kind::File => {
                let content = read(fs, &path)?;
                assert_eq!(content.len(), entry.size() as usize);
                found.push((path, Some(content)));
            }
            Kind::Folder => {
                let path = path + "/";
                found.push((path.clone(), None));
                tree(fs, &path, found)?;
            }
        }
        last = Some(entry);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_operations_agree_with_a_map_and_survive_mounting_again(
        ops in prop::collection::vec((op(), any::<bool>()), 1..30)
    ) {
        let mut ram = Ram::formatted(128);
        let mut model = Model::new();
        let mut ops = ops.into_iter().enumerate().peekable();
        while ops.peek().is_some() {
            mounted(&mut ram, |fs| {
                for (i, (op, remount)) in ops.by_ref() {
                    let seed = i as u8;
                    let result = run(fs, &op, seed);
                    assert_eq!(result.is_ok(), expect(&mut model, &op, seed), "{op:?}: {result:?}");
                    if remount {
                        break;
                    }
                }
                let mut found = Vec::new();
                tree(fs, "", &mut found)?;
                // The canonical order: by the bytes of the path, folders with their slash.
                let mut expected: Vec<_> = model
                    .iter()
                    .map(|(path, content)| {
                        let slash = if content.is_none() { "/" } else { "" };
                        (format!("{path}{slash}"), content.clone())
                    })
                    .collect();
                expected.sort();
                assert_eq!(found, expected);
                Ok(())
            })
            .unwrap();
        }
    }
}
