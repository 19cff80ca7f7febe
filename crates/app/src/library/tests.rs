use super::*;
use airlift_release::{FilesInput, PackOptions, SigningKey, pack};

const PRODUCT: &str = "library-test";

fn made(sequence: u32, key: &SigningKey) -> Release {
    let mut options = PackOptions::new(PRODUCT, sequence, key);
    options.version = Some("1.0");
    options.files = Some(FilesInput::from_iter([("main.py", "print('hello')\n")]));
    pack(options).unwrap().release
}

fn library() -> (tempfile::TempDir, Library, SigningKey) {
    let dir = tempfile::tempdir().unwrap();
    let library = Library::new(&Home::open(dir.path()).unwrap());
    (dir, library, SigningKey::from_seed(&[7; 32]))
}

#[test]
fn a_release_added_here_is_seen_by_another_process_and_opens() {
    let (dir, library, key) = library();
    let release = library.add(&made(3, &key)).unwrap();
    assert_eq!(library.next_sequence(PRODUCT), 4);

    let other = Library::new(&Home::open(dir.path()).unwrap());
    assert!(other.refresh(&[key.public()]).unwrap());
    assert!(!other.refresh(&[key.public()]).unwrap(), "nothing new");
    assert_eq!(other.list(), std::slice::from_ref(&release));
    assert_eq!(
        other.open(&release.id, &[key.public()]).unwrap(),
        made(3, &key)
    );

    library.delete(&release.id).unwrap();
    assert!(other.refresh(&[key.public()]).unwrap());
    assert_eq!(other.list(), []);
}

#[test]
fn a_damaged_file_is_left_out_named_and_replaced_when_its_release_is_added_again() {
    let (dir, library, key) = library();
    let release = library.add(&made(1, &key)).unwrap();
    let trusted = [key.public()];
    let path = dir.path().join(format!("releases/{}.airlift", release.id));
    let whole = fs::read(&path).unwrap();
    let flipped = || {
        let mut bytes = whole.clone();
        bytes[whole.len() - 1024 - 600] ^= 1;
        bytes
    };
    for damaged in [
        flipped(),
        whole[..whole.len() / 2].to_vec(),
        vec![],
        b"junk".to_vec(),
    ] {
        fs::write(&path, &damaged).unwrap();
        let fresh = Library::new(&Home::open(dir.path()).unwrap());
        fresh.refresh(&trusted).unwrap();
        assert_eq!(fresh.list(), []);
        let found = fresh.damaged();
        assert_eq!((found.len(), &found[0].0), (1, &path));
        assert_eq!(found[0].1.code(), ErrorCode::BadRelease);
        assert_eq!(fs::read(&path).unwrap(), damaged, "it stays as it is");

        fresh.add(&made(1, &key)).unwrap();
        assert_eq!(fs::read(&path).unwrap(), whole);
        assert_eq!((fresh.list().len(), fresh.damaged().len()), (1, 0));
    }
}

#[test]
fn a_file_that_another_process_repairs_is_seen_again() {
    let (dir, library, key) = library();
    let release = library.add(&made(1, &key)).unwrap();
    let trusted = [key.public()];
    let path = dir.path().join(format!("releases/{}.airlift", release.id));
    fs::write(&path, "junk").unwrap();
    assert!(
        library.refresh(&trusted).unwrap(),
        "what was known is damaged now"
    );
    assert_eq!(library.list(), []);
    let other = Library::new(&Home::open(dir.path()).unwrap());
    other.add(&made(1, &key)).unwrap();
    assert!(library.refresh(&trusted).unwrap());
    assert_eq!((library.list().len(), library.damaged().len()), (1, 0));
}

#[test]
fn a_file_whose_bits_change_in_place_is_left_out_when_it_is_opened() {
    let (dir, library, key) = library();
    let release = library.add(&made(1, &key)).unwrap();
    let path = dir.path().join(format!("releases/{}.airlift", release.id));
    let mut bytes = fs::read(&path).unwrap();
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    bytes[700] ^= 1;
    fs::write(&path, bytes).unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(modified).unwrap();
    assert!(
        !library.refresh(&[key.public()]).unwrap(),
        "it looks the same"
    );
    assert!(library.open(&release.id, &[key.public()]).is_err());
    assert_eq!((library.list().len(), library.damaged().len()), (0, 1));
}

#[test]
fn two_processes_that_make_a_release_at_once_get_two_sequences() {
    let (dir, _library, key) = library();
    let trusted = [key.public()];
    let sequences = std::thread::scope(|scope| {
        let makers: Vec<_> = (0..4)
            .map(|_| {
                let library = Library::new(&Home::open(dir.path()).unwrap());
                let key = &key;
                scope.spawn(move || {
                    let make = |sequence| Ok(made(sequence, key));
                    library
                        .add_next(PRODUCT, 3, &trusted, make)
                        .unwrap()
                        .sequence
                })
            })
            .collect();
        let mut sequences: Vec<u32> = makers.into_iter().map(|m| m.join().unwrap()).collect();
        sequences.sort_unstable();
        sequences
    });
    assert_eq!(sequences, [3, 4, 5, 6]);
}

#[test]
fn a_sequence_is_given_to_one_release() {
    let (dir, library, key) = library();
    let trusted = [key.public()];
    let first = library.add_new(&made(3, &key), &trusted).unwrap();
    let other = Library::new(&Home::open(dir.path()).unwrap());
    let mut options = PackOptions::new(PRODUCT, 3, &key);
    options.version = Some("other");
    options.files = Some(FilesInput::from_iter([("main.py", "other")]));
    let error = other
        .add_new(&pack(options).unwrap().release, &trusted)
        .unwrap_err();
    assert_eq!(error.code(), ErrorCode::SequenceConflict);
    assert_eq!(
        other.add_new(&made(3, &key), &trusted).unwrap().id,
        first.id
    );
}

#[test]
fn a_release_that_cannot_be_read_for_a_while_comes_back_without_a_change_of_its_file() {
    let (dir, library, key) = library();
    let release = library.add(&made(1, &key)).unwrap();
    let trusted = [key.public()];
    let fresh = Library::new(&Home::open(dir.path()).unwrap());
    let out_of_files = |path: &Path, _: Digest, _: &[PublicKey]| {
        let source = std::io::Error::other("too many open files");
        Err(Error::io(path, source))
    };
    for _ in 0..2 {
        fresh.refresh_with(&trusted, out_of_files).unwrap();
        assert_eq!(fresh.list(), []);
        assert_eq!(fresh.damaged().len(), 1, "it is said");
    }
    assert!(fresh.refresh(&trusted).unwrap());
    assert_eq!(fresh.list(), std::slice::from_ref(&release));
    assert!(fresh.damaged().is_empty());
}

#[test]
fn with_another_trusted_key_in_place_of_one_a_release_is_looked_at_again() {
    let (_dir, library, key) = library();
    let other = SigningKey::from_seed(&[8; 32]).public();
    let release = library.add(&made(1, &key)).unwrap();
    let fresh = Library::new(&library.home);
    fresh.refresh(&[other]).unwrap();
    assert_eq!(fresh.list(), []);
    assert!(fresh.refresh(&[key.public()]).unwrap());
    assert_eq!(fresh.list(), [release]);
}

#[test]
fn a_file_under_the_name_of_another_release_is_refused() {
    let (dir, library, key) = library();
    let (a, b) = (
        library.add(&made(1, &key)).unwrap(),
        library.add(&made(2, &key)).unwrap(),
    );
    let path = |id: &str| dir.path().join(format!("releases/{id}.airlift"));
    fs::copy(path(&a.id), path(&b.id)).unwrap();
    let error = library.open(&b.id, &[key.public()]).unwrap_err();
    assert_eq!(error.code().as_str(), "bad_release");
}

#[test]
fn no_text_that_is_not_an_id_becomes_a_path() {
    let (_dir, library, key) = library();
    for id in ["../airlift", "", "ab", &"A".repeat(64)] {
        let error = library.open(id, &[key.public()]).unwrap_err();
        assert_eq!(error.code().as_str(), "no_such_release", "{id}");
    }
}

#[test]
fn an_exported_release_is_the_file_itself() {
    let (dir, library, key) = library();
    let release = library.add(&made(1, &key)).unwrap();
    let to = dir.path().join("out.airlift");
    library.export(&release.id, &to).unwrap();
    assert_eq!(fs::read(to).unwrap(), made(1, &key).to_file());
}
