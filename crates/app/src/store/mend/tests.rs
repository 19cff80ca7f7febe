use super::*;

fn home(dir: &tempfile::TempDir) -> Home {
    Home::open(dir.path()).unwrap()
}

/// A damaged database whose rows are all in its log, as after a power cut.
fn damaged(dir: &tempfile::TempDir) -> Home {
    let (before, home) = (home(dir), Home::open(&dir.path().join("home")).unwrap());
    let (connection, _lock, _) = open(&before).unwrap();
    connection
        .execute("INSERT INTO settings (only, value) VALUES (1, 'dark')", [])
        .unwrap();
    for companion in ["", "-wal"] {
        let from = with(&before.database(), companion);
        fs::copy(from, with(&home.database(), companion)).unwrap();
    }
    assert!(with(&home.database(), "-wal").metadata().unwrap().len() > 0);
    home
}

fn mended(home: &Home) -> Result<Mended, Error> {
    mend(home, &damage("it was damaged by the test"))
}

fn setting(connection: &Connection) -> String {
    let sql = "SELECT value FROM settings";
    connection.query_row(sql, [], |row| row.get(0)).unwrap()
}

fn kept(home: &Home) -> Vec<PathBuf> {
    let files = fs::read_dir(home.root())
        .unwrap()
        .map(|f| f.unwrap().path());
    let damaged = files.filter(|f| f.to_string_lossy().contains(DAMAGED));
    damaged.collect()
}

#[test]
fn what_is_only_in_the_log_is_saved() {
    let dir = tempfile::tempdir().unwrap();
    let home = damaged(&dir);
    assert!(mended(&home).unwrap().settings);
    let (connection, _lock, again) = open(&home).unwrap();
    assert_eq!((again, setting(&connection)), (None, "dark".into()));
    assert_eq!(kept(&home).len(), 2, "it and its log");
}

#[test]
fn a_mending_that_is_cut_off_at_any_step_of_the_exchange_is_finished_and_said() {
    for steps in 0..3 {
        let dir = tempfile::tempdir().unwrap();
        let home = damaged(&dir);
        let aside = aside(&home.database());
        prepare(&home, &aside).unwrap();
        // As far as `put` came.
        for companion in ["-wal", "-shm"].into_iter().take(steps) {
            remove_file(&with(&home.database(), companion)).unwrap();
        }
        let (connection, lock, mended) = open(&home).unwrap();
        let mended = mended.expect("it is said");
        assert_eq!((mended.aside, mended.settings), (aside, true));
        assert_eq!(setting(&connection), "dark", "after {steps} steps");
        assert!(!mended_file(&home).exists());
        drop((connection, lock));
        assert_eq!(open(&home).unwrap().2, None, "it is said once");
    }
}

#[test]
fn a_mending_that_fails_leaves_the_damaged_one_in_place_and_no_copy() {
    let dir = tempfile::tempdir().unwrap();
    let home = damaged(&dir);
    let before = fs::read(home.database()).unwrap();
    // As a full disk does: the copy is made, and the new one finds no room.
    let obstacle = home.run().join("database-new");
    fs::create_dir(&obstacle).unwrap();
    for _ in 0..2 {
        mended(&home).unwrap_err();
        assert_eq!(kept(&home), Vec::<PathBuf>::new());
        assert_eq!(fs::read(home.database()).unwrap(), before);
    }
    fs::remove_dir(&obstacle).unwrap();
    assert!(mended(&home).unwrap().settings);
}

#[test]
fn a_folder_that_has_the_name_goes_aside() {
    let dir = tempfile::tempdir().unwrap();
    let home = home(&dir);
    fs::create_dir(home.database()).unwrap();
    let mended = open(&home).unwrap().2.expect("it is said");
    assert!(mended.aside.is_dir() && home.database().is_file());
    assert_eq!(kept(&home), [mended.aside]);
}
